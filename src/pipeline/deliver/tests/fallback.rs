use std::net::TcpListener;

use super::*;
use crate::pipeline::parcel::Silence;
use crate::telemetry::labels::{AttemptResult, IpFamily};

/// A port that nothing listens on at any loopback address.
pub(super) fn unused_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn rfc7505_a_null_mx_is_never_delivered_to() {
    let world = World::new(unused_port(), "@ MX 0 .\n@ A 127.0.0.1").await;
    let outcome = world.deliver_one(Mail::to(&[ANA])).await;
    assert!(matches!(outcome, Outcome::Undeliverable(Refusal::RecipientNullMx)), "{}", said(&outcome));
}

#[tokio::test]
async fn dns_that_does_not_answer_is_no_answer() {
    let world = World::new(unused_port(), "@ MX 10 mx1").await;
    world.dns.behave("dest.example.", crate::dev::dns::Behaviour::ServFail).unwrap();
    let outcome = world.deliver_one(Mail::to(&[ANA])).await;
    assert!(matches!(outcome, Outcome::NoAnswer(_)), "{}", said(&outcome));
    world.dns.behave("quiet.dest.example.", crate::dev::dns::Behaviour::Silent).unwrap();
    let started = Instant::now();
    let outcome = world.deliver_one(Mail::to(&["a@quiet.dest.example"])).await;
    assert!(matches!(outcome, Outcome::NoAnswer(_)), "{}", said(&outcome));
    assert!(started.elapsed() < IN_SESSION, "{:?}", started.elapsed());
}

#[tokio::test]
async fn rfc5321_5_1_mail_never_goes_to_our_own_hosts_or_worse_ones() {
    let port = unused_port();
    let world = World::new(port, "@ MX 10 amir.relay.example.\n@ MX 20 mx2\nmx2 A 127.0.0.1").await;
    let outcome = world.deliver_one(Mail::to(&[ANA])).await;
    assert!(matches!(outcome, Outcome::Undeliverable(Refusal::Loop)), "{}", said(&outcome));

    let listening = vec!["127.0.0.1:25".parse().unwrap()];
    let records = "@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 127.0.0.1\nmx2 A 127.0.0.2";
    let world = World::with(Options { listening, ..options() }, records).await;
    let outcome = world.deliver_one(Mail::to(&[ANA])).await;
    assert!(matches!(outcome, Outcome::Undeliverable(Refusal::Loop)), "{}", said(&outcome));
}

#[tokio::test]
async fn private_addresses_are_not_connected_to() {
    let upstream = Upstream::start("127.0.0.1", 0, &[]).await;
    let refusing =
        Options { port: upstream.address.port(), private_addresses: PrivateAddresses::Refuse, ..options() };
    let world = World::with(refusing, "@ MX 10 mx1\nmx1 A 127.0.0.1\nmx1 AAAA ::1").await;
    let outcome = world.deliver_one(Mail::to(&[ANA])).await;
    assert_eq!(said(&outcome), "undeliverable: DestinationUnroutable");
    assert!(upstream.heard().clients.is_empty());
}

#[tokio::test]
async fn no_mx_means_the_domain_itself() {
    let upstream = Upstream::start("127.0.0.1", 0, &["hello \n mail"]).await;
    let world = World::new(upstream.address.port(), "@ A 127.0.0.1").await;
    let outcome = world.deliver_one(Mail::to(&[ANA])).await;
    assert_eq!(said(&outcome), "delivered by dest.example: 250 2.0.0 queued");
}

#[tokio::test]
async fn what_is_about_us_sends_us_to_the_next_host() {
    for script in [
        "> 554 5.7.1 go away",
        "> 421 4.3.2 busy",
        "> 220 mx\n < EHLO\n > 550 5.7.1 who are you",
        "hello STARTTLS\n < STARTTLS\n > 454 4.7.0 not now",
        "hello \n < MAIL\n > 421 4.7.0 too fast",
        "hello \n < MAIL\n > 250 ok\n < RCPT\n > 421 4.7.0 too fast",
        "hello \n < MAIL\n > 250 ok\n < RCPT\n > 250 ok\n < DATA\n > 421 4.3.2 bye",
        "hello \n < MAIL\n close",
        "close",
    ] {
        let (world, _one, two) = two_hosts(&[script], &["hello \n mail"]).await;
        let outcome = world.deliver_one(Mail::to(&[ANA])).await;
        assert_eq!(said(&outcome), "delivered by mx2.dest.example: 250 2.0.0 queued", "{script}");
        assert_eq!(two.heard().messages.len(), 1);
    }
}

#[tokio::test]
async fn refused_by_all_hosts_before_mail_is_no_answer() {
    let (world, _one, _two) = two_hosts(&["> 554 5.7.1 go away"], &["> 554 5.7.1 you too"]).await;
    let outcome = world.deliver_one(Mail::to(&[ANA])).await;
    assert_eq!(said(&outcome), "no answer: mx2.dest.example [127.0.0.2]: 554 5.7.1 you too");
    assert_eq!(world.attempts(IpFamily::V4, AttemptResult::Unwelcome), 2);
}

#[tokio::test]
async fn what_was_heard_before_mail_tells_a_busy_destination_from_a_silent_one() {
    for (script, silence) in [
        ("> 421 4.3.2 busy", Silence::Busy),
        ("> 220 mx\n < EHLO\n > 450 4.7.1 later", Silence::Busy),
        ("hello \n < MAIL\n > 421 too fast", Silence::Busy),
        ("> 554 5.7.1 go away", Silence::Unreachable),
        ("> 521 5.7.1 blocked", Silence::Unreachable),
        ("> 450 4.3.2 not now", Silence::Unreachable),
        ("close", Silence::Interrupted),
    ] {
        let (world, _one, _two) = two_hosts(&[script], &[script]).await;
        let outcome = world.deliver_one(Mail::to(&[ANA])).await;
        let Outcome::NoAnswer(no_answer) = outcome else { panic!("{script}: {}", said(&outcome)) };
        assert_eq!(no_answer.silence, silence, "{script}");
    }
}

#[tokio::test]
async fn a_host_that_cannot_take_the_message_is_passed_over() {
    let (world, _one, _two) = two_hosts(&["hello SIZE 5"], &["hello SIZE 500\n mail"]).await;
    let outcome = world.deliver_one(Mail::to(&[ANA])).await;
    assert_eq!(said(&outcome), "delivered by mx2.dest.example: 250 2.0.0 queued");
}

#[tokio::test]
async fn ipv6_is_tried_first_and_ipv4_before_the_next_host() {
    let [six, four] =
        Upstream::pair(("::1", &["> 421 4.7.0 not you"]), ("127.0.0.1", &["hello \n mail"])).await;
    let records = "@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 127.0.0.1\nmx1 AAAA ::1\nmx2 A 127.0.0.2";
    let world = World::new(six.address.port(), records).await;
    let outcome = world.deliver_one(Mail::to(&[ANA])).await;
    assert_eq!(said(&outcome), "delivered by mx1.dest.example: 250 2.0.0 queued");
    assert_eq!((six.heard().clients.len(), four.heard().clients.len()), (1, 1));
    assert_eq!(
        (
            world.attempts(IpFamily::V6, AttemptResult::Unwelcome),
            world.attempts(IpFamily::V4, AttemptResult::Delivered)
        ),
        (1, 1)
    );
}

#[tokio::test]
async fn after_an_ipv6_timeout_the_destination_is_left_alone_over_ipv6() {
    let scripts = ["hello \n < MAIL\n > 550 no\n close", "hello \n mail"];
    let (four, _hole) = Upstream::beside_a_hole(("127.0.0.1", &scripts), "::1").await;
    let world = World::new(four.address.port(), "@ MX 10 mx1\nmx1 A 127.0.0.1\nmx1 AAAA ::1").await;
    assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::Refused(_)));
    assert_eq!(world.attempts(IpFamily::V6, AttemptResult::TimedOut), 1);
    world.until_connections(0).await;
    assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::Delivered(_)));
    assert_eq!(world.attempts(IpFamily::V6, AttemptResult::TimedOut), 1);
}

#[tokio::test]
async fn what_was_said_of_a_recipient_stands_though_our_ipv6_address_is_refused_for_the_next() {
    let refusal = "hello
        < MAIL
        > 250 ok
        < RCPT
        > 550 5.1.1 no ana
        < RCPT
        > 550 5.7.25 no PTR";
    let [six, four] = Upstream::pair(("::1", &[refusal]), ("127.0.0.1", &["hello \n mail"])).await;
    let world = World::new(six.address.port(), "@ MX 10 mx1\nmx1 A 127.0.0.1\nmx1 AAAA ::1").await;
    let outcomes = world.deliver(Mail::to(&[ANA, BOB])).await;
    assert_eq!(said(&outcomes[0]), "refused by mx1.dest.example: 550 5.1.1 no ana");
    assert_eq!(said(&outcomes[1]), "delivered by mx1.dest.example: 250 2.0.0 queued");
    let lines = four.heard().lines;
    assert_eq!(lines.iter().filter(|line| line.starts_with("RCPT")).count(), 1, "{lines:?}");
}

#[tokio::test]
async fn a_refusal_of_our_ipv6_address_sends_us_to_ipv4() {
    let refusal = "hello \n < MAIL\n > 250 ok\n < RCPT\n > 550 5.7.1 not over IPv6 without PTR";
    let [six, _four] = Upstream::pair(("::1", &[refusal]), ("127.0.0.1", &["hello \n mail"])).await;
    let world = World::new(six.address.port(), "@ MX 10 mx1\nmx1 A 127.0.0.1\nmx1 AAAA ::1").await;
    let outcome = world.deliver_one(Mail::to(&[ANA])).await;
    assert_eq!(said(&outcome), "delivered by mx1.dest.example: 250 2.0.0 queued");
}

#[tokio::test]
async fn ten_addresses_are_tried_at_most() {
    let records: String = (1..=15).map(|n| format!("mx1 A 127.0.1.{n}\n")).collect();
    let world = World::new(unused_port(), &format!("@ MX 10 mx1\n{records}")).await;
    let outcome = world.deliver_one(Mail::to(&[ANA])).await;
    assert!(matches!(outcome, Outcome::NoAnswer(_)), "{}", said(&outcome));
    assert_eq!(world.attempts(IpFamily::V4, AttemptResult::Unreachable), 10);
}

#[tokio::test]
async fn an_address_that_never_answers_leaves_time_for_the_next() {
    let (world, _one, _two) = two_hosts(&["hang"], &["hello \n mail"]).await;
    let outcome = world.deliver_one(Mail::to(&[ANA])).await;
    assert_eq!(said(&outcome), "delivered by mx2.dest.example: 250 2.0.0 queued");
    assert_eq!(world.attempts(IpFamily::V4, AttemptResult::TimedOut), 1);
}

#[tokio::test]
async fn after_five_timeouts_the_destination_is_not_tried() {
    let mut impatient = options();
    impatient.timing.banner = Duration::from_millis(500);
    impatient.timing.dot = Duration::from_millis(50);
    for (script, ending) in [("hang", "timed out"), (AT_THE_DOT, "awaiting")] {
        let upstream = Upstream::start("127.0.0.1", 0, &[script; 5]).await;
        let options = Options { port: upstream.address.port(), ..impatient.clone() };
        let world = World::with(options, "@ MX 10 mx1\nmx1 A 127.0.0.1").await;
        let outcomes = world.deliver_five(IN_SESSION).await;
        assert!(outcomes.iter().all(|outcome| outcome.contains(ending)), "{outcomes:?}");
        let outcome = said(&world.deliver_one(Mail::to(&[ANA])).await);
        assert!(outcome.contains("not tried"), "{outcome}");
        assert_eq!(upstream.heard().clients.len(), 5);
    }
}

#[tokio::test]
async fn one_destination_has_its_share_of_deliveries_only() {
    let upstream = Upstream::start("127.0.0.1", 0, &["hello \n < MAIL\n wait 500\n > 550 no"]).await;
    let narrow = Options { port: upstream.address.port(), per_destination: 1, ..options() };
    let world = World::with(narrow, "@ MX 10 mx1\nmx1 A 127.0.0.1").await;
    let (first, second) = tokio::join!(world.deliver_one(Mail::to(&[ANA])), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.deliver_one(Mail::to(&[ANA])).await
    });
    assert!(matches!(first, Outcome::Refused(_)));
    assert!(said(&second).contains("too many deliveries"), "{}", said(&second));
}
