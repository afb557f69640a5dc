use std::time::UNIX_EPOCH;

use super::*;
use crate::mail::{Address, RecipientRequest, ReversePath};
use crate::pipeline::parcel::UpstreamReply;
use crate::pipeline::refusal::Refusal;
use crate::smtp::reply::{Enhanced, Reply};
use crate::spool::Direction;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
/// Of a destination where no connection was to be had.
const NOBODY: Option<Enhanced> = Some(Enhanced(4, 4, 1));

fn copy() -> QueuedCopy {
    QueuedCopy {
        alias: Address::parse("info@ours.example").unwrap(),
        destination: Address::parse("ana@dest.example").unwrap(),
        reverse_path: ReversePath::Null,
        direction: Direction::Forward,
        state: CopyState::Waiting,
        attempts: 2,
        due: UNIX_EPOCH,
        request: RecipientRequest::default(),
        delay_told: false,
        last: None,
    }
}

fn rules(age: Duration) -> Rules {
    Rules {
        now: UNIX_EPOCH + 100 * DAY,
        received_at: UNIX_EPOCH + 100 * DAY - age,
        since: UNIX_EPOCH,
        give_up_after: 5 * DAY,
        backoff: Backoff { first: MINUTE, longest: 60 * MINUTE },
        chance: 0.5,
    }
}

fn refused(code: u16, enhanced: Option<Enhanced>) -> Outcome {
    let reply = Reply { code, enhanced, reason: "upstream", lines: vec!["no".into()] };
    Outcome::Refused(UpstreamReply { host: "mx.dest.example".into(), reply })
}

fn taken() -> Outcome {
    let reply = Reply { code: 250, enhanced: None, reason: "upstream", lines: vec!["ok".into()] };
    Outcome::Delivered(UpstreamReply { host: "mx.dest.example".into(), reply })
}

fn no_answer() -> Outcome {
    silent(Silence::Unreachable)
}

fn silent(silence: Silence) -> Outcome {
    Outcome::NoAnswer(NoAnswer { silence, detail: "mx.dest.example: connection refused".into() })
}

#[test]
fn what_was_taken_leaves_and_what_was_refused_for_good_fails() {
    assert!(matches!(rules(MINUTE).judge(copy(), &taken()), Judgement::Delivered(_)));
    assert!(matches!(rules(MINUTE).judge(copy(), &refused(550, None)), Judgement::Failed(_)));
    let null_mx = Outcome::Undeliverable(Refusal::RecipientNullMx);
    assert!(matches!(rules(MINUTE).judge(copy(), &null_mx), Judgement::Failed(_)));
}

#[test]
fn what_was_refused_for_now_is_tried_again_after_a_longer_pause() {
    let fault = Outcome::Undeliverable(Refusal::Internal);
    for outcome in [refused(452, None), no_answer(), fault] {
        let Judgement::Kept(kept) = rules(MINUTE).judge(copy(), &outcome) else { panic!("{outcome:?}") };
        assert_eq!((kept.attempts, kept.due), (3, UNIX_EPOCH + 100 * DAY + 4 * MINUTE), "{outcome:?}");
        assert_eq!(kept.state, CopyState::Waiting);
    }
}

#[test]
fn an_unknown_outcome_stays_visible_and_is_tried_again() {
    let unknown = Outcome::Unknown { host: "mx".into() };
    let Judgement::Kept(kept) = rules(MINUTE).judge(copy(), &unknown) else { panic!() };
    assert_eq!(kept.state, CopyState::Unknown);
    assert!(kept.due > UNIX_EPOCH + 100 * DAY);
}

#[test]
fn nothing_is_tried_while_a_reply_may_come() {
    let open = Outcome::AwaitingReply { host: "mx".into(), late: tokio::sync::oneshot::channel().1 };
    let Judgement::Kept(kept) = rules(6 * DAY).judge(copy(), &open) else { panic!() };
    assert_eq!(kept.state, CopyState::AwaitingReply);
}

#[test]
fn a_late_reply_ends_the_attempt_that_it_answers_and_is_none_of_its_own() {
    let open = Outcome::AwaitingReply { host: "mx".into(), late: tokio::sync::oneshot::channel().1 };
    let Judgement::Kept(asked) = rules(MINUTE).judge(copy(), &open) else { panic!() };
    for outcome in [refused(452, None), Outcome::Unknown { host: "mx".into() }] {
        let Judgement::Kept(kept) = rules(MINUTE).judge(asked.clone(), &outcome) else {
            panic!("{outcome:?}")
        };
        assert_eq!((kept.attempts, kept.due), (3, UNIX_EPOCH + 100 * DAY + 4 * MINUTE), "{outcome:?}");
    }
    let Judgement::Delivered(delivered) = rules(MINUTE).judge(asked, &taken()) else { panic!() };
    assert_eq!(delivered.attempts, 3);
}

#[test]
fn a_message_past_its_time_fails_with_what_was_last_said_of_it() {
    for (outcome, code) in
        [(refused(452, Some(Enhanced(4, 2, 2))), Some(Enhanced(4, 2, 2))), (no_answer(), NOBODY)]
    {
        let Judgement::Failed(copy) = rules(5 * DAY).judge(copy(), &outcome) else { panic!("{outcome:?}") };
        let last = copy.last.unwrap();
        assert_eq!(last.enhanced, code);
        assert!(!last.lines.is_empty());
    }
}

/// Of a start, or a clock that was set, nothing expires: not before an attempt, or as long a time.
#[test]
fn a_message_past_its_time_is_given_up_once_it_was_tried_since_times_are_believed() {
    let rules = Rules { since: UNIX_EPOCH + 98 * DAY, ..rules(6 * DAY) };
    let Judgement::Failed(tried) = rules.judge(copy(), &no_answer()) else { panic!() };
    let mut before = tried.clone();
    before.last.as_mut().unwrap().at = UNIX_EPOCH + 97 * DAY;
    let over = |rules: Rules| [&tried, &before, &copy()].map(|copy| rules.is_over(copy));
    assert_eq!(over(rules), [true, false, false]);
    assert_eq!(over(Rules { since: UNIX_EPOCH + 95 * DAY, ..rules }), [true; 3]);
    assert_eq!(over(Rules { received_at: UNIX_EPOCH + 96 * DAY, ..rules }), [false; 3]);
}

#[test]
fn a_destination_is_silent_only_when_nothing_of_it_answered() {
    assert_eq!(ended(&[no_answer(), no_answer()]), Ended::Silent);
    assert_eq!(ended(&[no_answer(), refused(550, None)]), Ended::Answered);
    assert_eq!(ended(&[taken(), refused(421, None)]), Ended::SlowDown);
    assert_eq!(ended(&[refused(451, Some(Enhanced(4, 7, 28)))]), Ended::SlowDown);
    assert_eq!(ended(&[no_answer(), silent(Silence::Busy)]), Ended::SlowDown);
}

#[test]
fn where_we_had_no_place_there_was_no_attempt_and_the_destination_is_not_to_blame() {
    let held = silent(Silence::Held);
    let Judgement::Kept(kept) = rules(MINUTE).judge(copy(), &held) else { panic!() };
    assert_eq!((kept.attempts, kept.due), (2, UNIX_EPOCH + 100 * DAY + Duration::from_secs(30)));
    assert!(kept.last.is_some(), "an operator sees why");
    assert!(matches!(rules(6 * DAY).judge(copy(), &held), Judgement::Failed(_)), "but not for ever");
    assert_eq!(ended(&[silent(Silence::Held)]), Ended::Held);
    assert_eq!(ended(&[silent(Silence::Held), no_answer()]), Ended::Silent);
    assert_eq!(ended(&[taken(), silent(Silence::Held)]), Ended::Answered);
}
