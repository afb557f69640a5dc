//! The path of a message, one folder a stage, in mail order. Stages never import each other: a stage knows its parcels,
//! and [`joint`] carries them.
//!
//! ```text
//! inbound ─Opened─▶ authenticate          at MAIL: SPF, HELO, FCrDNS start early
//! inbound ─Addressed─▶ route              at RCPT: which rule, which destinations
//! inbound ─Admitted─▶ rewrite ─Readdressed─▶ deliver      at RCPT: would they take it?
//! inbound ─Accepted─▶ authenticate ─Authenticated─▶ route ─Routed─▶ rewrite ─Rewritten─▶ deliver
//!         ◀─────────────────────────── settle ◀─Attempted──────────────────────────────────┘
//! settle ─Deferred, Late─▶ queue ─Due─▶ deliver      what no upstream has taken yet
//!                                └─Unsigned─▶ rewrite      a DSN that needs our signature
//! ```
//!
//! A message has the time that its client waits ([`deadline`]), and each that asks strangers has a part of what is left
//! of it: authentication half, deliver the rest.
//!
//! # Three rules
//!
//! 1. A permit is never held across a remote party's time: places and memory are for work, not for waiting. What must be
//!    waited for is waited for before a permit is taken, or after it was given back. What a message itself takes of
//!    an [`account`] has no place to go back to while its upstream is asked: so nobody waits for that, and a message that
//!    gets none goes another way.
//! 2. Every list that a peer can grow has a count limit, not only an octet limit: an octet costs us nothing, an entry may
//!    cost a look-up, a line of the log, a signature's check. The limit stands as a constant where the list is made.
//! 3. Blame goes only to whoever had the time to answer: time that we took, or that somebody else let pass, is in no
//!    verdict on a client, an upstream or a DNS server.
//!
//! # One message, stage by stage
//!
//! Alice's server connects: `inbound` looks at its door whether there is room for it and greets it; from then on one
//! task, the session, reads commands. MAIL opens a transaction with a trace id, and at once sends `Opened` to
//! `authenticate`, whose answer (SPF, reverse DNS) is waited for only where it is needed. RCPT asks the DNSBLs, then
//! `route` (`Addressed`): is there a rule for info@, and what does it do? It forwards; where SPF vouches for Alice, the
//! recipient goes through `rewrite` to `deliver` (`Admitted`, `Readdressed`), which opens a transaction with the
//! destination's MX host and asks it. A refusal is Alice's answer to RCPT; a transaction that took the recipient stays
//! open.
//!
//! DATA brings the octets; behind the final dot they are one immutable [`crate::mail::Message`] and travel with their
//! [`parcel::Transaction`], which holds their share of memory and the way back to the session. `authenticate` takes
//! `Accepted`: it checks signatures and the ARC chain, asks for DMARC policies, and judges; a spoof ends here. `route`
//! takes `Authenticated`, looks for loops and makes of recipients the copies to send. `rewrite` takes `Routed`, gives
//! each copy a reverse-path of ours by SRS, puts trace fields on top and signs. `deliver` takes `Rewritten`: all
//! shipments go out side by side, over the transactions that wait since RCPT or over new ones, and whatever comes of a
//! copy is its one outcome. `settle` takes `Attempted` and makes of all outcomes the one reply, mostly the upstream's
//! own words. What no upstream has goes to the `queue` first (`Deferred`), which answers when it is on the disk. The
//! reply goes out, and `settle` waits to learn whether Alice's server heard it: if not, an idempotence record will
//! answer the retry.
//!
//! # A new stage
//!
//! 1. A parcel in [`parcel`], named by a participle after the stage that makes it; a line in `parcels!` makes it one.
//!    Between two stages the new one takes the parcel that there is and makes the new one, which the stage behind it
//!    takes.
//! 2. A file or folder here and its `pub mod` below, with a struct that holds what the stage shares, if anything, and its
//!    [`joint::Stage`]: the parcel that it takes, the one that it makes, its name, and `run`. `run` takes the parcel
//!    apart, calls a function that knows nothing of stages, and answers with a [`joint::Turn`].
//! 3. A refusal is a [`refusal::Refusal`] with a line in its `row`; `run` answers with it as [`joint::Refused`], which
//!    takes transaction and message back. Its reply is a row in the catalogue of [`crate::smtp::reply`], with an anchor
//!    that the postmaster page has, and a line in `ANSWERS` of `telemetry::responses`.
//! 4. If its time is to be seen, a word in `PipelineStage` of `telemetry::labels`, in the order of mail, and `TIMED`.
//! 5. In `node::stages::start`, which starts the last stage first: `let way = joints.link(stage, next)`, and `way` goes to
//!    the stage before it in the place of `next`. The neighbour whose parcel changed follows, with its tests and
//!    `benches/stages.rs`.
//! 6. A test that runs the stage, `stage.run(parcel).await`, and looks at the turn. The stage in the diagram and the
//!    story above, and in the floors of `lib.rs`.
//!
//! Spans, times, the log of a refusal and its answer, and panics are the joint's.
//!
//! # Words
//!
//! | word | is |
//! |---|---|
//! | alias | the address that a sender wrote, in a domain of ours; what replies may name |
//! | destination | the private address behind an alias; in no octet that we send but RCPT TO ([`mask`]) |
//! | rule, action | what a domain's owner wants done with mail for an alias: forward, drop, reject |
//! | copy, target | the message for one destination by way of one alias |
//! | shipment | copies that share a reverse-path and a destination domain: one upstream transaction |
//! | upstream | the MX host of a destination, which we are a client of |
//! | dot | the end of a message's octets, by DATA or by BDAT LAST |
//! | in session | while the sender waits for the reply to its dot |
//! | cut-through | upstreams are asked while the client is at RCPT |
//! | outcome | what came of offering one copy |
//! | refusal | our own word against a recipient or a message, never an upstream's |
//! | to settle | to make of all outcomes one reply, and to leave to the queue what is left |
//! | vouched for | SPF passes, or a signature of the reverse-path's domain or its organisation above that: a bounce reaches who sent the message |
//! | idempotence record | what an earlier transaction with the same content got as its answer, kept for a retry |
//! | chronicle | log, journal and counts of what became of messages |
//! | trace id | names one transaction in replies, fields, log and journal |

pub mod account;
pub mod authenticate;
pub mod chronicle;
pub mod cores;
mod cut_through;
pub mod deadline;
pub mod deferred;
pub mod deliver;
mod fingerprint;
pub mod inbound;
pub mod joint;
mod mask;
pub mod parcel;
pub mod queue;
mod receiver;
pub mod refusal;
mod relay;
pub mod rewrite;
pub mod route;
pub mod settle;
mod silence;
#[cfg(test)]
pub(crate) mod testing;
