use super::*;
use crate::smtp::reply::{Reply, UPSTREAM_REASON};

fn offering(keywords: &[&str]) -> Capabilities {
    let lines = ["a"].iter().chain(keywords).map(|line| (*line).to_owned()).collect();
    Capabilities::parse(&Reply { code: 250, enhanced: None, reason: UPSTREAM_REASON, lines })
}

const FULL: MailParameters =
    MailParameters { octets: 7, body_type: BodyType::EightBitMime, smtp_utf8: SmtpUtf8::Requested };

#[test]
fn parameters_are_said_only_where_the_extension_is_offered() {
    let path = ReversePath::Mailbox(Address::parse("a@b.example").unwrap());
    assert_eq!(mail(&path, FULL, &Capabilities::default()), "MAIL FROM:<a@b.example>\r\n");
    assert_eq!(
        mail(&path, FULL, &offering(&["SIZE", "8BITMIME", "SMTPUTF8"])),
        "MAIL FROM:<a@b.example> SIZE=7 BODY=8BITMIME SMTPUTF8\r\n"
    );
}

#[test]
fn parameters_are_said_only_where_the_message_needs_them() {
    let plain = MailParameters { body_type: BodyType::SevenBit, smtp_utf8: SmtpUtf8::NotRequested, ..FULL };
    let offered = offering(&["SIZE", "8BITMIME", "SMTPUTF8"]);
    assert_eq!(mail(&ReversePath::Null, plain, &offered), "MAIL FROM:<> SIZE=7\r\n");
}

#[test]
fn rfc5321_4_1_2_quoted_local_parts_are_written_quoted() {
    assert_eq!(rcpt(&Address::parse("\"a b\"@c.example").unwrap()), "RCPT TO:<\"a b\"@c.example>\r\n");
}
