//! Clients that do what RFC 5321 §4.2.5 asks of them: a message is theirs until its dot is answered 250, and
//! whoever hears nothing submits again.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::letters::letter;
use crate::support::{ALICE, SENDER, SENDER_NAME, last_line};

/// How long a node that lives may take for a reply.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the clients heard of one message.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// It was answered 250.
    pub(super) accepted: bool,
    /// Dots that no reply came to.
    pub(super) unheard: usize,
}

#[derive(Debug, Default)]
struct Shared {
    next: AtomicU64,
    told: Mutex<HashMap<u64, Told>>,
    /// What no client should hear.
    wrong: Mutex<Vec<String>>,
}

/// Clients at work. Dropping them ends them.
pub(super) struct Clients {
    shared: Arc<Shared>,
    /// Where the node is; `None`: no new messages.
    node: watch::Sender<Option<SocketAddr>>,
    more: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Clients {
    pub(super) fn start(count: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let (node, at) = watch::channel(None);
        let (more, wanted) = watch::channel(true);
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let client =
                Client { shared: shared.clone(), at: at.clone(), more: wanted.clone(), session: None };
            tasks.spawn(client.run());
        }
        Self { shared, node, more, tasks }
    }

    /// Tells them where the node is now.
    pub(super) fn go_to(&self, node: SocketAddr) {
        self.node.send_replace(Some(node));
    }

    /// How many messages they have started with.
    pub(super) fn started(&self) -> u64 {
        self.shared.next.load(Ordering::Relaxed)
    }

    /// Waits until each has got rid of the message that it has, and returns what was heard of each message.
    pub(super) async fn finish(mut self) -> HashMap<u64, Told> {
        self.more.send_replace(false);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        let wrong = std::mem::take(&mut *self.shared.wrong.lock());
        assert!(wrong.is_empty(), "heard by clients: {wrong:?}");
        std::mem::take(&mut self.shared.told.lock())
    }
}

/// What came of a submission.
enum Heard {
    /// The reply to the dot, or to a command before it.
    Reply(String),
    /// The connection ended before the dot was sent.
    Nothing,
    /// The connection ended between the dot and its reply.
    NothingToTheDot,
}

struct Client {
    shared: Arc<Shared>,
    at: watch::Receiver<Option<SocketAddr>>,
    more: watch::Receiver<bool>,
    session: Option<BufReader<TcpStream>>,
}

impl Client {
    async fn run(mut self) {
        while *self.more.borrow() {
            let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
            let letter = letter(number);
            while !self.submit(number, &letter).await {
                sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Whether the message is the node's now.
    async fn submit(&mut self, number: u64, letter: &str) -> bool {
        let heard = timeout(PATIENCE, self.exchange(letter)).await;
        let mut told = self.shared.told.lock();
        let told = told.entry(number).or_default();
        match heard {
            Ok(Heard::Reply(reply)) if reply.starts_with('2') => {
                told.accepted = true;
                return true;
            }
            Ok(Heard::Reply(reply)) if reply.starts_with('4') => {}
            Ok(Heard::Reply(reply)) => {
                self.shared.wrong.lock().push(reply);
                return true;
            }
            Ok(Heard::Nothing) => {}
            Ok(Heard::NothingToTheDot) => told.unheard += 1,
            Err(_) => {
                self.shared.wrong.lock().push(format!("no reply for message {number}"));
                return true;
            }
        }
        self.session = None;
        false
    }

    async fn exchange(&mut self, letter: &str) -> Heard {
        match self.envelope().await {
            Some(reply) if reply.starts_with("354") => {}
            Some(reply) => return Heard::Reply(reply),
            None => return Heard::Nothing,
        }
        match self.say(&format!("{letter}.\r\n")).await {
            Some(reply) => Heard::Reply(reply),
            None => Heard::NothingToTheDot,
        }
    }

    /// Everything up to DATA; the reply to it, or the first that refuses.
    async fn envelope(&mut self) -> Option<String> {
        if self.session.is_none() {
            let node = (*self.at.borrow())?;
            let socket = TcpSocket::new_v4().ok()?;
            socket.bind((SENDER, 0).into()).ok()?;
            self.session = Some(BufReader::new(socket.connect(node).await.ok()?));
            let greeting = self.reply().await?;
            if !greeting.starts_with('2') {
                return Some(greeting);
            }
            self.say(&format!("EHLO {SENDER_NAME}\r\n")).await?;
        }
        for line in [format!("MAIL FROM:<{ALICE}>\r\n"), "RCPT TO:<info@ours.example>\r\n".to_owned()] {
            let reply = self.say(&line).await?;
            if !reply.starts_with('2') {
                return Some(reply);
            }
        }
        self.say("DATA\r\n").await
    }

    async fn say(&mut self, text: &str) -> Option<String> {
        self.session.as_mut()?.write_all(text.as_bytes()).await.ok()?;
        self.reply().await
    }

    async fn reply(&mut self) -> Option<String> {
        last_line(self.session.as_mut()?).await
    }
}
