use super::super::dkim::Outcome;
use super::super::tests::{World, domain};
use super::*;

const OURS: &str = "email.relay.example";
const HEAD: &str = "DKIM-Signature: v=1\r\nReceived: x\r\nAuthentication-Results: mx.third.example; none\r\n\
                    From: bob@sender.example\r\nSubject: hello\r\n\r\n";

fn signature(name: &str, signed: &str) -> Signature {
    Signature {
        outcome: Outcome::Pass,
        domain: Some(domain(name)),
        selector: Some("s".into()),
        algorithm: Some("rsa-sha256"),
        b: Some("b".into()),
        signed: signed.split(':').map(str::to_owned).collect(),
        endurance: Endurance::Lasting,
    }
}

fn survey(head: &str) -> Survey {
    let forged = authentication_results::forged(head.as_bytes(), &domain(OURS));
    Survey::of(&Section::new(head.as_bytes()), &forged)
}

fn surviving(head: &str, signatures: &[Signature]) -> Vec<String> {
    let survivors = survivors(&survey(head), signatures);
    survivors.iter().map(|survivor| survivor.domain.to_string()).collect()
}

fn survive(names: &[&str]) -> Vec<Identifier> {
    let signatures: Vec<Signature> = names.iter().map(|name| signature(name, "from")).collect();
    survivors(&survey(HEAD), &signatures)
}

/// RFC 6376 §5.4.2: the fields of a name are taken from the bottom up, and one that is not there is signed as nothing.
#[test]
fn rfc6376_5_4_2_a_signature_breaks_when_a_field_is_added_that_it_names_oftener_than_it_is_there() {
    let two = HEAD.replace("Received: x\r\n", "Received: x\r\nReceived: y\r\nDKIM-Signature: v=1\r\n");
    for (signed, once, twice) in [
        ("from:subject", true, true),
        ("from:from:subject:subject", true, true),
        ("from:received", true, true),
        ("from:Received: RECEIVED", false, true),
        ("from:received:received:received", false, false),
        ("from:authentication-results", true, true),
        ("from:authentication-results:authentication-results", false, false),
        ("from:postroad-trace", false, false),
        // One of those that are there is the signature itself.
        ("from:dkim-signature", false, true),
        ("from:dkim-signature:dkim-signature", false, false),
        // No set is put on top of what survives.
        ("from:arc-seal:arc-message-signature:arc-authentication-results", true, true),
    ] {
        let signature = [signature("sender.example", signed)];
        assert_eq!(!surviving(HEAD, &signature).is_empty(), once, "{signed}");
        assert_eq!(!surviving(&two, &signature).is_empty(), twice, "{signed}");
    }
}

#[test]
fn a_signature_over_results_that_are_left_out_does_not_survive() {
    let forged = HEAD.replace("mx.third.example", OURS);
    let signatures =
        [signature("sender.example", "from:authentication-results"), signature("list.example", "from")];
    assert_eq!(surviving(HEAD, &signatures), ["sender.example", "list.example"]);
    assert_eq!(surviving(&forged, &signatures), ["list.example"]);
}

#[test]
fn a_signature_that_does_not_pass_here_is_no_survivor() {
    for outcome in [Outcome::Fail("x"), Outcome::Policy("x"), Outcome::PermError("x"), Outcome::TempError] {
        let signature = Signature { outcome, ..signature("sender.example", "from") };
        assert!(surviving(HEAD, &[signature]).is_empty());
    }
}

#[tokio::test]
async fn receivers_need_no_help_where_a_survivor_is_aligned_with_every_author() {
    let world = World::new().await;
    for (authors, signers, expected) in [
        (&["sender.example"][..], &["sender.example"][..], ReceiverHelp::NotNeeded),
        (&["sender.example"], &["third.example", "sender.example"], ReceiverHelp::NotNeeded),
        (&["sender.example"], &["third.example"], ReceiverHelp::Needed),
        (&["sender.example"], &[], ReceiverHelp::Needed),
        (&[], &["sender.example"], ReceiverHelp::Needed),
        // Relaxed, either way up the organisation's tree; strict, and then not (RFC 9989 §4.4).
        (&["news.sender.example"], &["sender.example"], ReceiverHelp::NotNeeded),
        (&["sender.example"], &["news.sender.example"], ReceiverHelp::NotNeeded),
        (&["news.bank.example"], &["bank.example"], ReceiverHelp::Needed),
        (&["bank.example"], &["news.bank.example"], ReceiverHelp::Needed),
        (&["bank.example"], &["bank.example"], ReceiverHelp::NotNeeded),
        // Without a policy only the author itself is sure to count.
        (&["plain.example"], &["plain.example"], ReceiverHelp::NotNeeded),
        (&["plain.example"], &["news.plain.example"], ReceiverHelp::Needed),
        (&["news.plain.example"], &["plain.example"], ReceiverHelp::Needed),
        // Several authors.
        (&["sender.example", "bank.example"], &["sender.example"], ReceiverHelp::Needed),
        (&["sender.example", "bank.example"], &["bank.example", "sender.example"], ReceiverHelp::NotNeeded),
        (&["sender.example", "news.sender.example"], &["sender.example"], ReceiverHelp::NotNeeded),
    ] {
        let names: Vec<Domain> = authors.iter().map(|name| domain(name)).collect();
        let found = help(&world.context.dns, &names, &survive(signers)).await;
        assert_eq!(found, expected, "{authors:?} {signers:?}");
    }
}

#[tokio::test]
async fn receivers_need_help_where_a_missing_answer_may_decide() {
    let world = World::new().await;
    world.server.behave("_dmarc.sender.example.", crate::dev::dns::Behaviour::ServFail).unwrap();
    let author = [domain("news.sender.example")];
    assert_eq!(help(&world.context.dns, &author, &survive(&["sender.example"])).await, ReceiverHelp::Needed);
}

#[test]
fn rfc8463_a_signature_that_many_receivers_cannot_verify_does_not_do() {
    let ed25519 = Signature { algorithm: Some("ed25519-sha256"), ..signature("sender.example", "from") };
    assert_eq!(surviving(HEAD, std::slice::from_ref(&ed25519)), Vec::<String>::new());
    assert_eq!(surviving(HEAD, &[ed25519, signature("sender.example", "from")]), ["sender.example"]);
}

#[test]
fn what_other_verifiers_may_judge_otherwise_does_not_do() {
    let doubtful = Signature { endurance: Endurance::Doubtful, ..signature("sender.example", "from") };
    assert_eq!(surviving(HEAD, &[doubtful]), Vec::<String>::new());
    let good = [signature("sender.example", "from")];
    let stack = |fields: usize| format!("{}{HEAD}", "DKIM-Signature: v=1\r\n".repeat(fields));
    assert_eq!(surviving(&stack(MAX_SIGNATURES - 1), &good), ["sender.example"]);
    assert_eq!(surviving(&stack(MAX_SIGNATURES), &good), Vec::<String>::new());
}
