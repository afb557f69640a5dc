use super::super::dkim::{Endurance, Outcome};
use super::super::tests::World;
use super::*;
use crate::dev::dns::Behaviour;
use crate::mail::Address;
use crate::pipeline::parcel::IprevVerdict;

fn signature(outcome: Outcome, signer: &str) -> Signature {
    Signature {
        outcome,
        domain: Some(Domain::parse(signer).unwrap()),
        selector: Some("s".into()),
        algorithm: Some("rsa-sha256"),
        b: Some("b".into()),
        signed: Vec::new(),
        endurance: Endurance::Lasting,
    }
}

fn early(spf_mail_from: SpfVerdict) -> EarlyVerdict {
    EarlyVerdict {
        spf_helo: SpfVerdict::None,
        spf_explanation: None,
        spf_mail_from,
        confirmed_names: Vec::new(),
        iprev: IprevVerdict::PermError,
        sender_null_mx: false,
    }
}

/// For a sender of this domain, by valid signatures of these.
async fn by(world: &World, domain: &str, signers: &[&str]) -> Vouched {
    let sender = ReversePath::Mailbox(Address::parse(&format!("a@{domain}")).unwrap());
    let signatures: Vec<_> = signers.iter().map(|signer| signature(Outcome::Pass, signer)).collect();
    vouched(&world.context.dns, &sender, &early(SpfVerdict::None), &signatures).await
}

#[tokio::test]
async fn spf_vouches_and_the_null_reverse_path_is_nobodys() {
    let world = World::new().await;
    let sender = ReversePath::Mailbox(Address::parse("a@sender.example").unwrap());
    let ask = async |sender: &ReversePath, spf| vouched(&world.context.dns, sender, &early(spf), &[]).await;
    assert_eq!(ask(&sender, SpfVerdict::Pass).await, Vouched::Yes);
    assert_eq!(ask(&sender, SpfVerdict::SoftFail).await, Vouched::No);
    assert_eq!(ask(&ReversePath::Null, SpfVerdict::Pass).await, Vouched::No);
}

#[tokio::test]
async fn a_signature_vouches_for_its_own_domain_and_what_is_below_it() {
    let world = World::new().await;
    for (domain, signers, expected) in [
        ("sender.example", &["sender.example"][..], Vouched::Yes),
        ("mail.sender.example", &["sender.example"], Vouched::Yes),
        ("a.b.sender.example", &["b.sender.example"], Vouched::Yes),
        ("mail.sender.example", &["other.example", "sender.example"], Vouched::Yes),
        ("sender.example", &["mail.sender.example"], Vouched::No),
        ("one.sender.example", &["two.sender.example"], Vouched::No),
        ("xsender.example", &["sender.example"], Vouched::No),
        ("sender.example", &["example"], Vouched::No),
    ] {
        assert_eq!(by(&world, domain, signers).await, expected, "{domain} by {signers:?}");
    }
    let sender = ReversePath::Mailbox(Address::parse("a@sender.example").unwrap());
    let failed = [signature(Outcome::Fail("x"), "sender.example")];
    assert_eq!(vouched(&world.context.dns, &sender, &early(SpfVerdict::None), &failed).await, Vouched::No);
}

/// RFC 9989 §4.10.2.
#[tokio::test]
async fn a_signature_vouches_for_nobody_in_another_organisation() {
    let world = World::new().await;
    // Without a record a name is an organisation of its own.
    assert_eq!(by(&world, "shop.plain.example", &["plain.example"]).await, Vouched::No);
    assert_eq!(by(&world, "plain.example", &["plain.example"]).await, Vouched::Yes);
    world.server.replace("_dmarc.relay.example. 300 IN TXT \"v=DMARC1; p=none; psd=y\"").unwrap();
    assert_eq!(by(&world, "victim.relay.example", &["relay.example"]).await, Vouched::No);
    assert_eq!(by(&world, "mail.victim.relay.example", &["victim.relay.example"]).await, Vouched::Yes);
    assert_eq!(by(&world, "relay.example", &["attacker.relay.example"]).await, Vouched::No);
}

#[tokio::test]
async fn an_organisation_that_is_not_known_vouches_for_nobody() {
    let world = World::new().await;
    world.server.behave("_dmarc.sender.example.", Behaviour::ServFail).unwrap();
    assert_eq!(by(&world, "mail.sender.example", &["sender.example"]).await, Vouched::No);
    assert_eq!(by(&world, "sender.example", &["sender.example"]).await, Vouched::Yes);
}
