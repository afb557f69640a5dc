//! A disk that fails: whoever is refused hears why, whoever is not is not lost, and the queue takes messages
//! again once the disk is well. Its databases take writes only when they are opened anew: the node ends for that.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::letters::letter;
use super::served::Served;
use super::sink::Mood;
use super::{Disaster, Stage, emptied};
use crate::support::{ALICE, Client, Heard, LIMIT, SENDER, SENDER_NAME};

const ALIAS: &str = "info@ours.example";

/// A message that the queue must take, since the upstream is away.
async fn submit(served: &Served, number: u64) -> Heard {
    let mut client = Client::greeted(SENDER, served.smtp(), SENDER_NAME).await;
    client.submit(ALICE, &[ALIAS], letter(number).trim_end_matches("\r\n")).await
}

/// Submits messages of ascending numbers until one is taken; its number.
async fn taken_from(served: &Served, mut number: u64) -> u64 {
    let end = Instant::now() + LIMIT;
    while submit(served, number).await.code() != 250 {
        assert!(Instant::now() < end, "not taken again");
        sleep(Duration::from_millis(100)).await;
        number += 1;
    }
    number
}

/// The numbers of all copies at the sink, in ascending order.
fn arrived(stage: &Stage) -> Vec<u64> {
    let mut arrived: Vec<u64> = stage.sink.copies().iter().map(|copy| copy.number).collect();
    arrived.sort_unstable();
    arrived
}

/// Messages 1 and 2 are taken; while the disk fails by `rules`, 3 and 4 hear `reply`; then messages are
/// taken again. The power fails too. What arrives in the end is what was taken, once each.
async fn refused_while(rules: &str, reply: &str, complaint: &str) {
    let stage = Stage::set().await;
    let Some(mut cut) = stage.power_cut() else { return };
    let served = Served::start(&stage.config, &cut.environment()).await;
    stage.route(&served);
    stage.sink.be(Mood::Away);
    let mut taken = Vec::new();
    for number in 1..=2 {
        submit(&served, number).await.starts("250 ");
        taken.push(number);
    }
    cut.fail(rules);
    for number in 3..=4 {
        submit(&served, number).await.starts(reply);
    }
    cut.fail("");
    let first = taken_from(&served, 5).await;
    submit(&served, first + 1).await.starts("250 ");
    taken.extend([first, first + 1]);
    let mut complaints = BTreeMap::new();
    served.complaints(&mut complaints);
    assert!(complaints.keys().any(|said| said.contains(complaint)), "{complaints:?}");
    served.kill();
    stage.sink.node_died();
    cut.strike();
    let served = Served::start(&stage.config, &cut.environment()).await;
    stage.sink.be(Mood::Kind);
    emptied(&served).await;
    assert_eq!(arrived(&stage), taken);
    assert!(stage.sink.copies().iter().all(|copy| copy.whole));
}

#[tokio::test]
async fn a_sync_that_fails_refuses_with_451_and_the_next_one_is_about_all_that_was_written() {
    refused_while("sync 5 1000 /spool/segments/", "451 4.3.0", "cannot be synced to the disk").await;
}

#[tokio::test]
async fn a_full_disk_refuses_with_452_and_leaves_nothing_of_what_it_refused() {
    refused_while("write 28 1000 /spool/segments/", "452 4.3.1", "the spool cannot write").await;
}

#[tokio::test]
async fn a_disk_that_cannot_write_refuses_with_451_and_leaves_nothing_of_what_it_refused() {
    refused_while("write 5 1000 /spool/segments/", "451 4.3.0", "the spool cannot write").await;
}

/// Waits until changes are taken, or are not.
async fn until_changes_are(served: &Served, outcome: &str, name: &str) {
    let end = Instant::now() + LIMIT;
    loop {
        let said = served.tried(&["domain", "add", name]);
        if said.contains(outcome) {
            return;
        }
        assert!(Instant::now() < end, "{said}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// The log of what is agreed on cannot be written: at run time, at a start, and then again.
#[tokio::test]
async fn a_full_disk_refuses_changes_and_no_mail_until_there_is_room_again() {
    let stage = Stage::set().await;
    let Some(mut cut) = stage.power_cut() else { return };
    let served = Served::start(&stage.config, &cut.environment()).await;
    stage.route(&served);
    stage.sink.be(Mood::Kind);
    cut.fail("write 28 1000 /raft/");
    until_changes_are(&served, "has stopped taking part", "one.example").await;
    assert_eq!(submit(&served, 1).await.code(), 250);
    cut.fail("");
    until_changes_are(&served, "two.example", "two.example").await;
    served.kill();
    stage.sink.node_died();
    cut.strike();

    cut.fail("write 28 1000 /raft/");
    let served = Served::start(&stage.config, &cut.environment()).await;
    assert_eq!(submit(&served, 2).await.code(), 250);
    until_changes_are(&served, "has stopped taking part", "three.example").await;
    cut.fail("");
    until_changes_are(&served, "three.example", "three.example").await;
    let kept = served.ctl(&["domain", "list"]).to_string();
    for name in ["ours.example", "two.example", "three.example"] {
        assert!(kept.contains(name), "{kept}");
    }
    assert_eq!(arrived(&stage), [1, 2]);
}

#[tokio::test]
async fn a_node_whose_databases_failed_ends_once_the_disk_is_well_and_the_next_one_has_every_message() {
    let stage = Stage::set().await;
    let Some(cut) = stage.power_cut() else { return };
    let served = Served::start(&stage.config, &cut.environment()).await;
    stage.route(&served);
    stage.sink.be(Mood::Away);
    submit(&served, 1).await.starts("250 ");
    cut.fail("write 28 1000 /store/db\nwrite 28 1000 /temporary/\n");
    submit(&served, 2).await.starts("250 ");
    served.complains("the spool's index failed").await;
    submit(&served, 3).await.starts("250 ");
    cut.fail("");
    assert_eq!(served.ends().await, Some(1));
    stage.sink.node_died();
    let served = Served::start(&stage.config, &[]).await;
    stage.sink.be(Mood::Kind);
    emptied(&served).await;
    assert_eq!(arrived(&stage), [1, 2, 3]);
}
