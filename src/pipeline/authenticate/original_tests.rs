use super::*;
use crate::mail::base64;

fn hashes(body: &str) -> (String, String) {
    let hashes = Hashes::of(body.as_bytes(), &[Form::Relaxed, Form::Simple]);
    let text = |hash: Option<Vec<u8>>| base64::encode(&hash.unwrap());
    (text(hashes.simple), text(hashes.relaxed))
}

#[test]
fn rfc6376_3_4_4_relaxed_body_hashes_are_right_for_blank_tails() {
    let good = "eDCyaw7m810RhFf0TmGWGkTYiT/1GwL4/PCOGIr3ew4=".to_owned();
    assert_eq!(hashes("text\r\n"), (good.clone(), good.clone()));
    let (simple, relaxed) = hashes("text\r\n  \r\n\t\r\n");
    assert_eq!(relaxed, good);
    // RFC 6376 §3.4.3: the simple form keeps white space.
    assert_ne!(simple, good);
}

#[tokio::test]
async fn only_hashes_that_are_wanted_are_taken() {
    let body = Bytes::from_static(b"text\r\n");
    let head = "DKIM-Signature: v=1; a=rsa-sha256; d=a.example; s=s; h=from; bh=QUJD; b=QUJD; l=1\r\n\r\n";
    let read = Original::read(head.as_bytes(), &body, &[], 9).await;
    assert_eq!((read.hashes.simple, read.hashes.relaxed), (None, None));
    let simple = head.replace("; l=1", "");
    let read = Original::read(simple.as_bytes(), &body, &[], 9).await;
    let hash = base64::decode("eDCyaw7m810RhFf0TmGWGkTYiT/1GwL4/PCOGIr3ew4=").unwrap();
    assert!(read.has_body_hash(Form::Simple, &hash) && !read.has_body_hash(Form::Relaxed, &hash));
    assert!(read.hashes.relaxed.is_none());
}
