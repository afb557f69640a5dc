use std::sync::mpsc;

use super::*;
use crate::proto::spool::v1;
use crate::spool::index::Entry;
use crate::wal::Location;

const START: Position = Position { segment: 1, offset: 10 };

fn id(number: u64) -> TraceId {
    TraceId::from_bytes(u128::from(number).to_be_bytes())
}

/// A message that has a page for itself.
fn put(number: u64) -> Event {
    let envelope_id = Some("x".repeat(3000));
    let message = v1::Message { id: id(number).to_bytes().to_vec(), envelope_id, ..v1::Message::default() };
    Event::New(Box::new(Entry { location: Location::default(), message_octets: 1, in_file: false, message }))
}

fn apply(numbers: std::ops::Range<u64>, segment: u64, offset: u64) -> Note {
    Note::Apply { events: numbers.map(put).collect(), checkpoint: Position { segment, offset } }
}

/// How many messages an index has when these were joined, how far it is then, and the note that is left over.
fn joined(notes: &Receiver<Note>, until: Instant) -> (u64, Position, Option<Note>) {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path()).unwrap();
    let mut change = index.change();
    let (checkpoint, other) = join(&mut change, START, notes, until).unwrap();
    change.apply(checkpoint).unwrap();
    assert_eq!(index.totals().checkpoint, Some(checkpoint));
    (index.counts().messages(), checkpoint, other)
}

/// The same of notes that are there, with the sender still at work and no time to wait for it.
fn joined_of(waiting: Vec<Note>) -> (u64, Position, Option<Note>) {
    let (notes, channel) = mpsc::channel();
    waiting.into_iter().for_each(|note| notes.send(note).unwrap());
    let joined = joined(&channel, Instant::now());
    drop(notes);
    joined
}

#[test]
fn batches_of_one_segment_are_joined_in_their_order() {
    let (messages, checkpoint, other) = joined_of(vec![apply(1..3, 1, 20), apply(3..6, 1, 30)]);
    assert_eq!((messages, checkpoint), (5, Position { segment: 1, offset: 30 }));
    assert!(other.is_none());
}

/// The index notes the octets of each segment by the last checkpoint in it.
#[test]
fn a_batch_of_the_next_segment_is_applied_by_itself() {
    let (messages, checkpoint, other) =
        joined_of(vec![apply(1..2, 1, 20), apply(2..3, 2, 5), apply(3..4, 2, 9)]);
    assert_eq!((messages, checkpoint), (1, Position { segment: 1, offset: 20 }));
    assert!(matches!(other, Some(Note::Apply { checkpoint: Position { segment: 2, offset: 5 }, .. })));
}

#[test]
fn a_note_of_another_kind_comes_behind_what_was_told_before_it() {
    let flush = Note::Flush(Position { segment: 1, offset: 20 });
    let (messages, checkpoint, other) = joined_of(vec![apply(1..2, 1, 20), flush, apply(2..3, 1, 30)]);
    assert_eq!((messages, checkpoint), (1, Position { segment: 1, offset: 20 }));
    assert!(matches!(other, Some(Note::Flush(_))));
}

#[test]
fn no_more_is_joined_than_is_written_in_a_moment() {
    let (messages, ..) = joined_of((0..300).map(|note| apply(note * 10..note * 10 + 10, 1, note)).collect());
    assert_eq!(messages, u64::try_from(JOINED_WRITES).unwrap());
}

#[test]
fn a_batch_waits_for_those_that_come_while_nobody_asks() {
    // Without room: each is sent when the one before it was taken.
    let (notes, channel) = mpsc::sync_channel(0);
    let (answer, _answered) = tokio::sync::oneshot::channel();
    let writer = std::thread::spawn(move || {
        for number in 0..10 {
            notes.send(apply(number..number + 1, 1, number)).unwrap();
        }
        notes.send(Note::Settle(answer)).unwrap();
        notes
    });
    let (messages, _, other) = joined(&channel, Instant::now() + Duration::from_secs(600));
    assert_eq!(messages, 10);
    assert!(matches!(other, Some(Note::Settle(_))));
    writer.join().unwrap();
}
