mod basics;
mod damage;
mod format;
mod model;
mod notice;
mod shares;
mod space;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::mail::{
    Address, MessageRequest, Notify, RecipientRequest, RequireTls, Return, ReversePath, SmtpUtf8,
};
use crate::smtp::reply::Enhanced;

/// A spool in a folder of its own.
struct Place {
    dir: tempfile::TempDir,
    options: Options,
    metrics: Arc<Metrics>,
}

impl Place {
    fn new() -> Self {
        let options = Options { min_free_octets: 0, ..Options::default() };
        Self { dir: tempfile::tempdir().unwrap(), options, metrics: Arc::new(Metrics::new().unwrap()) }
    }

    fn open(&self) -> (Spool, Recovered) {
        Spool::open(self.dir.path(), self.options, self.metrics.clone()).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.path(&format!("segments/{number:016}.log"))
    }
}

fn id(number: u64) -> TraceId {
    TraceId::new(at(number), u128::from(number))
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds)
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn copy(destination: &str, due: u64) -> QueuedCopy {
    QueuedCopy {
        alias: address("alias@ours.example"),
        destination: address(destination),
        reverse_path: ReversePath::Mailbox(address("\"SRS0=abcd=2W=a.example=x y\"@ours.example")),
        direction: Direction::Forward,
        state: CopyState::Waiting,
        attempts: 1,
        due: at(due),
        request: RecipientRequest::default(),
        delay_told: false,
        last: None,
    }
}

/// A message to one destination, due so many seconds after the start of the test's time.
fn message_to(number: u64, destination: &str, due: u64) -> Queued {
    Queued {
        id: id(number),
        received_at: at(number),
        reverse_path: ReversePath::Mailbox(address("sender@a.example")),
        bounces: Bounces::Permitted,
        request: MessageRequest::default(),
        smtp_utf8: SmtpUtf8::NotRequested,
        client: None,
        copies: vec![copy(destination, due)],
    }
}

fn message(number: u64) -> Queued {
    message_to(number, "real@b.example", number)
}

/// Octets that say which message they are of.
fn octets(number: u64, body_octets: usize) -> Message {
    let head = format!("Subject: {number}\r\n\r\n");
    let line = format!("this is message {number}\r\n");
    let body: Vec<u8> = line.bytes().cycle().take(body_octets).collect();
    Message::new(head.into(), Body::Memory(body.into()))
}

/// All octets as they are sent.
fn emitted(message: &Message) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let mut all = message.emitted_head().concat();
    match message.body() {
        Body::Memory(body) => all.extend_from_slice(body),
        Body::File { file, offset, octets } => {
            let mut body = vec![0; usize::try_from(*octets).unwrap()];
            file.read_exact_at(&mut body, *offset).unwrap();
            all.extend_from_slice(&body);
        }
    }
    all
}

/// Everything in the queue, octets included.
async fn content(spool: &Spool) -> BTreeMap<TraceId, (Queued, Vec<u8>)> {
    let mut content = BTreeMap::new();
    for queued in spool.list(None, 10_000).await.unwrap() {
        let (loaded, message) = spool.load(queued.id).await.unwrap().unwrap();
        assert_eq!(loaded, queued);
        content.insert(queued.id, (loaded, emitted(&message)));
    }
    content
}

/// Waits for what the spool's own threads do, or gives up after so long that something must be wrong.
async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let limit = tokio::time::timeout(Duration::from_secs(30), async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    limit.await.unwrap();
}

async fn numbers(spool: &Spool) -> Vec<u64> {
    let listed = spool.list(None, 10_000).await.unwrap();
    listed.iter().map(|queued| queued.id.time().duration_since(at(0)).unwrap().as_secs()).collect()
}
