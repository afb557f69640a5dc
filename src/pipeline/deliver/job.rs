//! What all shipments of one message, or of one recipient ahead of it, share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::options::Options;
use super::outcome::Failure;
use super::tls::TlsWish;
use super::upstream::attempt::Means;
use super::upstream::dialogue::Dialogue;
use super::upstream::outgoing::Content;
use super::upstream::transaction::Budget;
use super::upstreams::Upstreams;
use crate::mail::{MessageRequest, SmtpUtf8, TraceId};
use crate::pipeline::parcel::Declared;

/// Addresses that each shipment may try, however many shipments there are (RFC 5321 §5.1: at least two).
const LEAST_ADDRESSES: usize = 2;
/// Addresses that all shipments of a message together may try beyond that: what three destinations whose hosts are all
/// down take. A message to a hundred such domains tries 224 addresses and not a thousand.
const MAX_FURTHER: usize = 24;

/// What all shipments of one message, or of one recipient ahead of it, share.
pub(super) struct Job {
    pub(super) upstreams: Arc<Upstreams>,
    pub(super) options: Arc<Options>,
    pub(super) matter: Matter,
    pub(super) request: MessageRequest,
    pub(super) tls_wish: TlsWish,
    pub(super) trace: TraceId,
    pub(super) budget: Budget,
    pub(super) tries: Tries,
    pub(super) dialogue: Option<Dialogue>,
}

/// What all shipments have tried so far, each with what the others found out.
pub(super) struct Tries {
    /// Whether IPv6 is left alone for the rest.
    pub(super) ipv6_timed_out: AtomicBool,
    /// Addresses that gave no way to offer anything: they are not tried again, under another name or for another
    /// shipment. So few of them that their number needs no limit but that of the tries.
    hopeless: Mutex<HashMap<IpAddr, Failure>>,
    /// Further addresses that may be tried.
    further: AtomicUsize,
    /// What else is to be told of the message.
    remarks: Mutex<Vec<Arc<str>>>,
}

impl Default for Tries {
    fn default() -> Self {
        Self {
            ipv6_timed_out: AtomicBool::new(false),
            hopeless: Mutex::default(),
            further: AtomicUsize::new(MAX_FURTHER),
            remarks: Mutex::default(),
        }
    }
}

impl Tries {
    /// Whether a shipment that has tried so many addresses may try another.
    pub(super) fn has_another(&self, tried: usize) -> bool {
        let less_one = |left: usize| left.checked_sub(1);
        tried < LEAST_ADDRESSES
            || self.further.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less_one).is_ok()
    }

    /// Notes what is to be told of the message, once, and no more than there may be tries that say it.
    pub(super) fn remark(&self, remark: Arc<str>) {
        let mut remarks = self.remarks.lock();
        if remarks.len() < MAX_FURTHER && !remarks.contains(&remark) {
            remarks.push(remark);
        }
    }

    /// What was to be told.
    pub(super) fn remarks(self) -> Vec<Arc<str>> {
        self.remarks.into_inner()
    }

    /// Notes an address that gave no way to offer anything.
    pub(super) fn give_up(&self, ip: IpAddr, failure: Failure) {
        self.hopeless.lock().insert(ip, failure);
    }

    /// What is wrong with an address, if it was tried for nothing.
    pub(super) fn given_up(&self, ip: IpAddr) -> Option<Failure> {
        self.hopeless.lock().get(&ip).cloned()
    }
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
