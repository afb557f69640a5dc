//! The senders of the demo world: a client that says its lines and notes what it hears.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Longest wait for a reply: longer than the demo node takes to answer for a silent upstream.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);
/// Octets of the longest reply read.
const MAX_REPLY_OCTETS: usize = 16_384;

/// One command and its reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// The command, or a word for what is no command.
    pub said: String,
    /// The reply's lines, without line endings.
    pub heard: Vec<String>,
}

impl Exchange {
    /// The reply's basic code; 0 for what is no reply.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.heard.first().and_then(|line| line.get(..3)?.parse().ok()).unwrap_or(0)
    }

    /// The whole reply in one line.
    #[must_use]
    pub fn text(&self) -> String {
        self.heard.join(" ")
    }
}

/// What a client sends, and from where.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The loopback address that the client speaks from.
    pub from_ip: IpAddr,
    /// Its name in EHLO.
    pub helo: String,
    /// The reverse-path.
    pub reverse_path: String,
    /// The only recipient.
    pub recipient: String,
    /// The message: lines that end in CRLF, none of which begins with a dot.
    pub message: Vec<u8>,
}

/// Sends a letter and answers what was said and heard, up to the first refusal or the reply to the dot.
///
/// # Errors
/// When the connection fails or times out.
pub async fn send(letter: &Letter, to: SocketAddr) -> io::Result<Vec<Exchange>> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(letter.from_ip, 0))?;
    let stream = timeout(REPLY_TIMEOUT, socket.connect(to)).await??;
    let mut client = Client { stream, buffer: BytesMut::new(), exchanges: Vec::new() };
    client.hear("(connect)").await?;
    for command in [
        format!("EHLO {}", letter.helo),
        format!("MAIL FROM:<{}>", letter.reverse_path),
        format!("RCPT TO:<{}>", letter.recipient),
        "DATA".to_owned(),
    ] {
        client.write(format!("{command}\r\n").as_bytes()).await?;
        if client.hear(&command).await? >= 400 {
            return client.quit().await;
        }
    }
    client.write(&[&letter.message, b".\r\n".as_slice()].concat()).await?;
    client.hear("(message)").await?;
    client.quit().await
}

struct Client {
    stream: TcpStream,
    buffer: BytesMut,
    exchanges: Vec<Exchange>,
}

impl Client {
    async fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        timeout(REPLY_TIMEOUT, self.stream.write_all(octets)).await?
    }

    /// Reads one reply, notes it and answers its code.
    async fn hear(&mut self, said: &str) -> io::Result<u16> {
        let mut heard = Vec::new();
        loop {
            let line = self.line().await?;
            let more = line.as_bytes().get(3) == Some(&b'-');
            heard.push(line);
            if !more {
                break;
            }
        }
        let exchange = Exchange { said: said.to_owned(), heard };
        let code = exchange.code();
        self.exchanges.push(exchange);
        Ok(code)
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.buffer.iter().position(|octet| *octet == b'\n') {
                let line = self.buffer.split_to(at + 1);
                return Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            }
            if self.buffer.len() > MAX_REPLY_OCTETS {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "endless reply"));
            }
            if timeout(REPLY_TIMEOUT, self.stream.read_buf(&mut self.buffer)).await?? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn quit(mut self) -> io::Result<Vec<Exchange>> {
        self.write(b"QUIT\r\n").await?;
        // A connection closed before its last reply was read would be a reset to the other side.
        let _ = self.line().await;
        Ok(self.exchanges)
    }
}
