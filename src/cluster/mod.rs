//! The nodes that agree: who is a member, how a cluster comes to be, and how a node comes back to it.
//!
//! - [`founding`]: the rules of the first start, of joining and of replacement, as pure functions.

pub mod founding;
