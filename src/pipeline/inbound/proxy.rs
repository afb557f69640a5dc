//! The PROXY protocol, v1 and v2, believed and required from `smtp.trusted_proxies` only.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ppp::{HeaderResult, v1, v2};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// How long a trusted proxy may take for its header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest header read, in octets: v1 takes 107 (specification §2.1); of v2 this bounds the TLVs.
const MAX_HEADER_OCTETS: usize = 4096;
/// What v2 begins with (specification §2.2).
const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Why the header of a trusted proxy is not taken.
#[derive(Debug, Error)]
pub enum ProxyError {
    /// It did not come in time.
    #[error("no complete PROXY header within 5 s")]
    Timeout,
    /// The connection ended within it.
    #[error("the connection ended within the PROXY header")]
    Closed,
    /// It is none, or too long.
    #[error("not a PROXY header")]
    Malformed,
}

/// Reads the header octet by octet, so that none of what follows it is taken; the client's address, or
/// `None` for a connection of the proxy's own (LOCAL, UNKNOWN).
///
/// # Errors
/// When no header comes within 5 s and 4096 octets.
pub async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<IpAddr>, ProxyError> {
    timeout(HEADER_TIMEOUT, read(stream)).await.map_err(|_| ProxyError::Timeout)?
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<IpAddr>, ProxyError> {
    let mut header = Vec::with_capacity(128);
    while !is_whole(&header) {
        if header.len() == MAX_HEADER_OCTETS {
            return Err(ProxyError::Malformed);
        }
        header.push(stream.read_u8().await.map_err(|_| ProxyError::Closed)?);
    }
    match HeaderResult::parse(&header) {
        HeaderResult::V1(Ok(header)) => Ok(source_v1(&header.addresses)),
        HeaderResult::V2(Ok(header)) => Ok(source_v2(&header)),
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => Err(ProxyError::Malformed),
    }
}

/// Whether these octets are a header, well-formed or not: for v2 its fixed part and the length that it
/// names (specification §2.2), for anything else a line.
fn is_whole(header: &[u8]) -> bool {
    if !header.starts_with(&V2_SIGNATURE) && !V2_SIGNATURE.starts_with(header) {
        return header.ends_with(b"\n");
    }
    match (header.get(14), header.get(15)) {
        (Some(high), Some(low)) => header.len() >= 16 + usize::from(u16::from_be_bytes([*high, *low])),
        _ => false,
    }
}

fn source_v1(addresses: &v1::Addresses) -> Option<IpAddr> {
    match addresses {
        v1::Addresses::Tcp4(ip) => Some(IpAddr::V4(ip.source_address)),
        v1::Addresses::Tcp6(ip) => Some(IpAddr::V6(ip.source_address).to_canonical()),
        v1::Addresses::Unknown => None,
    }
}

fn source_v2(header: &v2::Header<'_>) -> Option<IpAddr> {
    match (header.command, header.addresses) {
        (v2::Command::Proxy, v2::Addresses::IPv4(ip)) => Some(IpAddr::V4(ip.source_address)),
        (v2::Command::Proxy, v2::Addresses::IPv6(ip)) => Some(IpAddr::V6(ip.source_address).to_canonical()),
        (v2::Command::Proxy, v2::Addresses::Unix(_) | v2::Addresses::Unspecified)
        | (v2::Command::Local, _) => None,
    }
}

/// Whether the header of this peer is believed.
pub(super) fn is_trusted(peer: SocketAddr, proxies: &[ipnet::IpNet]) -> bool {
    let ip = peer.ip().to_canonical();
    proxies.iter().any(|network| network.contains(&ip))
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
