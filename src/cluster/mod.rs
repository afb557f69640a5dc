//! The nodes that agree: who is a member, how a cluster comes to be, and how a node comes back to it.
//!
//! - [`alone`]: the node without `[cluster]`, a cluster of one.
//! - [`founding`]: the rules of the first start, of joining and of replacement, as pure functions.
//! - [`identity`]: who this node is.
//! - [`log`]: what is agreed on, as it stands on this node's disk.
//! - [`machine`]: what is agreed on, applied to the table.
//! - [`proposal`]: what an entry says of the agreed state.
//! - [`propose`]: the changes that are ordered on a node, on their way into the log.
//! - [`snapshot`]: the agreed state in a file.
//! - [`staging`]: a change too large for an entry, while its parts arrive.
//! - [`types`]: what the Raft engine works with.
//!
//! A node starts alone so far: there is no network between nodes.

pub mod alone;
mod encoding;
pub mod founding;
pub mod identity;
pub mod log;
pub mod machine;
pub mod proposal;
pub mod propose;
pub mod snapshot;
pub mod staging;
pub mod types;

#[cfg(test)]
mod test_state;
