//! A siege: every attack that we know of, at once, from fifty networks, while honest senders deliver. None of them is
//! refused for good, all that was answered 250 arrives, and the node's memory stays under its bound.
//!
//! | variable | says |
//! | --- | --- |
//! | `POSTROAD_SIEGE_SECONDS` | how long it lasts; 60 s unless told |
//! | `POSTROAD_SIEGE_ATTACKS` | which attacks: names of [`attacks::Attack`], separated by commas; `none`; all unless told |
//! | `POSTROAD_NODE` | the program that is besieged; the one that was built with this test unless told |

mod attacks;
mod honest;
mod peer;
mod ramparts;

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use self::attacks::Attack;
use self::honest::Honest;
use self::ramparts::Ramparts;
use crate::crash::served::Served;
use crate::crash::sink::Sink;
use crate::support::World;

/// How long it lasts when the environment does not say.
const SECONDS: u64 = 60;
/// Honest senders, each in a network of its own.
const SENDERS: u8 = 20;
/// Octets of messages that the node may hold in memory.
const IN_FLIGHT: u64 = 64 << 20;
/// Octets that the disk has for the node, about: others write to it too.
const DISK: u64 = 1 << 30;
/// What the process may hold in all: the messages, 25 MiB for a body that is read back to be verified, 60 KB for each of
/// some 1,600 connections, 3 MB for each of 54 header sections that are judged at a time, and the 112 MiB of a node at rest.
const MEMORY: u64 = 512 << 20;
/// How long the queue may take to get empty at the end.
const EMPTYING: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "takes a minute of both cores: cargo test --test it siege -- --ignored --nocapture"]
async fn honest_mail_goes_on() {
    let ramparts = Ramparts::raise().await;
    let node = Served::start(&ramparts.config, &[]).await;
    ramparts.route(&node);
    let attacks = Attack::chosen();
    let besiegers = attacks::begin(&attacks, &node);
    let honest = Honest::begin(SENDERS, node.smtp());

    let end = Instant::now() + seconds();
    let mut memory = 0;
    while Instant::now() < end {
        memory = memory.max(node.memory());
        sleep(Duration::from_millis(100)).await;
    }
    // The honest finish what they have begun while the siege still lasts.
    let told = honest.finish().await;
    memory = memory.max(node.memory());
    let connections = besiegers.lift();
    ramparts.emptied(&node, EMPTYING).await;

    let copies = ramparts.sink.copies();
    let arrived: HashSet<u64> = copies.iter().filter(|copy| copy.whole).map(|copy| copy.number).collect();
    let lost: Vec<&u64> = told.accepted.iter().filter(|number| !arrived.contains(number)).collect();
    println!(
        "siege of {:?} by {} ({connections} connections): {told}, {} copies too many; memory {} MiB",
        seconds(),
        attacks.iter().map(Attack::to_string).collect::<Vec<_>>().join(" "),
        copies.len() - arrived.len(),
        memory >> 20,
    );
    assert!(told.refused.is_empty(), "refused for good: {:#?}", told.refused);
    assert!(told.stuck.is_empty(), "deferred for too long: {:?}", told.stuck);
    assert!(lost.is_empty(), "accepted and lost: {lost:?}");
    assert!(memory < MEMORY, "the node held {} MiB", memory >> 20);
}

fn seconds() -> Duration {
    let told = std::env::var("POSTROAD_SIEGE_SECONDS").map(|seconds| seconds.parse().unwrap());
    Duration::from_secs(told.unwrap_or(SECONDS))
}
