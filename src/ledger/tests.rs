use bytes::Bytes;

use super::*;
use crate::mail::Message;
use crate::store::testing::StalledDisk;

struct Fixture {
    directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// The committer's thread of an earlier ledger lets go of the database on its own time.
    fn store(&self) -> Store {
        let limit = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            match Store::open(self.directory.path()) {
                Ok(store) => return store,
                Err(error) => assert!(std::time::Instant::now() < limit, "{error}"),
            }
            std::thread::yield_now();
        }
    }

    fn open(&self) -> Ledger {
        let store = self.store();
        let committer = Committer::start(store.clone()).unwrap();
        Ledger::open(&store, committer).unwrap()
    }
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn message(text: &'static str) -> Message {
    Message::from_octets(Bytes::from(text))
}

fn key(ledger: &Ledger, text: &'static str) -> Key {
    let content = Fingerprint::of(&message(text)).unwrap();
    let sender = ReversePath::Mailbox(address("alice@sender.example"));
    ledger.key(&content, &sender, &address("info@example.com"), &address("ana@dest.example"))
}

fn delivered() -> Recorded {
    let reply = Reply {
        code: 250,
        enhanced: Some(Enhanced(2, 0, 0)),
        reason: UPSTREAM_REASON,
        lines: vec!["taken".into()],
    };
    Recorded::Delivered(UpstreamReply { host: "mx.dest.example".into(), reply })
}

/// A reply as long as an upstream may send one, which JSON makes twice as long.
fn refused_at_length() -> Recorded {
    let lines = vec!["\"".repeat(4096); 16];
    let reply = Reply { code: 550, enhanced: Some(Enhanced(5, 7, 1)), reason: UPSTREAM_REASON, lines };
    Recorded::Refused(UpstreamReply { host: "mx.dest.example".into(), reply })
}

fn lines(recorded: Option<Recorded>) -> Vec<String> {
    match recorded {
        Some(Recorded::Delivered(upstream) | Recorded::Refused(upstream)) => upstream.reply.lines,
        other => panic!("no reply in {other:?}"),
    }
}

const MESSAGE: &str = "From: a@b\r\nMessage-ID: <1@b>\r\n\r\nbody\r\n";

#[tokio::test]
async fn a_delivery_is_remembered_over_a_restart_and_forgotten_when_heard() {
    let fixture = Fixture::new();
    let ledger = fixture.open();
    assert!(ledger.is_empty());
    let name = key(&ledger, MESSAGE);
    ledger.record(vec![(name, delivered())]).await.unwrap();
    drop(ledger);

    let ledger = fixture.open();
    assert_eq!(key(&ledger, MESSAGE), name, "the key of the names is durable");
    assert_eq!(ledger.recall(&name), Some(delivered()));
    ledger.forget(vec![name]).await.unwrap();
    assert_eq!(ledger.recall(&name), None);
    assert!(ledger.is_empty());
}

#[tokio::test]
async fn a_long_reply_is_kept_by_its_first_words_and_costs_no_other_copy_its_record() {
    let fixture = Fixture::new();
    let ledger = fixture.open();
    let (long, short) = (key(&ledger, MESSAGE), key(&ledger, "From: a@b\r\n\r\nother\r\n"));
    ledger.record(vec![(long, refused_at_length()), (short, delivered())]).await.unwrap();
    let in_memory = lines(ledger.recall(&long));
    assert_eq!(in_memory, ["\"".repeat(512)]);
    drop(ledger);

    let ledger = fixture.open();
    assert_eq!(lines(ledger.recall(&long)), in_memory);
    assert_eq!(ledger.recall(&short), Some(delivered()));
}

#[tokio::test]
async fn of_a_reply_in_many_lines_the_first_are_kept() {
    let ledger = Fixture::new().open();
    let name = key(&ledger, MESSAGE);
    let reply = Reply { code: 250, enhanced: None, reason: UPSTREAM_REASON, lines: vec![String::new(); 100] };
    let upstream = UpstreamReply { host: "mx.dest.example".into(), reply };
    ledger.record(vec![(name, Recorded::Delivered(upstream))]).await.unwrap();
    assert_eq!(lines(ledger.recall(&name)), vec![""; 8]);
}

#[tokio::test]
async fn a_record_that_cannot_be_written_costs_no_other_copy_its_record() {
    let fixture = Fixture::new();
    let ledger = fixture.open();
    let (first, second) = (key(&ledger, MESSAGE), key(&ledger, "From: a@b\r\n\r\nother\r\n"));
    let Recorded::Delivered(upstream) = delivered() else { unreachable!() };
    let endless = UpstreamReply { host: "x".repeat(200_000), ..upstream };
    let answers = vec![(first, Recorded::Delivered(endless)), (second, delivered())];
    assert!(ledger.record(answers).await.is_err());
    drop(ledger);

    assert_eq!(fixture.open().recall(&second), Some(delivered()));
}

#[tokio::test]
async fn an_open_copy_is_unknown_after_a_restart() {
    let fixture = Fixture::new();
    let ledger = fixture.open();
    let name = key(&ledger, MESSAGE);
    ledger.record(vec![(name, Recorded::Open)]).await.unwrap();
    assert_eq!(ledger.recall(&name), Some(Recorded::Open));
    drop(ledger);
    assert_eq!(fixture.open().recall(&name), None);
}

#[tokio::test]
async fn a_late_answer_is_not_forgotten_with_the_open_one() {
    let ledger = Fixture::new().open();
    let name = key(&ledger, MESSAGE);
    ledger.record(vec![(name, Recorded::Open)]).await.unwrap();
    ledger.record(vec![(name, delivered())]).await.unwrap();
    ledger.forget_open(&name);
    assert_eq!(ledger.recall(&name), Some(delivered()));
}

#[test]
fn trace_fields_do_not_change_the_fingerprint_and_content_does() {
    let print = |text| Fingerprint::of(&message(text)).unwrap();
    let plain = print(MESSAGE);
    assert_eq!(
        plain,
        print("Received: from x\r\nfrom: a@b\r\nX-Try: 2\r\nMessage-ID: <1@b>\r\n\r\nbody\r\n")
    );
    assert_ne!(plain, print("From: a@b\r\nMessage-ID: <2@b>\r\n\r\nbody\r\n"));
    assert_ne!(plain, print("From: a@b\r\nMessage-ID: <1@b>\r\n\r\nother\r\n"));
}

#[tokio::test]
async fn a_disk_that_does_not_answer_holds_up_no_thread_of_the_runtime() {
    let ledger = Fixture::new().open();
    let name = key(&ledger, MESSAGE);
    let disk = StalledDisk::of(ledger.inner.clone(), |inner| &inner.writing).await;
    let recording = ledger.clone();
    let record = tokio::spawn(async move { recording.record(vec![(name, delivered())]).await });
    tokio::task::yield_now().await;
    // What is in memory is known at once.
    assert_eq!(ledger.recall(&name), Some(delivered()));
    let was_free = disk.release();
    record.await.unwrap().unwrap();
    assert!(was_free && disk.was_released(), "the runtime waited for the disk");
}

#[tokio::test]
async fn the_disk_ends_with_what_memory_has_however_the_writes_cross() {
    let fixture = Fixture::new();
    let ledger = fixture.open();
    let name = key(&ledger, MESSAGE);
    for _ in 0..20 {
        let (recorded, forgotten) =
            tokio::join!(ledger.record(vec![(name, delivered())]), ledger.forget(vec![name]));
        recorded.and(forgotten).unwrap();
        let on_disk = ledger.inner.tree.get(&name.0).unwrap().is_some();
        assert_eq!(on_disk, ledger.recall(&name).is_some());
    }
}
