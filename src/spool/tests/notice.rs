//! A notification of ours and its cause: both, or neither.

use std::fs;

use prost::Message as _;

use super::*;
use crate::wal::{Piece, Scan};

/// Message 1 in the new state that is told, and then gone.
fn causes() -> [Queued; 2] {
    let (mut changed, mut gone) = (message(1), message(1));
    changed.copies[0].attempts = 7;
    gone.copies.clear();
    [changed, gone]
}

/// A spool with message 1, and 2 that tells of it.
async fn told(place: &Place, cause: &Queued) -> Spool {
    let (spool, _) = place.open();
    spool.put(message(1), &octets(1, 40)).await.unwrap();
    spool.put_notice(message(2), &octets(2, 40), Some(cause)).await.unwrap();
    spool
}

/// What the spool has of message 1, if it has 2, and else.
fn expected(cause: &Queued, is_told: bool) -> BTreeMap<TraceId, (Queued, Vec<u8>)> {
    let one = if is_told { cause.clone() } else { message(1) };
    let two = is_told.then(|| message(2));
    let all = [(1, Some(one).filter(|one| !one.copies.is_empty())), (2, two)];
    all.into_iter().filter_map(|(n, queued)| Some((id(n), (queued?, emitted(&octets(n, 40)))))).collect()
}

/// Where the record of the notification is.
fn record(segment: &[u8]) -> std::ops::Range<usize> {
    match Scan::new(FORMAT, segment, None).nth(2) {
        Some(Piece::Frame(_, range)) => range,
        other => panic!("{other:?}"),
    }
}

fn without_index(place: &Place) -> (Spool, Recovered) {
    fs::remove_dir_all(place.path("index")).unwrap();
    place.open()
}

#[tokio::test]
async fn a_notice_and_its_cause_are_there_at_once_and_after_reopening() {
    for cause in causes() {
        let place = Place::new();
        let spool = told(&place, &cause).await;
        let expected = expected(&cause, true);
        assert_eq!(content(&spool).await, expected);
        drop(spool);
        assert_eq!(content(&place.open().0).await, expected);
        assert_eq!(content(&without_index(&place).0).await, expected);
    }
}

#[tokio::test]
async fn a_notice_cut_off_at_any_octet_is_not_there_nor_is_its_cause() {
    for cause in causes() {
        let place = Place::new();
        drop(told(&place, &cause).await);
        let segment = fs::read(place.segment(1)).unwrap();
        for at in record(&segment) {
            fs::write(place.segment(1), &segment[..at]).unwrap();
            let (spool, _) = without_index(&place);
            assert_eq!(content(&spool).await, expected(&cause, false), "cut off at {at}");
        }
    }
}

#[tokio::test]
async fn a_notice_with_a_bit_flipped_anywhere_is_kept_aside_and_its_cause_with_it() {
    let [_, gone] = causes();
    let place = Place::new();
    let spool = told(&place, &gone).await;
    spool.put(message(3), &octets(3, 40)).await.unwrap();
    drop(spool);
    let segment = fs::read(place.segment(1)).unwrap();
    for at in record(&segment).step_by(3) {
        let mut flipped = segment.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(place.segment(1), &flipped).unwrap();
        let (spool, recovered) = without_index(&place);
        assert_eq!(recovered.quarantined.len(), 1, "flipped at {at}");
        assert_eq!(spool.get(id(1)).await.unwrap(), Some(message(1)), "flipped at {at}");
        // An envelope that can be believed, without octets: nobody is sent that.
        assert!(!matches!(spool.load(id(2)).await, Ok(Some(_))), "flipped at {at}");
    }
}

#[tokio::test]
async fn a_notice_that_is_moved_has_its_cause_no_more() {
    let mut place = Place::new();
    place.options.segment_octets = 20_000;
    let (spool, _) = place.open();
    let [changed, _] = causes();
    spool.put(message(1), &octets(1, 40)).await.unwrap();
    spool.put_notice(message(2), &octets(2, 40), Some(&changed)).await.unwrap();
    let mut newest = message(1);
    newest.copies[0].attempts = 9;
    spool.update(newest.clone()).await.unwrap();
    for number in 3..=8 {
        spool.put(message(number), &octets(number, 10_000)).await.unwrap();
        spool.remove(id(number)).await.unwrap();
    }
    until(async || !place.segment(1).exists()).await;
    drop(spool);
    let (spool, _) = without_index(&place);
    assert_eq!(spool.list(None, 9).await.unwrap(), [newest, message(2)]);
}

#[tokio::test]
async fn a_message_that_a_notice_changes_on_its_way_is_not_moved_as_it_was() {
    let place = Place::new();
    let (spool, _) = place.open();
    spool.put(message(1), &octets(1, 40)).await.unwrap();
    spool.inner.threads.ask(|answer| Order::Watch(vec![id(1)], answer)).await.unwrap();
    spool.settle().await.unwrap();
    let stale = spool.inner.index.entry(id(1)).unwrap().unwrap();
    let [changed, _] = causes();
    spool.put_notice(message(2), &octets(2, 40), Some(&changed)).await.unwrap();
    let meta = record::put(stale.message.clone(), None).encode_to_vec();
    let draft = draft(Kind::Put, meta, Vec::new(), Bytes::new()).unwrap();
    spool.write(id(1), draft, vec![Event::Put(Box::new(stale))], Purpose::Move).await.unwrap();
    assert_eq!(spool.get(id(1)).await.unwrap(), Some(changed));
}
