//! Why a call is refused, as a status on the wire; and how a call fails, as who calls sees it.

use std::error::Error;
use std::time::Duration;

use tonic::{Code, Status};

use super::super::founding::{NodeId, NodeName, Unaccepted};
use super::wire::Malformed;

/// The metadata in which a refusal stands in one word.
const WORD: &str = "postroad-refusal";
/// The word that asks for a Hello.
const UNGREETED: &str = "UNGREETED";
/// The word that says to come again later.
const BUSY: &str = "TOO_MANY_CHANGES";
/// Longest text of a refusal that is believed, in octets.
const MAX_TEXT_OCTETS: usize = 1024;

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The certificate is another's.
    #[error("the certificate is not that of {0}")]
    OtherCertificate(NodeName),
    /// Nobody of this cluster.
    #[error("cluster.peers does not name {0}")]
    Unlisted(NodeName),
    /// A version that this one cannot talk to.
    #[error("the protocol has versions {ours:?} here, and {theirs:?} there")]
    Protocol {
        /// From the first to the last.
        ours: (u32, u32),
        /// As well.
        theirs: (u32, u32),
    },
    /// Since this process began, the name has not said Hello.
    #[error("{0} has not said Hello to this process")]
    Ungreeted(NodeName),
    /// By the rules of founding.
    #[error(transparent)]
    Unaccepted(#[from] Unaccepted),
    /// An operator wants nothing to do with it.
    #[error("{0} is removed from the cluster")]
    Removed(NodeName),
    /// What operators ask has nobody yet who answers it.
    #[error("this node has only just begun, and answers no operators yet")]
    Beginning,
    /// No message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// There is no Raft here, or it has stopped.
    #[error("Raft does not run here")]
    Stopped,
    /// The disk cannot note which cluster it is.
    #[error("the cluster cannot be adopted: {0}")]
    Unadopted(String),
    /// One snapshot at a time.
    #[error("another snapshot is arriving")]
    SnapshotArriving,
    /// As many changes as are taken at once are under way.
    #[error("too many changes are being passed on")]
    TooManyChanges,
    /// The node does not run as far yet, or ends.
    #[error("no facts are shared here now")]
    NoFacts,
    /// It is larger than announced, or than may be.
    #[error("there is more, or less, of it than was announced")]
    Size,
    /// The caller was silent for too long.
    #[error("nothing came within {0:?}")]
    Silent(Duration),
}

impl Refusal {
    /// The word for programs.
    fn word(&self) -> &'static str {
        match self {
            Self::OtherCertificate(_) => "OTHER_CERTIFICATE",
            Self::Unlisted(_) => "UNLISTED",
            Self::Protocol { .. } => "PROTOCOL",
            Self::Ungreeted(_) => UNGREETED,
            Self::Unaccepted(Unaccepted::NotHere(_)) => "NOT_HERE",
            Self::Unaccepted(Unaccepted::Outdated(_)) => "OUTDATED",
            Self::Unaccepted(Unaccepted::OtherCluster(_)) => "OTHER_CLUSTER",
            Self::Unaccepted(Unaccepted::OtherConsent(_)) => "OTHER_CONSENT",
            Self::Unaccepted(Unaccepted::Founding(_)) => "FOUNDING",
            Self::Unaccepted(Unaccepted::OldTable) => "OLD_TABLE",
            Self::Removed(_) => "REMOVED",
            Self::Beginning => "BEGINNING",
            Self::Malformed(_) => "MALFORMED",
            Self::Stopped => "STOPPED",
            Self::Unadopted(_) => "UNADOPTED",
            Self::SnapshotArriving => "SNAPSHOT_ARRIVING",
            Self::TooManyChanges => BUSY,
            Self::NoFacts => "NO_FACTS",
            Self::Size => "SIZE",
            Self::Silent(_) => "SILENT",
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::OtherCertificate(_) | Self::Unlisted(_) | Self::Removed(_) => Code::PermissionDenied,
            Self::Protocol { .. } | Self::Ungreeted(_) | Self::Unaccepted(_) => Code::FailedPrecondition,
            Self::Malformed(_) | Self::Size => Code::InvalidArgument,
            Self::Stopped | Self::NoFacts | Self::Unadopted(_) | Self::Beginning => Code::Unavailable,
            Self::SnapshotArriving | Self::TooManyChanges => Code::ResourceExhausted,
            Self::Silent(_) => Code::DeadlineExceeded,
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let mut status = Self::new(refusal.code(), refusal.to_string());
        let word = tonic::metadata::MetadataValue::from_static(refusal.word());
        status.metadata_mut().insert(WORD, word);
        status
    }
}

/// Why a call of a peer has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no connection: the peer has heard nothing.
    #[error("{name} cannot be reached: {cause}")]
    Unreachable {
        /// Who.
        name: NodeName,
        /// Why not.
        cause: String,
    },
    /// The peer refuses, or something before it does: nothing was done.
    #[error("{name} refuses: {text}")]
    Refused {
        /// Who.
        name: NodeName,
        /// Its word for why; empty: not by the rules of this protocol.
        word: String,
        /// Why.
        text: String,
    },
    /// The connection ended, or time did: it is not known what was done.
    #[error("{name} has not answered: {cause}")]
    Lost {
        /// Who.
        name: NodeName,
        /// Why.
        cause: String,
    },
    /// What it answered is no answer.
    #[error("{name} has given no answer that can be: {cause}")]
    Malformed {
        /// Who.
        name: NodeName,
        /// What of it.
        cause: String,
    },
    /// This node's own id is another by now: its Raft is to stop.
    #[error("this node is {0} no more")]
    Replaced(NodeId),
}

impl CallError {
    /// What a status says.
    pub(super) fn of(name: &NodeName, status: &Status) -> Self {
        if let Some(refused) = Self::refused(name, status) {
            return refused;
        }
        let name = name.clone();
        // The library has no other way to say that it was the connection, and not the call.
        let mut cause = status.source();
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<tonic::ConnectError>() {
                return Self::Unreachable { name, cause: innermost(error) };
            }
            cause = error.source();
        }
        Self::Lost { name, cause: cut(status.message()) }
    }

    /// What a status says that is a refusal by the rules of this protocol.
    pub(super) fn refused(name: &NodeName, status: &Status) -> Option<Self> {
        let word = cut(status.metadata().get(WORD)?.to_str().ok()?);
        Some(Self::Refused { name: name.clone(), word, text: cut(status.message()) })
    }

    pub(super) fn malformed(name: &NodeName, cause: impl ToString) -> Self {
        Self::Malformed { name: name.clone(), cause: cause.to_string() }
    }

    pub(super) fn late(name: &NodeName, within: Duration) -> Self {
        Self::Lost { name: name.clone(), cause: format!("nothing came within {within:?}") }
    }

    /// Whether the peer takes no more for now.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Refused { word, .. } if word == BUSY)
    }

    /// Whether the peer asks for a Hello first.
    pub(super) fn wants_hello(&self) -> bool {
        matches!(self, Self::Refused { word, .. } if word == UNGREETED)
    }
}

fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(MAX_TEXT_OCTETS)).unwrap_or_default().to_owned()
}

fn innermost(error: &dyn Error) -> String {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
