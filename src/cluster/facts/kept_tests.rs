use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;
use crate::blocklist::{Finding, Question, ZoneId};

fn key(at: u32) -> Question {
    Question { zone: ZoneId([1; 16]), ip: Ipv4Addr::from(at).into() }
}

fn finding(codes: usize) -> Finding {
    Finding::new(&vec![Ipv4Addr::new(127, 0, 0, 2); codes], Duration::from_secs(60)).unwrap()
}

#[test]
fn a_flood_stays_in_bounds_by_count_and_by_octets_and_what_makes_room_is_counted() {
    for (codes, floods) in [(0, MAX_KEPT * 2), (16, MAX_KEPT * 2)] {
        let mut kept = Kept::default();
        let dropped: usize = (0..floods as u32).map(|at| kept.keep(key(at), finding(codes))).sum();
        let (count, octets) = kept.size();
        assert!(count <= MAX_KEPT && octets <= MAX_KEPT_OCTETS, "{count} {octets}");
        assert_eq!((dropped + count, kept.order.len()), (floods, count));
        // The latest is there, the first is not.
        let (told, _) = kept.after(0, floods);
        assert_eq!(told.last().unwrap().0, key(floods as u32 - 1));
        assert!(told.iter().all(|(told, _)| *told != key(0)));
    }
}

#[test]
fn all_are_told_once_in_bounded_batches_and_of_a_key_the_latest() {
    let mut kept = Kept::default();
    for at in 0..10 {
        kept.keep(key(at), finding(0));
    }
    kept.keep(key(3), finding(1));
    let (mut up_to, mut told) = (0, Vec::new());
    while kept.has_after(up_to) {
        let (batch, next) = kept.after(up_to, 4);
        assert!(batch.len() <= 4);
        told.extend(batch);
        up_to = next;
    }
    assert_eq!(told.len(), 10);
    assert_eq!((told[9].0, told[9].1.codes().len()), (key(3), 1));
    kept.keep(key(1), finding(2));
    assert_eq!(kept.after(up_to, 4).0, [(key(1), kept.by_key[&key(1)].1.clone())]);
}

#[test]
fn what_is_over_is_not_told() {
    let mut kept = Kept::default();
    kept.keep(key(1), Finding::new(&[], Duration::from_nanos(1)).unwrap());
    assert_eq!(kept.after(0, 4), (Vec::new(), 1));
    assert!(!kept.has_after(1));
}
