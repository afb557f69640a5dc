use super::*;
use crate::smtp::reply::{Enhanced, Reply, UPSTREAM_REASON};

fn reply(code: u16, enhanced: Enhanced, text: &str) -> Reply {
    Reply { code, enhanced: Some(enhanced), reason: UPSTREAM_REASON, lines: vec![text.to_owned()] }
}

#[test]
fn a_host_that_was_not_reached_may_take_what_another_cannot() {
    let unfit = Failure::Ruled(Refusal::UpstreamWithoutUtf8);
    let silent = Failure::no_answer(Silence::Interrupted, "a.example: connection lost");
    assert!(matches!(verdict(&[unfit.clone(), silent]), Outcome::NoAnswer(_)));
    assert!(matches!(verdict(&[unfit]), Outcome::Undeliverable(Refusal::UpstreamWithoutUtf8)));
}

#[test]
fn a_destination_with_a_busy_host_is_busy() {
    let busy = Failure::no_answer(Silence::Busy, "a.example: 421 too many connections");
    let silent = Failure::no_answer(Silence::Unreachable, "b.example: connection refused");
    for failures in [[busy.clone(), silent.clone()], [silent, busy]] {
        let Outcome::NoAnswer(NoAnswer { silence, detail }) = verdict(&failures) else { panic!() };
        assert_eq!((silence, &detail[..]), (Silence::Busy, "a.example: 421 too many connections"));
    }
}

#[test]
fn who_was_cut_short_makes_no_destination_slow() {
    let silent = |patience| Failure::timed_out(Silence::Interrupted, "a.example: at EHLO", patience);
    let refused = Failure::no_answer(Silence::Unreachable, "b.example: connection refused");
    let (ended, cut) = (silent(Patience::Ended), silent(Patience::CutShort));
    for (failures, slow) in [
        (vec![], false),
        (vec![&ended], true),
        (vec![&cut], false),
        (vec![&refused, &cut], false),
        (vec![&ended, &cut], true),
        (vec![&ended, &refused], false),
    ] {
        let failures: Vec<_> = failures.into_iter().cloned().collect();
        assert_eq!(is_slow(&failures, Instant::now()), slow, "{failures:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn hosts_that_were_each_cut_short_had_their_time_together() {
    let started = Instant::now();
    let cut = Failure::timed_out(Silence::Interrupted, "a.example: at EHLO", Patience::CutShort);
    let refused = Failure::no_answer(Silence::Unreachable, "b.example: connection refused");
    tokio::time::advance(std::time::Duration::from_secs(3)).await;
    assert!(is_slow(&[cut.clone(), cut.clone()], started));
    assert!(!is_slow(&[cut, refused], started));
}

#[test]
fn a_refusal_of_our_ipv6_address_is_relayed_when_nobody_else_is_left() {
    let refused = UpstreamReply { host: "a".into(), reply: reply(550, Enhanced(5, 7, 25), "PTR") };
    assert!(matches!(verdict(&[Failure::Ipv6Refused(refused)]), Outcome::Refused(_)));
}

#[test]
fn what_is_pending_to_the_end_gets_the_verdict_of_the_failures() {
    let mut progress = Progress::new(2);
    progress.settle(vec![(0, Outcome::Unknown { host: "a".into() })]);
    assert_eq!(progress.pending(), [1]);
    let outcomes = progress.finish(&[]);
    assert!(matches!(outcomes[..], [Outcome::Unknown { .. }, Outcome::NoAnswer(_)]));
}
