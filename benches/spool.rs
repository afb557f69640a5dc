//! What the spool costs over the disk, and what a million messages cost.
//!
//! - `cargo bench --bench spool`: durable messages of 10 KiB a second from 64 writers, in turn with a bare
//!   group-committed append loop on the same disk; the ratio is to be 70 % or more.
//! - `cargo bench --bench spool -- million [MESSAGES] [DIRECTORY]`: fills a spool with messages of 2 KiB, and
//!   opens it in a process of its own: time until it is open, resident memory, and what questions cost.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use mimalloc::MiMalloc;
use postroad::clock;
use postroad::mail::{
    Address, Body, Domain, Message, MessageRequest, RecipientRequest, ReversePath, SmtpUtf8, TraceId,
};
use postroad::spool::{Bounces, CopyState, Direction, Options, Queued, QueuedCopy, Spool};
use postroad::telemetry::Metrics;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// As in the node.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const WRITERS: u64 = 64;
const MESSAGE_OCTETS: usize = 10 << 10;
const ROUND: Duration = Duration::from_secs(4);
const ROUNDS: usize = 5;
/// Of one write of the bare loop, as in the spool.
const BATCH: usize = 256;
const MILLION_OCTETS: usize = 2 << 10;
const MILLION_DOMAINS: u64 = 1000;
const MILLION_WRITERS: u64 = 256;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["million", rest @ ..] => {
            let messages = rest.first().map_or(1_000_000, |number| number.parse().unwrap());
            let own = tempfile::tempdir().unwrap();
            let dir = rest.get(1).map_or_else(|| own.path().to_owned(), PathBuf::from);
            fill(&dir, messages);
            let opened = Command::new(std::env::current_exe().unwrap()).arg("open").arg(&dir).status();
            assert!(opened.unwrap().success());
        }
        ["open", dir] => open(Path::new(dir)),
        _ => compare(),
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap()
}

fn queued(id: TraceId, domain: u64, due: SystemTime) -> Queued {
    let address = |text: &str| Address::parse(text).unwrap();
    Queued {
        id,
        received_at: clock::now(),
        reverse_path: ReversePath::Mailbox(address("someone@sender.example")),
        bounces: Bounces::Permitted,
        request: MessageRequest::default(),
        smtp_utf8: SmtpUtf8::NotRequested,
        client: None,
        copies: vec![QueuedCopy {
            alias: address("alias@ours.example"),
            destination: address(&format!("real@d{domain}.example")),
            reverse_path: ReversePath::Mailbox(address("SRS0=abcd=2W=sender.example=someone@relay.example")),
            direction: Direction::Forward,
            state: CopyState::Waiting,
            attempts: 1,
            due,
            request: RecipientRequest::default(),
            delay_told: false,
            last: None,
        }],
    }
}

fn message(octets: usize) -> Message {
    let head = Bytes::from_static(b"From: someone@sender.example\r\nSubject: a message\r\n\r\n");
    let body = Bytes::from(vec![b'x'; octets - head.len()]);
    Message::new(head, Body::Memory(body))
}

/// Messages a second and CPU microseconds a message of what 64 writers do for a while.
fn measure<Fut: Future<Output = ()> + Send + 'static>(
    runtime: &Runtime,
    write: impl Fn(u64) -> Fut + Clone + Send + 'static,
) -> (f64, f64) {
    let written = Arc::new(AtomicU64::new(0));
    let (started, cpu) = (Instant::now(), cpu());
    runtime.block_on(async {
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let (write, written) = (write.clone(), written.clone());
                tokio::spawn(async move {
                    while started.elapsed() < ROUND {
                        write(written.fetch_add(1, Ordering::Relaxed)).await;
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
    #[allow(clippy::cast_precision_loss, reason = "counts below 2^52")]
    let messages = written.load(Ordering::Relaxed) as f64;
    let cpu = self::cpu() - cpu;
    (messages / started.elapsed().as_secs_f64(), cpu.as_secs_f64() * 1e6 / messages)
}

fn compare() {
    let runtime = runtime();
    let (mut spools, mut bares) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bares.push(bare(&runtime));
        spools.push(spool(&runtime));
    }
    let median = |rounds: &mut Vec<(f64, f64)>| {
        rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
        rounds.get(ROUNDS / 2).copied().unwrap()
    };
    println!("rounds, messages/s: bare {bares:.0?} spool {spools:.0?}");
    let (bare, spool) = (median(&mut bares), median(&mut spools));
    println!("bare append loop {:8.0} messages/s {:5.1} us CPU each", bare.0, bare.1);
    println!("spool            {:8.0} messages/s {:5.1} us CPU each", spool.0, spool.1);
    println!("ratio            {:8.2}", spool.0 / bare.0);
}

fn spool(runtime: &Runtime) -> (f64, f64) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { min_free_octets: 0, ..Options::default() };
    let (spool, _) = Spool::open(dir.path(), options, Arc::new(Metrics::new().unwrap())).unwrap();
    let message = message(MESSAGE_OCTETS);
    let start = clock::now();
    let made: Vec<Queued> = (0..50).map(|domain| queued(TraceId::new(start, 0), domain, start)).collect();
    let made = Arc::new(made);
    measure(runtime, move |number| {
        let (spool, message, made) = (spool.clone(), message.clone(), made.clone());
        async move {
            let id = TraceId::new(start, u128::from(number));
            let queued = made.get(usize::try_from(number % 50).unwrap()).unwrap();
            spool.put(Queued { id, ..queued.clone() }, &message).await.unwrap();
        }
    })
}

/// Nothing but the octets: a channel, one write and one sync a batch, an answer each.
fn bare(runtime: &Runtime) -> (f64, f64) {
    let dir = tempfile::tempdir().unwrap();
    let mut file = File::create(dir.path().join("log")).unwrap();
    let (orders, queue) = mpsc::channel::<(Bytes, oneshot::Sender<()>)>();
    let committer = std::thread::spawn(move || {
        let mut buffer = Vec::new();
        while let Ok(first) = queue.recv() {
            let batch: Vec<_> = std::iter::once(first).chain(queue.try_iter().take(BATCH - 1)).collect();
            buffer.clear();
            batch.iter().for_each(|(octets, _)| buffer.extend_from_slice(octets));
            file.write_all(&buffer).unwrap();
            file.sync_data().unwrap();
            for (_, answer) in batch {
                answer.send(()).unwrap();
            }
        }
    });
    let octets = Bytes::from(vec![b'x'; MESSAGE_OCTETS]);
    let measured = measure(runtime, move |_| {
        let (orders, octets) = (orders.clone(), octets.clone());
        async move {
            let (answer, answered) = oneshot::channel();
            orders.send((octets, answer)).unwrap();
            answered.await.unwrap();
        }
    });
    committer.join().unwrap();
    measured
}

fn fill(dir: &Path, messages: u64) {
    let runtime = runtime();
    let options = Options { min_free_octets: 0, ..Options::default() };
    let (spool, _) = Spool::open(dir, options, Arc::new(Metrics::new().unwrap())).unwrap();
    let message = message(MILLION_OCTETS);
    let (next, started, start) = (Arc::new(AtomicU64::new(0)), Instant::now(), clock::now());
    runtime.block_on(async {
        let writers: Vec<_> = (0..MILLION_WRITERS)
            .map(|_| {
                let (spool, message, next) = (spool.clone(), message.clone(), next.clone());
                tokio::spawn(async move {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= messages {
                            return;
                        }
                        let at = start + Duration::from_millis(number);
                        let id = TraceId::new(at, u128::from(number));
                        let queued = queued(id, number % MILLION_DOMAINS, at + Duration::from_secs(86_400));
                        spool.put(queued, &message).await.unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
    drop(spool);
    let rate = messages as f64 / started.elapsed().as_secs_f64();
    println!("filled with {messages} messages of {MILLION_OCTETS} octets, {rate:.0} a second");
    println!(
        "on disk: segments {} MB, index {} MB",
        megabytes(&dir.join("segments")),
        megabytes(&dir.join("index/store"))
    );
}

fn open(dir: &Path) {
    let started = Instant::now();
    let options = Options { min_free_octets: 0, ..Options::default() };
    let (spool, recovered) = Spool::open(dir, options, Arc::new(Metrics::new().unwrap())).unwrap();
    println!("open after {:.2} s: {recovered:?}", started.elapsed().as_secs_f64());
    println!("memory: {}", memory());
    runtime().block_on(async {
        let asked = Instant::now();
        let domains = spool.domains().await.unwrap();
        println!("{} domains: {:.1} ms", domains.len(), asked.elapsed().as_secs_f64() * 1e3);
        let asked = Instant::now();
        let far = clock::now() + Duration::from_secs(30 * 86_400);
        let due = spool.due(&Domain::parse("d7.example").unwrap(), far, 100).await.unwrap();
        println!("{} due: {:.1} ms", due.len(), asked.elapsed().as_secs_f64() * 1e3);
        let asked = Instant::now();
        let listed = spool.list(None, 1000).await.unwrap();
        println!("{} listed: {:.1} ms", listed.len(), asked.elapsed().as_secs_f64() * 1e3);
        let asked = Instant::now();
        for queued in &listed {
            spool.load(queued.id).await.unwrap();
        }
        println!("{} loaded: {:.1} ms", listed.len(), asked.elapsed().as_secs_f64() * 1e3);
    });
    println!("memory: {}", memory());
}

fn megabytes(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap());
    files.map(|metadata| metadata.len()).sum::<u64>() >> 20
}

/// CPU time of this process: fields 14 and 15 of its status, in hundredths of a second.
fn cpu() -> Duration {
    let status = fs::read_to_string("/proc/self/stat").unwrap();
    let behind_name = status.rsplit(')').next().unwrap();
    let ticks: u64 = behind_name.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

fn memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let lines: Vec<_> =
        status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM")).collect();
    lines.join(" ").replace('\t', " ")
}
