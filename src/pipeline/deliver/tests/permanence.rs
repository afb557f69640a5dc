//! What can never be delivered, and what only cannot be now.

use super::*;
use crate::dev::dns::Behaviour;

const UNKNOWN: &str = "undeliverable: DestinationUnknown";
const UNROUTABLE: &str = "undeliverable: DestinationUnroutable";
const TAKES_NONE: &str = "undeliverable: DestinationTakesNoMail";
const REFUSES_ALL: &str = "> 521 5.3.2 mx does not accept mail";

/// A world that sends to the Internet only.
async fn public_world(records: &str) -> World {
    World::with(Options { private_addresses: PrivateAddresses::Refuse, ..options() }, records).await
}

async fn outcome_at(world: &World, to: &str) -> String {
    said(&world.deliver_one(Mail::to(&[to])).await)
}

#[tokio::test]
async fn rfc5321_5_1_a_destination_that_the_dns_leads_nowhere_is_refused_for_good() {
    let records = "empty TXT x\ndead MX 10 gone\ndead MX 20 empty\nroot MX 10 .\nroot MX 20 .\n\
                   inner MX 10 localhost.\ninner MX 20 inner4\ninner4 A 0.0.0.0\ninner4 A 10.0.0.1\n\
                   inner4 AAAA ::\nbare A 127.0.0.1\n";
    let world = public_world(records).await;
    for (to, expected) in [
        ("a@missing.dest.example", UNKNOWN),
        ("a@empty.dest.example", UNROUTABLE),
        ("a@dead.dest.example", UNROUTABLE),
        ("a@root.dest.example", UNROUTABLE),
        ("a@inner.dest.example", UNROUTABLE),
        ("a@bare.dest.example", UNROUTABLE),
        ("a@[127.0.0.1]", UNROUTABLE),
    ] {
        assert_eq!(outcome_at(&world, to).await, expected, "{to}");
    }
}

#[tokio::test]
async fn a_host_of_which_nobody_knows_keeps_it_open() {
    let records = "@ MX 10 gone\n@ MX 20 lame\nhalf MX 10 inner\ninner A 127.0.0.1\n";
    let world = public_world(records).await;
    for behaviour in [Behaviour::ServFail, Behaviour::Silent] {
        world.dns.behave("lame.dest.example.", behaviour).unwrap();
        world.dns.behave_for("inner.dest.example.", "AAAA", behaviour).unwrap();
        for to in [ANA, "a@half.dest.example"] {
            let outcome = outcome_at(&world, to).await;
            assert!(outcome.starts_with("no answer"), "{to}, {behaviour:?}: {outcome}");
        }
    }
}

#[tokio::test]
async fn a_host_that_was_not_asked_for_want_of_time_keeps_it_open() {
    let (world, upstream) = one_host(&["hello \n mail"]).await;
    world
        .dns
        .replace("dest.example. MX 10 gone.dest.example.\ndest.example. MX 20 mx1.dest.example.")
        .unwrap();
    let outcome =
        world.deliver_one(Mail { in_session: Duration::from_millis(400), ..Mail::to(&[ANA]) }).await;
    assert!(matches!(outcome, Outcome::NoAnswer(_)), "{}", said(&outcome));
    assert!(upstream.heard().clients.is_empty());
}

#[tokio::test]
async fn a_host_that_is_there_says_more_than_those_that_are_not() {
    let (world, _one, _two) = two_hosts(&["hello SIZE 5"], &[]).await;
    let hosts = "dest.example. MX 5 gone.dest.example.\ndest.example. MX 10 mx1.dest.example.";
    world.dns.replace(hosts).unwrap();
    assert_eq!(outcome_at(&world, ANA).await, "undeliverable: UpstreamSize(5)");
}

#[tokio::test]
async fn rfc7504_3_a_521_greeting_is_the_hosts_word_and_not_the_next_ones() {
    for (second, expected) in [
        ("hello \n mail", "delivered by mx2.dest.example: 250 2.0.0 queued"),
        (REFUSES_ALL, TAKES_NONE),
        ("> 554 5.7.1 go away", "no answer: mx2.dest.example [127.0.0.2]: 554 5.7.1 go away"),
    ] {
        let (world, _one, _two) = two_hosts(&[REFUSES_ALL], &[second]).await;
        assert_eq!(outcome_at(&world, ANA).await, expected);
    }
    let (world, _upstream) = one_host(&[REFUSES_ALL]).await;
    world
        .dns
        .replace("dest.example. MX 5 gone.dest.example.\ndest.example. MX 10 mx1.dest.example.")
        .unwrap();
    assert_eq!(outcome_at(&world, ANA).await, TAKES_NONE);
}

#[tokio::test]
async fn rfc7504_3_another_address_of_a_host_that_says_521_is_asked() {
    let [six, _four] = Upstream::pair(("::1", &[REFUSES_ALL]), ("127.0.0.1", &["hello \n mail"])).await;
    let world = World::new(six.address.port(), "@ MX 10 mx1\nmx1 A 127.0.0.1\nmx1 AAAA ::1").await;
    assert_eq!(outcome_at(&world, ANA).await, "delivered by mx1.dest.example: 250 2.0.0 queued");
}
