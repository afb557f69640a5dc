//! What the index keeps of one message, and what of it stands in other keys.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use prost::Message as _;

use crate::mail::TraceId;
use crate::proto::spool::v1;
use crate::spool::error::SpoolError;
use crate::spool::model::{CopyState, Described, Queued};
use crate::spool::record;
use crate::wal::{Location, Position};

/// Before the protobuf part: segment, offset, octets of the frame, octets of the message, flags, the client's address as
/// IPv6, with zeros for none.
const PREFIX_OCTETS: usize = 49;
const IN_FILE: u8 = 1;

/// What the index keeps of one message.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::spool) struct Entry {
    /// Its newest `put` record.
    pub(in crate::spool) location: Location,
    /// Octets of the message as it is sent.
    pub(in crate::spool) message_octets: u64,
    /// Whether its body is in a file.
    pub(in crate::spool) in_file: bool,
    /// Its newest state.
    pub(in crate::spool) message: v1::Message,
}

impl Entry {
    pub(super) fn encode(&self) -> Vec<u8> {
        let Location { at, octets } = self.location;
        let mut value = Vec::with_capacity(PREFIX_OCTETS + self.message.encoded_len());
        for number in [at.segment, at.offset, octets, self.message_octets] {
            value.extend_from_slice(&number.to_be_bytes());
        }
        value.push(if self.in_file { IN_FILE } else { 0 });
        let client = match client(&self.message) {
            Some(IpAddr::V4(ip)) => ip.to_ipv6_mapped(),
            Some(IpAddr::V6(ip)) => ip,
            None => Ipv6Addr::UNSPECIFIED,
        };
        value.extend_from_slice(&client.octets());
        // It fails where there is no room, and a vector grows.
        let _ = self.message.encode(&mut value);
        value
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, SpoolError> {
        let prefix = Prefix::decode(value)?;
        let rest = value.get(PREFIX_OCTETS..).unwrap_or_default();
        let message = v1::Message::decode(rest).map_err(|error| SpoolError::Entry(error.to_string()))?;
        let Prefix { location, message_octets, in_file, client: _ } = prefix;
        Ok(Self { location, message_octets, in_file, message })
    }

    /// The message as the queue knows it.
    pub(in crate::spool) fn queued(&self) -> Result<Queued, SpoolError> {
        record::decode(&self.message).map_err(SpoolError::Entry)
    }

    /// The message as the operator sees it.
    pub(in crate::spool) fn described(&self) -> Result<Described, SpoolError> {
        Ok(Described { queued: self.queued()?, octets: self.message_octets })
    }

    pub(super) fn outline(&self) -> Outline {
        Outline::of(&self.message)
    }
}

/// The part of a value that says where the message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefix {
    pub(super) location: Location,
    pub(super) message_octets: u64,
    pub(super) in_file: bool,
    pub(super) client: Option<IpAddr>,
}

impl Prefix {
    pub(super) fn decode(value: &[u8]) -> Result<Self, SpoolError> {
        let short = || SpoolError::Entry(format!("it has {} octets", value.len()));
        let mut numbers = [0; 4];
        let mut rest = value;
        for number in &mut numbers {
            let (octets, behind) = rest.split_first_chunk().ok_or_else(short)?;
            (*number, rest) = (u64::from_be_bytes(*octets), behind);
        }
        let (flags, rest) = rest.split_first().ok_or_else(short)?;
        let client = Ipv6Addr::from(*rest.first_chunk::<16>().ok_or_else(short)?);
        let client = (!client.is_unspecified()).then(|| IpAddr::V6(client).to_canonical());
        let [segment, offset, octets, message_octets] = numbers;
        let location = Location { at: Position { segment, offset }, octets };
        Ok(Self { location, message_octets, in_file: flags & IN_FILE != 0, client })
    }
}

/// What of a message stands in other keys than its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outline {
    /// The state that counts for the whole: a reply that is awaited, else an outcome that is unknown.
    pub(super) state: CopyState,
    /// Whose client brought it.
    pub(super) client: Option<IpAddr>,
    /// Each domain of a destination, and when a copy for it is due; `None`: its reply is awaited.
    pub(super) due: BTreeMap<String, Option<u64>>,
}

impl Outline {
    fn of(message: &v1::Message) -> Self {
        let mut due: BTreeMap<String, Option<u64>> = BTreeMap::new();
        let mut whole = CopyState::Waiting;
        for copy in &message.copies {
            let state = record::state(copy).unwrap_or(CopyState::Unknown);
            if whole != CopyState::AwaitingReply && state != CopyState::Waiting {
                whole = state;
            }
            let domain = copy.destination.rsplit_once('@').map_or("", |(_, domain)| domain);
            let first = due.entry(domain.to_owned()).or_default();
            if state.is_scheduled() {
                *first = Some(first.map_or(copy.due_ms, |first| first.min(copy.due_ms)));
            }
        }
        Self { state: whole, client: client(message), due }
    }
}

/// Whose client brought a message. An address that is none was refused when the record was read.
fn client(message: &v1::Message) -> Option<IpAddr> {
    record::client(&message.client).ok().flatten()
}

/// One operation of the log, as the index applies it.
#[derive(Debug, Clone)]
pub(in crate::spool) enum Event {
    /// The message is new.
    New(Box<Entry>),
    /// The message is here; one of the same id is replaced.
    Put(Box<Entry>),
    /// Its copies have this state now; of a message that is not there it says nothing.
    State(v1::Message),
    /// It has left.
    Done(TraceId),
}

impl Event {
    /// What the new state of a message comes to: without copies it has left.
    pub(in crate::spool) fn change(message: v1::Message) -> Result<Self, String> {
        if message.copies.is_empty() {
            return record::id(&message.id).map(Self::Done);
        }
        Ok(Self::State(message))
    }

    /// Whether the name of a file is to be durable before it.
    pub(in crate::spool) fn is_put_in_file(&self) -> bool {
        matches!(self, Self::New(entry) | Self::Put(entry) if entry.in_file)
    }

    pub(in crate::spool) fn id(&self) -> Result<TraceId, SpoolError> {
        match self {
            Self::New(entry) | Self::Put(entry) => record::id(&entry.message.id).map_err(SpoolError::Entry),
            Self::State(message) => record::id(&message.id).map_err(SpoolError::Entry),
            Self::Done(id) => Ok(*id),
        }
    }
}
