use super::*;
use crate::smtp::reply::UPSTREAM_REASON;

fn reply(code: u16, enhanced: Enhanced, text: &str) -> Reply {
    Reply { code, enhanced: Some(enhanced), reason: UPSTREAM_REASON, lines: vec![text.to_owned()] }
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
    let mut outcomes = vec![(0, answered("a", reply(550, Enhanced(5, 1, 1), "")))];
    assert_eq!(summary(&outcomes), Some((AttemptResult::Refused, 550)));
    outcomes.push((1, answered("a", reply(250, Enhanced(2, 0, 0), ""))));
    assert_eq!(summary(&outcomes), Some((AttemptResult::Delivered, 250)));
    assert_eq!(summary(&Vec::new()), None);
}
