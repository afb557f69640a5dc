//! The client's half of SMTP (RFC 5321 §4), sans-I/O: replies and EHLO keywords read from octets, commands
//! and dot-stuffed messages made into octets. Sockets, time and decisions are the deliver stage's.

mod capabilities;
mod command;
mod dot;
mod reply;

pub use capabilities::{Capabilities, Extension};
pub use command::{MailParameters, ehlo, helo, mail, rcpt};
pub use dot::DotStuffer;
pub use reply::{MAX_LINE_OCTETS, MAX_LINES, MAX_REPLY_OCTETS, MAX_TEXT_OCTETS, ReplyDecoder, ReplyError};
