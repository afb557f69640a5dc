//! How much a node, and one message, may ask of upstreams at a time.

use super::*;
use crate::pipeline::parcel::Silence;
use crate::telemetry::labels::{AttemptResult, IpFamily};

const ONE_MAIL: &str = "hello \n mail\n close";

#[tokio::test]
async fn an_idle_connection_makes_room_for_one_to_another_host() {
    let [one, two] =
        Upstream::pair(("127.0.0.1", &["hello \n mail"]), ("127.0.0.2", &["hello \n mail"])).await;
    let narrow = Options { port: one.address.port(), connections: 1, ..options() };
    let records = "one MX 10 mx1\ntwo MX 10 mx2\nmx1 A 127.0.0.1\nmx2 A 127.0.0.2";
    let world = World::with(narrow, records).await;
    for to in ["a@one.dest.example", "a@two.dest.example"] {
        assert!(matches!(world.deliver_one(Mail::to(&[to])).await, Outcome::Delivered(_)), "{to}");
        assert_eq!(world.upstreams.metrics.delivery_connections.get(), 1, "{to}");
    }
    assert_eq!(one.finish().await.lines.last().unwrap(), "QUIT");
    assert_eq!(two.heard().messages.len(), 1);
}

#[tokio::test]
async fn without_room_there_is_no_answer_and_nobody_waits() {
    for (connections, connections_per_address) in [(1, 50), (100, 1)] {
        let (world, upstream) = one_host(&["hello \n < MAIL\n wait 300\n > 550 no"]).await;
        let narrow =
            Options { port: upstream.address.port(), connections, connections_per_address, ..options() };
        world.upstreams.options.store(Arc::new(narrow));
        let (first, second) = tokio::join!(world.deliver_one(Mail::to(&[ANA])), async {
            world.until_connections(1).await;
            world.deliver_one(Mail::to(&[ANA])).await
        });
        assert!(matches!(first, Outcome::Refused(_)), "{}", said(&first));
        let Outcome::NoAnswer(no_answer) = second else { panic!("{}", said(&second)) };
        assert_eq!(no_answer.silence, Silence::Held, "{}", no_answer.detail);
        assert_eq!(upstream.heard().clients.len(), 1);
    }
}

#[tokio::test]
async fn late_replies_are_waited_for_with_half_of_the_connections_and_the_newest_of_them_longest() {
    let [one, two] = Upstream::pair(("127.0.0.1", &[AT_THE_DOT]), ("127.0.0.2", &[AT_THE_DOT])).await;
    let narrow = Options { port: one.address.port(), connections: 2, ..options() };
    let records = "one MX 10 mx1\ntwo MX 10 mx2\nmx1 A 127.0.0.1\nmx2 A 127.0.0.2";
    let world = World::with(narrow, records).await;
    let hasty = |to| Mail { in_session: Duration::from_secs(2), ..Mail::to(&[to]) };
    let Outcome::AwaitingReply { late: first, .. } = world.deliver_one(hasty("a@one.dest.example")).await
    else {
        panic!("not awaited")
    };
    let second = world.deliver_one(hasty("a@two.dest.example")).await;
    assert_eq!(said(&second), "awaiting mx2.dest.example");
    assert!(first.await.is_err(), "given up");
    world.until_connections(1).await;
    assert_eq!(two.heard().messages.len(), 1);
}

#[tokio::test]
async fn late_replies_of_one_address_are_waited_for_with_half_of_its_connections() {
    let (world, upstream) = one_host(&[AT_THE_DOT; 2]).await;
    let narrow = Options { port: upstream.address.port(), connections_per_address: 2, ..options() };
    world.upstreams.options.store(Arc::new(narrow));
    let hasty = || Mail { in_session: Duration::from_secs(2), ..Mail::to(&[ANA]) };
    let (first, second) = tokio::join!(world.deliver_one(hasty()), world.deliver_one(hasty()));
    let mut outcomes = [said(&first), said(&second)];
    outcomes.sort();
    assert_eq!(outcomes, ["awaiting mx1.dest.example", "unknown at mx1.dest.example"]);
    world.until_connections(1).await;
}

#[tokio::test]
async fn one_message_takes_twenty_connections_at_a_time() {
    let (to, records): (Vec<_>, Vec<_>) =
        (0..25).map(|n| (format!("a@d{n}.dest.example"), format!("d{n} MX 10 mx1\n"))).unzip();
    let upstream = Upstream::start("127.0.0.1", 0, &[ONE_MAIL; 25]).await;
    let narrow = Options { port: upstream.address.port(), connections: MAX_AT_ONCE, ..options() };
    let world = World::with(narrow, &format!("mx1 A 127.0.0.1\n{}", records.concat())).await;
    let to: Vec<_> = to.iter().map(String::as_str).collect();
    let outcomes: Vec<_> = world.deliver(Mail::to(&to)).await.iter().map(said).collect();
    assert!(outcomes.iter().all(|outcome| outcome.starts_with("delivered")), "{outcomes:?}");
}

#[tokio::test]
async fn rfc5321_5_1_one_message_tries_two_addresses_a_destination_and_few_beyond_that() {
    let addresses = |n: usize| (1..=8).map(move |host| format!("d{n} A 127.1.{n}.{host}\n"));
    let records: String = (0..10).flat_map(addresses).collect();
    let to: Vec<_> = (0..10).map(|n| format!("a@d{n}.dest.example")).collect();
    let to: Vec<_> = to.iter().map(String::as_str).collect();
    let world = World::new(fallback::unused_port(), &records).await;
    let outcomes = world.deliver(Mail::to(&to)).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::NoAnswer(_))));
    assert_eq!(world.attempts(IpFamily::V4, AttemptResult::Unreachable), 10 * 2 + 24);
}

#[tokio::test]
async fn however_many_addresses_a_host_has_that_are_barred_one_line_says_so() {
    let hosts = (1..=3).map(|host| format!("@ MX 10 mx{host}\n"));
    let addresses = (1..=3).flat_map(|host| (1..=25).map(move |ip| format!("mx{host} A 10.9.{host}.{ip}\n")));
    let records: String = hosts.chain(addresses).collect();
    let public = Options { private_addresses: PrivateAddresses::Refuse, ..options() };
    let world = World::with(public, &records).await;
    let rewritten = Mail::to(&[ANA]).rewritten();
    let (answer, answered) = oneshot::channel();
    let due = Due {
        id: rewritten.transaction.id,
        message: rewritten.message,
        smtp_utf8: SmtpUtf8::NotRequested,
        request: MessageRequest::default(),
        shipments: rewritten.shipments,
        deadline: Deadline::after(IN_SESSION),
        answer,
    };
    redeliver(world.upstreams.clone(), due).await;
    let Tried { deliveries, mut dialogue } = answered.await.unwrap();
    assert_eq!(said(&deliveries[0].outcome), "undeliverable: DestinationUnroutable");
    dialogue.sort();
    let line = |host| format!("* mx{host}.dest.example: 20 addresses are not on the Internet");
    assert_eq!(dialogue, [1, 2, 3].map(line));
}
