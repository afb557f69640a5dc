//! The nodes that agree: who is a member, how a cluster comes to be, and how a node comes back to it.
//!
//! - [`founding`]: the rules of the first start, of joining and of replacement, as pure functions.
//! - [`log`]: what is agreed on, as it stands on this node's disk.
//! - [`snapshot`]: the agreed state in a file.
//! - [`types`]: what the Raft engine works with.

pub mod founding;
pub mod log;
pub mod snapshot;
pub mod types;
