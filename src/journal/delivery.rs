//! What comes later of a message that was queued, its bounds, and its form on disk: a version octet, then a
//! `postroad.journal.v1.Delivery`.

use std::time::SystemTime;

use prost::Message;

use super::entry::{EntryError, MAX_ADDRESS_OCTETS, cut, millis, time};
use crate::proto::journal::v1 as stored;

/// First octet of every stored delivery.
const VERSION: u8 = 1;
/// Octets of a host's name, and then some for what a resolver may give.
const MAX_HOST_OCTETS: usize = 300;
/// Octets of the text: two lines of a reply as RFC 5321 §4.5.3.1.5 bounds them.
const MAX_TEXT_OCTETS: usize = 1024;

/// What came of a queued copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryResult {
    /// An upstream took it.
    Delivered,
    /// It will not be tried again.
    Failed,
    /// It is tried again.
    Deferred,
    /// Delivered or not, nobody knows; it is tried again.
    Unknown,
    /// An operator threw it away.
    Cancelled,
    /// Its sender was sent a DSN.
    Told,
}

/// Something that came of a queued copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// When.
    pub at: SystemTime,
    /// What.
    pub result: DeliveryResult,
    /// The recipient as the sender wrote it; of [`DeliveryResult::Told`], the sender.
    pub recipient: String,
    /// Where the copy goes.
    pub destination: String,
    /// Attempts so far.
    pub attempts: u32,
    /// The host that was tried last; empty if none was.
    pub host: String,
    /// Basic code of its reply; 0 if there was none.
    pub code: u16,
    /// The reply's text or what went wrong, lines joined by LF.
    pub text: String,
}

impl Delivery {
    /// Cuts every field to its bound: at most about 2,200 octets are left.
    pub(super) fn bounded(mut self) -> Self {
        cut(&mut self.recipient, MAX_ADDRESS_OCTETS);
        cut(&mut self.destination, MAX_ADDRESS_OCTETS);
        cut(&mut self.host, MAX_HOST_OCTETS);
        cut(&mut self.text, MAX_TEXT_OCTETS);
        self
    }

    /// The stored form.
    pub(super) fn encode(&self) -> Vec<u8> {
        let message = stored::Delivery {
            at_ms: millis(self.at),
            outcome: number(self.result),
            recipient: self.recipient.clone(),
            destination: self.destination.clone(),
            attempts: self.attempts,
            host: self.host.clone(),
            code: u32::from(self.code),
            text: self.text.clone(),
        };
        [&[VERSION][..], &message.encode_to_vec()].concat()
    }

    /// Reads the stored form back.
    pub(super) fn decode(octets: &[u8]) -> Result<Self, EntryError> {
        let Some((&VERSION, body)) = octets.split_first() else {
            return Err(EntryError::Version(octets.first().copied()));
        };
        let message = stored::Delivery::decode(body)?;
        Ok(Self {
            at: time(message.at_ms),
            result: result(message.outcome).ok_or(EntryError::Field("outcome"))?,
            recipient: message.recipient,
            destination: message.destination,
            attempts: message.attempts,
            host: message.host,
            code: u16::try_from(message.code).map_err(|_| EntryError::Field("code"))?,
            text: message.text,
        })
    }
}

fn number(result: DeliveryResult) -> u32 {
    match result {
        DeliveryResult::Delivered => 1,
        DeliveryResult::Failed => 2,
        DeliveryResult::Deferred => 3,
        DeliveryResult::Unknown => 4,
        DeliveryResult::Cancelled => 5,
        DeliveryResult::Told => 6,
    }
}

fn result(number: u32) -> Option<DeliveryResult> {
    match number {
        1 => Some(DeliveryResult::Delivered),
        2 => Some(DeliveryResult::Failed),
        3 => Some(DeliveryResult::Deferred),
        4 => Some(DeliveryResult::Unknown),
        5 => Some(DeliveryResult::Cancelled),
        6 => Some(DeliveryResult::Told),
        _ => None,
    }
}
