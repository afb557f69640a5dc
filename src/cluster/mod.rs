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
//! # What is guaranteed
//!
//! - **A change that was answered stays.** It is on the disks of a majority, synced, before its answer, and is lost only with
//!   these disks, by `bootstrap --abandon-others`, or where a folder `raft/` is put back from a copy.
//! - **Changes are in one order, and each is made once.** The node that answered one uses it by then, and so does every other
//!   when it has heard of it: tens of milliseconds where they reach each other. One that was not confirmed (`UNCONFIRMED`) may
//!   be made still: repeated with its request id within an hour, it is made once.
//! - **There is one cluster.** It is founded with the consent of all that the files name, and by nobody else; a second one only
//!   by an operator's `bootstrap`.
//! - **Mail waits for no agreement.** A node forwards by the table that it has: cut off, stopped by a damaged log, removed. Of
//!   what that table lacks it says 451, not that it does not exist, unless the cluster has told it all.
//! - **A message that was answered 250 is on one disk or at its destination.** The queue is each node's own: what waits in it
//!   goes out when its node is back.
//!
//! # And what is not
//!
//! - Without a majority of the voters no change is made: of three, one may be lost. Two that are lost for good are an
//!   operator's business ([`operate`]).
//! - What a node shows is what it has heard. One that is cut off shows an older table, and says on `/readyz` that it is.
//! - A retry on another node is a matter of facts, not of agreement ([`facts`], [`crate::ledger`]): it is delivered once if the
//!   nodes reach each other, and may come twice where one of them ends at the wrong moment.
//! - Clocks order nothing, but they end things: request ids, suspensions and listings end by the time that the leader stamps.
//! - Nodes trust each other: whoever has a certificate of the cluster's authority for a node's name is that node. What it says
//!   is bounded in size and time, and else believed.
//! - All nodes of a cluster run one version, but for the time of an upgrade: what an older one cannot read stops its part in
//!   the cluster, and not its mail, until it is upgraded too.

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
