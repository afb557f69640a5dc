use super::*;
use crate::telemetry::labels::{AttemptResult, IpFamily};

pub(super) const TO_THE_DOT: &str = "hello
    < MAIL
    > 250 ok
    < RCPT
    > 250 ok
    < DATA
    > 354 go
    message";

fn hurried() -> Mail {
    Mail { in_session: Duration::from_secs(1), ..Mail::to(&[ANA]) }
}

#[tokio::test]
async fn rfc1047_a_reply_after_the_deadline_is_read_and_given_on() {
    let script = format!("{TO_THE_DOT}\n wait 1500\n > 250 2.0.0 at last\n mail");
    let (world, upstream) = one_host(&[&script]).await;
    let started = Instant::now();
    let outcome = world.deliver_one(hurried()).await;
    assert!(started.elapsed() < Duration::from_millis(1400), "{:?}", started.elapsed());
    let Outcome::AwaitingReply { host, late } = outcome else { panic!("{}", said(&outcome)) };
    assert_eq!(host, "mx1.dest.example");
    assert_eq!(late.await.unwrap().reply.to_string(), "250 2.0.0 at last");
    assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::Delivered(_)));
    assert_eq!(upstream.heard().clients.len(), 1, "the connection was not kept");
}

#[tokio::test]
async fn a_late_reply_that_never_comes_closes_the_promise() {
    for ending in ["wait 1500\n close", "wait 1500\n > 354 nonsense", "hang"] {
        let (world, _upstream) = one_host(&[&format!("{TO_THE_DOT}\n {ending}")]).await;
        let mut options = options();
        options.port = world.upstreams.options.load().port;
        options.timing.dot = Duration::from_millis(2500);
        world.upstreams.options.store(Arc::new(options));
        let outcome = world.deliver_one(hurried()).await;
        let Outcome::AwaitingReply { late, .. } = outcome else { panic!("{}", said(&outcome)) };
        assert!(late.await.is_err());
        world.until_connections(0).await;
    }
}

#[tokio::test]
async fn a_connection_lost_after_the_dot_is_unknown_and_never_offered_again() {
    for ending in ["close", "> 354 nonsense", "> junk"] {
        let (world, _one, two) = two_hosts(&[&format!("{TO_THE_DOT}\n {ending}")], &["hello \n mail"]).await;
        let outcome = world.deliver_one(Mail::to(&[ANA])).await;
        assert_eq!(said(&outcome), "unknown at mx1.dest.example", "{ending}");
        assert!(two.heard().clients.is_empty());
        assert_eq!(world.attempts(IpFamily::V4, AttemptResult::Unknown), 1);
    }
}

#[tokio::test]
async fn a_421_to_the_dot_is_the_answer_and_ends_the_connection() {
    let (world, upstream) = one_host(&[&format!("{TO_THE_DOT}\n > 421 4.3.2 closing")]).await;
    let outcome = world.deliver_one(Mail::to(&[ANA])).await;
    assert_eq!(said(&outcome), "refused by mx1.dest.example: 421 4.3.2 closing");
    world.until_connections(0).await;
    assert!(upstream.finish().await.lines.contains(&"QUIT".to_owned()));
}

#[tokio::test]
async fn time_that_ends_in_the_message_is_no_answer() {
    let script = "hello
        < MAIL
        > 250 ok
        < RCPT
        > 250 ok
        < DATA
        > 354 go
        hang";
    let (world, _upstream) = one_host(&[script]).await;
    let octets = Bytes::from([b"A: 1\r\n\r\n".as_slice(), &b"0123456789\r\n".repeat(2_000_000)].concat());
    let outcome =
        world.deliver_one(Mail { octets, in_session: Duration::from_secs(1), ..Mail::to(&[ANA]) }).await;
    let expected = "no answer: mx1.dest.example [127.0.0.1]: cut short sending the message";
    assert_eq!(said(&outcome), expected);
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_the_message_is_the_answer() {
    let script = "hello
        < MAIL
        > 250 ok
        < RCPT
        > 250 ok
        < DATA
        > 354 go
        < A: 1
        > 552 5.3.4 enough
        hang";
    let (world, _upstream) = one_host(&[script]).await;
    let octets = Bytes::from([b"A: 1\r\n\r\n".as_slice(), &b"0123456789\r\n".repeat(2_000_000)].concat());
    let outcome = world.deliver_one(Mail { octets, ..Mail::to(&[ANA]) }).await;
    assert_eq!(said(&outcome), "refused by mx1.dest.example: 552 5.3.4 enough");
}
