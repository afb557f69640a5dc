//! The attacks: each a besieger that does one thing on one connection until that ends, and then comes again.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::peer::Peer;
use crate::crash::served::Served;

/// What a besieger waits before it connects again.
const AGAIN: Duration = Duration::from_millis(500);
/// What one waits between two of its commands: five hundred a second for each connection, more than a client far away could.
const TICK: Duration = Duration::from_millis(2);
/// By which name they introduce themselves.
const NAME: &str = "mail.besieger.example";
/// A reverse-path that SPF passes.
const PROVEN: &str = "MAIL FROM:<eve@besieger.example>";
/// One whose domain has no answer in DNS.
const UNANSWERED: &str = "MAIL FROM:<eve@silent.example>";
const JUNK: [&str; 6] = ["NOOP", "RSET", "VRFY eve", PROVEN, "EHLO x", "RSET"];
const SEAL: &str = "ARC-Seal: i=1; a=rsa-sha256; cv=none; d=besieger.example; s=s1; b=AAAA\r\n";
const INFO: &str = "RCPT TO:<info@ours.example>";
/// A recipient whose destination takes connections and says nothing.
const FAR: &str = "RCPT TO:<far@ours.example>";
/// Octets of a header section that the node takes, and some for the fields that are always there.
const HEADER: usize = 262_144 - 1_024;

macro_rules! attacks {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $networks:literal networks of $connections:literal;)*) => {
        /// What is done to the node.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Attack {
            $($(#[$doc])* $name,)*
        }

        impl Attack {
            const ALL: &[Self] = &[$(Self::$name),*];

            fn word(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }

            /// From how many networks, and by how many connections of each at a time.
            fn strength(self) -> (usize, usize) {
                match self { $(Self::$name => ($networks, $connections)),* }
            }
        }
    };
}

attacks! {
    /// 354, and then nothing.
    IdleData = "idle-data", 8 networks of 40;
    /// 354, and then an octet a second.
    Trickle = "trickle", 4 networks of 40;
    /// 2 to 20 MB of a message, and then nothing.
    Hoard = "hoard", 4 networks of 20;
    /// A chunk that does not come to its end.
    IdleChunk = "idle-chunk", 2 networks of 40;
    /// Connections that say nothing.
    IdleSession = "idle-session", 3 networks of 40;
    /// STARTTLS, and no handshake.
    IdleHandshake = "idle-handshake", 2 networks of 20;
    /// Commands, and no reply is ever read.
    Deaf = "deaf", 2 networks of 20;
    /// A signature whose `h=` fills the header section.
    SignedNames = "signed-names", 2 networks of 6;
    /// Fields that fill the header section.
    Fields = "fields", 2 networks of 6;
    /// Addresses of From that fill the header section.
    Authors = "authors", 2 networks of 6;
    /// Signatures that fill the header section.
    Signatures = "signatures", 2 networks of 6;
    /// ARC sets likewise.
    Seals = "seals", 1 networks of 6;
    /// RCPTs that are refused for good and for now.
    Recipients = "recipients", 3 networks of 10;
    /// NOOP, RSET, VRFY and MAIL, for ever.
    Junk = "junk", 3 networks of 10;
    /// Guesses of SRS hashes, as bounces.
    SrsGuesses = "srs-guesses", 4 networks of 10;
    /// The same from networks of honest senders: a provider that is joe-jobbed.
    JoeJob = "joe-job", 4 networks of 5;
    /// A reset in place of reading the reply to the dot.
    Vanish = "vanish", 2 networks of 10;
    /// Senders whose DNS does not answer.
    SilentDns = "silent-dns", 2 networks of 20;
    /// Mail to a destination that does not answer.
    SilentHost = "silent-host", 2 networks of 20;
    /// Messages of 25 MiB that nobody vouches for.
    Large = "large", 1 networks of 2;
    /// Connections to the operator's listeners that say nothing.
    Strangers = "strangers", 2 networks of 100;
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Attack {
    /// Those that the environment names.
    pub(super) fn chosen() -> Vec<Self> {
        let Ok(words) = std::env::var("POSTROAD_SIEGE_ATTACKS") else { return Self::ALL.to_vec() };
        let named =
            |word: &str| *Self::ALL.iter().find(|attack| attack.word() == word).expect("a known attack");
        words.split(',').filter(|word| *word != "none").map(named).collect()
    }
}

/// Besiegers at work.
pub(super) struct Besiegers {
    connections: Arc<AtomicU64>,
    tasks: JoinSet<()>,
}

impl Besiegers {
    /// Ends them; how often they connected.
    pub(super) fn lift(self) -> u64 {
        drop(self.tasks);
        self.connections.load(Ordering::Relaxed)
    }
}

pub(super) fn begin(attacks: &[Attack], node: &Served) -> Besiegers {
    let connections = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    let mut networks = 0..=u8::MAX;
    for attack in attacks {
        let (count, each) = attack.strength();
        for (joe, network) in networks.by_ref().take(count).enumerate() {
            for host in 1..=u8::try_from(each).unwrap() {
                let from = if *attack == Attack::JoeJob {
                    Ipv4Addr::new(127, 210, u8::try_from(joe).unwrap(), 1)
                } else {
                    Ipv4Addr::new(127, 201, network, host)
                };
                let besieger =
                    Besieger { attack: *attack, from, smtp: node.smtp(), operator: node.operator() };
                tasks.spawn(besieger.run(Arc::clone(&connections)));
            }
        }
    }
    Besiegers { connections, tasks }
}

#[derive(Clone, Copy)]
struct Besieger {
    attack: Attack,
    from: Ipv4Addr,
    smtp: SocketAddr,
    /// The operator's listeners: HTTP and gRPC.
    operator: [SocketAddr; 2],
}

impl Besieger {
    async fn run(self, connections: Arc<AtomicU64>) {
        loop {
            connections.fetch_add(1, Ordering::Relaxed);
            // Whatever ends it: it comes again.
            let _ended = self.attack().await;
            sleep(AGAIN).await;
        }
    }

    async fn greeted(&self) -> Option<Peer> {
        Peer::greeted(self.from, self.smtp, NAME).await
    }

    /// A session that was told 354.
    async fn at_data(&self, mail: &str, rcpt: &str) -> Option<Peer> {
        let mut peer = self.greeted().await?;
        peer.say_all(&[mail, rcpt, "DATA"]).await.filter(|reply| reply.starts_with("354"))?;
        Some(peer)
    }

    /// Sends messages until one is not taken.
    async fn submit(&self, mail: &str, rcpt: &str, message: &str) -> Option<()> {
        let mut peer = self.greeted().await?;
        loop {
            peer.say_all(&[mail, rcpt, "DATA"]).await.filter(|reply| reply.starts_with("354"))?;
            peer.send(format!("{message}\r\n.\r\n").as_bytes()).await?;
            peer.reply().await?;
            sleep(TICK).await;
        }
    }

    /// Says one of these after the other, for ever.
    async fn babble(&self, before: &[&str], lines: impl Iterator<Item = String>) -> Option<()> {
        let mut peer = self.greeted().await?;
        peer.say_all(before).await?;
        for line in lines {
            let reply = peer.say(&line).await?;
            if reply.starts_with("421") {
                break;
            }
            sleep(TICK).await;
        }
        Some(())
    }

    async fn attack(&self) -> Option<()> {
        match self.attack {
            Attack::IdleData => self.at_data(PROVEN, INFO).await?.linger().await,
            Attack::Trickle => self.trickle().await?,
            Attack::Hoard => self.hoard().await?,
            Attack::IdleChunk => self.begin_chunk().await?.linger().await,
            Attack::IdleSession => Peer::connect(self.from, self.smtp).await?.linger().await,
            Attack::IdleHandshake => self.begin_handshake().await?.linger().await,
            Attack::Deaf => self.talk_without_listening().await?,
            Attack::SignedNames => {
                self.submit(PROVEN, INFO, &full_of(&signature(":x"), ":x", "\r\n")).await?
            }
            Attack::Fields => self.submit(PROVEN, INFO, &full_of("", "X:\r\n", "")).await?,
            Attack::Authors => {
                self.submit(PROVEN, INFO, &full_of("From: a@besieger.example", ",a@b.c", "\r\n")).await?;
            }
            Attack::Signatures => {
                self.submit(PROVEN, INFO, &full_of("", &format!("{}\r\n", signature("")), "")).await?;
            }
            Attack::Seals => self.submit(PROVEN, INFO, &full_of("", SEAL, "")).await?,
            Attack::Recipients => self.babble(&[PROVEN], self.recipients()).await?,
            Attack::Junk => self.babble(&[], JUNK.into_iter().cycle().map(str::to_owned)).await?,
            Attack::SrsGuesses | Attack::JoeJob => self.babble(&["MAIL FROM:<>"], guesses()).await?,
            Attack::Vanish => self.vanish().await?,
            Attack::SilentDns => {
                let letter = format!(
                    "From: eve@silent.example\r\n{}\r\n\r\nx",
                    signature("").replace("besieger", "silent")
                );
                self.submit(UNANSWERED, INFO, &letter).await?;
            }
            Attack::SilentHost => self.submit(PROVEN, FAR, &letter(&"x\r\n".repeat(20_000))).await?,
            Attack::Large => {
                let lines = format!("{}\r\n", "x".repeat(998)).repeat(26_000);
                self.submit("MAIL FROM:<eve@nowhere.example>", INFO, &letter(&lines)).await?;
            }
            Attack::Strangers => self.hold_operators_listeners().await,
        }
        Some(())
    }

    /// An octet a second.
    async fn trickle(&self) -> Option<()> {
        let mut peer = self.at_data(PROVEN, INFO).await?;
        loop {
            peer.send(b"X").await?;
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// All of a message but its end.
    async fn hoard(&self) -> Option<()> {
        let mut peer = self.at_data(PROVEN, INFO).await?;
        peer.send(letter("").as_bytes()).await?;
        let piece = format!("{}\r\n", "x".repeat(998)).repeat(100);
        let [.., host] = self.from.octets();
        for _ in 0..10 * host.clamp(2, 20) {
            peer.send(piece.as_bytes()).await?;
        }
        peer.linger().await;
        Some(())
    }

    async fn begin_chunk(&self) -> Option<Peer> {
        let mut peer = self.greeted().await?;
        peer.say_all(&[PROVEN, INFO]).await?;
        peer.send(b"BDAT 1000000 LAST\r\nSubject: x\r\n").await?;
        Some(peer)
    }

    async fn begin_handshake(&self) -> Option<Peer> {
        let mut peer = self.greeted().await?;
        peer.say("STARTTLS").await?;
        Some(peer)
    }

    async fn talk_without_listening(&self) -> Option<()> {
        let mut peer = self.greeted().await?;
        loop {
            peer.send(&b"EHLO x\r\n".repeat(64)).await?;
            sleep(TICK).await;
        }
    }

    async fn vanish(&self) -> Option<()> {
        let mut peer = self.at_data(PROVEN, INFO).await?;
        let id = rand::random::<u64>();
        peer.send(format!("Message-ID: <{id}@besieger.example>\r\n{}.\r\n", letter("x\r\n")).as_bytes())
            .await?;
        peer.reset();
        Some(())
    }

    async fn hold_operators_listeners(&self) {
        for listener in self.operator {
            if let Some(mut peer) = Peer::connect(self.from, listener).await {
                let _limit = timeout(Duration::from_secs(5), peer.linger()).await;
            }
        }
    }

    /// Some that are refused for now, and some that are refused for good.
    fn recipients(&self) -> impl Iterator<Item = String> + use<> {
        let is_known = self.from.octets()[3].is_multiple_of(2);
        (0..).map(move |number: u64| match is_known {
            true => "RCPT TO:<waiting@ours.example>".to_owned(),
            false => format!("RCPT TO:<nobody{number}@ours.example>"),
        })
    }
}

fn guesses() -> impl Iterator<Item = String> {
    let guess =
        |number: u32| format!("RCPT TO:<SRS0=a{number:03x}=AA=victim.example=bob@email.relay.example>");
    (0..).map(guess)
}

/// A signature of the besiegers' own domain, with more names in its `h=`.
fn signature(names: &str) -> String {
    format!("DKIM-Signature: v=1; a=rsa-sha256; d=besieger.example; s=s1; b=AAAA; bh=AAAA; h=from{names}")
}

fn letter(body: &str) -> String {
    format!("From: eve@besieger.example\r\n\r\n{body}")
}

/// A message whose header section is as large as it may be, by one piece many times over between a start and an end. A
/// line of a message ends at 65,536 octets.
fn full_of(start: &str, piece: &str, end: &str) -> String {
    let from = if start.starts_with("From") { "" } else { "From: eve@besieger.example\r\n" };
    let pieces = (HEADER - from.len() - start.len() - end.len()) / piece.len();
    let fold = if piece.ends_with('\n') { "" } else { "\r\n " };
    let lines: Vec<String> =
        (0..pieces).step_by(5_000).map(|done| piece.repeat((pieces - done).min(5_000))).collect();
    format!("{from}{start}{}{end}\r\nx", lines.join(fold))
}
