//! What the tests stand on: a world of DNS, upstream and node, and raw clients to speak to it.

mod client;
mod mx;
mod world;

pub(crate) use client::{Client, Heard, last_line};
pub(crate) use mx::{Act, Mx, Stage};
pub(crate) use world::{ALICE, LISTED, SENDER, SENDER_NAME, STRANGER, UpstreamV6, World, letter, signed};

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long anything may take that is expected to happen; generous, since machines are slow at times.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Waits until the predicate holds, and fails the test when it does not within the limit.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool, limit: Duration) {
    let end = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
