//! What can go wrong at one address before the message has its answer there.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

use super::places::Full;
use crate::pipeline::refusal::Refusal;
use crate::smtp::client::ReplyError;
use crate::smtp::reply::Reply;
use crate::telemetry::labels::AttemptResult;
use crate::tls::Demand;

/// The step of TCP.
pub(crate) const CONNECTING: &str = "connecting";
/// The step behind it.
pub(crate) const GREETING: &str = "waiting for the greeting";

/// One address of one MX host, and where we connect to it from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    /// The host's name, or an address literal.
    pub(crate) host: String,
    /// Its address.
    pub(crate) address: SocketAddr,
    /// Ours; `None`: the system chooses.
    pub(crate) source: Option<IpAddr>,
    /// What it must show; a connection that showed it serves only those that demand the same.
    pub(crate) demand: Demand,
}

/// `mx.example [192.0.2.1]`, the form of logs.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.host, self.address.ip())
    }
}

/// Why an attempt at one address ended without the upstream's word on the message.
#[derive(Debug, Error)]
pub(crate) enum AddressError {
    /// The time for a step was up.
    #[error("timed out {0}")]
    TimedOut(&'static str),
    /// Our own time was up before anybody could be expected to answer.
    #[error("cut short {0}")]
    CutShort(&'static str),
    /// No TCP connection.
    #[error("cannot connect: {0}")]
    Unreachable(io::Error),
    /// We have enough connections open.
    #[error("not connected to: {}", match .0 {
        Full::All => "no more connections at a time",
        Full::Address => "no more connections to one address at a time",
    })]
    NoPlace(Full),
    /// The connection ended.
    #[error("connection lost {0}: {1}")]
    Lost(&'static str, io::Error),
    /// What came is not SMTP.
    #[error("{0}")]
    Garbage(#[from] ReplyError),
    /// A reply that is none to what was asked, such as 250 to DATA.
    #[error("out of step: {0}")]
    OutOfStep(Reply),
    /// A refusal at greeting or EHLO: about us, not about the message.
    #[error("{0}")]
    Unwelcome(Reply),
    /// A 421 between MAIL and the dot, which ends this connection and is not about the message either.
    #[error("{0}")]
    Closing(Reply),
    /// The host takes no mail at all, from nobody (RFC 7504 §3).
    #[error("{0}")]
    TakesNoMail(Reply),
    /// The upstream refuses our IPv6 address by policy; it may take us over IPv4.
    #[error("{0}")]
    Ipv6Unwelcome(Reply),
    /// STARTTLS is offered and refused.
    #[error("STARTTLS refused: {0}")]
    TlsRefused(Reply),
    /// The TLS handshake failed.
    #[error("TLS handshake failed: {0}")]
    Handshake(io::Error),
    /// TLS is demanded, and STARTTLS is not offered.
    #[error("STARTTLS is not offered, and the destination demands it")]
    NotEncrypted,
    /// This host cannot take this message.
    #[error("cannot take the message: {0:?}")]
    Unfit(Refusal),
    /// The message cannot be read back: our fault, and no other host's business.
    #[error("cannot read the message: {0}")]
    Message(io::Error),
}

impl AddressError {
    /// Whether time ran out that was long enough.
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut(_))
    }

    /// Whether nobody there said anything, with all the time for it.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::TimedOut(CONNECTING | GREETING))
    }

    /// Whether the address itself gave no way to offer anything, under whichever name and whatever the message.
    pub(crate) fn is_of_address(&self) -> bool {
        match self {
            Self::TimedOut(step) | Self::Lost(step, _) => matches!(*step, CONNECTING | GREETING),
            // At the greeting or EHLO.
            Self::Unreachable(_) | Self::Unwelcome(_) | Self::TakesNoMail(_) => true,
            Self::CutShort(_)
            | Self::NoPlace(_)
            | Self::Garbage(_)
            | Self::OutOfStep(_)
            | Self::Closing(_)
            | Self::Ipv6Unwelcome(_)
            | Self::TlsRefused(_)
            | Self::Handshake(_)
            | Self::NotEncrypted
            | Self::Unfit(_)
            | Self::Message(_) => false,
        }
    }

    /// Whether a connection that had been idle may simply have been too old, so that a fresh one is worth
    /// a try.
    pub(crate) fn is_staleness(&self) -> bool {
        matches!(
            self,
            Self::Lost(..) | Self::Garbage(_) | Self::OutOfStep(_) | Self::Unwelcome(_) | Self::Closing(_)
        )
    }

    /// Whether the upstream still listens: for another message, or at least for QUIT.
    pub(crate) fn leaves_connection(&self) -> bool {
        matches!(self, Self::Unfit(_) | Self::Unwelcome(_) | Self::Closing(_))
    }

    /// The reply that was the trouble.
    pub(crate) fn reply(&self) -> Option<&Reply> {
        match self {
            Self::OutOfStep(reply)
            | Self::Unwelcome(reply)
            | Self::Closing(reply)
            | Self::TakesNoMail(reply)
            | Self::Ipv6Unwelcome(reply)
            | Self::TlsRefused(reply) => Some(reply),
            Self::TimedOut(_)
            | Self::CutShort(_)
            | Self::NoPlace(_)
            | Self::Unreachable(_)
            | Self::Lost(..)
            | Self::Garbage(_)
            | Self::Handshake(_)
            | Self::NotEncrypted
            | Self::Unfit(_)
            | Self::Message(_) => None,
        }
    }

    /// The label of `delivery_attempts_total`.
    pub(crate) fn result(&self) -> AttemptResult {
        match self {
            Self::TimedOut(_) | Self::CutShort(_) => AttemptResult::TimedOut,
            Self::NoPlace(_) => AttemptResult::NoPlace,
            Self::Unreachable(_) => AttemptResult::Unreachable,
            Self::Lost(..) | Self::Garbage(_) | Self::OutOfStep(_) => AttemptResult::Lost,
            Self::Unwelcome(_) | Self::Closing(_) | Self::TakesNoMail(_) | Self::Ipv6Unwelcome(_) => {
                AttemptResult::Unwelcome
            }
            Self::TlsRefused(_) | Self::Handshake(_) | Self::NotEncrypted => AttemptResult::TlsFailed,
            Self::Unfit(_) => AttemptResult::Unfit,
            Self::Message(_) => AttemptResult::Internal,
        }
    }
}
