//! A scripted upstream over a real socket. Each connection plays the next script; a script is lines:
//!
//! ```text
//! > 250 text      say a line                 < PREFIX     hear a line that begins so
//! >> octets       say without line ending    message      hear octets up to and with the dot
//! wait MILLIS     stay silent for a while    tls          shake hands
//! hang            stay silent for ever       close        hang up
//! reset           hang up with a RST         flood        say lines without end
//! hello KEYWORDS  greet and answer EHLO      mail         take one message in step
//! ```
//!
//! At its end a script waits for the client to hang up, and answers a QUIT.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, rustls};

/// What a client sent over all connections, and the messages it sent.
#[derive(Debug, Default, Clone)]
pub(super) struct Heard {
    pub(super) lines: Vec<String>,
    pub(super) messages: Vec<String>,
    pub(super) clients: Vec<SocketAddr>,
}

pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    playing: JoinHandle<Vec<JoinHandle<()>>>,
    expected: usize,
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

impl Upstream {
    /// Listens and plays one script a connection; further connections are accepted and shut at once.
    pub(super) async fn start(ip: &str, port: u16, scripts: &[&str]) -> Self {
        Self::showing(ip, port, scripts, acceptor()).await
    }

    /// Two that listen on the same port; of a port that is free at one address another test may have the other.
    pub(super) async fn pair(one: (&str, &[&str]), two: (&str, &[&str])) -> [Self; 2] {
        for _ in 0..100 {
            let first = TcpListener::bind((one.0, 0)).await.unwrap();
            let port = first.local_addr().unwrap().port();
            if let Ok(second) = TcpListener::bind((two.0, port)).await {
                return [Self::play(first, one.1, acceptor()), Self::play(second, two.1, acceptor())];
            }
        }
        panic!("no port is free at {} and {}", one.0, two.0);
    }

    /// One that has a black hole on the same port of another address.
    pub(super) async fn beside_a_hole(one: (&str, &[&str]), hole: &str) -> (Self, Hole) {
        for _ in 0..100 {
            let first = TcpListener::bind((one.0, 0)).await.unwrap();
            if let Ok(hole) = black_hole(hole, first.local_addr().unwrap().port()).await {
                return (Self::play(first, one.1, acceptor()), hole);
            }
        }
        panic!("no port is free at {} and {hole}", one.0);
    }

    /// The same, with a certificate of the test's choice.
    pub(super) async fn showing(ip: &str, port: u16, scripts: &[&str], acceptor: TlsAcceptor) -> Self {
        let ip: IpAddr = ip.parse().unwrap();
        Self::play(TcpListener::bind((ip, port)).await.unwrap(), scripts, acceptor)
    }

    fn play(listener: TcpListener, scripts: &[&str], acceptor: TlsAcceptor) -> Self {
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let scripts: Vec<String> = scripts.iter().map(|script| (*script).to_owned()).collect();
        let (expected, noted) = (scripts.len(), heard.clone());
        let playing = tokio::spawn(async move {
            let mut sessions = Vec::new();
            for script in scripts {
                let (stream, client) = listener.accept().await.unwrap();
                noted.lock().clients.push(client);
                let wire = BufReader::new(Box::new(stream) as Box<dyn Wire>);
                let player = Player { wire, acceptor: acceptor.clone(), heard: noted.clone() };
                sessions.push(tokio::spawn(player.play(script)));
            }
            sessions
        });
        Self { address, heard, playing, expected }
    }

    pub(super) fn heard(&self) -> Heard {
        self.heard.lock().clone()
    }

    /// Waits until every script was played to its end.
    pub(super) async fn finish(self) -> Heard {
        let limit = Duration::from_secs(10);
        let sessions = tokio::time::timeout(limit, self.playing).await;
        let sessions = sessions.unwrap_or_else(|_| panic!("fewer than {} connections", self.expected));
        for session in sessions.unwrap() {
            let played = tokio::time::timeout(limit, session).await;
            played.unwrap_or_else(|_| panic!("stuck after {:?}", self.heard.lock())).unwrap();
        }
        self.heard.lock().clone()
    }
}

struct Player {
    wire: BufReader<Box<dyn Wire>>,
    acceptor: TlsAcceptor,
    heard: Arc<Mutex<Heard>>,
}

impl Player {
    async fn play(mut self, script: String) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
            match verb {
                ">" => self.say(&format!("{rest}\r\n")).await,
                ">>" => self.say(&rest.replace("\\r", "\r").replace("\\n", "\n")).await,
                "<" => self.hear(rest).await,
                "message" => self.message().await,
                "wait" => tokio::time::sleep(Duration::from_millis(rest.parse().unwrap())).await,
                "hang" => std::future::pending().await,
                "close" => return,
                "flood" => loop {
                    if self.wire.write_all(b"220-endless\r\n").await.is_err() {
                        return;
                    }
                },
                "tls" => self = self.shake_hands().await,
                "hello" => {
                    self.say("220 mx ESMTP\r\n").await;
                    self.hear("EHLO relay.example").await;
                    let keywords: Vec<&str> =
                        ["mx"].into_iter().chain(rest.split(',').filter(|k| !k.is_empty())).collect();
                    for (index, keyword) in keywords.iter().enumerate() {
                        let mark = if index + 1 == keywords.len() { ' ' } else { '-' };
                        self.say(&format!("250{mark}{keyword}\r\n")).await;
                    }
                }
                "mail" => {
                    for (command, reply) in [("MAIL", "250 ok"), ("RCPT", "250 ok"), ("DATA", "354 go")] {
                        self.hear(command).await;
                        self.say(&format!("{reply}\r\n")).await;
                    }
                    self.message().await;
                    self.say("250 2.0.0 queued\r\n").await;
                }
                _ => panic!("no such verb: {line}"),
            }
        }
        while let Some(line) = self.line().await {
            if line == "QUIT" {
                let _ = self.wire.write_all(b"221 bye\r\n").await;
            }
        }
    }

    /// Says what nobody may be left to hear.
    async fn say(&mut self, text: &str) {
        let _ = self.wire.write_all(text.as_bytes()).await;
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.wire.read_line(&mut line).await {
            Ok(0) | Err(_) => None,
            Ok(_) => {
                let line = line.trim_end().to_owned();
                self.heard.lock().lines.push(line.clone());
                Some(line)
            }
        }
    }

    async fn hear(&mut self, prefix: &str) {
        let line = self.line().await.unwrap_or_else(|| panic!("hung up before {prefix}"));
        assert!(line.starts_with(prefix), "heard {line:?} instead of {prefix:?}");
    }

    async fn message(&mut self) {
        let mut message = String::new();
        loop {
            let from = message.len();
            let read = self.wire.read_line(&mut message).await.unwrap();
            assert!(read > 0, "hung up in the message");
            if &message[from..] == ".\r\n" {
                message.truncate(from);
                self.heard.lock().messages.push(message);
                return;
            }
        }
    }

    async fn shake_hands(self) -> Self {
        assert!(self.wire.buffer().is_empty(), "octets behind STARTTLS");
        let stream = self.wire.into_inner();
        match self.acceptor.accept(stream).await {
            Ok(stream) => Self { wire: BufReader::new(Box::new(stream)), ..self },
            // The client does not like our certificate; nothing more is heard.
            Err(_) => Self { wire: BufReader::new(Box::new(tokio::io::empty())), ..self },
        }
    }
}

/// TLS with a certificate for another name that nobody signed.
fn acceptor() -> TlsAcceptor {
    let key = rcgen::generate_simple_self_signed(["elsewhere.example".to_owned()]).unwrap();
    let chain = vec![key.cert.der().clone()];
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// A listener whose queue is full, and what fills it: connections to it time out.
pub(super) type Hole = (socket2::Socket, Vec<TcpStream>);

async fn black_hole(ip: &str, port: u16) -> std::io::Result<Hole> {
    let address = SocketAddr::new(ip.parse().unwrap(), port);
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(0)?;
    let mut fillers = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await
    {
        fillers.push(stream);
    }
    Ok((socket, fillers))
}
