//! The path of a message, one folder a stage, in mail order. Stages never import each other: a stage knows
//! its parcel and its [`handoff::Handoff`].
//!
//! ```text
//! inbound ─Opened─▶ authenticate          at MAIL: SPF, HELO, FCrDNS start early
//! inbound ─Addressed─▶ route              at RCPT: which rule, which destinations
//! inbound ─Admitted─▶ rewrite ─Readdressed─▶ deliver      at RCPT: would they take it?
//! inbound ─Accepted─▶ authenticate ─Authenticated─▶ route ─Routed─▶ rewrite ─Rewritten─▶ deliver
//!         ◀─────────────────────────── settle ◀─Attempted──────────────────────────────────┘
//! settle ─Deferred, Late─▶ queue ─Due─▶ deliver      what no upstream has taken yet
//! ```
//!
//! A permit is never held across a remote party's time: memory and places are for work, not for waiting. What must be
//! waited for is waited for before memory is taken, or after it was given back.
//!
//! A message has the time that its client waits ([`deadline`]), and each that asks strangers has a part of what is left
//! of it: authentication half, deliver the rest. Blame goes only to whoever had the time to answer.

mod advance;
pub mod authenticate;
pub mod chronicle;
pub mod deadline;
pub mod deferred;
pub mod deliver;
mod fingerprint;
pub mod handoff;
pub mod inbound;
pub mod parcel;
pub mod queue;
mod receiver;
pub mod refusal;
mod relay;
pub mod rewrite;
pub mod route;
pub mod settle;
#[cfg(test)]
pub(crate) mod testing;
