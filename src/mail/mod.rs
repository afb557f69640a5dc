//! The words of mail: addresses, envelopes, message octets, header fields, trace ids. Pure: no I/O, no
//! async, no clock. Every other module speaks in these types; input is parsed into them at the edge.

mod address;
pub mod authentication_results;
pub mod author;
pub mod base64;
pub mod canonical;
pub mod date;
pub mod dkim;
mod dsn;
mod enhanced;
mod envelope;
pub mod header;
mod id;
pub mod loop_token;
mod message;
pub mod report;
pub mod tags;
mod text;
pub mod token;
pub mod xtext;

pub use address::{Address, AddressError, Domain, MAX_DOMAIN_OCTETS, MAX_LOCAL_PART_OCTETS, MAX_PATH_OCTETS};
pub use dsn::{
    MAX_ENVELOPE_ID_OCTETS, MAX_ORIGINAL_RECIPIENT_OCTETS, MessageRequest, Notify, RecipientRequest,
    RequireTls, Return,
};
pub use enhanced::Enhanced;
pub use envelope::{BodyType, Envelope, ReversePath, SmtpUtf8};
pub use id::TraceId;
pub use message::{Body, BodyFile, Message, pieces_without};
