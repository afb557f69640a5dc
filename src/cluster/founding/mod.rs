//! Identity, the first start, joining, replacement: pure, no I/O, no async, no clock.
//!
//! ```text
//! my disk, my file, what each peer answered ──▶ next_step ──▶ one durable write
//!                                                             one message to peers
//!                                                             a rest, with the reason that the operator reads
//! ```
//!
//! - A write of a [`Step`] is durable before anything else is asked or said; then [`next_step`] is asked again. A stop
//!   between two writes needs nothing of its own: what stands on the disk is where the next start goes on.
//! - An answer counts for a write only if its question was sent after my last durable write ([`Asked`]): an older one
//!   describes a peer that did not know what I am now.
//! - A silent peer is never taken for a blank one. It may hold the cluster that I am about to found a second time.
//! - [`next_step`] is a list of rules, the first that applies decides; the reason for each stands at the rule. Those
//!   for a founder's request are in [`answer_founder`], for Raft's calls in [`admit_call`], for who votes in
//!   [`next_change`], for the operator's commands in [`bootstrap`], [`abandon_others`] and [`admit`].
//! - `search` runs these very functions in a world of three nodes with wipes, stops between any two writes,
//!   partitions, late appends and disks put back, state by state. Change a rule only with the search.
//!
//! Not prevented by any rule: an old copy of the folder `raft/` put back, or a cloned disk, may act before a peer that
//! knows better is reached, and an acknowledged write is lost; two machines under one name may found two clusters at
//! the first start. `raft/` is never restored: wipe, and join.
//!
//! Decided in November 2026:
//! - A cluster of one that founded itself without `[cluster]` and has a table is a cluster like any other: blank peers
//!   join it, once all answer, since a silent one may have such a table too; and two of them are two clusters, between which the operator chooses. Only a table that Raft never held
//!   ([`Standing::OldTable`]) needs a founding; it gives way to a cluster that somebody chose, not to one that founded
//!   itself.
//! - A name is barred, committed, before its id leaves the membership: a node that finds itself in no membership and
//!   its name not barred takes that for a replacement, and comes back.

mod accept;
mod consent;
mod disk;
mod identity;
mod operator;
mod rules;
mod step;
mod view;
mod voters;

pub use accept::{Call, Unaccepted, admit_call};
pub use consent::{Reply, Request, Unwilling, answer_founder};
pub use disk::{Disk, LogId, Membership, Origin, Stage, Standing, State, Table};
pub use identity::{ClusterId, Members, NodeId, NodeName};
pub use operator::{Inadmissible, abandon_others, admit, bootstrap, start_alone};
pub use rules::{Decision, next_step};
pub use step::{Message, Reason, Rest, Step, Write};
pub use view::{Answer, Asked, Heard, Seen, Terms, View};
pub use voters::{Allowed, Change, Electorate, next_change};

#[cfg(test)]
mod answers_tests;
#[cfg(test)]
mod search;
#[cfg(test)]
mod test_nodes;
