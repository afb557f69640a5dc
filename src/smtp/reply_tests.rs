use super::*;

#[test]
fn rfc3463_2_enhanced_class_agrees_with_the_basic_code() {
    for row in CATALOGUE {
        if let Some(enhanced) = row.enhanced {
            assert_eq!(u16::from(enhanced.0), row.code / 100, "{row:?}");
        }
    }
}

#[test]
fn rfc5321_4_5_3_1_5_lines_are_wrapped_at_512_octets() {
    let mut out = Vec::new();
    RULE_REJECT.with(&[&"word ".repeat(300)]).write_to(&mut out);
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<_> = text.split_inclusive("\r\n").collect();
    assert!(lines.len() > 2);
    assert!(lines.iter().all(|line| line.len() <= 512 && line.ends_with("\r\n")));
    let (last, others) = lines.split_last().unwrap();
    assert!(last.starts_with("550 5.7.1 "));
    assert!(others.iter().all(|line| line.starts_with("550-5.7.1 ")));
}

#[test]
fn a_policy_refusal_points_to_its_explanation_and_names_the_trace() {
    let trace = TraceId::new(std::time::UNIX_EPOCH, 1);
    let reply = DMARC_REJECT.refer(&["sender.example"], "https://relay.example/postmaster", trace);
    assert_eq!(
        reply.to_string(),
        "550 5.7.26 Email rejected per DMARC policy for sender.example. Refer to \
         https://relay.example/postmaster#dmarc (trace 00000000000000000000000001)"
    );
}

#[test]
fn arguments_cannot_smuggle_line_endings() {
    assert_eq!(RULE_REJECT.with(&["a\r\n250 ok\u{e9}"]).lines, ["a??250 ok?"]);
}

#[test]
fn first_words_are_bounded_in_lines_and_octets() {
    let lines = ["abcd", "éf", "gh"].map(str::to_owned);
    assert_eq!(first_words(&lines, 2, 100), ["abcd", "éf"]);
    assert_eq!(first_words(&lines, 3, 5), ["abcd", ""], "no character is cut in two");
    assert_eq!(first_words(&lines, 3, 6), ["abcd", "é"]);
    assert_eq!(first_words(&lines, 3, 2), ["ab"]);
    assert_eq!(first_words(&[], 3, 2), [""; 0]);
}
