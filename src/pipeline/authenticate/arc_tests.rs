use std::slice::from_ref;

use bytes::Bytes;
use mail_auth::arc::ArcSealer;
use mail_auth::common::headers::HeaderWriter as _;
use mail_auth::{AuthenticatedMessage, AuthenticationResults, MessageAuthenticator, Parameters};

use super::super::tests::{World, domain};
use super::*;
use crate::mail::Message;

const MESSAGE: &str = "From: ceo@bank.example\r\nSubject: hello\r\n\r\ntext\r\n";

/// The message with one more set on top.
async fn sealed(world: &World, by: &str, results: &str, message: &str) -> String {
    let parsed = AuthenticatedMessage::parse(message.as_bytes()).unwrap();
    let authenticator = MessageAuthenticator(world.context.dns.resolver().clone());
    let chain = authenticator.verify_arc(Parameters::new(&parsed)).await;
    let results = format!("{by}; {results}");
    let results = AuthenticationResults::new(&results);
    let sealer = ArcSealer::from_key(World::key()).domain(by).selector("s").headers(["From", "Subject"]);
    let set = sealer.seal(&parsed, &results, &chain).unwrap();
    format!("{}{message}", set.to_header())
}

async fn chain_of(world: &World, message: &str) -> Chain {
    let message = Message::from_octets(Bytes::copy_from_slice(message.as_bytes()));
    let ours = domain("email.relay.example");
    let original = Original::read(&message, &ours, 9, &world.context.works).await.unwrap();
    verify(&world.prover(), &original).await
}

const PASS: &str = "dmarc=pass header.from=bank.example";

#[tokio::test]
async fn rfc8617_5_2_a_valid_chain_tells_who_sealed_it_and_what_the_first_said() {
    let world = World::new().await;
    let none = chain_of(&world, MESSAGE).await;
    assert_eq!((none.state, none.result), (ArcState::None, ChainResult::None));
    let one = sealed(&world, "list.example", PASS, MESSAGE).await;
    let chain = chain_of(&world, &one).await;
    assert_eq!((chain.state, chain.result), (ArcState::Pass(1), ChainResult::Pass));
    let (author, list, plain) = (domain("bank.example"), domain("list.example"), domain("plain.example"));
    assert!(chain.vouches_for(&author, from_ref(&list)));
    assert!(!chain.vouches_for(&author, from_ref(&plain)));
    assert!(!chain.vouches_for(&domain("shop.example"), from_ref(&list)));
    // A trusted sealer's word for a stranger's chain does not make the stranger's first word true.
    let two =
        sealed(&world, "list.example", PASS, &sealed(&world, "plain.example", PASS, MESSAGE).await).await;
    let chain = chain_of(&world, &two).await;
    assert_eq!(chain.state, ArcState::Pass(2));
    assert!(!chain.vouches_for(&author, from_ref(&list)) && chain.vouches_for(&author, &[list, plain]));
    // Blank lines at the end, which the relaxed form leaves out.
    assert_eq!(chain_of(&world, &format!("{one} \r\n\t\r\n")).await.state, ArcState::Pass(1));
}

#[tokio::test]
async fn rfc8617_5_1_broken_chains_say_whether_they_may_be_sealed_again() {
    let world = World::new().await;
    let good = sealed(&world, "list.example", PASS, MESSAGE).await;
    for (from, to, state) in [
        ("text", "changed", ArcState::Fail(1)),
        ("Subject: hello", "Subject: hullo", ArcState::Fail(1)),
        ("cv=none", "cv=fail", ArcState::Ended),
        ("dmarc=pass", "dmarc=fail", ArcState::Fail(1)),
        ("ARC-Seal: ", "X-Seal: ", ArcState::Fail(1)),
        ("ARC-Seal: i=1", "ARC-Seal: i=51", ArcState::Ended),
        ("ARC-Message-Signature: i=1; ", "ARC-Message-Signature: i=1; l=4; ", ArcState::Fail(1)),
        ("ARC-Message-Signature: i=1; ", "ARC-Message-Signature: i=1; l=4; l=4; ", ArcState::Ended),
        ("ARC-Seal: i=1; ", "ARC-Seal: i=1; h=from; ", ArcState::Ended),
        ("d=list.example", "d=unknown.example", ArcState::Fail(1)),
    ] {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good, "{from}");
        let chain = chain_of(&world, &changed).await;
        assert_eq!((chain.state, chain.result), (state, ChainResult::Fail), "{to}");
        assert!(!chain.vouches_for(&domain("bank.example"), &[domain("list.example")]));
    }
    let fresh = World::new().await;
    fresh.server.behave("s._domainkey.list.example.", crate::dev::dns::Behaviour::ServFail).unwrap();
    let unknown = chain_of(&fresh, &good).await;
    assert_eq!((unknown.state, unknown.result), (ArcState::Ended, ChainResult::TempError));
}
