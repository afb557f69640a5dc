//! Whether a node does its work, asked from outside of it: what probes want to know.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;

use super::greeting::{GreetingError, greet};
use crate::config::Config;

/// For the whole answer.
const MAX_TIME: Duration = Duration::from_secs(10);
/// Octets of the longest answer read.
const MAX_ANSWER_OCTETS: usize = 65_536;

/// Why it does not.
#[derive(Debug, Error)]
pub enum HealthError {
    /// The node says so.
    #[error("not ready: {}", .0.trim_end())]
    NotReady(String),
    /// There is no node, or it is silent.
    #[error("{0} does not answer: {1}")]
    NoAnswer(SocketAddr, String),
    /// The name has no address.
    #[error("{0} has no address: {1}")]
    NoAddress(String, io::Error),
    /// No SMTP server that takes mail.
    #[error("{0} {1}")]
    NoMail(SocketAddr, String),
}

/// What `/readyz` of the node with this file says, when it is ready.
///
/// # Errors
/// When it is not, or does not answer.
pub async fn ready(config: &Config) -> Result<String, HealthError> {
    let address = reachable(config.http.listen);
    let asked = tokio::time::timeout(MAX_TIME, ask(address));
    let (status, text) = match asked.await {
        Ok(Ok(answer)) => answer,
        Ok(Err(cause)) => return Err(HealthError::NoAnswer(address, cause)),
        Err(_) => {
            return Err(HealthError::NoAnswer(address, format!("nothing within {} s", MAX_TIME.as_secs())));
        }
    };
    if status == StatusCode::OK { Ok(text) } else { Err(HealthError::NotReady(text)) }
}

async fn ask(address: SocketAddr) -> Result<(StatusCode, String), String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let handshake = hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(|error| error.to_string())?;
    let response = async move {
        let request = Request::get("/readyz").header(HOST, address.to_string()).body(Empty::new());
        let request = request.map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_OCTETS).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    let (answer, _) = tokio::join!(response, connection);
    answer
}

/// Greets the SMTP server at `HOST:PORT`, at each of its addresses until one takes mail.
///
/// # Errors
/// When none does.
pub async fn takes_mail(host: &str) -> Result<String, HealthError> {
    let no_address = |error| HealthError::NoAddress(host.to_owned(), error);
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host(host).await.map_err(no_address)?.collect();
    let mut failed = no_address(io::ErrorKind::NotFound.into());
    for address in addresses {
        match greet(address, None, None).await {
            Ok(greeting) => return Ok(format!("{address} says {greeting}")),
            Err(error) => failed = unfit(address, &error),
        }
    }
    Err(failed)
}

fn unfit(address: SocketAddr, error: &GreetingError) -> HealthError {
    HealthError::NoMail(address, error.to_string())
}

/// Where a listener is reached from its own host.
pub(super) fn reachable(listener: SocketAddr) -> SocketAddr {
    let loopback: IpAddr =
        if listener.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let ip = if listener.ip().is_unspecified() { loopback } else { listener.ip() };
    SocketAddr::new(ip, listener.port())
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
