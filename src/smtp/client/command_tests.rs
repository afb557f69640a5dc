use super::*;
use crate::smtp::reply::{Reply, UPSTREAM_REASON};

fn offering(keywords: &[&str]) -> Capabilities {
    let lines = ["a"].iter().chain(keywords).map(|line| (*line).to_owned()).collect();
    Capabilities::parse(&Reply { code: 250, enhanced: None, reason: UPSTREAM_REASON, lines })
}

static NOTHING: MessageRequest =
    MessageRequest { ret: None, envelope_id: None, require_tls: crate::mail::RequireTls::No };

const FULL: MailParameters<'_> = MailParameters {
    octets: Some(7),
    body_type: BodyType::EightBitMime,
    smtp_utf8: SmtpUtf8::Requested,
    request: &NOTHING,
};

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
    let path = Address::parse("\"a b\"@c.example").unwrap();
    let line = rcpt(&path, &RecipientRequest::default(), &Capabilities::default());
    assert_eq!(line, "RCPT TO:<\"a b\"@c.example>\r\n");
}

#[test]
fn rfc3461_5_2_parameters_are_said_where_dsn_is_offered_and_nowhere_else() {
    let path = ReversePath::Mailbox(Address::parse("a@b.example").unwrap());
    let request = MessageRequest {
        ret: Some(Return::Headers),
        envelope_id: Some("QQ+2B1".into()),
        ..MessageRequest::default()
    };
    let parameters = MailParameters {
        body_type: BodyType::SevenBit,
        smtp_utf8: SmtpUtf8::NotRequested,
        request: &request,
        ..FULL
    };
    let to = Address::parse("c@d.example").unwrap();
    let asked = RecipientRequest {
        notify: Notify::On { success: false, failure: true, delay: true },
        original_recipient: Some("rfc822;info@d.example".into()),
    };
    let offered = offering(&["DSN"]);
    assert_eq!(mail(&path, parameters, &offered), "MAIL FROM:<a@b.example> RET=HDRS ENVID=QQ+2B1\r\n");
    assert_eq!(
        rcpt(&to, &asked, &offered),
        "RCPT TO:<c@d.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;info@d.example\r\n"
    );
    assert_eq!(mail(&path, parameters, &offering(&[])), "MAIL FROM:<a@b.example>\r\n");
    assert_eq!(rcpt(&to, &asked, &offering(&[])), "RCPT TO:<c@d.example>\r\n");
}

#[test]
fn rfc6533_3_orcpt_outside_ascii_is_said_in_ascii_or_not_at_all() {
    let to = Address::parse("c@d.example").unwrap();
    let asked = |local: &str| RecipientRequest {
        notify: Notify::Never,
        original_recipient: Some(format!("utf-8;{local}@d.example")),
    };
    assert_eq!(
        rcpt(&to, &asked("jürgen"), &offering(&["DSN"])),
        "RCPT TO:<c@d.example> NOTIFY=NEVER ORCPT=utf-8;j\\x{FC}rgen@d.example\r\n"
    );
    let long = rcpt(&to, &asked(&"ü".repeat(100)), &offering(&["DSN"]));
    assert_eq!(long, "RCPT TO:<c@d.example> NOTIFY=NEVER\r\n");
}
