use std::time::UNIX_EPOCH;

use super::*;
use crate::mail::{Address, RecipientRequest};
use crate::pipeline::parcel::TargetKind;

fn target() -> Target {
    Target {
        alias: Address::parse("info@example.com").unwrap(),
        destination: Address::parse("ana@dest.example").unwrap(),
        kind: TargetKind::Forward,
        request: RecipientRequest::default(),
    }
}

fn relayed(code: u16, enhanced: Option<Enhanced>, lines: &[&str]) -> Reply {
    let lines = lines.iter().map(ToString::to_string).collect();
    let upstream = UpstreamReply {
        host: "mx.dest.example".into(),
        reply: Reply { code, enhanced, reason: UPSTREAM_REASON, lines },
    };
    relay(&upstream, &target(), "https://relay.example/postmaster", TraceId::new(UNIX_EPOCH, 7))
}

fn heard(code: u16, enhanced: Option<Enhanced>, lines: &[&str]) -> String {
    let mut out = Vec::new();
    relayed(code, enhanced, lines).write_to(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn codes_and_lines_are_kept_and_the_source_is_named() {
    assert_eq!(
        heard(550, Some(Enhanced(5, 7, 1)), &["first", "second"]),
        "550-5.7.1 first\r\n550-5.7.1 second\r\n550 5.7.1 upstream mx.dest.example (trace 00000000000000000000000007)\r\n"
    );
}

#[test]
fn what_is_relayed_is_known_as_such() {
    for code in [421, 450, 452, 503, 530, 550, 552] {
        assert!(is_relayed(&relayed(code, None, &["x"])), "{code}");
    }
    assert!(!is_relayed(&reply::RULE_WAITING.reply()));
    assert!(!is_relayed(&reply::TOO_MANY_RECIPIENTS.reply()));
}

#[test]
fn an_enhanced_code_is_made_where_there_is_none() {
    assert!(heard(452, None, &["full"]).starts_with("452-4.0.0 full\r\n452 4.0.0 upstream"));
}

#[test]
fn complaints_about_our_connection_become_451() {
    for code in [421, 500, 501, 502, 503, 504, 530, 535] {
        assert!(heard(code, None, &["x"]).starts_with("451 4.3.0 "), "{code}");
    }
}

#[test]
fn rfc3463_3_2_a_complaint_about_an_address_is_relayed_whatever_its_code() {
    for code in 500..=504 {
        let text = heard(code, Some(Enhanced(5, 1, 1)), &["no such user"]);
        assert!(text.starts_with("550-5.1.1 no such user\r\n550 5.1.1 upstream "), "{text}");
        assert!(heard(code, Some(Enhanced(5, 5, 1)), &["x"]).starts_with("451 4.3.0 "), "{code}");
    }
    assert!(heard(530, Some(Enhanced(5, 1, 1)), &["x"]).starts_with("451 4.3.0 "));
}

#[test]
fn rfc5321_4_5_3_1_10_552_for_too_many_recipients_is_452() {
    assert!(heard(552, Some(Enhanced(5, 5, 3)), &["too many"]).starts_with("452-4.5.3 too many"));
    assert!(heard(552, Some(Enhanced(5, 3, 4)), &["too big"]).starts_with("552-5.3.4 too big"));
}

#[test]
fn the_private_destination_is_masked() {
    let text = heard(550, None, &["<ana@dest.example>: unknown", "an%61 is unknown"]);
    assert!(text.starts_with("550-5.0.0 <info@example.com>: unknown\r\n550-5.0.0 (left out"), "{text}");
}
