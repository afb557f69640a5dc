use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn answer(code: u16, lines: Vec<String>) -> v1::UpstreamAnswer {
    v1::UpstreamAnswer {
        host: "mx.dest.example".to_owned(),
        code: code.into(),
        enhanced: vec![u32::from(code / 100), 1, 1],
        lines,
    }
}

fn record(answer: Answer) -> v1::DeliveryRecord {
    v1::DeliveryRecord { key: vec![7; 32], answer: Some(answer), id: 5 }
}

#[test]
fn what_came_of_a_copy_arrives_and_counts_no_longer_than_a_record_does() {
    let upstream = |code| decode_upstream(answer(code, vec!["words".to_owned()]), 2..=5).unwrap();
    for (told, longest) in [
        (Some(Recorded::Open), crate::ledger::OPEN_FOR),
        (Some(Recorded::Queued), crate::ledger::DELIVERED_FOR),
        (Some(Recorded::Delivered(upstream(250))), crate::ledger::DELIVERED_FOR),
        (Some(Recorded::Refused(upstream(550))), crate::ledger::REFUSED_FOR),
        (None, crate::ledger::DELIVERED_FOR),
    ] {
        let sent = Told::new(5, told.clone(), HOUR).unwrap();
        let record = encode_record(Key([7; 32]), &sent);
        let (key, heard) = decode_record(record, Duration::from_secs(u64::MAX / 1000)).unwrap().unwrap();
        assert_eq!((key, heard.id(), heard.answer()), (Key([7; 32]), 5, told.as_ref()));
        assert!(heard.remaining().is_some_and(|left| left <= longest), "{told:?}");
    }
    assert_eq!(decode_record(record(Answer::Open(v1::Blank {})), Duration::ZERO), Ok(None));
    assert_eq!(decode_record(v1::DeliveryRecord { key: vec![7; 32], answer: None, id: 5 }, HOUR), Ok(None));
}

#[test]
fn what_an_upstream_said_never_ends_a_link() {
    let lines = vec!["no\tsuch\u{7} user".to_owned(), String::new()];
    let reply = Reply { code: 554, enhanced: Some(Enhanced(5, 1, 2000)), reason: UPSTREAM_REASON, lines };
    let upstream = UpstreamReply { host: "mx.".repeat(100), reply };
    let told = Told::new(5, Some(Recorded::Refused(upstream)), HOUR).unwrap();
    let heard = decode_record(encode_record(Key([7; 32]), &told), HOUR).unwrap().unwrap().1;
    let Some(Recorded::Refused(heard)) = heard.answer() else { panic!() };
    assert_eq!((heard.reply.enhanced, heard.host.len()), (None, MAX_HOST_OCTETS));
    assert_eq!(heard.reply.lines, ["no such  user", ""]);
}

/// A client is told what a peer says that an upstream said.
#[test]
fn a_reply_that_no_upstream_gave_is_no_message() {
    let line = |text: &str| vec![text.to_owned()];
    let refused = |upstream| decode_record(record(Answer::Refused(upstream)), HOUR);
    assert!(refused(answer(550, line("no such user"))).is_ok());
    for (what, wrong) in [
        ("a line break", answer(550, line("no\r\n250 yes"))),
        ("a control character", answer(550, line("no\u{7}"))),
        ("no line", answer(550, Vec::new())),
        ("too many lines", answer(550, vec![String::new(); KEPT_LINES + 1])),
        ("too much text", answer(550, line(&"n".repeat(KEPT_OCTETS + 1)))),
        ("a code that is none", answer(999, line("no"))),
        ("a long host", v1::UpstreamAnswer { host: "h".repeat(256), ..answer(550, line("no")) }),
        ("a wrong class", v1::UpstreamAnswer { enhanced: vec![3, 1, 1], ..answer(550, line("no")) }),
        ("a wrong detail", v1::UpstreamAnswer { enhanced: vec![5, 1, 1000], ..answer(550, line("no")) }),
        ("half a code", v1::UpstreamAnswer { enhanced: vec![5, 1], ..answer(550, line("no")) }),
    ] {
        assert!(refused(wrong).is_err(), "{what}");
    }
    assert!(decode_record(record(Answer::Delivered(answer(550, line("no")))), HOUR).is_err());
    let short = v1::DeliveryRecord { key: vec![7; 31], answer: Some(Answer::Open(v1::Blank {})), id: 5 };
    assert!(decode_record(short, HOUR).is_err());
}
