//! What is done with one upstream: one address of one MX host. Knows nothing of shipments, hosts and what else may be
//! tried.
//!
//! ```text
//! attempt ─▶ pool, connect ─▶ connection ─▶ transaction: open ─▶ feed ─▶ outcomes
//!                                                         (held for the message)  └─▶ late
//! ```

pub(super) mod address_error;
pub(super) mod attempt;
mod connect;
pub(super) mod connection;
pub(super) mod dialogue;
mod late;
pub(super) mod outcomes;
pub(super) mod outgoing;
pub(super) mod places;
pub(super) mod pool;
mod provider;
pub(super) mod transaction;
