//! An upstream in bad shape: it takes messages, loses its replies, is slow, busy, or away, as its mood goes.
//! It keeps of each copy when it came, when it was answered, and whether it was whole; of other mail than these
//! tests' own it keeps nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::letters;

/// How the upstream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mood {
    /// Takes everything.
    Kind,
    /// Hangs up in place of its banner.
    Away,
    /// Says 451 to a dot, half of the time.
    Busy,
    /// Takes a message and hangs up, half of the time.
    Rude,
    /// Takes a message and says so up to three seconds later, half of the time.
    Slow,
}

const MOODS: [Mood; 5] = [Mood::Kind, Mood::Away, Mood::Busy, Mood::Rude, Mood::Slow];

/// A message that the upstream took, or would have said so had it not hung up.
#[derive(Debug, Clone)]
pub(crate) struct Copy {
    pub(crate) number: u64,
    pub(crate) trace: String,
    /// It ends with the octets that were submitted.
    pub(crate) whole: bool,
    pub(crate) dot_at: Instant,
    /// When 250 was written; `None`: it never was, or the node that it was for was dead.
    pub(crate) replied_at: Option<Instant>,
}

/// The upstream. Dropping it ends it.
pub(crate) struct Sink {
    copies: Arc<Mutex<Vec<Copy>>>,
    mood: Arc<AtomicU8>,
    /// Counts the nodes that have died.
    dead: Arc<AtomicU32>,
    _listener: JoinSet<()>,
}

impl Sink {
    pub(crate) fn start(listener: TcpListener) -> Self {
        let (copies, mood) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU8::new(0)));
        let dead = Arc::new(AtomicU32::new(0));
        let mut tasks = JoinSet::new();
        let around = (copies.clone(), mood.clone(), dead.clone());
        tasks.spawn(async move {
            let mut sessions = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (copies, mood, dead) = around.clone();
                let deaths = dead.load(Ordering::Relaxed);
                let session = Session { stream: BufReader::new(stream), copies, mood, dead, deaths };
                sessions.spawn(session.run());
                while sessions.try_join_next().is_some() {}
            }
        });
        Self { copies, mood, dead, _listener: tasks }
    }

    /// The node is dead: what it has sent is still read, but nobody hears the answer.
    pub(crate) fn node_died(&self) {
        self.dead.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn be(&self, mood: Mood) {
        let at = MOODS.iter().position(|known| *known == mood).unwrap();
        self.mood.store(u8::try_from(at).unwrap(), Ordering::Relaxed);
    }

    /// Takes on another mood, being kind half of the time.
    pub(crate) fn change_mood(&self) {
        self.be(if rand::random() { Mood::Kind } else { MOODS[rand::random_range(0..MOODS.len())] });
    }

    pub(crate) fn copies(&self) -> Vec<Copy> {
        self.copies.lock().clone()
    }
}

struct Session {
    stream: BufReader<TcpStream>,
    copies: Arc<Mutex<Vec<Copy>>>,
    mood: Arc<AtomicU8>,
    dead: Arc<AtomicU32>,
    /// Of them, when the session began.
    deaths: u32,
}

impl Session {
    /// `None`: the session is over.
    async fn run(mut self) -> Option<()> {
        if self.mood() == Mood::Away {
            return None;
        }
        self.say("220 sink.dest.example").await?;
        loop {
            let line = self.line().await?;
            let verb = String::from_utf8_lossy(&line[..line.len().min(4)]).to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => self.say("250-sink.dest.example\r\n250-PIPELINING\r\n250 8BITMIME").await?,
                "DATA" => {
                    self.say("354 go").await?;
                    self.receive().await?;
                }
                "QUIT" => return None,
                _ => self.say("250 2.0.0 ok").await?,
            }
        }
    }

    async fn receive(&mut self) -> Option<()> {
        let octets = self.data().await?;
        let half = rand::random::<bool>();
        let mood = self.mood();
        if mood == Mood::Busy && half {
            return self.say("451 4.3.0 busy").await;
        }
        let Some(number) = letters::number(&octets) else { return self.say("250 2.0.0 taken").await };
        let trace = letters::trace(&octets).unwrap_or_default();
        let whole = octets.ends_with(letters::letter(number).as_bytes());
        let at = {
            let mut copies = self.copies.lock();
            copies.push(Copy { number, trace, whole, dot_at: Instant::now(), replied_at: None });
            copies.len() - 1
        };
        if mood == Mood::Rude && half {
            return None;
        }
        if mood == Mood::Slow && half {
            sleep(Duration::from_millis(rand::random_range(50..3000))).await;
        }
        self.say("250 2.0.0 taken").await?;
        if self.dead.load(Ordering::Relaxed) == self.deaths {
            self.copies.lock()[at].replied_at = Some(Instant::now());
        }
        Some(())
    }

    /// Everything before the line with the dot, unstuffed (RFC 5321 §4.5.2).
    async fn data(&mut self) -> Option<Vec<u8>> {
        let mut octets = Vec::new();
        loop {
            let line = self.line().await?;
            match line.as_slice() {
                b".\r\n" => return Some(octets),
                [b'.', rest @ ..] => octets.extend_from_slice(rest),
                line => octets.extend_from_slice(line),
            }
        }
    }

    async fn line(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).await.ok()?;
        line.ends_with(b"\n").then_some(line)
    }

    async fn say(&mut self, text: &str) -> Option<()> {
        self.stream.write_all(format!("{text}\r\n").as_bytes()).await.ok()
    }

    fn mood(&self) -> Mood {
        MOODS[usize::from(self.mood.load(Ordering::Relaxed))]
    }
}
