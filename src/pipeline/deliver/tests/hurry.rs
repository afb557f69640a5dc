//! Messages that come with little of their time left.

use super::*;

/// Enough to try somebody, and not enough to blame anybody.
const LITTLE: Duration = Duration::from_millis(800);
/// Not enough to connect.
const NEXT_TO_NOTHING: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_host_that_was_cut_short_is_open_to_the_next_message() {
    for (script, ending) in [("hang", "cut short"), (AT_THE_DOT, "awaiting")] {
        let scripts = [script, script, script, script, script, "hello \n mail"];
        let (world, _upstream) = one_host(&scripts).await;
        let outcomes = world.deliver_five(LITTLE).await;
        assert!(outcomes.iter().all(|outcome| outcome.contains(ending)), "{outcomes:?}");
        let outcome = world.deliver_one(Mail::to(&[ANA])).await;
        assert_eq!(said(&outcome), "delivered by mx1.dest.example: 250 2.0.0 queued");
    }
}

#[tokio::test]
async fn without_the_time_to_connect_nobody_is_tried_and_nobody_blamed() {
    let (world, upstream) = one_host(&["hello \n mail"]).await;
    let outcomes = world.deliver_five(NEXT_TO_NOTHING).await;
    assert!(outcomes.iter().all(|outcome| outcome.starts_with("no answer")), "{outcomes:?}");
    assert!(upstream.heard().clients.is_empty());
    assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::Delivered(_)));
}

#[tokio::test]
async fn ipv6_that_was_cut_short_is_tried_again() {
    let [six, four] = Upstream::pair(("::1", &["hang", "hello \n mail"]), ("127.0.0.1", &["hello"])).await;
    let world = World::new(six.address.port(), "@ MX 10 mx1\nmx1 A 127.0.0.1\nmx1 AAAA ::1").await;
    world.deliver_one(Mail { in_session: LITTLE, ..Mail::to(&[ANA]) }).await;
    assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::Delivered(_)));
    assert_eq!((six.heard().messages.len(), four.heard().clients.len()), (1, 0));
}

#[tokio::test]
async fn a_handshake_that_was_cut_short_is_no_reason_to_go_on_in_the_clear() {
    let (world, upstream) = one_host(&["hello STARTTLS\n < STARTTLS\n > 220 go\n hang"]).await;
    let outcome = world.deliver_one(Mail { in_session: LITTLE, ..Mail::to(&[ANA]) }).await;
    let expected = "no answer: mx1.dest.example [127.0.0.1]: cut short in the TLS handshake";
    assert_eq!(said(&outcome), expected);
    assert_eq!(upstream.heard().clients.len(), 1);
}
