//! Owns the handshakes of the admin listener: who is let in, TLS, and what counts against a connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_util::either::Either;

use super::failures::{Failures, Verdict};
use super::terms::LiveTerms;
use crate::connections::{Bounds, Entrance, Handshaking, Hold, Standing};
use crate::tls::{ServerStream, Trust, client_subject};

/// Connections at once. A proxy or a bastion may bring all operators under one address.
const CONNECTIONS: Bounds = Bounds { total: 256, per_peer: 64 };
/// From the connection to its first authenticated call, the handshake included.
pub(super) const PROOF_TIME: Duration = Duration::from_secs(10);
/// From the failure that ends a connection to its end: time for the answer to be read.
const FAREWELL: Duration = Duration::from_secs(1);
/// What a connection's handshake has proven, and what terms ask of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handshake {
    /// There was none: plaintext.
    None,
    /// TLS.
    Tls,
    /// TLS, the client's certificate signed by one of these authorities.
    Certified(Trust),
}

impl Handshake {
    /// Whether a connection that was made so has what is asked for here.
    pub(super) fn is_met_by(self, made: Self) -> bool {
        match (self, made) {
            (Self::None, _) | (Self::Tls, Self::Tls | Self::Certified(_)) => true,
            (Self::Certified(asked), Self::Certified(made)) => asked == made,
            (Self::Tls | Self::Certified(_), Self::None) | (Self::Certified(_), Self::Tls) => false,
        }
    }
}

/// Who is at the other end of a connection, as far as the connection tells.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    ip: IpAddr,
    handshake: Handshake,
    /// The subject of its certificate.
    subject: Option<Arc<str>>,
    standing: Standing,
    failed: Arc<AtomicU32>,
}

impl Caller {
    pub(super) fn ip(&self) -> IpAddr {
        self.ip
    }

    pub(super) fn subject(&self) -> Option<&Arc<str>> {
        self.subject.as_ref()
    }

    pub(super) fn handshake(&self) -> Handshake {
        self.handshake
    }

    /// It is known: its connection stays.
    pub(super) fn prove(&self) {
        self.standing.prove();
    }

    /// Its connection stays for as long as this is held.
    pub(super) fn hold(&self) -> Hold {
        self.standing.hold()
    }

    /// It is not who it should be, once more.
    pub(super) fn fail(&self, failures: &Failures, why: &str) {
        let failed = self.failed.fetch_add(1, Ordering::Relaxed) + 1;
        match failures.count(self.ip, failed, why) {
            Verdict::Stays => {}
            Verdict::Ends => {
                let standing = self.standing.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(FAREWELL).await;
                    standing.dismiss();
                });
            }
        }
    }
}

/// What connections are let in by.
pub(super) fn entrance(terms: LiveTerms, failures: Arc<Failures>) -> Entrance<Door> {
    Entrance::new("admin", CONNECTIONS, PROOF_TIME, Door { terms, failures })
}

/// How hands are shaken: on the terms of the moment.
#[derive(Clone)]
pub(super) struct Door {
    terms: LiveTerms,
    failures: Arc<Failures>,
}

type Wire = Either<TcpStream, Box<ServerStream<TcpStream>>>;

impl Handshaking for Door {
    type Stream = Wire;
    type Caller = Caller;

    async fn shake_hands(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        standing: Standing,
    ) -> Option<(Wire, Caller)> {
        let ip = peer.ip();
        let (stream, handshake) = self.shake(stream, ip).await?;
        let subject = match &stream {
            Either::Left(_) => None,
            Either::Right(stream) => client_subject(stream).map(Into::into),
        };
        let caller = Caller { ip, handshake, subject, standing, failed: Arc::default() };
        if self.terms.now().knows_by(handshake) {
            caller.prove();
        }
        Some((stream, caller))
    }
}

impl Door {
    async fn shake(&self, stream: TcpStream, ip: IpAddr) -> Option<(Wire, Handshake)> {
        let Some(identity) = self.terms.now().identity.clone() else {
            return Some((Either::Left(stream), Handshake::None));
        };
        match identity.acceptor().accept(stream).await {
            Ok((stream, _)) => {
                let made = identity.trust().map_or(Handshake::Tls, Handshake::Certified);
                Some((Either::Right(Box::new(stream)), made))
            }
            Err(error) => {
                // Who has no certificate where one is asked for, and who looks what there is.
                let _ended = self.failures.count(ip, 1, &error.to_string());
                None
            }
        }
    }
}

#[cfg(test)]
#[path = "listener_tests.rs"]
mod tests;
