//! Senders that do what RFC 5321 §4.2.5 asks of them: what is answered 4xx, or not at all, they send again.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::peer::Peer;
use crate::crash::letters::letter;
use crate::support::{ALICE, SENDER_NAME};

/// What a sender waits before it sends its next message, and before it tries one again.
const PAUSE: Duration = Duration::from_millis(200);

/// How long a sender tries one message.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

/// What the senders heard.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) accepted: Vec<u64>,
    /// Of them those that the node could not forward at once.
    queued: usize,
    /// Replies that were 5xx.
    pub(super) refused: Vec<String>,
    /// Replies that were 4xx, and what became of attempts without one.
    deferred: Vec<String>,
    /// Messages that were deferred until their senders gave up.
    pub(super) stuck: Vec<u64>,
    /// Of each message, from the first connection to its 250.
    waits: Vec<Duration>,
    lasted: Duration,
}

/// Twenty at work. Dropping them ends them.
pub(super) struct Honest {
    told: Arc<Mutex<Told>>,
    enough: Arc<AtomicBool>,
    begun: Instant,
    tasks: JoinSet<()>,
}

impl Honest {
    pub(super) fn begin(senders: u8, node: SocketAddr) -> Self {
        let (told, enough) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let next = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for number in 0..senders {
            let from = Ipv4Addr::new(127, 210, number, 1);
            let sender = Sender { from, node, next: Arc::clone(&next), told: Arc::clone(&told) };
            tasks.spawn(sender.run(Arc::clone(&enough)));
        }
        Self { told, enough, begun: Instant::now(), tasks }
    }

    /// Waits until each has got rid of the message that it has.
    pub(super) async fn finish(mut self) -> Told {
        self.enough.store(true, Ordering::Relaxed);
        let lasted = self.begun.elapsed();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        Told { lasted, ..std::mem::take(&mut *self.told.lock()) }
    }
}

struct Sender {
    from: Ipv4Addr,
    node: SocketAddr,
    next: Arc<AtomicU64>,
    told: Arc<Mutex<Told>>,
}

impl Sender {
    async fn run(self, enough: Arc<AtomicBool>) {
        while !enough.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            self.deliver(number).await;
            sleep(PAUSE).await;
        }
    }

    async fn deliver(&self, number: u64) {
        let letter = letter(number);
        let begun = Instant::now();
        loop {
            let reply = self.attempt(&letter).await.unwrap_or_else(|| "no reply".to_owned());
            if self.note(number, reply, begun) {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    /// Writes down what was heard; whether the message is off this sender's hands.
    fn note(&self, number: u64, reply: String, begun: Instant) -> bool {
        let mut told = self.told.lock();
        match reply.chars().next() {
            Some('2') => {
                told.accepted.push(number);
                told.queued += usize::from(reply.contains("Queued"));
                told.waits.push(begun.elapsed());
            }
            Some('5') => told.refused.push(reply),
            _ => {
                told.deferred.push(reply);
                if begun.elapsed() < GIVE_UP_AFTER {
                    return false;
                }
                told.stuck.push(number);
            }
        }
        true
    }

    /// The reply to the dot, or the first that refuses.
    async fn attempt(&self, letter: &str) -> Option<String> {
        let mut peer = Peer::connect(self.from, self.node).await?;
        let greeting = peer.reply().await?;
        if !greeting.starts_with('2') {
            return Some(greeting);
        }
        let ehlo = format!("EHLO {SENDER_NAME}");
        let mail = format!("MAIL FROM:<{ALICE}>");
        let reply = peer.say_all(&[&ehlo, &mail, "RCPT TO:<info@ours.example>", "DATA"]).await?;
        if !reply.starts_with("354") {
            return Some(reply);
        }
        peer.send(format!("{letter}.\r\n").as_bytes()).await?;
        let reply = peer.reply().await?;
        peer.say("QUIT").await;
        Some(reply)
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut waits = self.waits.clone();
        waits.sort_unstable();
        let at = |percent: usize| {
            waits.get(waits.len() * percent / 100).or_else(|| waits.last()).copied().unwrap_or_default()
        };
        #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
        let rate = waits.len() as f64 / self.lasted.as_secs_f64();
        let mut deferred = self.deferred.clone();
        deferred.sort_unstable();
        deferred.dedup_by(|a, b| a.get(..9) == b.get(..9));
        write!(
            f,
            "{} honest messages ({rate:.1} a second), {} of them queued; waits: median {:.0?}, p99 {:.0?}, longest {:.0?}; {} tries deferred {:?}, {} messages for too long",
            waits.len(),
            self.queued,
            at(50),
            at(99),
            at(100),
            self.deferred.len(),
            deferred,
            self.stuck.len(),
        )
    }
}
