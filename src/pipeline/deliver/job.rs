//! What all shipments of one message, or of one recipient ahead of it, share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::options::Options;
use super::tls::TlsWish;
use super::upstream::attempt::Means;
use super::upstream::dialogue::Dialogue;
use super::upstream::outgoing::Content;
use super::upstream::transaction::Budget;
use super::upstreams::Upstreams;
use crate::mail::{MessageRequest, SmtpUtf8, TraceId};
use crate::pipeline::parcel::Declared;

/// What all shipments of one message, or of one recipient ahead of it, share.
pub(super) struct Job {
    pub(super) upstreams: Arc<Upstreams>,
    pub(super) options: Arc<Options>,
    pub(super) matter: Matter,
    pub(super) request: MessageRequest,
    pub(super) tls_wish: TlsWish,
    pub(super) trace: TraceId,
    pub(super) budget: Budget,
    pub(super) ipv6_timed_out: AtomicBool,
    pub(super) dialogue: Option<Dialogue>,
}

/// What is offered to upstreams.
pub(super) enum Matter {
    /// A message.
    Message {
        content: Content,
        /// Whether its sender asked for SMTPUTF8.
        smtp_utf8: SmtpUtf8,
    },
    /// At RCPT: the envelope of a message that is to come.
    Envelope(Declared),
}

impl Matter {
    pub(super) fn content(&self) -> Option<&Content> {
        match self {
            Self::Message { content, .. } => Some(content),
            Self::Envelope(_) => None,
        }
    }
}

impl Job {
    /// What its attempts work with.
    pub(super) fn means(&self) -> Means<'_> {
        let Self { upstreams, options, dialogue, trace, .. } = self;
        Means {
            options,
            policies: &upstreams.policies,
            pool: &upstreams.pool,
            metrics: &upstreams.metrics,
            dialogue: dialogue.as_ref(),
            trace: *trace,
        }
    }
}
