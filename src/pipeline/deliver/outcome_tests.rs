use super::*;
use crate::smtp::reply::UPSTREAM_REASON;

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
        assert_eq!(is_slow(&failures), slow, "{failures:?}");
    }
}

#[test]
fn a_refusal_of_our_ipv6_address_is_relayed_when_nobody_else_is_left() {
    let refused = UpstreamReply { host: "a".into(), reply: reply(550, Enhanced(5, 7, 25), "PTR") };
    assert!(matches!(verdict(&[Failure::Ipv6Refused(refused)]), Outcome::Refused(_)));
}

#[test]
fn policy_against_ipv6_is_told_from_policy() {
    assert!(refuses_ipv6(&reply(550, Enhanced(5, 7, 25), "no PTR")));
    assert!(refuses_ipv6(&reply(550, Enhanced(5, 7, 1), "does not meet IPv6 sending guidelines")));
    assert!(!refuses_ipv6(&reply(550, Enhanced(5, 7, 1), "spam")));
    assert!(!refuses_ipv6(&reply(550, Enhanced(5, 1, 1), "no ipv6@example.com here")));
}

#[test]
fn rfc5321_4_5_3_1_10_too_many_recipients_is_told_from_other_shortages() {
    assert!(is_too_many(&reply(452, Enhanced(4, 5, 3), ""), 1));
    assert!(is_too_many(&reply(552, Enhanced(5, 0, 0), ""), 1));
    assert!(!is_too_many(&reply(452, Enhanced(4, 2, 2), "over quota"), 1));
    assert!(!is_too_many(&reply(452, Enhanced(4, 5, 3), ""), 0));
    assert!(!is_too_many(&reply(450, Enhanced(4, 0, 0), ""), 1));
}

#[test]
fn an_attempt_is_summed_up_by_its_best_outcome() {
    let mut progress = Progress::new(3);
    progress.answer(0, "a", reply(550, Enhanced(5, 1, 1), ""));
    assert_eq!(progress.summary(&[0]), Some(("refused", 550)));
    progress.answer(1, "a", reply(250, Enhanced(2, 0, 0), ""));
    assert_eq!(progress.summary(&[0, 1, 2]), Some(("delivered", 250)));
    assert_eq!(progress.pending(5), [2]);
    assert!(matches!(progress.finish(&[])[2], Outcome::NoAnswer(_)));
}
