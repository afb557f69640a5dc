use std::slice;

use bytes::Bytes;
use mail_auth::common::headers::HeaderWriter as _;
use mail_auth::dkim::{Canonicalization, DkimSigner};

use super::super::tests::{World, domain};
use super::*;
use crate::mail::{Message, base64};

async fn verified(world: &World, message: &str, limit: usize) -> Vec<Signature> {
    let message = Message::from_octets(Bytes::copy_from_slice(message.as_bytes()));
    let ours = domain("email.relay.example");
    let original = Original::read(&message, &ours, limit, &world.context.works).await.unwrap();
    verify(&world.prover(), &original).await
}

async fn outcomes(world: &World, message: &str) -> Vec<Outcome> {
    verified(world, message, 10).await.into_iter().map(|signature| signature.outcome).collect()
}

const HEAD: &str = "From: bob@sender.example\r\nSubject: hello\r\n\r\n";

#[tokio::test]
async fn signatures_over_bodies_with_blank_tails_verify() {
    let world = World::new().await;
    // What any right signer makes of this body: the signature of "text".
    let relaxed = world.signed("sender.example", &format!("{HEAD}text\r\n"));
    assert_eq!(outcomes(&world, &format!("{relaxed}  \r\n\t\r\n")).await, [Outcome::Pass]);
    assert_eq!(
        outcomes(&world, &format!("{relaxed}more\r\n")).await,
        [Outcome::Fail("body hash did not verify")]
    );
    let simple =
        world.signed_as("sender.example", &format!("{HEAD}text\r\n  \r\n"), Canonicalization::Simple);
    assert_eq!(outcomes(&world, &simple).await, [Outcome::Pass]);
    let large = world.signed("sender.example", &format!("{HEAD}{}", "0123456789abcdef \r\n".repeat(8192)));
    assert_eq!(outcomes(&world, &format!("{large} \r\n")).await, [Outcome::Pass]);
}

#[tokio::test]
async fn each_signature_is_judged_alone_and_only_so_many_are() {
    let world = World::new().await;
    let message = world.signed("list.example", &world.signed("sender.example", &format!("{HEAD}text\r\n")));
    let found = verified(&world, &message, 10).await;
    let domains: Vec<_> = found.iter().map(|s| s.passes().unwrap().as_str()).collect();
    assert_eq!(domains, ["list.example", "sender.example"]);
    assert_eq!(
        (found[0].selector.as_deref(), found[0].algorithm, found[0].b.as_ref().map(String::len)),
        (Some("s"), Some("rsa-sha256"), Some(B_CHARS))
    );
    assert_eq!(verified(&world, &message, 1).await.len(), 1);
    let unknown = world.signed("unknown.example", &message);
    assert_eq!(
        outcomes(&world, &unknown).await,
        [Outcome::PermError("no key"), Outcome::Pass, Outcome::Pass]
    );
}

#[tokio::test]
async fn what_no_signature_may_be_never_passes() {
    let world = World::new().await;
    let good = world.signed("sender.example", &format!("{HEAD}text\r\n"));
    assert_eq!(outcomes(&world, &good).await, [Outcome::Pass]);
    // RFC 8301 §3.1; RFC 6376 §6.1.1 (From not signed, version); RFC 6376 §8.2 (l=).
    for (from, to, expected) in [
        ("a=rsa-sha256", "a=rsa-sha1", vec![Outcome::Policy("rsa-sha1 is historic")]),
        ("h=Subject:From", "h=Subject", vec![Outcome::PermError("From not signed")]),
        ("v=1", "v=2", vec![Outcome::Neutral("incompatible version")]),
        ("v=1; ", "", vec![Outcome::Neutral("a required tag is missing")]),
        ("v=1; ", "v=1; d=sender.example; ", vec![Outcome::Neutral("duplicate tag")]),
        ("v=1; ", "v=1;; ", vec![Outcome::Neutral("not a tag list")]),
        ("v=1; ", "v=1; q=http; ", vec![Outcome::Neutral("unknown query method")]),
        ("v=1; ", "v=1; i=@other.example; ", vec![Outcome::PermError("i= is not in d=")]),
        ("d=sender.example", "d=a/b.example", vec![Outcome::Neutral("invalid domain")]),
        ("v=1; ", "v=1; l=4; ", vec![Outcome::Policy("l= leaves the body open")]),
        ("v=1; ", "v=1; l=0; ", vec![Outcome::Policy("l= leaves the body open")]),
        ("v=1; ", "v=1; x=18446744073709551617; ", vec![Outcome::Fail("signature did not verify")]),
        ("Subject: hello", "Subject: hullo", vec![Outcome::Fail("signature did not verify")]),
        ("v=1; ", "v=1; x=1000; ", vec![Outcome::Neutral("x= is not after t=")]),
        ("t=", "x=1000; T=", vec![Outcome::Fail("signature expired")]),
    ] {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good, "{from}");
        assert_eq!(outcomes(&world, &changed).await, expected, "{to}");
    }
}

#[tokio::test]
async fn rfc5322_4_5_white_space_before_the_colon_hides_no_field() {
    let world = World::new().await;
    let good = world.signed("sender.example", &format!("{HEAD}text\r\n"));
    assert_eq!(outcomes(&world, &good.replace("From:", "FROM :")).await, [Outcome::Pass]);
    let shadowed = good.replace("Subject: hello", "Subject: hello\r\nSubject : evil");
    assert_ne!(outcomes(&world, &shadowed).await, [Outcome::Pass]);
}

/// The message with a signature in simple form on top, its Subject oversigned.
fn simply_signed(message: &str) -> String {
    let signer = DkimSigner::from_key(World::key()).domain("sender.example").selector("s");
    let signer =
        signer.headers(["From", "Subject", "Subject"]).header_canonicalization(Canonicalization::Simple);
    format!("{}{message}", signer.sign(message.as_bytes()).unwrap().to_header())
}

#[tokio::test]
async fn rfc5322_4_5_nor_does_it_in_the_simple_form() {
    let world = World::new().await;
    let good = simply_signed(&format!("{HEAD}text\r\n"));
    assert_eq!(outcomes(&world, &good).await, [Outcome::Pass]);
    for shadow in ["Subject: evil", "Subject : evil", "SUBJECT\t: evil"] {
        let shadowed = format!("{shadow}\r\n{good}");
        assert_eq!(
            outcomes(&world, &shadowed).await,
            [Outcome::Fail("signature did not verify")],
            "{shadow}"
        );
    }
}

#[tokio::test]
async fn a_stack_of_others_does_not_hide_the_authors_signature() {
    let world = World::new().await;
    let own = world.signed("sender.example", &format!("{HEAD}text\r\n"));
    let foreign = world.signed("list.example", &own);
    let unreadable = "DKIM-Signature: v=1; d=sender.example; d=sender.example\r\n";
    let limited = |message: String, limit| {
        let world = &world;
        async move {
            let found = verified(world, &message, limit).await;
            found.iter().map(|signature| signature.passes().map(ToString::to_string)).collect::<Vec<_>>()
        }
    };
    let (list, sender) = (Some("list.example".to_owned()), Some("sender.example".to_owned()));
    assert_eq!(limited(foreign.clone(), 1).await, slice::from_ref(&sender));
    let stack = format!("{}{foreign}", unreadable.repeat(9));
    assert_eq!(limited(stack.clone(), 1).await, slice::from_ref(&sender));
    // Shown in the order of the message.
    assert_eq!(limited(stack.clone(), 2).await, [list.clone(), sender.clone()]);
    assert_eq!(limited(stack, 3).await, [None, list, sender]);
}

#[tokio::test]
async fn a_signature_that_cannot_be_read_is_told_of_with_what_can_be() {
    let world = World::new().await;
    let fields =
        "DKIM-Signature: d=a.example; d=a.example\r\nDKIM-Signature: v=1; d=a.example; a=rsa-md5; b=QUJD\r\n";
    let found = verified(&world, &format!("{fields}{HEAD}text\r\n"), 9).await;
    let [one, two] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((one.outcome, &one.domain, &one.b), (Outcome::Neutral("duplicate tag"), &None, &None));
    assert_eq!(two.outcome, Outcome::Neutral("unknown algorithm"));
    assert_eq!(
        (two.domain.as_ref(), two.algorithm, two.b.as_deref()),
        (Some(&domain("a.example")), None, Some("QUJD"))
    );
}

#[tokio::test]
async fn rfc8616_5_domains_are_asked_for_in_a_labels() {
    let world = World::new().await;
    let signer = DkimSigner::from_key(World::key()).domain("b\u{fc}cher.example").selector("s");
    let signer = signer.headers(["From"]).agent_user_identifier("@xn--bcher-kva.example");
    let message = format!("{HEAD}text\r\n");
    let field = signer.sign(message.as_bytes()).unwrap().to_header();
    let found = verified(&world, &format!("{field}{message}"), 9).await;
    assert_eq!(found[0].passes(), Some(&domain("xn--bcher-kva.example")), "{found:?}");
}

#[test]
fn of_more_signatures_than_are_looked_at_the_authors_own_comes_first() {
    let field = |domain: &str| {
        format!("DKIM-Signature: v=1; a=rsa-sha256; d={domain}; s=s; h=from; bh=QUJD; b=QUJD\r\n")
    };
    let authors = [domain("a.sender.example")];
    let chosen = |stack: &[&str]| {
        let fields: String = stack.iter().map(|domain| field(domain)).collect();
        let head = format!("{fields}From: bob@a.sender.example\r\n\r\n");
        let found = candidates(&Section::new(head.as_bytes()), &authors, 1);
        found[0].labels.domain.as_ref().map(Domain::to_string).unwrap_or_default()
    };
    assert_eq!(chosen(&["x.a.sender.example", "x.a.sender.example", "a.sender.example"]), "a.sender.example");
    assert_eq!(chosen(&["other.example", "b.sender.example", "sender.example"]), "sender.example");
    assert_eq!(
        chosen(&["other.example", "b.sender.example"]),
        "b.sender.example",
        "they may be of one organisation"
    );
    assert_eq!(chosen(&["nowhere", "other.example"]), "other.example");
}

/// What somebody who has the message later makes of it.
#[tokio::test]
async fn a_signature_lasts_when_every_verifier_takes_it_for_five_days() {
    let world = World::new().await;
    let now = clock::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let day = 24 * 60 * 60;
    for (times, expected) in [
        (String::new(), Endurance::Lasting),
        (format!("t={now}; x={}; ", now + 6 * day), Endurance::Lasting),
        (format!("x={}; ", now + 4 * day), Endurance::Doubtful),
        (format!("t={}; ", now + day), Endurance::Doubtful),
        ("t=17959000000000; ".into(), Endurance::Doubtful),
    ] {
        let field = format!(
            "DKIM-Signature: v=1; a=rsa-sha256; d=sender.example; s=s; h=from; {times}bh=QUJD; b=QUJD\r\n"
        );
        assert_eq!(verified(&world, &format!("{field}{HEAD}"), 10).await[0].endurance, expected, "{times}");
    }
    let long = base64::encode(&[1; 1024]);
    let field =
        format!("DKIM-Signature: v=1; a=rsa-sha256; d=sender.example; s=s; h=from; bh=QUJD; b={long}\r\n");
    assert_eq!(verified(&world, &format!("{field}{HEAD}"), 10).await[0].endurance, Endurance::Doubtful);
}
