//! Transactions that are opened at RCPT and fed at the dot.

use tokio_util::sync::CancellationToken;

use super::*;
use crate::pipeline::parcel::{Declared, Inquired, Inquiry, Readdressed};
use crate::telemetry::labels::{AttemptResult, CutThrough, IpFamily};

/// What a client declares that says nothing.
fn nothing() -> Declared {
    Declared {
        size_octets: None,
        body_type: BodyType::SevenBit,
        smtp_utf8: SmtpUtf8::NotRequested,
        request: MessageRequest::default(),
    }
}

/// An upstream that offers nothing, up to RCPT.
const UP_TO_RCPT: &str = "hello \n < MAIL\n > 250 ok\n < RCPT\n > 250 ok";

impl World {
    /// Asks at RCPT about the copies of a message to these destinations.
    async fn ask(&self, to: &[&str], declared: Declared, advance: Advance) -> Inquired {
        let rewritten = Mail::to(to).rewritten();
        let (answer, answered) = oneshot::channel();
        let until = Deadline::after(Duration::from_secs(1));
        let inquiry = Inquiry { id: rewritten.transaction.id, declared, advance, until, answer };
        let readdressed = Readdressed { shipments: rewritten.shipments, inquiry };
        ask_upstreams::ask(self.upstreams.clone(), readdressed).await;
        answered.await.unwrap()
    }

    /// Delivers a message of which something was asked.
    async fn deliver_asked(&self, mail: Mail, advance: Advance) -> Vec<Outcome> {
        let mut rewritten = mail.rewritten();
        rewritten.transaction.advance = advance;
        let attempted = deliver(self.upstreams.clone(), rewritten).await;
        attempted.deliveries.into_iter().map(|delivery| delivery.outcome).collect()
    }

    fn cut_through(&self, result: CutThrough) -> u64 {
        self.upstreams.metrics.cut_through_total.of(result).get()
    }
}

fn words(inquired: &Inquired) -> Option<String> {
    inquired.refused.as_ref().map(|(upstream, target)| format!("{}: {}", target.alias, upstream.reply))
}

#[tokio::test]
async fn the_next_recipient_joins_the_transaction_and_the_message_follows() {
    let script =
        format!("{UP_TO_RCPT}\n < RCPT\n > 250 ok\n < DATA\n > 354 go\n message\n > 250 2.0.0 queued");
    let (world, upstream) = one_host(&[&script]).await;
    let Inquired { advance, refused } = world.ask(&[ANA], nothing(), Advance::default()).await;
    assert!(refused.is_none() && advance.held.is_some());
    let Inquired { advance, .. } = world.ask(&[ANA, BOB], nothing(), advance).await;
    let outcomes = world.deliver_asked(Mail::to(&[ANA, BOB]), advance).await;
    for outcome in &outcomes {
        assert_eq!(said(outcome), "delivered by mx1.dest.example: 250 2.0.0 queued");
    }
    world.upstreams.drain().await;
    let Heard { lines, messages, clients } = upstream.finish().await;
    let expected = [
        "EHLO relay.example",
        "MAIL FROM:<srs@customer.example>",
        "RCPT TO:<ana@dest.example>",
        "RCPT TO:<bob@dest.example>",
        "DATA",
        "QUIT",
    ];
    assert_eq!((lines, messages.len(), clients.len()), (expected.map(String::from).to_vec(), 1, 1));
    assert_eq!((world.cut_through(CutThrough::Taken), world.cut_through(CutThrough::Used)), (2, 1));
    assert_eq!(world.attempts(IpFamily::V4, AttemptResult::Delivered), 1);
}

#[tokio::test]
async fn mail_and_rcpt_leave_in_one_write_and_declare_room_for_our_fields() {
    let script = "hello PIPELINING,SIZE 100000,8BITMIME
        < MAIL FROM:<srs@customer.example> SIZE=9192 BODY=8BITMIME
        < RCPT TO:<ana@dest.example>
        > 250 ok
        > 250 ok";
    let (world, _upstream) = one_host(&[script]).await;
    let declared = Declared { size_octets: Some(1000), body_type: BodyType::EightBitMime, ..nothing() };
    assert!(world.ask(&[ANA], declared, Advance::default()).await.advance.held.is_some());
}

#[tokio::test]
async fn whoever_drops_the_claim_resets_the_transaction() {
    let (world, upstream) = one_host(&[&format!("{UP_TO_RCPT}\n < RSET\n > 250 ok\n mail")]).await;
    let inquired = world.ask(&[ANA], nothing(), Advance::default()).await;
    drop(inquired);
    until_idle(&world, &upstream).await;
    assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::Delivered(_)));
    assert_eq!((upstream.heard().clients.len(), world.cut_through(CutThrough::GivenUp)), (1, 1));
}

/// Waits until RSET was answered and the connection is back in the pool.
async fn until_idle(world: &World, upstream: &Upstream) {
    for _ in 0..500 {
        if upstream.heard().lines.iter().any(|line| line == "RSET") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.upstreams.metrics.delivery_connections.get(), 1);
}

#[tokio::test]
async fn a_transaction_that_waits_for_too_long_is_reset_and_replaced() {
    let (world, upstream) = one_host(&[&format!("{UP_TO_RCPT}\n < RSET\n > 250 ok\n mail")]).await;
    let Inquired { advance, .. } = world.ask(&[ANA], nothing(), Advance::default()).await;
    let stop = CancellationToken::new();
    let watch = tokio::spawn(world.upstreams.clone().watch(stop.clone()));
    until_idle(&world, &upstream).await;
    stop.cancel();
    watch.await.unwrap();
    let outcomes = world.deliver_asked(Mail::to(&[ANA]), advance).await;
    assert!(matches!(outcomes[0], Outcome::Delivered(_)));
    assert_eq!(upstream.heard().messages.len(), 1);
}

#[tokio::test]
async fn without_time_for_the_message_the_transaction_is_reset() {
    let (world, upstream) = one_host(&[&format!("{UP_TO_RCPT}\n < RSET\n > 250 ok\n mail")]).await;
    let Inquired { advance, .. } = world.ask(&[ANA], nothing(), Advance::default()).await;
    let hurried = Mail { in_session: Duration::from_millis(50), ..Mail::to(&[ANA]) };
    let outcomes = world.deliver_asked(hurried, advance).await;
    assert!(matches!(outcomes[0], Outcome::NoAnswer(_)), "{}", said(&outcomes[0]));
    until_idle(&world, &upstream).await;
    assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::Delivered(_)));
    assert_eq!(upstream.heard().clients.len(), 1);
}

#[tokio::test]
async fn who_was_asked_at_the_end_of_rcpt_is_asked_again() {
    let (world, upstream) = one_host(&["hang", UP_TO_RCPT]).await;
    assert!(world.ask(&[ANA], nothing(), Advance::default()).await.advance.held.is_none());
    assert!(world.ask(&[ANA], nothing(), Advance::default()).await.advance.held.is_some());
    assert_eq!(upstream.heard().clients.len(), 2);
}

#[tokio::test]
async fn a_refusal_is_known_at_the_dot_and_not_asked_for_again() {
    let script = "hello
        < MAIL
        > 250 ok
        < RCPT
        > 550 5.1.1 no ana
        < RCPT
        > 250 ok
        < DATA
        > 354 go
        message
        > 250 2.0.0 queued";
    let (world, upstream) = one_host(&[script]).await;
    let Inquired { advance, refused } = world.ask(&[ANA, BOB], nothing(), Advance::default()).await;
    assert!(refused.is_none(), "bob would take it");
    let outcomes = world.deliver_asked(Mail::to(&[ANA, BOB]), advance).await;
    assert_eq!(said(&outcomes[0]), "refused by mx1.dest.example: 550 5.1.1 no ana");
    assert_eq!(said(&outcomes[1]), "delivered by mx1.dest.example: 250 2.0.0 queued");
    assert_eq!(upstream.heard().clients.len(), 1);
}

#[tokio::test]
async fn the_first_temporary_refusal_is_the_recipients() {
    let script = "hello
        < MAIL
        > 250 ok
        < RCPT
        > 550 5.1.1 no ana
        < RCPT
        > 450 4.2.0 later, bob";
    let (world, _upstream) = one_host(&[script]).await;
    let inquired = world.ask(&[ANA, BOB], nothing(), Advance::default()).await;
    assert_eq!(words(&inquired).unwrap(), "alias1@customer.example: 450 4.2.0 later, bob");
    let again = world.ask(&[ANA], nothing(), inquired.advance).await;
    assert_eq!(words(&again).unwrap(), "alias0@customer.example: 550 5.1.1 no ana");
}

#[tokio::test]
async fn a_copy_that_is_settled_meanwhile_is_not_among_the_recipients() {
    let script = format!("{UP_TO_RCPT}\n < RCPT\n > 250 ok\n < RSET\n > 250 ok");
    let (world, upstream) = one_host(&[&script, "hello \n mail"]).await;
    let Inquired { advance, .. } = world.ask(&[ANA, BOB], nothing(), Advance::default()).await;
    // What an earlier transaction delivered to ana is not sent again.
    let outcomes = world.deliver_asked(Mail::to(&[BOB]), advance).await;
    assert!(matches!(outcomes[0], Outcome::Delivered(_)));
    let mut rcpts = upstream.heard().lines.into_iter().filter(|line| line.starts_with("RCPT"));
    assert_eq!(rcpts.next_back().unwrap(), "RCPT TO:<bob@dest.example>");
    assert_eq!(world.cut_through(CutThrough::Replaced), 1);
}

#[tokio::test]
async fn those_who_ask_take_half_of_a_destinations_share() {
    let options = Options { per_destination: 2, ..options() };
    let world = World::with(options, "@ MX 10 mx1\nmx1 A 127.0.0.1").await;
    let domain = Domain::parse("dest.example").unwrap();
    let _visit = world.upstreams.destinations.enter(&domain, 2).unwrap();
    assert!(world.ask(&[ANA], nothing(), Advance::default()).await.advance.held.is_none());
    assert!(world.upstreams.destinations.enter(&domain, 2).is_ok(), "the dot finds a place");
}

#[tokio::test]
async fn ipv6_that_does_not_want_us_is_followed_by_ipv4_at_rcpt_too() {
    let records = "@ MX 10 mx1\nmx1 AAAA ::1\nmx1 A 127.0.0.1";
    let refusal = "hello \n < MAIL\n > 250 ok\n < RCPT\n > 550 5.7.25 no PTR";
    let [six, four] = Upstream::pair(("::1", &[refusal]), ("127.0.0.1", &[UP_TO_RCPT])).await;
    let world = World::new(six.address.port(), records).await;
    let inquired = world.ask(&[ANA], nothing(), Advance::default()).await;
    assert!(inquired.refused.is_none() && inquired.advance.held.is_some());
    assert_eq!((six.heard().clients.len(), four.heard().clients.len()), (1, 1));
}

#[tokio::test]
async fn a_transaction_that_is_open_gets_the_message_while_twenty_others_are_under_way() {
    let fed = format!("{UP_TO_RCPT}\n < DATA\n > 354 go\n message\n > 250 2.0.0 queued");
    let [ready, _slow] =
        Upstream::pair(("127.0.0.1", &[fed.as_str()]), ("127.0.0.2", &["hang"; MAX_AT_ONCE])).await;
    let domains: String = (0..MAX_AT_ONCE).map(|n| format!("d{n} MX 10 mx2\n")).collect();
    let records = format!("@ MX 10 mx1\nmx1 A 127.0.0.1\nmx2 A 127.0.0.2\n{domains}");
    let world = World::new(ready.address.port(), &records).await;
    let Inquired { advance, .. } = world.ask(&[ANA], nothing(), Advance::default()).await;
    let to: Vec<_> = (0..MAX_AT_ONCE).map(|n| format!("a@d{n}.dest.example")).collect();
    let to: Vec<_> = to.iter().map(String::as_str).chain([ANA]).collect();
    let outcomes = world.deliver_asked(Mail::to(&to), advance).await;
    assert_eq!(said(outcomes.last().unwrap()), "delivered by mx1.dest.example: 250 2.0.0 queued");
    assert_eq!(world.cut_through(CutThrough::Used), 1);
}

#[tokio::test]
async fn idle_connections_keep_nobody_from_being_asked() {
    let again = "hello \n mail\n < MAIL\n > 250 ok\n < RCPT\n > 250 ok";
    for (connections, connections_per_address) in [(2, 50), (100, 2)] {
        let (world, upstream) = one_host(&[again]).await;
        let narrow =
            Options { port: upstream.address.port(), connections, connections_per_address, ..options() };
        world.upstreams.options.store(Arc::new(narrow));
        assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::Delivered(_)));
        assert!(world.ask(&[ANA], nothing(), Advance::default()).await.advance.held.is_some());
        assert_eq!(upstream.heard().clients.len(), 1);
    }
}
