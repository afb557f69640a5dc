use super::*;

fn question(ip: &str) -> Question {
    Question { zone: ZoneId([7; 16]), ip: ip.parse().unwrap() }
}

fn finding(codes: &[[u8; 4]], seconds: u64) -> Finding {
    let codes: Vec<Ipv4Addr> = codes.iter().copied().map(Ipv4Addr::from).collect();
    Finding::new(&codes, Duration::from_secs(seconds)).unwrap()
}

#[test]
fn what_is_said_arrives() {
    let listed = finding(&[[127, 0, 0, 2], [127, 0, 0, 4]], 60);
    let part = Part {
        facts: vec![(question("192.0.2.1"), listed.clone()), (question("2001:db8::1"), finding(&[], 9))],
        questions: vec![(1, question("192.0.2.2"))],
        answers: vec![
            (2, Progress::UnderWay),
            (3, Progress::Answered(None)),
            (4, Progress::Answered(Some(listed))),
        ],
    };
    let heard = decode(encode(&part)).unwrap();
    let said = |facts: &[(Question, Finding)]| -> Vec<(Question, Vec<Ipv4Addr>)> {
        facts.iter().map(|(question, finding)| (*question, finding.codes().to_vec())).collect()
    };
    assert_eq!(said(&heard.facts), said(&part.facts));
    assert!(heard.facts[1].1.remaining().is_some_and(|left| left <= Duration::from_secs(9)));
    assert_eq!(heard.questions, [(1, Some(question("192.0.2.2")))]);
    assert_eq!(heard.answers[..2], part.answers[..2]);
    let (4, Progress::Answered(Some(answer))) = &heard.answers[2] else { panic!() };
    assert_eq!(answer.codes().len(), 2);
}

fn told(question: v1::DnsblQuestion, codes: usize, remaining_ms: u64) -> v1::FactsPart {
    let kind = v1::DnsblFinding { question: Some(question), codes: vec![0x7f00_0002; codes] };
    let fact = v1::Fact { remaining_ms, kind: Some(fact::Kind::Dnsbl(kind)) };
    v1::FactsPart { facts: vec![fact], ..Default::default() }
}

#[test]
fn a_time_to_live_is_capped_and_one_that_is_over_is_nothing() {
    let about = || encode_question(question("192.0.2.1"));
    let heard = decode(told(about(), 1, u64::MAX)).unwrap();
    assert!(heard.facts[0].1.remaining().unwrap() <= Duration::from_secs(3600));
    assert!(decode(told(about(), 1, 0)).unwrap().facts.is_empty());
}

#[test]
fn what_is_out_of_bounds_is_no_message() {
    let about = |zone, address| v1::DnsblQuestion { zone: vec![1; zone], address: vec![1; address] };
    assert!(decode(told(about(16, 4), 16, 1000)).is_ok());
    for wrong in [told(about(15, 4), 1, 1000), told(about(16, 5), 1, 1000), told(about(16, 4), 17, 1000)] {
        assert!(decode(wrong).is_err());
    }
    let many = v1::FactsPart { facts: vec![v1::Fact::default(); MAX_FACTS + 1], ..Default::default() };
    assert_eq!(decode(many), Err(Malformed("a list")));
    let again = v1::FactsPart { header: Some(v1::Header::default()), ..Default::default() };
    assert!(decode(again).is_err());
}

#[test]
fn what_a_later_version_says_is_left_out_and_its_questions_are_answered() {
    let part = v1::FactsPart {
        facts: vec![v1::Fact { remaining_ms: 1000, kind: None }],
        questions: vec![v1::FactQuestion { number: 5, about: None }],
        answers: vec![v1::FactAnswer { number: 6, answer: None }],
        header: None,
    };
    let heard = decode(part).unwrap();
    assert!(heard.facts.is_empty());
    assert_eq!((heard.questions, heard.answers), (vec![(5, None)], vec![(6, Progress::Answered(None))]));
}
