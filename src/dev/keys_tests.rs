use super::*;

#[test]
fn a_key_makes_a_pem_file_a_record_and_signatures() {
    let key = DkimKey::generate().unwrap();
    assert!(key.pem().lines().all(|line| line.len() <= 64));
    assert!(key.record().starts_with("\"v=DKIM1; k=rsa; p="));
    assert!(key.record().split("\" \"").all(|string| string.len() <= 252));
    let signature = key.signature("a.example", "s", b"From: x@a.example\r\n\r\nhello\r\n").unwrap();
    assert!(signature.starts_with("DKIM-Signature:") && signature.ends_with("\r\n"), "{signature}");
}
