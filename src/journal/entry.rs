//! One entry of the journal, its bounds, and its form on disk: a version octet, then a
//! `postroad.journal.v1.Entry`.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use prost::Message;
use thiserror::Error;

use crate::mail::TraceId;
use crate::proto::journal::v1 as stored;

/// First octet of every stored entry.
const VERSION: u8 = 1;
/// Recipients kept of a transaction; how many more there were becomes a step.
pub const MAX_RECIPIENTS: usize = 100;
/// Steps kept of a transaction.
pub const MAX_STEPS: usize = 200;
/// Octets of a name, an address or a Message-ID (RFC 5322 §2.1.1: a line has at most 998).
const MAX_WORD_OCTETS: usize = 998;
/// Octets of an address: RFC 5321 §4.5.3.1.3 allows 256, quoting can double the local part.
pub(super) const MAX_ADDRESS_OCTETS: usize = 400;
/// Octets of the authentication results and of the reply, each.
const MAX_TEXT_OCTETS: usize = 8 * 1024;
/// Octets of one step.
const MAX_STEP_OCTETS: usize = 1024;
/// Octets of all steps: with all other bounds an entry stays below the store's 100 KB.
const MAX_STEPS_OCTETS: usize = 24 * 1024;

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// An upstream took every copy.
    Forwarded,
    /// The client heard 5yz.
    Rejected,
    /// A rule dropped it: 250 and gone.
    Dropped,
    /// The client heard 4yz.
    Tempfailed,
    /// The client heard 250, and the queue has what no upstream took.
    Queued,
    /// The client heard 250, and a copy was refused that nobody may be told of.
    PartlyRefused,
}

/// One SMTP transaction and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The trace id.
    pub id: TraceId,
    /// When it ended.
    pub at: SystemTime,
    /// The client.
    pub client_ip: IpAddr,
    /// The EHLO or HELO argument.
    pub helo: String,
    /// The reverse-path without brackets; empty for the null one.
    pub reverse_path: String,
    /// The recipients as the sender wrote them.
    pub recipients: Vec<String>,
    /// The Message-ID with its brackets. The subject is not kept.
    pub message_id: Option<String>,
    /// Octets of the message as received.
    pub octets: u64,
    /// The Authentication-Results.
    pub verdict: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Basic code of our last reply.
    pub code: u16,
    /// Our last reply, lines joined by LF.
    pub reply: String,
    /// Lines for people: the route, the rewriting, each upstream attempt.
    pub steps: Vec<String>,
    /// Milliseconds from the start of the transaction to the reply.
    pub duration_ms: u64,
}

/// Why stored octets are no entry.
#[derive(Debug, Error)]
pub enum EntryError {
    /// Written by a newer version, or damaged.
    #[error("journal entry has version {0:?}, this build reads {VERSION}")]
    Version(Option<u8>),
    /// Not the message that the version promises.
    #[error("journal entry cannot be decoded")]
    Malformed(#[from] prost::DecodeError),
    /// A field holds what no writer of ours writes.
    #[error("journal entry has no valid {0}")]
    Field(&'static str),
}

impl Entry {
    /// Cuts every field to its bound and the time to milliseconds, as it is stored, so that an entry has at most about 90,000 octets.
    #[must_use]
    pub(super) fn bounded(mut self) -> Self {
        self.at = time(millis(self.at));
        let omitted = self.recipients.len().saturating_sub(MAX_RECIPIENTS);
        self.recipients.truncate(MAX_RECIPIENTS);
        self.recipients.iter_mut().for_each(|r| cut(r, MAX_ADDRESS_OCTETS));
        cut(&mut self.helo, MAX_WORD_OCTETS);
        cut(&mut self.reverse_path, MAX_ADDRESS_OCTETS);
        if let Some(message_id) = &mut self.message_id {
            cut(message_id, MAX_WORD_OCTETS);
        }
        cut(&mut self.verdict, MAX_TEXT_OCTETS);
        cut(&mut self.reply, MAX_TEXT_OCTETS);
        self.steps.truncate(MAX_STEPS);
        let mut room = MAX_STEPS_OCTETS;
        self.steps.retain_mut(|step| {
            cut(step, MAX_STEP_OCTETS);
            let fits = step.len() <= room;
            room = room.saturating_sub(step.len());
            fits
        });
        if omitted > 0 {
            self.steps.push(format!("{omitted} more recipients are not kept"));
        }
        self
    }

    /// The stored form; `octets_before` counts the octets of all entries ever written before.
    pub(super) fn encode(&self, octets_before: u64) -> Vec<u8> {
        let message = stored::Entry {
            id: self.id.to_bytes().to_vec(),
            at_ms: millis(self.at),
            client_ip: ip_octets(self.client_ip),
            helo: self.helo.clone(),
            reverse_path: self.reverse_path.clone(),
            recipients: self.recipients.clone(),
            message_id: self.message_id.clone(),
            octets: self.octets,
            verdict: self.verdict.clone(),
            outcome: outcome_number(self.outcome),
            code: u32::from(self.code),
            reply: self.reply.clone(),
            steps: self.steps.clone(),
            duration_ms: self.duration_ms,
            octets_before,
        };
        let mut octets = Vec::with_capacity(1 + message.encoded_len());
        octets.push(VERSION);
        octets.extend_from_slice(&message.encode_to_vec());
        octets
    }

    /// Reads the stored form back, with its `octets_before`.
    pub(super) fn decode(octets: &[u8]) -> Result<(Self, u64), EntryError> {
        let (VERSION, body) =
            octets.split_first().map(|(version, body)| (*version, body)).ok_or(EntryError::Version(None))?
        else {
            return Err(EntryError::Version(octets.first().copied()));
        };
        let message = stored::Entry::decode(body)?;
        let id = <[u8; 16]>::try_from(message.id.as_slice()).map_err(|_| EntryError::Field("id"))?;
        let entry = Self {
            id: TraceId::from_bytes(id),
            at: time(message.at_ms),
            client_ip: ip(&message.client_ip).ok_or(EntryError::Field("client_ip"))?,
            helo: message.helo,
            reverse_path: message.reverse_path,
            recipients: message.recipients,
            message_id: message.message_id,
            octets: message.octets,
            verdict: message.verdict,
            outcome: outcome(message.outcome).ok_or(EntryError::Field("outcome"))?,
            code: u16::try_from(message.code).map_err(|_| EntryError::Field("code"))?,
            reply: message.reply,
            steps: message.steps,
            duration_ms: message.duration_ms,
        };
        Ok((entry, message.octets_before))
    }
}

/// Milliseconds since 1970.
pub(super) fn millis(at: SystemTime) -> i64 {
    let millis = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    i64::try_from(millis).unwrap_or(i64::MAX)
}

/// The time that is so many milliseconds after 1970.
pub(super) fn time(at_ms: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(at_ms).unwrap_or_default());
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Cuts a text at a character's boundary.
pub(super) fn cut(text: &mut String, max_octets: usize) {
    if text.len() > max_octets {
        text.truncate(text.floor_char_boundary(max_octets));
    }
}

fn ip_octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn ip(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

fn outcome_number(outcome: Outcome) -> u32 {
    match outcome {
        Outcome::Forwarded => 1,
        Outcome::Rejected => 2,
        Outcome::Dropped => 3,
        Outcome::Tempfailed => 4,
        Outcome::Queued => 5,
        Outcome::PartlyRefused => 6,
    }
}

fn outcome(number: u32) -> Option<Outcome> {
    match number {
        1 => Some(Outcome::Forwarded),
        2 => Some(Outcome::Rejected),
        3 => Some(Outcome::Dropped),
        4 => Some(Outcome::Tempfailed),
        5 => Some(Outcome::Queued),
        6 => Some(Outcome::PartlyRefused),
        _ => None,
    }
}
