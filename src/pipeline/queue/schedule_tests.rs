use std::time::UNIX_EPOCH;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const PAUSE: Pause = Pause {
    backoff: Backoff { first: Duration::from_secs(60), longest: Duration::from_secs(3600) },
    chance: 0.5,
};

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Takes a lane's turn, starting what it has room for, as if it had no end of due messages.
fn turn(schedule: &mut Schedule, now: SystemTime) -> Option<(String, usize)> {
    let turn = schedule.next(now)?;
    schedule.taken(&turn.domain, turn.room, Some(now));
    Some((turn.domain.to_string(), turn.room))
}

#[test]
fn nothing_runs_before_it_is_due() {
    let mut schedule = Schedule::default();
    schedule.note(&domain("a.example"), at(100));
    schedule.note(&domain("a.example"), at(50));
    assert_eq!(schedule.wake_at(), Some(at(50)));
    assert_eq!(turn(&mut schedule, at(49)), None);
    assert_eq!(turn(&mut schedule, at(50)), Some(("a.example".into(), FIRST_AT_A_TIME)));
}

#[test]
fn lanes_take_turns_whatever_waits_in_them() {
    let mut schedule = Schedule::default();
    schedule.note(&domain("busy.example"), at(1));
    schedule.note(&domain("quiet.example"), at(10));
    assert_eq!(turn(&mut schedule, at(20)).unwrap().0, "busy.example");
    schedule.ended(&domain("busy.example"), Ended::Answered, at(21), PAUSE);
    assert_eq!(turn(&mut schedule, at(21)).unwrap().0, "quiet.example");
    assert_eq!(turn(&mut schedule, at(21)).unwrap().0, "busy.example");
}

#[test]
fn a_lane_takes_no_more_than_it_is_allowed() {
    let mut schedule = Schedule::default();
    schedule.note(&domain("a.example"), at(1));
    assert_eq!(turn(&mut schedule, at(1)).unwrap().1, FIRST_AT_A_TIME);
    assert_eq!(turn(&mut schedule, at(2)), None);
    schedule.ended(&domain("a.example"), Ended::Answered, at(3), PAUSE);
    assert_eq!(turn(&mut schedule, at(3)).unwrap().1, 2, "one ended, and one more is allowed");
}

#[test]
fn a_silent_destination_is_probed_by_one_message_after_a_growing_pause() {
    let mut schedule = Schedule::default();
    let lane = domain("down.example");
    schedule.note(&lane, at(0));
    turn(&mut schedule, at(0)).unwrap();
    for _ in 0..FIRST_AT_A_TIME {
        schedule.ended(&lane, Ended::Silent, at(10), PAUSE);
    }
    assert_eq!(schedule.wake_at(), Some(at(70)), "all five are one failure");
    assert_eq!(turn(&mut schedule, at(70)).unwrap().1, 1);
    schedule.ended(&lane, Ended::Silent, at(80), PAUSE);
    assert_eq!(schedule.wake_at(), Some(at(80 + 120)));
    assert_eq!(turn(&mut schedule, at(200)).unwrap().1, 1);
    schedule.ended(&lane, Ended::Answered, at(201), PAUSE);
    assert_eq!(turn(&mut schedule, at(201)).unwrap().1, 2, "it answers: slowly more");
}

#[test]
fn a_destination_that_wants_less_gets_half_after_a_pause() {
    let mut schedule = Schedule::default();
    let lane = domain("slow.example");
    schedule.note(&lane, at(0));
    turn(&mut schedule, at(0)).unwrap();
    schedule.ended(&lane, Ended::SlowDown, at(5), PAUSE);
    for _ in 1..FIRST_AT_A_TIME {
        schedule.ended(&lane, Ended::Answered, at(5), PAUSE);
    }
    assert!(schedule.lanes[&lane].allowed < 2 * FIRST_AT_A_TIME);
    let mut schedule = Schedule::default();
    schedule.note(&lane, at(0));
    turn(&mut schedule, at(0)).unwrap();
    for _ in 0..FIRST_AT_A_TIME {
        schedule.ended(&lane, Ended::SlowDown, at(5), PAUSE);
    }
    assert_eq!(schedule.wake_at(), Some(at(65)));
    assert_eq!(turn(&mut schedule, at(65)).unwrap().1, 1);
}

#[test]
fn a_suspended_lane_waits_until_it_is_opened() {
    let mut schedule = Schedule::default();
    let lane = domain("held.example");
    schedule.suspend(&lane, true);
    schedule.note(&lane, at(0));
    assert_eq!(schedule.wake_at(), None);
    schedule.suspend(&lane, false);
    schedule.open(&lane, at(1000));
    assert!(turn(&mut schedule, at(1000)).is_some());
}

#[test]
fn a_lane_with_nothing_left_is_forgotten() {
    let mut schedule = Schedule::default();
    let lane = domain("a.example");
    schedule.note(&lane, at(0));
    let turn = schedule.next(at(0)).unwrap();
    schedule.taken(&turn.domain, 1, None);
    schedule.ended(&lane, Ended::Answered, at(0) + SECOND, PAUSE);
    assert_eq!(schedule.len(), 0);
}

#[test]
fn an_answer_to_what_was_under_way_ends_no_pause_that_was_asked_for() {
    let mut schedule = Schedule::default();
    let lane = domain("slow.example");
    schedule.note(&lane, at(0));
    turn(&mut schedule, at(0)).unwrap();
    schedule.ended(&lane, Ended::SlowDown, at(5), PAUSE);
    for _ in 1..FIRST_AT_A_TIME {
        schedule.ended(&lane, Ended::Answered, at(5), PAUSE);
    }
    assert_eq!(schedule.wake_at(), Some(at(65)));
}

#[test]
fn an_attempt_that_broke_off_says_nothing_of_the_destination() {
    let mut schedule = Schedule::default();
    let lane = domain("a.example");
    schedule.note(&lane, at(0));
    turn(&mut schedule, at(0)).unwrap();
    schedule.broke_off(&lane);
    assert_eq!(turn(&mut schedule, at(5)).unwrap().1, 1, "one broke off, and no more is allowed");
}

/// The pauses of a lane whose probes all end so, in seconds.
fn pauses(ended: Ended, count: usize) -> Vec<u64> {
    let mut schedule = Schedule::default();
    let lane = domain("trouble.example");
    schedule.note(&lane, at(0));
    let mut now = at(0);
    let mut pauses = Vec::new();
    for _ in 0..count {
        let (_, started) = turn(&mut schedule, now).unwrap();
        (0..started).for_each(|_| schedule.ended(&lane, ended, now, PAUSE));
        let until = schedule.wake_at().unwrap();
        pauses.push(until.duration_since(now).unwrap().as_secs());
        now = until;
    }
    pauses
}

#[test]
fn the_pause_of_a_destination_that_wants_less_of_everything_grows_to_ten_minutes() {
    let growing = [60, 120, 240, 480, 600, 600];
    assert_eq!(pauses(Ended::SlowDown, 6), growing, "all that were under way at once are one");
    assert_eq!(pauses(Ended::Silent, 6), growing);
}

#[test]
fn a_slow_down_never_shortens_a_pause() {
    let lane = domain("both.example");
    for (slowed_at, opens_at) in [(5, 65), (64, 64 + 45)] {
        let mut schedule = Schedule::default();
        schedule.note(&lane, at(0));
        turn(&mut schedule, at(0)).unwrap();
        for _ in 1..FIRST_AT_A_TIME {
            schedule.ended(&lane, Ended::Silent, at(5), PAUSE);
        }
        let short = Pause { chance: 0.0, ..PAUSE };
        schedule.ended(&lane, Ended::SlowDown, at(slowed_at), short);
        assert_eq!(schedule.wake_at(), Some(at(opens_at)));
    }
}

#[test]
fn an_answer_behind_its_pause_forgets_that_a_destination_wanted_less() {
    let mut schedule = Schedule::default();
    let lane = domain("slow.example");
    schedule.note(&lane, at(0));
    turn(&mut schedule, at(0)).unwrap();
    for _ in 0..FIRST_AT_A_TIME {
        schedule.ended(&lane, Ended::SlowDown, at(5), PAUSE);
    }
    turn(&mut schedule, at(65)).unwrap();
    schedule.ended(&lane, Ended::Answered, at(66), PAUSE);
    turn(&mut schedule, at(66)).unwrap();
    for _ in 0..2 {
        schedule.ended(&lane, Ended::SlowDown, at(70), PAUSE);
    }
    assert_eq!(schedule.wake_at(), Some(at(130)));
}

/// A clock that was ahead by a day when the lane was closed and had its turn.
#[test]
fn a_lane_waits_for_no_time_of_a_clock_that_was_set_back() {
    const DAY: u64 = 86_400;
    let mut schedule = Schedule::default();
    let lane = domain("down.example");
    schedule.note(&lane, at(DAY));
    turn(&mut schedule, at(DAY)).unwrap();
    for _ in 0..FIRST_AT_A_TIME {
        schedule.ended(&lane, Ended::Silent, at(DAY), PAUSE);
    }
    assert_eq!(schedule.wake_at(), Some(at(DAY + 60)));
    schedule.cut(at(10), at(30));
    assert_eq!(schedule.wake_at(), Some(at(30)));
}

#[test]
fn a_lane_that_found_no_place_rests_for_a_moment_and_keeps_its_standing() {
    let mut schedule = Schedule::default();
    let lane = domain("held.example");
    schedule.note(&lane, at(0));
    turn(&mut schedule, at(0)).unwrap();
    schedule.ended(&lane, Ended::Held, at(10), PAUSE);
    assert_eq!(schedule.wake_at(), Some(at(10) + HELD));
    for _ in 1..FIRST_AT_A_TIME {
        schedule.ended(&lane, Ended::Held, at(10), PAUSE);
    }
    assert_eq!(turn(&mut schedule, at(40)).unwrap().1, FIRST_AT_A_TIME);
    // What its destination does counts as ever.
    for _ in 1..FIRST_AT_A_TIME {
        schedule.ended(&lane, Ended::Held, at(41), PAUSE);
    }
    schedule.ended(&lane, Ended::Silent, at(41), PAUSE);
    assert_eq!(schedule.wake_at(), Some(at(41 + 60)));
}
