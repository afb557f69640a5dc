use super::*;
use crate::mail::base64;

#[tokio::test]
async fn the_simple_form_is_hashed_for_whoever_signed_it() {
    let memory = Arc::new(Semaphore::new(0));
    let hash = base64::decode("eDCyaw7m810RhFf0TmGWGkTYiT/1GwL4/PCOGIr3ew4=").unwrap();
    for (parameters, simple) in [("", true), ("c=relaxed/relaxed; ", false), ("l=1; ", false)] {
        let field = format!("{parameters}a=rsa-sha256; d=a.example; s=s; h=from; bh=QUJD; b=QUJD");
        let message = Message::from_octets(format!("DKIM-Signature: v=1; {field}\r\n\r\ntext\r\n").into());
        let read = Original::read(&message, &[], 9, &memory).await.unwrap();
        assert_eq!(read.hashes.has(Form::Simple, &hash), simple, "{parameters}");
        assert!(read.hashes.has(Form::Relaxed, &hash));
    }
}
