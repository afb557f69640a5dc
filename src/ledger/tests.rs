use bytes::Bytes;

use super::*;
use crate::mail::Message;

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
    ledger.forget(&[name]).unwrap();
    assert_eq!(ledger.recall(&name), None);
    assert!(ledger.is_empty());
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
