//! What a node does, seen through its sockets: real clients, real DNS on loopback, scripted upstreams. One
//! binary, so that everything links once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking"
)]

mod addresses;
mod binary;
mod blocklists;
mod cluster;
mod conduct;
mod crash;
mod cut_through;
mod descriptors;
mod dialogue;
mod floors;
mod formats;
mod forwarding;
mod header_lines;
mod history;
mod judgement;
mod loops;
mod lost_store;
mod memory;
mod observation;
mod octets;
mod operators_listings;
mod outage;
mod permanent_faults;
mod privacy;
mod queue;
mod queue_orders;
mod rehearsal;
mod reload;
mod reply_owed;
mod return_path;
mod sessions;
mod settlement;
#[path = "../siege/mod.rs"]
mod siege;
mod sizes;
mod slow_dns;
mod split_unvouched;
mod strangers;
mod suites;
mod support;
mod upstream_replies;
