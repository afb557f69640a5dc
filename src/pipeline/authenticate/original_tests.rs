use super::super::tests::{World, domain};
use super::*;
use crate::mail::base64;

const OURS: &str = "email.relay.example";

async fn read(world: &World, message: &str, limit: usize) -> Original {
    let message = Message::from_octets(message.to_owned().into());
    Original::read(&message, &domain(OURS), limit, &world.context.works).await.unwrap()
}

#[tokio::test]
async fn the_simple_form_is_hashed_for_whoever_signed_it() {
    let world = World::new().await;
    let hash = base64::decode("eDCyaw7m810RhFf0TmGWGkTYiT/1GwL4/PCOGIr3ew4=").unwrap();
    for (parameters, simple) in [("", true), ("c=relaxed/relaxed; ", false), ("l=1; ", false)] {
        let field = format!("{parameters}a=rsa-sha256; d=a.example; s=s; h=from; bh=QUJD; b=QUJD");
        let message = format!("DKIM-Signature: v=1; {field}\r\nFrom: a@a.example\r\n\r\ntext\r\n");
        let read = read(&world, &message, 9).await;
        assert_eq!(read.hashes.has(Form::Simple, &hash), simple, "{parameters}");
        assert!(read.hashes.has(Form::Relaxed, &hash));
    }
}

/// Of a small section and of a large one, which is read elsewhere.
#[tokio::test]
async fn a_section_says_the_same_wherever_it_is_read() {
    let world = World::new().await;
    for fill in ["".to_owned(), format!("X: {}\r\n", "x".repeat(900)).repeat(100)] {
        let message = world.signed(
            "sender.example",
            &format!(
                "From: bob@sender.example\r\nAuthentication-Results: {OURS}; none\r\n{fill}\r\ntext\r\n"
            ),
        );
        let Head { authors, candidates, signing, chain, forged, .. } = read(&world, &message, 9).await.head;
        assert_eq!(
            (authors, candidates.len(), signing),
            (vec![domain("sender.example")], 1, Signing::Signed)
        );
        assert!(matches!(chain, Evidence::Absent));
        let forged: Vec<_> = forged.into_iter().map(|range| message[range].to_owned()).collect();
        assert_eq!(forged, [format!("Authentication-Results: {OURS}; none\r\n")]);
    }
    let nobody = Message::from_octets(format!("X: {}\r\n\r\n", "x".repeat(SMALL_HEAD_OCTETS)).into());
    let read = Original::read(&nobody, &domain(OURS), 9, &world.context.works).await;
    assert_eq!(read.unwrap_err(), Refusal::BadFrom);
}
