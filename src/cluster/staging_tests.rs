use super::*;

const START: SystemTime = SystemTime::UNIX_EPOCH;
const MOMENT: Duration = Duration::from_millis(1);

fn id(text: &str) -> RequestId {
    RequestId::parse(text).unwrap()
}

fn add(
    staging: &mut Staging,
    of: &str,
    after: Duration,
    offset: usize,
    octets: &'static str,
) -> &'static str {
    let octets = Bytes::from_static(octets.as_bytes());
    let added = staging.add(Part { request_id: id(of), at: START + after, offset, octets });
    added.map_or_else(|error| error.reason(), |()| "taken")
}

fn finish(staging: &mut Staging, of: &str, after: Duration, octets: usize) -> Result<String, &'static str> {
    let finished = staging.finish(&Finish { request_id: id(of), at: START + after, octets });
    finished.map(|octets| String::from_utf8(octets).unwrap()).map_err(|error| error.reason())
}

#[test]
fn parts_come_together_and_are_gone() {
    let mut staging = Staging::default();
    assert_eq!(add(&mut staging, "a", MOMENT, 0, "one "), "taken");
    assert_eq!(add(&mut staging, "a", MOMENT, 4, "two"), "taken");
    let mut again = Staging::default();
    staging.parts().for_each(|part| again.add(part).unwrap());
    for mut staging in [staging, again] {
        assert_eq!(finish(&mut staging, "a", MOMENT, 7).unwrap(), "one two");
        assert_eq!(finish(&mut staging, "a", MOMENT, 7), Err("PARTS_GONE"));
        assert_eq!(staging.parts().count(), 0);
    }
}

#[test]
fn another_change_meanwhile_is_refused_and_disturbs_nothing() {
    let mut staging = Staging::default();
    assert_eq!(add(&mut staging, "a", MOMENT, 0, "one"), "taken");
    assert_eq!(add(&mut staging, "b", MOMENT, 0, "other"), "LARGE_CHANGE_UNDER_WAY");
    assert_eq!(finish(&mut staging, "b", MOMENT, 5), Err("PARTS_GONE"));
    assert_eq!(finish(&mut staging, "a", MOMENT, 3).unwrap(), "one");
    assert_eq!(add(&mut staging, "b", MOMENT, 0, "other"), "taken");
}

#[test]
fn a_first_part_begins_anew() {
    let mut staging = Staging::default();
    assert_eq!(add(&mut staging, "a", MOMENT, 0, "stale"), "taken");
    assert_eq!(add(&mut staging, "a", STAGED_FOR, 0, "new"), "taken");
    assert_eq!(finish(&mut staging, "a", STAGED_FOR * 2 - MOMENT, 3).unwrap(), "new");
}

#[test]
fn a_gap_or_a_missing_end_is_never_made() {
    let mut staging = Staging::default();
    assert_eq!(add(&mut staging, "a", MOMENT, 3, "two"), "PARTS_GONE");
    for offset in [2, 4] {
        assert_eq!(add(&mut staging, "a", MOMENT, 0, "one"), "taken");
        assert_eq!(add(&mut staging, "a", MOMENT, offset, "two"), "PARTS_GONE");
        assert_eq!(add(&mut staging, "a", MOMENT, 3, "two"), "PARTS_GONE", "all of it is gone");
    }
    assert_eq!(add(&mut staging, "a", MOMENT, 0, "one"), "taken");
    assert_eq!(finish(&mut staging, "a", MOMENT, 6), Err("PARTS_GONE"));
    assert_eq!(add(&mut staging, "b", MOMENT, 0, "other"), "taken");
}

#[test]
fn after_ten_minutes_parts_are_gone_whatever_asks() {
    let over = STAGED_FOR + MOMENT;
    let begun = || {
        let mut staging = Staging::default();
        assert_eq!(add(&mut staging, "a", MOMENT, 0, "one"), "taken");
        // The time of the first part counts.
        assert_eq!(add(&mut staging, "a", STAGED_FOR, 3, "two"), "taken");
        staging
    };
    assert_eq!(add(&mut begun(), "b", over - MOMENT, 0, "other"), "LARGE_CHANGE_UNDER_WAY");
    assert_eq!(add(&mut begun(), "b", over, 0, "other"), "taken");
    assert_eq!(add(&mut begun(), "a", over, 6, "three"), "PARTS_GONE");
    assert_eq!(finish(&mut begun(), "a", over - MOMENT, 6).unwrap(), "onetwo");
    assert_eq!(finish(&mut begun(), "a", over, 6), Err("PARTS_GONE"));
    let mut staging = begun();
    staging.pass(START + over - MOMENT);
    assert_eq!(staging.parts().count(), 2);
    staging.pass(START + over);
    assert_eq!(staging.parts().count(), 0);
}

/// By what it counts, since half a gigabyte is much for a test.
#[test]
fn a_change_is_bounded() {
    let mut staging = Staging::default();
    assert_eq!(add(&mut staging, "a", MOMENT, 0, "one"), "taken");
    staging.0.as_mut().unwrap().octets = MAX_STAMPED_OCTETS - 2;
    assert_eq!(add(&mut staging, "a", MOMENT, MAX_STAMPED_OCTETS - 2, "zz"), "taken");
    assert_eq!(add(&mut staging, "a", MOMENT, MAX_STAMPED_OCTETS, "z"), "CHANGE_TOO_LARGE");
    assert_eq!(staging.parts().count(), 0);
}
