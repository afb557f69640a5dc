use std::sync::mpsc;
use std::time::SystemTime;

use super::*;

fn done(number: u128) -> Event {
    Event::Done(TraceId::new(SystemTime::UNIX_EPOCH, number))
}

fn apply(number: u128, segment: u64, offset: u64) -> Note {
    Note::Apply { events: vec![done(number)], checkpoint: Position { segment, offset } }
}

/// The ids that are joined to one in segment 1, how far the log is applied then, and the note that is left over.
fn joined(waiting: Vec<Note>) -> (Vec<TraceId>, Position, Option<Note>) {
    let (notes, channel) = mpsc::channel();
    waiting.into_iter().for_each(|note| notes.send(note).unwrap());
    drop(notes);
    let mut events = vec![done(1)];
    let (checkpoint, other) = join(&mut events, Position { segment: 1, offset: 10 }, &channel);
    (events.iter().map(|event| event.id().unwrap()).collect(), checkpoint, other)
}

fn ids(numbers: std::ops::RangeInclusive<u128>) -> Vec<TraceId> {
    numbers.map(|number| TraceId::new(SystemTime::UNIX_EPOCH, number)).collect()
}

#[test]
fn batches_of_one_segment_are_joined_in_their_order() {
    let (found, checkpoint, other) = joined(vec![apply(2, 1, 20), apply(3, 1, 30)]);
    assert_eq!((found, checkpoint), (ids(1..=3), Position { segment: 1, offset: 30 }));
    assert!(other.is_none());
}

/// The index notes the octets of each segment by the last checkpoint in it.
#[test]
fn a_batch_of_the_next_segment_is_applied_by_itself() {
    let (found, checkpoint, other) = joined(vec![apply(2, 1, 20), apply(3, 2, 5), apply(4, 2, 10)]);
    assert_eq!((found, checkpoint), (ids(1..=2), Position { segment: 1, offset: 20 }));
    assert!(matches!(other, Some(Note::Apply { checkpoint: Position { segment: 2, offset: 5 }, .. })));
}

#[test]
fn a_note_of_another_kind_comes_behind_what_was_told_before_it() {
    let flush = Note::Flush(Position { segment: 1, offset: 20 });
    let (found, checkpoint, other) = joined(vec![apply(2, 1, 20), flush, apply(3, 1, 30)]);
    assert_eq!((found, checkpoint), (ids(1..=2), Position { segment: 1, offset: 20 }));
    assert!(matches!(other, Some(Note::Flush(_))));
}

#[test]
fn no_more_are_joined_than_fit() {
    let more = (2..=3000).map(|number| apply(number, 1, 10)).collect();
    assert_eq!(joined(more).0.len(), JOINED_EVENTS);
}
