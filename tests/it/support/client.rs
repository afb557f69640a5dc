//! A raw SMTP client: every octet is the test's own, from a loopback address of its choice.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use socket2::SockRef;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::LIMIT;

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// One connection to the node.
pub(crate) struct Client {
    stream: Option<Box<dyn Stream>>,
    buffer: Vec<u8>,
}

/// A whole reply: every line as it came, codes included, without line endings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) lines: Vec<String>,
}

impl Heard {
    pub(crate) fn code(&self) -> u16 {
        self.lines[0][..3].parse().unwrap()
    }

    /// All lines, joined by line feeds.
    pub(crate) fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// The trace id in the last line.
    pub(crate) fn trace(&self) -> String {
        let (_, trace) = self.lines.last().unwrap().rsplit_once("(trace ").expect("a trace id");
        trace.trim_end_matches(')').to_owned()
    }

    #[track_caller]
    pub(crate) fn contains(&self, part: &str) -> &Self {
        assert!(self.text().contains(part), "no \"{part}\" in:\n{}", self.text());
        self
    }

    #[track_caller]
    pub(crate) fn lacks(&self, part: &str) -> &Self {
        let (text, part) = (self.text().to_lowercase(), part.to_lowercase());
        assert!(!text.contains(&part), "\"{part}\" in:\n{text}");
        self
    }

    #[track_caller]
    pub(crate) fn starts(&self, start: &str) -> &Self {
        assert!(self.lines[0].starts_with(start), "expected {start}, got:\n{}", self.text());
        self
    }
}

impl Client {
    /// Connects from an address without reading anything.
    pub(crate) async fn connect(from: IpAddr, to: SocketAddr) -> Self {
        Self::over(connected(from, to).await)
    }

    /// The same, for a client whose end is a reset.
    pub(crate) async fn abrupt(from: IpAddr, to: SocketAddr) -> Self {
        let stream = connected(from, to).await;
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        Self::over(stream)
    }

    fn over(stream: TcpStream) -> Self {
        Self { stream: Some(Box::new(stream)), buffer: Vec::new() }
    }

    /// Ends its own direction of the connection.
    pub(crate) async fn shut_down(&mut self) {
        self.stream().shutdown().await.unwrap();
    }

    /// Connects, hears the greeting and says EHLO.
    pub(crate) async fn greeted(from: IpAddr, to: SocketAddr, name: &str) -> Self {
        let mut client = Self::connect(from, to).await;
        client.expect("220").await;
        client.command(&format!("EHLO {name}"), "250").await;
        client
    }

    fn stream(&mut self) -> &mut Box<dyn Stream> {
        self.stream.as_mut().expect("a connection")
    }

    pub(crate) async fn send_octets(&mut self, octets: &[u8]) {
        let stream = self.stream();
        timeout(LIMIT, async { stream.write_all(octets).await.and(stream.flush().await) })
            .await
            .expect("sent in time")
            .expect("sent");
    }

    /// Sends octets to a server that may hang up on them.
    pub(crate) async fn try_send_octets(&mut self, octets: &[u8]) -> bool {
        let stream = self.stream();
        let sent = timeout(LIMIT, async { stream.write_all(octets).await.and(stream.flush().await) }).await;
        sent.expect("sent or refused in time").is_ok()
    }

    pub(crate) async fn send(&mut self, line: &str) {
        self.send_octets(format!("{line}\r\n").as_bytes()).await;
    }

    /// Reads one reply, strictly: every line ends in CRLF and has the same code (RFC 5321 §4.2.1), is at
    /// most 512 octets and printable ASCII.
    pub(crate) async fn reply(&mut self) -> Heard {
        let mut lines: Vec<String> = Vec::new();
        loop {
            let line = self.line().await.expect("a reply before the end of the connection");
            assert!(line.len() <= 510, "reply line of {} octets", line.len());
            assert!(line.bytes().all(|b| (b' '..=b'~').contains(&b)), "odd octets in {line:?}");
            let more = line.as_bytes().get(3) == Some(&b'-');
            assert!(
                lines.first().is_none_or(|first| first[..3] == line[..3]),
                "codes differ: {lines:?} {line}"
            );
            lines.push(line);
            if !more {
                return Heard { lines };
            }
        }
    }

    #[track_caller]
    pub(crate) fn expect<'a>(&'a mut self, start: &'a str) -> impl Future<Output = Heard> + 'a {
        let place = std::panic::Location::caller();
        async move {
            let heard = self.reply().await;
            assert!(heard.lines[0].starts_with(start), "{place}: expected {start}, got:\n{}", heard.text());
            heard
        }
    }

    /// Sends a line and expects a reply that starts so.
    #[track_caller]
    pub(crate) fn command<'a>(
        &'a mut self,
        line: &'a str,
        start: &'a str,
    ) -> impl Future<Output = Heard> + 'a {
        let place = std::panic::Location::caller();
        async move {
            self.send(line).await;
            let heard = self.reply().await;
            assert!(
                heard.lines[0].starts_with(start),
                "{place}: {line}: expected {start}, got:\n{}",
                heard.text()
            );
            heard
        }
    }

    /// Reads one line without its CRLF; `None` at the end of the connection.
    pub(crate) async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.buffer.drain(..at + 2).take(at).collect();
                return Some(String::from_utf8(line).expect("replies are ASCII"));
            }
            let mut piece = [0; 4096];
            let limit = LIMIT + Duration::from_secs(1);
            let read = timeout(limit, self.stream().read(&mut piece)).await.expect("a reply in time");
            match read {
                Ok(0) | Err(_) => return None,
                Ok(octets) => self.buffer.extend_from_slice(&piece[..octets]),
            }
        }
    }

    /// Expects the server to hang up without another word.
    pub(crate) async fn ended(&mut self) {
        assert_eq!(self.line().await, None, "the connection goes on");
    }

    /// MAIL, RCPT for each, DATA, the message with its dot; the reply to the last of these that was not
    /// refused.
    pub(crate) async fn submit(&mut self, from: &str, to: &[&str], message: &str) -> Heard {
        let mail = self.exchange(&format!("MAIL FROM:<{from}>")).await;
        if mail.code() != 250 {
            return mail;
        }
        let mut refused = None;
        let mut taken = false;
        for recipient in to {
            let heard = self.exchange(&format!("RCPT TO:<{recipient}>")).await;
            if heard.code() == 250 {
                taken = true;
            } else {
                refused = Some(heard);
            }
        }
        if let Some(refused) = refused.filter(|_| !taken) {
            return refused;
        }
        self.data(message).await
    }

    /// DATA, a message in lines that end in CRLF, dot-stuffed here, and the reply to its dot.
    pub(crate) async fn data(&mut self, message: &str) -> Heard {
        self.data_octets(message.as_bytes()).await
    }

    /// Like [`Self::data`], for a message that need not be text.
    pub(crate) async fn data_octets(&mut self, message: &[u8]) -> Heard {
        let heard = self.exchange("DATA").await;
        if heard.code() != 354 {
            return heard;
        }
        let mut stuffed = Vec::with_capacity(message.len() + 8);
        for (at, octet) in message.iter().enumerate() {
            if *octet == b'.' && (at == 0 || message[..at].ends_with(b"\r\n")) {
                stuffed.push(b'.');
            }
            stuffed.push(*octet);
        }
        if !stuffed.is_empty() && !stuffed.ends_with(b"\r\n") {
            stuffed.extend_from_slice(b"\r\n");
        }
        stuffed.extend_from_slice(b".\r\n");
        self.send_octets(&stuffed).await;
        self.reply().await
    }

    pub(crate) async fn exchange(&mut self, line: &str) -> Heard {
        self.send(line).await;
        self.reply().await
    }

    /// STARTTLS and the handshake, without looking at the certificate.
    pub(crate) async fn starttls(&mut self) {
        self.command("STARTTLS", "220").await;
        self.handshake().await;
    }

    pub(crate) async fn handshake(&mut self) {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(aws_lc_rs::default_provider())))
            .with_no_client_auth();
        let stream = self.stream.take().unwrap();
        let name = ServerName::try_from("linda.mx.relay.example").unwrap();
        let secured = TlsConnector::from(Arc::new(config)).connect(name, stream);
        self.stream = Some(Box::new(timeout(LIMIT, secured).await.expect("handshake in time").unwrap()));
    }
}

/// The last line of the next reply; `None` at the end of the connection.
pub(crate) async fn last_line(session: &mut BufReader<TcpStream>) -> Option<String> {
    loop {
        let mut line = String::new();
        session.read_line(&mut line).await.ok()?;
        if !line.ends_with('\n') {
            return None;
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Some(line);
        }
    }
}

async fn connected(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = if from.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }.unwrap();
    socket.bind((from, 0).into()).unwrap();
    let stream = timeout(LIMIT, socket.connect(to)).await.expect("connected in time").unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

#[derive(Debug)]
struct AnyCertificate(CryptoProvider);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
