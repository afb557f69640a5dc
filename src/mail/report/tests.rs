use std::path::Path;
use std::time::Duration;

use mail_parser::{MessageParser, MimeHeaders, PartType};
use proptest::prelude::*;

use super::*;

const HEAD: &str = "Received: from a by b; Mon, 23 Nov 2026 17:59:58 +0000\r\n\
    From: Alice <alice@sender.example>\r\nTo: info@ours.example\r\nSubject: hello\r\n\
    Message-ID: <1@sender.example>\r\n\r\n";

fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_456_800 + seconds)
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// A report on these recipients, to Alice.
fn report(recipients: &[ReportedRecipient<'_>], head: &[u8]) -> Vec<u8> {
    report_with(recipients, head, None)
}

fn report_with(recipients: &[ReportedRecipient<'_>], head: &[u8], body: Option<&[u8]>) -> Vec<u8> {
    let host = Domain::parse("linda.mx.relay.example").unwrap();
    build(&Report {
        reporting_mta: &host,
        arrival: time(0),
        envelope_id: Some("QQ+2B1"),
        recipients,
        from: &address("mailer-daemon@relay.example"),
        to: &address("alice@sender.example"),
        id: TraceId::new(time(3600), 2),
        date: time(3600),
        original_head: &[Bytes::copy_from_slice(head)],
        original_body: body,
        postmaster_url: "https://relay.example/postmaster",
        trace: TraceId::new(time(0), 1),
    })
}

fn lines(text: &[&str]) -> Vec<String> {
    text.iter().map(|line| (*line).to_owned()).collect()
}

fn failed<'a>(alias: &'a Address, lines: &'a [String]) -> ReportedRecipient<'a> {
    ReportedRecipient {
        alias,
        original_recipient: Some("rfc822;Info+2Bnews@ours.example"),
        action: Action::Failed,
        status: Enhanced(5, 1, 1),
        remote_mta: Some("mx.dest.example"),
        diagnostic: Some(Diagnostic { code: 550, enhanced: Some(Enhanced(5, 1, 1)), lines }),
        last_attempt_at: Some(time(3599)),
        will_retry_until: None,
    }
}

/// Compares with `golden/NAME`, whose lines end in LF; `UPDATE_GOLDEN=1` rewrites it.
fn golden(name: &str, octets: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/mail/report/golden").join(name);
    let text = String::from_utf8(octets.to_vec()).unwrap().replace("\r\n", "\n");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "UPDATE_GOLDEN=1 cargo test rewrites {name}");
}

#[test]
fn a_failure_says_who_what_and_why() {
    let (alias, said) = (address("info@ours.example"), lines(&["No such user", "Ask somebody else"]));
    golden("failed.eml", &report(&[failed(&alias, &said)], HEAD.as_bytes()));
}

#[test]
fn a_delay_says_until_when() {
    let (alias, said) = (address("info@ours.example"), lines(&["mx.dest.example: connection refused"]));
    let recipient = ReportedRecipient {
        action: Action::Delayed,
        original_recipient: None,
        status: Enhanced(4, 4, 1),
        remote_mta: None,
        diagnostic: Some(Diagnostic { code: 0, enhanced: None, lines: &said }),
        will_retry_until: Some(time(5 * 86_400)),
        ..failed(&alias, &[])
    };
    golden("delayed.eml", &report(&[recipient], HEAD.as_bytes()));
}

#[test]
fn success_is_told_of_the_alias() {
    let (alias, said) = (address("info@ours.example"), lines(&["queued"]));
    let recipient = ReportedRecipient {
        action: Action::Relayed,
        status: Enhanced(2, 0, 0),
        diagnostic: Some(Diagnostic { code: 250, enhanced: Some(Enhanced(2, 0, 0)), lines: &said }),
        ..failed(&alias, &[])
    };
    golden("relayed.eml", &report(&[recipient], HEAD.as_bytes()));
}

#[test]
fn rfc6533_4_addresses_outside_ascii_make_it_global() {
    let (alias, said) = (address("jürgen@ours.example"), lines(&["No such user"]));
    let recipient = ReportedRecipient {
        original_recipient: Some("utf-8;j\\x{FC}rgen@ours.example"),
        ..failed(&alias, &said)
    };
    let head = HEAD.replace("hello", "grüße");
    golden("global.eml", &report(&[recipient], head.as_bytes()));
}

/// The three parts as a parser that is not ours sees them: content type and content.
fn parts(octets: &[u8]) -> Vec<(String, String)> {
    let message = MessageParser::default().parse(octets).unwrap();
    let [root, parts @ ..] = message.parts.as_slice() else { panic!() };
    let PartType::Multipart(children) = &root.body else { panic!("{:?}", root.body) };
    assert_eq!(children.len(), parts.len(), "no nested parts");
    let kind = |part: &mail_parser::MessagePart<'_>| {
        let found = part.content_type().unwrap();
        format!("{}/{}", found.ctype(), found.subtype().unwrap())
    };
    assert_eq!(message.content_type().unwrap().attribute("report-type"), Some("delivery-status"));
    let content = |part: &mail_parser::MessagePart<'_>| match part.encoding {
        mail_parser::Encoding::Base64 => String::from_utf8_lossy(part.contents()).into_owned(),
        mail_parser::Encoding::None | mail_parser::Encoding::QuotedPrintable => {
            let octets = octets.get(part.offset_body as usize..part.offset_end as usize).unwrap();
            String::from_utf8_lossy(octets).into_owned()
        }
    };
    parts.iter().map(|part| (kind(part), content(part))).collect()
}

#[test]
fn another_parser_finds_three_parts_and_the_fields() {
    let (alias, said) = (address("info@ours.example"), lines(&["No such user"]));
    let octets = report(&[failed(&alias, &said)], HEAD.as_bytes());
    let found = parts(&octets);
    let kinds: Vec<&str> = found.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["text/plain", "message/delivery-status", "text/rfc822-headers"]);
    assert!(found[1].1.contains("\r\nFinal-Recipient: rfc822; info@ours.example\r\n"), "{}", found[1].1);
    let message = MessageParser::default().parse(&octets).unwrap();
    assert_eq!(message.in_reply_to().as_text(), Some("1@sender.example"));
    assert_eq!(message.header_raw("Auto-Submitted").map(str::trim), Some("auto-replied"));
}

#[test]
fn rfc3464_2_3_6_what_no_server_said_is_not_of_the_type_smtp() {
    let (alias, ours) = (address("info@ours.example"), lines(&["The destination takes no mail"]));
    let recipient = ReportedRecipient { remote_mta: None, ..failed(&alias, &ours) };
    let text = String::from_utf8(report(&[recipient], HEAD.as_bytes())).unwrap();
    assert!(text.contains("Diagnostic-Code: X-Postroad;\r\n 550 5.1.1 The destination"), "{text}");
    assert!(text.contains("No mail server took it:") && !text.contains("mail server said"), "{text}");
}

#[test]
fn rfc2045_6_4_a_report_is_7_bit_whatever_it_tells_of() {
    let (alias, said) = (address("j\u{fc}rgen@ours.example"), lines(&["No such user"]));
    let head = HEAD.replace("hello", "gr\u{fc}\u{df}e");
    for head in [head.as_bytes(), b"Subject: gr\xfc\xdfe\r\n\r\n"] {
        let octets = report(&[failed(&alias, &said)], head);
        assert!(octets.is_ascii(), "{}", String::from_utf8_lossy(&octets));
    }
}

/// The third part's own header fields, and its octets with their encoding undone.
fn returned(head: &str, body: &[u8]) -> (String, Vec<u8>) {
    let alias = address("info@ours.example");
    let octets = report_with(&[failed(&alias, &[])], head.as_bytes(), Some(body));
    assert!(octets.is_ascii() && octets.split(|b| *b == b'\n').all(|line| line.len() <= 999));
    let text = String::from_utf8(octets).unwrap();
    let boundary = format!("\r\n--=_{}", TraceId::new(time(3600), 2));
    let part = text.split(&boundary).nth(3).unwrap().strip_prefix("\r\n").unwrap();
    let (fields, content) = part.split_once("\r\n\r\n").unwrap();
    let content = if fields.contains("base64") {
        base64::decode(&content.split_whitespace().collect::<String>()).unwrap()
    } else {
        content.as_bytes().to_vec()
    };
    (fields.to_owned(), content)
}

#[test]
fn rfc3461_4_3_full_gives_the_message_back_octet_by_octet() {
    for (head, body, wanted) in [
        (HEAD.to_owned(), b"Hello,\r\n\r\n  this is it.\r\n".to_vec(), "Content-Type: message/rfc822"),
        (HEAD.to_owned(), b"no last line ending".to_vec(), "Content-Type: message/rfc822"),
        (HEAD.to_owned(), b"gr\xfc\xdfe\r\n".to_vec(), "Content-Type: message/global\r\n"),
        (HEAD.to_owned(), vec![b'x'; 2000], "Content-Type: message/global\r\n"),
        (HEAD.replace("hello", "gr\u{fc}\u{df}e"), b"plain\r\n".to_vec(), "Content-Type: message/global\r\n"),
    ] {
        let (fields, content) = returned(&head, &body);
        assert!(format!("{fields}\r\n").starts_with(wanted), "{fields}");
        assert_eq!(content, [head.as_bytes(), &body].concat(), "{fields}");
    }
}

#[test]
fn a_whole_message_whose_charset_nobody_knows_is_its_header_section() {
    let alias = address("info@ours.example");
    let octets = report_with(&[failed(&alias, &[])], b"Subject: gr\xfc\xdfe\r\n\r\n", Some(b"body\r\n"));
    assert_eq!(parts(&octets).pop().unwrap().0, "text/rfc822-headers");
}

#[test]
fn a_message_id_that_is_none_is_not_referred_to() {
    let alias = address("info@ours.example");
    for id in
        ["1@sender.example", "<1@a> <2@b>", "<a>", "<a@b\r\n c>", "", &format!("<{}@b>", "a".repeat(300))]
    {
        let head = format!("Message-ID: {id}\r\n\r\n");
        let octets = report(&[failed(&alias, &[])], head.as_bytes());
        assert!(!String::from_utf8_lossy(&octets).contains("In-Reply-To"), "{id}");
    }
}

#[test]
fn the_original_is_cut_at_a_field_and_lines_too_long_are_left_out() {
    let alias = address("info@ours.example");
    let many: String = (0..2000).map(|n| format!("X-{n}: {}\r\n", "a".repeat(60))).collect();
    let head = format!("X-Long: {}\r\n{many}\r\n", "b".repeat(2000));
    let octets = report(&[failed(&alias, &[])], head.as_bytes());
    let text = String::from_utf8(octets).unwrap();
    assert!(text.len() < 70_000 && !text.contains("bbb"), "{} octets", text.len());
    let fields: Vec<&str> = text.lines().filter(|line| line.starts_with("X-")).collect();
    assert!(fields.len() > 500 && fields.iter().all(|line| line.ends_with(&"a".repeat(60))));
}

#[test]
fn a_boundary_that_the_original_knows_is_not_used() {
    let (alias, id) = (address("info@ours.example"), TraceId::new(time(3600), 2));
    let head = format!("X-Evil: =_{id}\r\n --=_{id}--\r\n\r\n");
    assert_eq!(parts(&report(&[failed(&alias, &[])], head.as_bytes())).len(), 3);
}

#[test]
fn octets_that_are_no_utf8_are_declared_as_unknown() {
    let alias = address("info@ours.example");
    let octets = report(&[failed(&alias, &[])], b"Subject: gr\xfc\xdfe\x1b[2J\x00\r\n\r\n");
    let (kind, content) = parts(&octets).pop().unwrap();
    assert_eq!(kind, "text/rfc822-headers");
    assert!(content.contains("[2J?") && !content.contains('\u{1b}'), "{content:?}");
}

proptest! {
    #[test]
    fn nothing_hostile_breaks_the_structure(
        said in proptest::collection::vec("(.|\r|\n|--=_|From: ){0,40}", 0..5),
        host in ".{0,20}",
        orcpt in "(rfc822|utf-8|.{0,5});?.{0,30}",
        head in "((X-[a-z]{1,5}:.{0,30}|--=_.{0,30}|.{0,9})\r\n){0,9}(\r\n)?",
        long in 0usize..3000,
    ) {
        let alias = address("info@ours.example");
        let said: Vec<String> = said.into_iter().map(|line| format!("{line}{}", "x".repeat(long))).collect();
        let recipient = ReportedRecipient {
            remote_mta: Some(&host),
            original_recipient: Some(&orcpt),
            ..failed(&alias, &said)
        };
        let octets = report(&[recipient, recipient], head.as_bytes());
        let found = parts(&octets);
        prop_assert_eq!(found.len(), 3);
        prop_assert!(octets.split(|b| *b == b'\n').all(|line| line.len() <= 999));
        let bare = |pair: &[u8]| (pair[0] == b'\r') != (pair[1] == b'\n');
        prop_assert!(!octets.windows(2).any(bare));
        prop_assert!(octets.iter().all(|b| matches!(b, b'\r' | b'\n' | b'\t') || !b.is_ascii_control()));
        // Two groups of recipients behind the message's own.
        let groups: Vec<&str> = found[1].1.trim_end().split("\r\n\r\n").collect();
        prop_assert_eq!(groups.len(), 3, "{}", found[1].1);
        for group in &groups[1..] {
            prop_assert_eq!(group.matches("\r\nAction: failed\r\nStatus: 5.1.1\r\n").count(), 1);
        }
    }
}
