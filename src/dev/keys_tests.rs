use super::*;

#[test]
fn a_message_is_signed_as_a_sender_would() {
    let key = NewKey::generate().unwrap();
    let signature = signature(&key, "a.example", "s", b"From: x@a.example\r\n\r\nhello\r\n").unwrap();
    assert!(signature.starts_with("DKIM-Signature:") && signature.ends_with("\r\n"), "{signature}");
}
