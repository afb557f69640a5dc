//! Slow DNS, hosts that are down, and addresses that are met more than once: each costs its time once.

use super::super::upstream::address_error::{AddressError, CONNECTING, Peer};
use super::*;
use crate::dev::dns::Behaviour;
use crate::tls::Demand;

const FROM_ONE: &str = "delivered by mx1.dest.example: 250 2.0.0 queued";
const FROM_TWO: &str = "delivered by mx2.dest.example: 250 2.0.0 queued";

#[tokio::test]
async fn rfc8305_3_a_dns_that_drops_aaaa_costs_no_message_its_time() {
    let (world, upstream) = one_host(&["hello \n mail"]).await;
    world.dns.behave_for("mx1.dest.example.", "AAAA", Behaviour::Silent).unwrap();
    // Half of it is for look-ups and the envelope: the question's own limit is longer than that.
    assert_eq!(said(&world.deliver_one(Mail::to(&[ANA])).await), FROM_ONE);
    assert_eq!(upstream.heard().messages.len(), 1);
}

/// `mx1` and `mx2`, of these preferences.
fn two_of(one: u16, two: u16) -> String {
    format!("@ MX {one} mx1\n@ MX {two} mx2\nmx1 A 127.0.0.1\nmx2 A 127.0.0.2")
}

/// Of equals the order is random: four messages would not all spare the host by chance.
#[tokio::test]
async fn a_host_that_was_silent_is_tried_behind_its_equals() {
    let [one, two] = Upstream::pair(("127.0.0.1", &[]), ("127.0.0.2", &["hello \n mail\n close"; 4])).await;
    let world = World::new(one.address.port(), &two_of(10, 10)).await;
    let silent = Peer {
        host: "mx1.dest.example".to_owned(),
        address: one.address,
        source: None,
        demand: Demand::Opportunistic,
    };
    world.upstreams.silent_hosts.note(&silent, Some(&AddressError::TimedOut(CONNECTING)));
    for _ in 0..4 {
        assert_eq!(said(&world.deliver_one(Mail::to(&[ANA])).await), FROM_TWO);
    }
    assert!(one.heard().clients.is_empty());
    drop(two);
}

#[tokio::test]
async fn rfc5321_5_1_a_host_that_was_silent_comes_before_those_of_a_worse_preference() {
    let mut hasty = options();
    hasty.timing.banner = Duration::from_millis(300);
    let once = "hello \n mail\n close";
    let [one, two] = Upstream::pair(("127.0.0.1", &["hang", once]), ("127.0.0.2", &[once, once])).await;
    let world = World::with(Options { port: one.address.port(), ..hasty }, &two_of(10, 20)).await;
    assert_eq!(said(&world.deliver_one(Mail::to(&[ANA])).await), FROM_TWO);
    assert_eq!(said(&world.deliver_one(Mail::to(&[ANA])).await), FROM_ONE);
    assert_eq!(two.heard().clients.len(), 1);
}

#[tokio::test]
async fn hosts_that_were_all_silent_are_tried() {
    let mut hasty = options();
    hasty.timing.banner = Duration::from_millis(300);
    let [one, two] =
        Upstream::pair(("127.0.0.1", &["hang", "hello \n mail"]), ("127.0.0.2", &["hang"])).await;
    let records = "@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 127.0.0.1\nmx2 A 127.0.0.2";
    let world = World::with(Options { port: one.address.port(), ..hasty }, records).await;
    let outcome = world.deliver_one(Mail::to(&[ANA])).await;
    assert!(said(&outcome).contains("timed out waiting for the greeting"), "{}", said(&outcome));
    assert_eq!(said(&world.deliver_one(Mail::to(&[ANA])).await), FROM_ONE);
    assert_eq!(two.heard().clients.len(), 1);
}

#[tokio::test]
async fn who_was_cut_short_keeps_its_place() {
    let little = Duration::from_millis(800);
    let scripts: &[&str] = &["hang", "hello \n mail"];
    let [one, two] = Upstream::pair(("127.0.0.1", scripts), ("127.0.0.2", &["hello \n mail"])).await;
    let records = "@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 127.0.0.1\nmx2 A 127.0.0.2";
    let world = World::new(one.address.port(), records).await;
    world.deliver_one(Mail { in_session: little, ..Mail::to(&[ANA]) }).await;
    assert_eq!(said(&world.deliver_one(Mail::to(&[ANA])).await), FROM_ONE);
    drop(two);
}

#[tokio::test]
async fn an_address_under_two_names_is_tried_once() {
    for script in ["> 421 4.3.2 busy", "> 554 5.7.1 go away", "> 521 no mail", "close"] {
        let (world, upstream) = one_host(&[script, "hello \n mail"]).await;
        let records = "dest.example. MX 10 mx1.dest.example.\ndest.example. MX 20 mx2.dest.example.\n\
                       other.dest.example. MX 10 mx3.dest.example.\n\
                       mx2.dest.example. A 127.0.0.1\nmx3.dest.example. A 127.0.0.1";
        world.dns.replace(records).unwrap();
        let outcome = world.deliver_one(Mail::to(&[ANA])).await;
        assert!(!matches!(outcome, Outcome::Delivered(_)), "{script}: {}", said(&outcome));
        assert_eq!(upstream.heard().clients.len(), 1, "{script}");
        // The next message tries it again.
        assert_eq!(said(&world.deliver_one(Mail::to(&[ANA])).await), FROM_ONE, "{script}");
    }
}

#[tokio::test]
async fn an_address_whose_name_was_the_trouble_is_tried_under_another() {
    let scripts = ["hello SIZE 5", "hello SIZE 500\n mail"];
    let (world, _upstream) = one_host(&scripts).await;
    let records = "dest.example. MX 10 mx1.dest.example.\ndest.example. MX 20 mx2.dest.example.\n\
                   mx2.dest.example. A 127.0.0.1";
    world.dns.replace(records).unwrap();
    assert_eq!(said(&world.deliver_one(Mail::to(&[ANA])).await), FROM_TWO);
}

#[tokio::test]
async fn an_address_that_ended_one_connection_is_tried_under_another_name() {
    for busy in ["< MAIL\n > 421 4.3.2 later", "< MAIL\n > 250 ok\n < RCPT\n > 421 4.3.2 later"] {
        let (world, _upstream) = one_host(&[&format!("hello \n {busy}"), "hello \n mail"]).await;
        let records = "dest.example. MX 10 mx1.dest.example.\ndest.example. MX 20 mx2.dest.example.\n\
                       mx2.dest.example. A 127.0.0.1";
        world.dns.replace(records).unwrap();
        assert_eq!(said(&world.deliver_one(Mail::to(&[ANA])).await), FROM_TWO, "{busy}");
    }
}
