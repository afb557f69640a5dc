use bytes::Bytes;

use super::*;
use crate::mail::Message;
use crate::smtp::reply::{Enhanced, Reply, UPSTREAM_REASON};
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

/// Whoever is told, and what.
#[derive(Default)]
struct Listener {
    heard: Mutex<Vec<(Key, Option<Recorded>)>>,
}

impl Others for Listener {
    fn tell(&self, key: Key, told: Told) {
        self.heard.lock().push((key, told.answer().cloned()));
    }
}

impl Listener {
    fn of(ledger: &Ledger) -> Arc<Self> {
        let listener = Arc::new(Self::default());
        ledger.share(listener.clone());
        listener
    }

    fn taken(&self) -> Vec<(Key, Option<Recorded>)> {
        std::mem::take(&mut self.heard.lock())
    }
}

const PEER: Teller = Teller(7);

fn told(answer: Option<Recorded>) -> Told {
    Told::new(9, answer, Duration::from_secs(60)).unwrap()
}

#[tokio::test]
async fn others_hear_what_is_recorded_and_when_that_is_over() {
    let ledger = Fixture::new().open();
    let name = key(&ledger, MESSAGE);
    let early = key(&ledger, "From: a@b\r\n\r\nearly\r\n");
    ledger.record(vec![(early, Recorded::Queued)]).await.unwrap();
    let listener = Listener::of(&ledger);
    assert_eq!(listener.taken(), [(early, Some(Recorded::Queued))], "what was there before");

    let under_way = ledger.begin(vec![name, early]);
    assert_eq!(listener.taken(), [(name, Some(Recorded::Open))], "of the other something is known");
    assert_eq!(ledger.recall(&name), Some(Recorded::Open));
    drop(under_way);
    assert_eq!((ledger.recall(&name), listener.taken()), (None, vec![(name, None)]));

    let under_way = ledger.begin(vec![name]);
    ledger.record(vec![(name, delivered())]).await.unwrap();
    drop(under_way);
    assert_eq!(listener.taken()[1..], [(name, Some(delivered()))], "a record outlives the offer");
    ledger.forget(vec![name]).await.unwrap();
    assert_eq!(listener.taken(), [(name, None)]);
    ledger.forget(vec![name]).await.unwrap();
    assert_eq!(listener.taken(), [], "there was nothing to say");
}

#[tokio::test]
async fn what_others_say_answers_a_retry_and_is_told_to_nobody() {
    let fixture = Fixture::new();
    let ledger = fixture.open();
    let name = key(&ledger, MESSAGE);
    let listener = Listener::of(&ledger);
    assert!(ledger.hear(name, told(Some(Recorded::Open)), PEER));
    assert_eq!(ledger.recall(&name), Some(Recorded::Open));
    assert!(ledger.hear(name, told(Some(delivered())), PEER));
    assert_eq!((ledger.recall(&name), ledger.is_empty()), (Some(delivered()), false));
    assert!(ledger.begin(vec![name]).open.is_empty(), "it is not offered: it is answered");
    assert_eq!(listener.taken(), []);
    // The sender has heard the answer here: whoever has the record is told.
    ledger.forget(vec![name]).await.unwrap();
    assert_eq!((ledger.recall(&name), listener.taken()), (None, vec![(name, None)]));
    assert!(ledger.is_empty());
    drop(ledger);
    assert!(fixture.open().is_empty());
}

#[tokio::test]
async fn a_record_ends_where_the_answer_was_heard_elsewhere() {
    let fixture = Fixture::new();
    let ledger = fixture.open();
    let name = key(&ledger, MESSAGE);
    ledger.record(vec![(name, delivered())]).await.unwrap();
    let listener = Listener::of(&ledger);
    listener.taken();
    assert!(ledger.hear(name, told(Some(Recorded::Open)), PEER));
    assert_eq!(ledger.recall(&name), Some(delivered()), "its own record says more");
    assert!(ledger.hear(name, told(None), PEER));
    assert_eq!(ledger.recall(&name), Some(delivered()), "what was said to be over was another one");
    let id = ledger.inner.books.lock().own[&name].id;
    assert!(ledger.hear(name, Told::new(id, None, Duration::from_secs(60)).unwrap(), PEER));
    while ledger.recall(&name).is_some() || ledger.inner.tree.get(&name.0).unwrap().is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(listener.taken(), [(name, None)], "whoever was told of the record is told of its end");
    assert!(!ledger.hear(name, told(None), PEER));
    // A copy that is being offered here is, whatever others say.
    let under_way = ledger.begin(vec![name]);
    assert!(!ledger.hear(name, told(None), PEER));
    assert_eq!(ledger.recall(&name), Some(Recorded::Open));
    drop(under_way);
}

#[tokio::test]
async fn what_is_left_open_stays_open_behind_the_offer() {
    let ledger = Fixture::new().open();
    let name = key(&ledger, MESSAGE);
    let mut under_way = ledger.begin(vec![name]);
    under_way.leave(&[name]);
    drop(under_way);
    assert_eq!(ledger.recall(&name), Some(Recorded::Open));
}

#[tokio::test]
async fn nodes_that_agree_on_a_key_make_the_same_names_and_keep_it() {
    let (one, other) = (Fixture::new(), Fixture::new());
    let (first, second) = (one.open(), other.open());
    assert_ne!(key(&first, MESSAGE), key(&second, MESSAGE));
    first.record(vec![(key(&first, MESSAGE), delivered())]).await.unwrap();
    second.record(vec![(key(&second, MESSAGE), delivered())]).await.unwrap();
    let secret = first.secret().await.unwrap();
    for ledger in [&first, &second] {
        ledger.agree(secret).await.unwrap();
    }
    let name = key(&first, MESSAGE);
    assert_eq!(key(&second, MESSAGE), name);
    assert_eq!((first.recall(&name), second.recall(&name)), (Some(delivered()), None));
    assert!(second.is_empty(), "a record under another name is of no use");
    drop(second);
    assert_eq!(key(&other.open(), MESSAGE), name);
}

#[tokio::test]
async fn what_is_over_is_neither_told_nor_known() {
    let ledger = Fixture::new().open();
    let name = key(&ledger, MESSAGE);
    assert_eq!(Told::new(9, Some(Recorded::Open), Duration::ZERO), None);
    ledger.hear(name, Told::new(9, Some(delivered()), Duration::from_nanos(1)).unwrap(), PEER);
    assert_eq!(ledger.recall(&name), None);
    ledger.expire().await.unwrap();
    assert!(ledger.is_empty());
}

#[tokio::test]
async fn what_a_process_told_ends_with_it() {
    let ledger = Fixture::new().open();
    let names = [MESSAGE, "From: a@b\r\n\r\nother\r\n"];
    let [of_one, of_both] = names.map(|text| key(&ledger, text));
    ledger.hear(of_one, told(Some(delivered())), PEER);
    ledger.hear(of_both, told(Some(delivered())), PEER);
    ledger.hear(of_both, Told::new(10, Some(Recorded::Open), Duration::from_secs(60)).unwrap(), Teller(8));
    ledger.hear_death(PEER);
    assert_eq!([of_one, of_both].map(|name| ledger.recall(&name)), [None, Some(Recorded::Open)]);
}

/// Two nodes were offered the same message at once: that one of them gave up says nothing of what the other has.
#[tokio::test]
async fn the_end_of_one_offer_is_none_of_another() {
    let ledger = Fixture::new().open();
    let name = key(&ledger, MESSAGE);
    let under_way = ledger.begin(vec![name]);
    assert!(ledger.hear(name, told(Some(delivered())), PEER));
    drop(under_way);
    assert_eq!(ledger.recall(&name), Some(delivered()));
    // A third node gave up as well.
    ledger.hear(name, Told::new(10, Some(Recorded::Open), Duration::from_secs(60)).unwrap(), Teller(8));
    ledger.hear(name, Told::new(10, None, Duration::from_secs(60)).unwrap(), Teller(8));
    assert_eq!(ledger.recall(&name), Some(delivered()));
    assert!(!ledger.hear(name, told(Some(Recorded::Open)), PEER), "it was open before it was settled");
    assert_eq!(ledger.recall(&name), Some(delivered()));
}

#[tokio::test]
async fn a_record_keeps_its_name_over_a_restart() {
    let fixture = Fixture::new();
    let ledger = fixture.open();
    let name = key(&ledger, MESSAGE);
    ledger.record(vec![(name, delivered())]).await.unwrap();
    let id = |ledger: &Ledger| ledger.inner.books.lock().own[&name].id;
    let drawn = id(&ledger);
    drop(ledger);
    assert_eq!(id(&fixture.open()), drawn);
}
