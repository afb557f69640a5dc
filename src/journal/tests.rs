//! The journal through its public face, on a store in a temporary directory.

use std::time::SystemTime;

use super::*;

fn entry(number: u32) -> Entry {
    let id = TraceId::new(crate::clock::now(), u128::from(number));
    Entry {
        id,
        at: id.time(),
        client_ip: "192.0.2.1".parse().unwrap(),
        helo: "mail.sender.example".into(),
        reverse_path: format!("from{}@sender.example", number % 3),
        recipients: vec![format!("To{number}@hosted.example")],
        message_id: Some(format!("<{}@sender.example>", number % 5)),
        octets: 1234,
        verdict: "spf=pass".into(),
        outcome: Outcome::Forwarded,
        code: 250,
        reply: "250 2.0.0 OK".into(),
        steps: vec!["rule …".into()],
        duration_ms: 12,
    }
}

fn open(dir: &tempfile::TempDir, limits: Limits) -> Journal {
    Journal::open(&Store::open(dir.path()).unwrap(), limits).unwrap()
}

async fn all(journal: &Journal) -> Vec<u64> {
    let page = journal.search(Criteria { limit: SEARCH_LIMIT, ..Criteria::default() }).await.unwrap();
    page.found.iter().map(|recorded| recorded.sequence).collect()
}

#[tokio::test]
async fn a_recorded_entry_is_found_by_trace_id_message_id_and_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir, Limits::default());
    let entries: Vec<Entry> = (0..20).map(entry).collect();
    entries.iter().cloned().for_each(|entry| journal.record(entry));
    journal.settled().await;
    let found = journal.find(entries[7].id).await.unwrap().unwrap();
    assert_eq!((found.entry, found.sequence), (entries[7].clone(), 8));
    assert_eq!(journal.find(TraceId::new(SystemTime::UNIX_EPOCH, 1)).await.unwrap(), None);

    let by = |criteria: Criteria| async { journal.search(criteria).await.unwrap().found };
    let message = Some("<3@sender.example>".to_owned());
    let found = by(Criteria { message_id: message, limit: 10, ..Criteria::default() }).await;
    assert_eq!(found.iter().map(|r| r.sequence).collect::<Vec<_>>(), [19, 14, 9, 4]);
    let to = Some("tO12@Hosted.example".to_owned());
    let found = by(Criteria { to, limit: 10, ..Criteria::default() }).await;
    assert_eq!(found.iter().map(|r| r.sequence).collect::<Vec<_>>(), [13]);
    let from = Some("from1@sender.example".to_owned());
    let since = Some(entries[10].at);
    let found = by(Criteria { from, since, limit: 10, ..Criteria::default() }).await;
    assert!(found.iter().all(|r| r.sequence % 3 == 2 && r.entry.at >= entries[10].at));
    assert!(found.len() >= 3);
}

#[tokio::test]
async fn pages_hold_every_entry_once() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir, Limits::default());
    (0..25).map(entry).for_each(|entry| journal.record(entry));
    journal.settled().await;
    for message_id in [None, Some("<3@sender.example>".to_owned())] {
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let criteria =
                Criteria { message_id: message_id.clone(), before, limit: 3, ..Criteria::default() };
            let page = journal.search(criteria).await.unwrap();
            seen.extend(page.found.iter().map(|recorded| recorded.sequence));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        let expected: Vec<u64> = (1..=25).rev().filter(|s| message_id.is_none() || s % 5 == 4).collect();
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn the_oldest_go_when_a_bound_is_reached() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir, Limits { entries: 10, ..Limits::default() });
    let entries: Vec<Entry> = (0..30).map(entry).collect();
    for entry in &entries {
        journal.record(entry.clone());
        journal.settled().await;
    }
    assert_eq!(all(&journal).await, (21..=30).rev().collect::<Vec<u64>>());
    assert_eq!(journal.find(entries[0].id).await.unwrap(), None);
    drop(journal);

    let dir = tempfile::tempdir().unwrap();
    let octets = u64::try_from(entry(1).encode(0).len()).unwrap();
    let journal = open(&dir, Limits { octets: octets * 4 + octets / 2, ..Limits::default() });
    (0..9).map(entry).for_each(|entry| journal.record(entry));
    journal.settled().await;
    assert_eq!(all(&journal).await, [9, 8, 7, 6]);
}

#[tokio::test]
async fn entries_older_than_the_age_go_with_their_index() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir, Limits::default());
    let old = Entry { at: crate::clock::now() - Duration::from_hours(73), ..entry(1) };
    journal.record(old.clone());
    journal.record(entry(2));
    journal.settled().await;
    assert_eq!(all(&journal).await, [2]);
    assert_eq!(journal.find(old.id).await.unwrap(), None);
    let of_message = Criteria { message_id: old.message_id, limit: 5, ..Criteria::default() };
    assert_eq!(journal.search(of_message).await.unwrap(), Page::default());
}

#[tokio::test]
async fn what_was_kept_is_there_after_a_restart_and_sequences_go_on() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = Store::open(dir.path()).unwrap();
        let journal = Journal::open(&store, Limits::default()).unwrap();
        (0..5).map(entry).for_each(|entry| journal.record(entry));
        journal.settled().await;
    }
    let store = Store::open(dir.path()).unwrap();
    let journal = Journal::open(&store, Limits::default()).unwrap();
    journal.record(entry(5));
    journal.settled().await;
    assert_eq!(all(&journal).await, [6, 5, 4, 3, 2, 1]);
    let after: Vec<u64> = journal.after(4).await.unwrap().iter().map(|r| r.sequence).collect();
    assert_eq!(after, [5, 6]);
}

#[tokio::test]
async fn subscribers_hear_of_entries_in_order_and_of_what_they_missed() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir, Limits::default());
    let mut quick = journal.subscribe();
    let mut slow = journal.subscribe();
    for sequence in 1..=3 {
        journal.record(entry(0));
        let Happened::Ended(event) = quick.recv().await.unwrap() else { panic!() };
        assert_eq!(event.sequence, sequence);
        assert_eq!(journal.find(event.entry.id).await.unwrap().as_ref(), Some(&*event));
        journal.record_delivery(event.entry.id, delivery(sequence));
        let later = Happened::Later(event.entry.id, Arc::new(delivery(sequence)));
        assert_eq!(quick.recv().await.unwrap(), later);
    }
    for number in 3..2000 {
        journal.record(entry(number));
    }
    journal.settled().await;
    assert!(matches!(slow.recv().await, Err(broadcast::error::RecvError::Lagged(979))));
}

#[test]
fn recording_never_waits_and_counts_what_does_not_fit() {
    let (orders, _receiver) = sync_channel(2);
    let (events, _) = broadcast::channel(1);
    let dir = tempfile::tempdir().unwrap();
    let records = Records::new(Store::open(dir.path()).unwrap().tree("journal").unwrap());
    let shared = Shared { orders: Some(orders), records, events, dropped: Arc::default(), writer: None };
    let journal = Journal { shared: Arc::new(shared) };
    for number in 0..5 {
        journal.record(entry(number));
    }
    assert_eq!(journal.dropped(), 3);
}

#[test]
fn the_largest_entry_fits_the_store() {
    let long = "ü".repeat(100_000);
    let huge = Entry {
        helo: long.clone(),
        reverse_path: long.clone(),
        recipients: vec![long.clone(); 1000],
        message_id: Some(long.clone()),
        verdict: long.clone(),
        reply: long.clone(),
        steps: vec![long; 1000],
        ..entry(1)
    }
    .bounded();
    let octets = huge.encode(u64::MAX);
    assert!(octets.len() < crate::store::MAX_VALUE_OCTETS, "{}", octets.len());
    assert_eq!(huge.recipients.len(), MAX_RECIPIENTS);
    assert_eq!(huge.steps.last().unwrap(), "900 more recipients are not kept");
    assert!(Entry::decode(&octets).unwrap() == (huge, u64::MAX));
}

#[test]
fn an_entry_of_another_version_or_damaged_is_an_error() {
    assert!(matches!(Entry::decode(&[]), Err(EntryError::Version(None))));
    assert!(matches!(Entry::decode(&[9, 1]), Err(EntryError::Version(Some(9)))));
    assert!(matches!(Entry::decode(&[1, 0xff]), Err(EntryError::Malformed(_))));
    assert!(matches!(Entry::decode(&[1]), Err(EntryError::Field("id"))));
}

#[tokio::test]
async fn a_journal_that_cannot_be_read_is_begun_anew_and_one_bad_entry_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let tree = store.tree("journal").unwrap();
    let journal = Journal::open(&store, Limits::default()).unwrap();
    (0..3).map(entry).for_each(|entry| journal.record(entry));
    journal.settled().await;
    let key = |sequence: u64| [&b"e"[..], &sequence.to_be_bytes()].concat();
    tree.insert(&key(2), &[9, 9]).unwrap();
    assert_eq!(all(&journal).await, [3, 1]);
    drop(journal);
    tree.insert(&key(3), &[9, 9]).unwrap();
    let journal = Journal::open(&store, Limits { entries: 1, ..Limits::default() }).unwrap();
    assert_eq!(all(&journal).await, Vec::<u64>::new());
    journal.record(entry(7));
    journal.settled().await;
    assert_eq!(all(&journal).await, [1]);
}

fn delivery(number: u64) -> Delivery {
    Delivery {
        at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_456_800 + number),
        result: DeliveryResult::Deferred,
        recipient: "info@hosted.example".into(),
        destination: "ana@dest.example".into(),
        attempts: 2,
        host: "mx.dest.example".into(),
        code: 451,
        text: format!("later {number}"),
    }
}

#[tokio::test]
async fn what_comes_later_is_found_by_the_same_trace_id_and_goes_with_its_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { entries: 2, ..Limits::default() };
    let journal = open(&dir, limits);
    let entries: Vec<Entry> = (0..4).map(entry).collect();
    let ids = |range: std::ops::Range<usize>| entries[range].iter().map(|entry| entry.id).collect::<Vec<_>>();
    journal.record(entries[0].clone());
    journal.record_delivery(entries[0].id, delivery(1));
    journal.record_delivery(entries[0].id, delivery(1));
    journal.record_delivery(entries[1].id, delivery(2));
    let end = Delivery { result: DeliveryResult::Delivered, code: 250, ..delivery(3) };
    journal.settled().await;
    journal.record_delivery(entries[0].id, end.clone());
    let of_first = vec![delivery(1), delivery(1), end.clone()];
    assert_eq!(journal.deliveries(ids(0..2)).await.unwrap(), [of_first.clone(), vec![]]);
    drop(journal);
    let journal = open(&dir, limits);
    assert_eq!(journal.deliveries(ids(0..1)).await.unwrap(), [of_first]);
    (0..500).for_each(|number| journal.record_delivery(entries[0].id, delivery(number)));
    let newest = journal.deliveries(ids(0..1)).await.unwrap().remove(0);
    assert_eq!((newest.len(), newest.last()), (MAX_DELIVERIES, Some(&delivery(499))));
    entries[1..].iter().cloned().for_each(|entry| journal.record(entry));
    assert_eq!(journal.find(entries[0].id).await.unwrap(), None);
    assert_eq!(journal.deliveries(ids(0..1)).await.unwrap(), [vec![]]);
    let most = Delivery { text: "x".repeat(10_000), host: "h".repeat(999), ..delivery(1) };
    assert!(most.bounded().encode().len() < 2300);
}

#[tokio::test]
async fn the_octets_of_what_comes_later_count() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir, Limits { octets: 20_000, ..Limits::default() });
    let entries: Vec<Entry> = (0..3).map(entry).collect();
    journal.record(entries[0].clone());
    let long = Delivery { text: "x".repeat(1000), ..delivery(1) };
    (0..30).for_each(|_| journal.record_delivery(entries[0].id, long.clone()));
    journal.settled().await;
    journal.record(entries[1].clone());
    assert_eq!(journal.find(entries[0].id).await.unwrap(), None);
}
