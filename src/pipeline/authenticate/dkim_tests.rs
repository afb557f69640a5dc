use super::super::tests::World;
use super::*;

async fn verified(world: &World, message: &str, limit: usize) -> Vec<Signature> {
    let (head, body) = message.split_at(crate::mail::header::section_end(message.as_bytes()).unwrap());
    let body = Bytes::copy_from_slice(body.as_bytes());
    let parsed = parse(head.as_bytes(), &body).await.unwrap();
    verify(&world.context.authenticator, &parsed, limit).await
}

async fn outcomes(world: &World, message: &str) -> Vec<Outcome> {
    verified(world, message, 10).await.into_iter().map(|signature| signature.outcome).collect()
}

const HEAD: &str = "From: bob@sender.example\r\nSubject: hello\r\n\r\n";

#[test]
fn rfc6376_3_4_4_relaxed_body_hashes_are_right_for_blank_tails() {
    let wanted = [
        (Canonicalization::Relaxed, HashAlgorithm::Sha256),
        (Canonicalization::Simple, HashAlgorithm::Sha256),
    ];
    let hashes = |body: &str| {
        body_hashes(&wanted, body.as_bytes()).iter().map(|h| base64::encode(h)).collect::<Vec<_>>()
    };
    let good = "eDCyaw7m810RhFf0TmGWGkTYiT/1GwL4/PCOGIr3ew4=";
    assert_eq!(hashes("text\r\n"), [good, good]);
    let blank_tail = hashes("text\r\n  \r\n\t\r\n");
    assert_eq!(blank_tail[0], good);
    // RFC 6376 §3.4.3: the simple form keeps white space.
    assert_ne!(blank_tail[1], good);
}

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
        (found[0].selector.as_str(), found[0].algorithm, found[0].b.len()),
        ("s", "rsa-sha256", B_CHARS)
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
        ("v=1", "v=2", vec![]),
        ("v=1; ", "", vec![Outcome::PermError("incompatible version")]),
        ("d=sender.example", "d=a/b.example", vec![Outcome::PermError("invalid domain")]),
        ("v=1; ", "v=1; l=4; ", vec![]),
        ("Subject: hello", "Subject: hullo", vec![Outcome::Fail("signature did not verify")]),
        ("v=1; ", "v=1; x=1000; ", vec![Outcome::Fail("signature expired")]),
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
