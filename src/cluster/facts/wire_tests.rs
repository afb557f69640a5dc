use super::*;

fn question(ip: &str) -> Question {
    Question { zone: ZoneId([7; 16]), ip: ip.parse().unwrap() }
}

fn finding(codes: &[[u8; 4]], seconds: u64) -> Finding {
    let codes: Vec<Ipv4Addr> = codes.iter().copied().map(Ipv4Addr::from).collect();
    Finding::new(&codes, Duration::from_secs(seconds)).unwrap()
}

fn verdict(ip: &str, finding: Finding) -> Fact {
    Fact::Verdict(question(ip), finding)
}

fn original() -> Address {
    Address::parse("somebody.with.a.rather.long.name@subsidiary.example").unwrap()
}

#[test]
fn what_is_said_arrives() {
    let listed = finding(&[[127, 0, 0, 2], [127, 0, 0, 4]], 60);
    let token = AliasToken::parse("abcdefghijklmn27").unwrap();
    let part = Part {
        facts: vec![
            verdict("192.0.2.1", listed.clone()),
            verdict("2001:db8::1", finding(&[], 9)),
            Fact::Original(token.clone(), Lasted::new(original(), Duration::from_secs(60)).unwrap()),
        ],
        questions: vec![(1, About::Verdict(question("192.0.2.2"))), (2, About::Original(token.clone()))],
        answers: vec![
            (2, Progress::UnderWay),
            (3, Progress::Answered(Answer::Unknown)),
            (4, Progress::Answered(Answer::NotLooked)),
            (5, Progress::Answered(Answer::Found(Found::Original(original())))),
            (6, Progress::Answered(Answer::Found(Found::Verdict(listed)))),
        ],
        process: 77,
    };
    let heard = decode(encode(&part)).unwrap();
    let said = |facts: &[Fact]| -> Vec<String> {
        let said = |fact: &Fact| match fact {
            Fact::Verdict(question, finding) => format!("{question:?} {:?}", finding.codes()),
            Fact::Original(token, lasted) => format!("{token:?} {}", lasted.original),
            Fact::Delivery(..) => panic!(),
        };
        facts.iter().map(said).collect()
    };
    assert_eq!(said(&heard.facts), said(&part.facts));
    let Fact::Verdict(_, second) = &heard.facts[1] else { panic!() };
    assert!(second.remaining().is_some_and(|left| left <= Duration::from_secs(9)));
    let asked: Vec<_> = part.questions.iter().map(|(number, about)| (*number, Some(about.clone()))).collect();
    assert_eq!(heard.questions, asked);
    assert_eq!((&heard.answers[..4], heard.process), (&part.answers[..4], 77));
    let (6, Progress::Answered(Answer::Found(Found::Verdict(answer)))) = &heard.answers[4] else { panic!() };
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
    let Fact::Verdict(_, finding) = &heard.facts[0] else { panic!() };
    assert!(finding.remaining().unwrap() <= Duration::from_secs(3600));
    assert!(decode(told(about(), 1, 0)).unwrap().facts.is_empty());
}

#[test]
fn what_is_out_of_bounds_is_no_message() {
    let about = |zone, address| v1::DnsblQuestion { zone: vec![1; zone], address: vec![1; address] };
    assert!(decode(told(about(16, 4), 16, 1000)).is_ok());
    for wrong in [told(about(15, 4), 1, 1000), told(about(16, 5), 1, 1000), told(about(16, 4), 17, 1000)] {
        assert!(decode(wrong).is_err());
    }
    for (token, original) in [("short", "ana@dest.example"), ("abcdefghijklmn27", "nobody")] {
        let (token, original) = (token.to_owned(), original.to_owned());
        let kind = Some(fact::Kind::ReturnAddress(v1::ReturnAddress { token, original }));
        let fact = v1::Fact { remaining_ms: 1000, kind };
        assert!(decode(v1::FactsPart { facts: vec![fact], ..Default::default() }).is_err());
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
        ..Default::default()
    };
    let heard = decode(part).unwrap();
    assert!(heard.facts.is_empty());
    assert_eq!(
        (heard.questions, heard.answers),
        (vec![(5, None)], vec![(6, Progress::Answered(Answer::NotLooked))])
    );
}
