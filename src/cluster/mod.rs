//! The nodes that agree: who is a member, how a cluster comes to be, and how a node comes back to it.
//!
//! - [`alone`]: the node without `[cluster]`, a cluster of one.
//! - [`disk`]: who this node is, and the folder of what it keeps.
//! - [`facts`]: what one node finds out and tells the others, and what ends by itself.
//! - [`forward`]: the changes that are ordered on a node, on their way to the one that leads.
//! - [`founding`]: the rules of the first start, of joining and of replacement, as pure functions.
//! - [`log`]: what is agreed on, as it stands on this node's disk.
//! - [`machine`]: what is agreed on, applied to the table.
//! - [`member`]: the node with `[cluster]`, one of several.
//! - [`network`]: what the nodes say to each other.
//! - [`operate`]: what operators see of a cluster, and order of it.
//! - [`part`]: Raft on its log, and what keeps that small.
//! - [`proposal`]: what an entry says of the agreed state.
//! - [`propose`]: the changes that are ordered on a node, on their way into the log.
//! - [`snapshot`]: the agreed state in a file.
//! - [`staging`]: a change too large for an entry, while its parts arrive.
//! - [`status`]: how a cluster is.
//! - [`types`]: what the Raft engine works with.
//!

pub mod alone;
pub mod disk;
mod encoding;
pub mod facts;
mod forward;
pub mod founding;
pub mod log;
pub mod machine;
pub mod member;
pub mod network;
mod nobody;
pub mod operate;
pub mod part;
pub mod proposal;
pub mod propose;
pub mod snapshot;
pub mod staging;
pub mod status;
pub mod types;

#[cfg(test)]
mod test_state;
