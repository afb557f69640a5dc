//! A scripted upstream: says what the test wants at each stage, and keeps every octet that it was sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

/// Where in a session the upstream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Banner,
    Ehlo,
    StartTls,
    /// In place of the handshake.
    Handshake,
    Mail,
    Rcpt,
    Data,
    /// The final dot.
    Dot,
    Rset,
    Quit,
}

/// What the upstream does there.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Says this; line feeds become CRLF.
    Say(String),
    /// Says this after a while.
    SayAfter(Duration, String),
    /// Writes these octets as they are.
    Write(Vec<u8>),
    /// Hangs up.
    Close,
    /// Says nothing for ever.
    Hang,
}

/// One message, from MAIL to the final dot.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) helo: String,
    /// MAIL's argument, parameters included.
    pub(crate) mail: String,
    /// The arguments of the RCPT commands that were answered 2xx.
    pub(crate) rcpts: Vec<String>,
    /// Between 354 and the dot, unstuffed.
    pub(crate) octets: Vec<u8>,
    /// The same as it came, stuffed.
    pub(crate) wire: Vec<u8>,
    pub(crate) tls: bool,
    /// The reply to the dot, once it was written.
    pub(crate) replied: Option<String>,
}

impl Received {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.octets).into_owned()
    }

    /// The address in MAIL's argument.
    pub(crate) fn reverse_path(&self) -> &str {
        between(&self.mail)
    }

    pub(crate) fn recipients(&self) -> Vec<&str> {
        self.rcpts.iter().map(|rcpt| between(rcpt)).collect()
    }

    fn was_taken(&self) -> bool {
        self.replied.as_ref().is_some_and(|reply| reply.starts_with('2'))
    }
}

fn between(argument: &str) -> &str {
    argument.split_once('<').and_then(|(_, rest)| rest.rsplit_once('>')).map_or("", |(path, _)| path)
}

#[derive(Debug)]
struct Rule {
    stage: Stage,
    /// What the command's argument holds.
    part: String,
    act: Act,
    /// How often it still applies.
    left: usize,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    keywords: Vec<String>,
    received: Vec<Received>,
    /// Every octet of every session.
    octets: Vec<u8>,
    connections: Vec<SocketAddr>,
}

/// The upstream. Dropping it ends it.
pub(crate) struct Mx {
    state: Arc<Mutex<State>>,
    _listeners: JoinSet<()>,
}

impl Mx {
    /// Serves these listeners.
    pub(crate) fn start(listeners: Vec<TcpListener>) -> Self {
        let keywords = ["PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"];
        let state = State { keywords: keywords.map(String::from).to_vec(), ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let tls = TlsAcceptor::from(Arc::new(certificate()));
        let mut tasks = JoinSet::new();
        for listener in listeners {
            let (state, tls) = (state.clone(), tls.clone());
            tasks.spawn(async move {
                let mut sessions = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    sessions.spawn(serve(stream, state.clone(), tls.clone()));
                }
            });
        }
        Self { state, _listeners: tasks }
    }

    /// From now on does this at a stage.
    pub(crate) fn at(&self, stage: Stage, act: Act) {
        self.when(stage, "", usize::MAX, act);
    }

    /// Says this at a stage, from now on.
    pub(crate) fn say(&self, stage: Stage, text: &str) {
        self.at(stage, Act::Say(text.to_owned()));
    }

    /// Does this at a stage when the command's argument holds a text, so many times. The latest rule wins.
    pub(crate) fn when(&self, stage: Stage, part: &str, left: usize, act: Act) {
        self.state.lock().rules.insert(0, Rule { stage, part: part.to_owned(), act, left });
    }

    /// Forgets what it was told.
    pub(crate) fn be_kind(&self) {
        self.state.lock().rules.clear();
    }

    /// Offers exactly these EHLO keywords.
    pub(crate) fn offer(&self, keywords: &[&str]) {
        self.state.lock().keywords = keywords.iter().map(|k| (*k).to_owned()).collect();
    }

    /// Every message that came to its final dot, whatever the answer.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.state.lock().received.clone()
    }

    /// The messages whose dot was answered 2xx.
    pub(crate) fn taken(&self) -> Vec<Received> {
        self.received().into_iter().filter(Received::was_taken).collect()
    }

    /// The only message that was taken.
    #[track_caller]
    pub(crate) fn only(&self) -> Received {
        let taken = self.taken();
        assert_eq!(taken.len(), 1, "messages taken by the upstream");
        taken.into_iter().next().unwrap()
    }

    /// Every octet that came, on any connection.
    pub(crate) fn octets(&self) -> Vec<u8> {
        self.state.lock().octets.clone()
    }

    /// Our addresses, in the order of the connections that came to them.
    pub(crate) fn connections(&self) -> Vec<SocketAddr> {
        self.state.lock().connections.clone()
    }
}

fn certificate() -> ServerConfig {
    let made = rcgen::generate_simple_self_signed(vec!["mx.dest.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap()
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// The session is over.
struct Over;

struct Session {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    state: Arc<Mutex<State>>,
    tls: bool,
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>, tls: TlsAcceptor) {
    let local = stream.local_addr().unwrap();
    state.lock().connections.push(local);
    let _ = stream.set_nodelay(true);
    let session = Session { stream: Box::new(stream), buffer: Vec::new(), state, tls: false };
    let _ = session.run(tls).await;
}

impl Session {
    async fn run(mut self, tls: TlsAcceptor) -> Result<(), Over> {
        let (mut helo, mut mail, mut rcpts) = (String::new(), String::new(), Vec::new());
        self.act(Stage::Banner, "", "220 mx.dest.example ESMTP").await?;
        loop {
            let line = self.line().await?;
            let (verb, argument) = line.split_once([' ', ':']).unwrap_or((&line, ""));
            match verb.to_ascii_uppercase().as_str() {
                "EHLO" | "HELO" => {
                    helo = argument.to_owned();
                    let text = self.ehlo();
                    self.act(Stage::Ehlo, argument, &text).await?;
                }
                "STARTTLS" => {
                    if self.act(Stage::StartTls, "", "220 2.0.0 go ahead").await?.starts_with('2') {
                        self.buffer.clear();
                        let instead = self.state.lock().next(Stage::Handshake, "");
                        if let Some(Act::Write(octets)) = instead {
                            return self.write(&octets).await;
                        }
                        let stream = tls.accept(self.stream).await.map_err(|_| Over)?;
                        self.stream = Box::new(stream);
                        self.tls = true;
                    }
                }
                "MAIL" => {
                    argument.clone_into(&mut mail);
                    rcpts.clear();
                    self.act(Stage::Mail, argument, "250 2.1.0 sender ok").await?;
                }
                "RCPT" => {
                    if self.act(Stage::Rcpt, argument, "250 2.1.5 recipient ok").await?.starts_with('2') {
                        rcpts.push(argument.to_owned());
                    }
                }
                "DATA" => {
                    let default = if rcpts.is_empty() { "554 5.5.1 no valid recipients" } else { "354 go" };
                    if self.act(Stage::Data, "", default).await?.starts_with('3') {
                        let (helo, mail) = (helo.clone(), mail.clone());
                        self.receive(helo, mail, std::mem::take(&mut rcpts)).await?;
                    }
                }
                "RSET" => {
                    rcpts.clear();
                    self.act(Stage::Rset, "", "250 2.0.0 ok").await?;
                }
                "QUIT" => {
                    self.act(Stage::Quit, "", "221 2.0.0 bye").await?;
                    return Err(Over);
                }
                _ => self.write(b"500 5.5.1 what?\r\n").await?,
            }
        }
    }

    fn ehlo(&self) -> String {
        let keywords = self.state.lock().keywords.clone();
        let mut lines = vec!["mx.dest.example greets you".to_owned()];
        lines.extend(keywords.into_iter().filter(|keyword| !(self.tls && keyword == "STARTTLS")));
        let last = lines.len() - 1;
        let line = |(at, line): (usize, &String)| format!("250{}{line}", if at == last { ' ' } else { '-' });
        lines.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
    }

    async fn receive(&mut self, helo: String, mail: String, rcpts: Vec<String>) -> Result<(), Over> {
        let wire = self.data().await?;
        let octets = unstuff(&wire);
        let tls = self.tls;
        let text = String::from_utf8_lossy(&octets).into_owned();
        let at = {
            let mut state = self.state.lock();
            state.received.push(Received { helo, mail, rcpts, octets, wire, tls, replied: None });
            state.received.len() - 1
        };
        let reply = self.act(Stage::Dot, &text, "250 2.0.0 taken").await?;
        self.state.lock().received[at].replied = Some(reply);
        Ok(())
    }

    /// Does what the rules say, or says the default; answers what was said.
    async fn act(&mut self, stage: Stage, argument: &str, default: &str) -> Result<String, Over> {
        let act = self.state.lock().next(stage, argument).unwrap_or_else(|| Act::Say(default.to_owned()));
        match act {
            Act::Say(text) => self.say(text).await,
            Act::SayAfter(while_, text) => {
                sleep(while_).await;
                self.say(text).await
            }
            Act::Write(octets) => {
                self.write(&octets).await?;
                Ok(String::from_utf8_lossy(&octets).into_owned())
            }
            Act::Close => Err(Over),
            Act::Hang => std::future::pending().await,
        }
    }

    async fn say(&mut self, text: String) -> Result<String, Over> {
        self.write(format!("{}\r\n", text.replace('\n', "\r\n")).as_bytes()).await?;
        Ok(text)
    }

    async fn write(&mut self, octets: &[u8]) -> Result<(), Over> {
        self.stream.write_all(octets).await.map_err(|_| Over)?;
        self.stream.flush().await.map_err(|_| Over)
    }

    async fn read(&mut self) -> Result<(), Over> {
        let mut piece = [0; 16_384];
        match self.stream.read(&mut piece).await {
            Ok(0) | Err(_) => Err(Over),
            Ok(octets) => {
                self.buffer.extend_from_slice(&piece[..octets]);
                self.state.lock().octets.extend_from_slice(&piece[..octets]);
                Ok(())
            }
        }
    }

    async fn line(&mut self) -> Result<String, Over> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).take(at).collect();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            self.read().await?;
        }
    }

    /// Everything before the line with the dot.
    async fn data(&mut self) -> Result<Vec<u8>, Over> {
        let mut searched = 0_usize;
        loop {
            if self.buffer.starts_with(b".\r\n") {
                self.buffer.drain(..3);
                return Ok(Vec::new());
            }
            let from = searched.saturating_sub(4);
            if let Some(at) = self.buffer[from..].windows(5).position(|five| five == b"\r\n.\r\n") {
                let message = self.buffer.drain(..from + at + 5).take(from + at + 2).collect();
                return Ok(message);
            }
            searched = self.buffer.len();
            self.read().await?;
        }
    }
}

impl State {
    fn next(&mut self, stage: Stage, argument: &str) -> Option<Act> {
        let rule = self.rules.iter_mut().find(|rule| {
            rule.stage == stage && rule.left > 0 && (rule.part.is_empty() || argument.contains(&rule.part))
        })?;
        rule.left -= 1;
        Some(rule.act.clone())
    }
}

/// RFC 5321 §4.5.2.
fn unstuff(wire: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(wire.len());
    let mut line_start = true;
    for (at, octet) in wire.iter().enumerate() {
        if !(line_start && *octet == b'.') {
            octets.push(*octet);
        }
        line_start = *octet == b'\n' && at > 0 && wire[at - 1] == b'\r';
    }
    octets
}
