//! The words of SMTP (RFC 5321): commands, replies, line and DATA/BDAT decoding, reply decoding, EHLO
//! keywords. Sans-I/O: octets in, values out, so that every clause is tested without a socket.
//!
//! The grammar is ours rather than smtp-proto's: that crate drops the quotes of local parts, reads
//! `<Postmaster>` as an empty address and ends commands at a bare LF, so that each path would have to be
//! parsed twice.

pub mod client;
pub mod command;
pub mod data;
pub mod line;
pub mod reply;
