//! The nodes talk: `postroad.cluster.v1` over gRPC, each side with the certificate of its node ([`crate::tls::LinkTls`]).
//!
//! ```text
//! Raft ──▶ Network ─┐                                    ┌─▶ Raft
//! Proposer ─────────┼▶ Peers ══ TLS ══▶ ClusterServer ───┼─▶ Routing
//! the node ─────────┤   by name          admission       ├─▶ LocalNode
//! operators ────────┘                                    └─▶ PassedCalls
//! ```
//!
//! - A peer is a name; where it is stands in this node's file, and its id is whatever it said Hello under last. Whoever
//!   connects proves its name by a certificate, and is one of those that the file names.
//! - Calls of Raft, joins and changes carry the cluster, and both ids. What is for another cluster, for an earlier disk of
//!   this node, or from an earlier disk of the caller, is refused ([`admit_call`](super::founding::admit_call)), and so is
//!   what comes before a Hello: the caller says Hello then, and calls once more.
//! - Three connections to each peer: heartbeats do not wait behind a snapshot, nor does a snapshot behind what operators ask.
//!   Nothing is dialled before there is something to say, and names are resolved at each dial; a peer that does not answer to
//!   pings is dialled anew.
//! - What operators ask of one node by way of another comes over the same listener ([`PassedCalls`]). A peer is believed who
//!   asks, and what they may do: whoever has the key of a node can do on it what it likes anyway, and on the others what an
//!   operator can.
//! - Everything has its bound: a message ([`MAX_MESSAGE_OCTETS`]), a list, the calls of a connection, the connections of a
//!   name, a handshake, the next piece of a stream. A peer that stands still holds some memory of ours, and nothing else.
//! - What was seen of a node id is told to it in Hello: the term of its vote, and the end of what is agreed on in its log.
//!   The end of the log as such would be wrong: a log that another leader has not is cut off, and a node that crashes then
//!   has a shorter one by right.

mod acquaintances;
mod admission;
mod change;
mod dial;
mod facts;
mod node;
mod passing;
mod peers;
mod pieces;
mod raft;
mod refusal;
mod server;
mod service;
mod snapshot;
mod wire;

pub use change::{Outcome, PassedOn, Unpassed};
pub use node::{Greeting, Joining, LocalNode, Report, TableDigest};
pub use passing::{Answer, PassedCalls};
pub use peers::{Addresses, Peers};
pub use raft::{Network, RaftPeer};
pub use refusal::CallError;
pub use server::{ClusterServer, ServerError};

use crate::routing::CHANGES_VERSION;

/// The versions of the protocol that this one speaks, from the first to the last, which grows with what changes can say.
const VERSIONS: (u32, u32) = (1, CHANGES_VERSION);
/// Largest message, in octets: an append of a megabyte and one more entry of half of that, with what is around them.
const MAX_MESSAGE_OCTETS: usize = 2 << 20;

#[cfg(test)]
mod facts_tests;
#[cfg(test)]
mod test_world;
#[cfg(test)]
mod tests;
