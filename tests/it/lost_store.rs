//! A node whose routing table is gone: what it has accepted it delivers, and nobody hears that an address does not exist,
//! until the table is back.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::{ALICE, Act, Heard, LIMIT, Stage, World, letter, until};

const INFO: &[&str] = &["info@ours.example"];
const ROUTING: &str = "domains:
  - name: ours.example
    rules:
      - {to: info, forward: [ana@dest.example]}
destinations:
  - {address: ana@dest.example, verified: true}
";

/// What a recipient hears, of alice or, for a bounce, of nobody.
async fn rcpt(world: &World, from: &str, to: &str) -> Heard {
    let mut client = world.sender().await;
    client.command(&format!("MAIL FROM:<{from}>"), "250").await;
    client.exchange(&format!("RCPT TO:<{to}>")).await
}

/// Brings the table back; what that changed.
async fn apply(world: &World) -> serde_json::Value {
    let document = tempfile::NamedTempFile::new().unwrap();
    fs::write(document.path(), ROUTING).unwrap();
    let (status, applied, said) = world.ctl(&["apply", "-f", document.path().to_str().unwrap()]).await;
    assert_eq!(status, 0, "{said}");
    applied
}

fn without_table(world: World) -> impl Future<Output = World> {
    world.restarted_after(|data| fs::remove_dir_all(data.join("raft")).unwrap())
}

#[tokio::test]
async fn its_queue_is_delivered_and_recipients_are_deferred_until_a_document_brings_the_table_back() {
    let world = World::impatient().await;
    world.sender().await.submit(ALICE, INFO, &letter("first")).await.starts("250");
    let srs = world.mx.only().reverse_path().to_owned();
    let world = world.restarted().await;
    world.mx.at(Stage::Banner, Act::Close);
    for subject in ["one", "two", "three"] {
        world.sender().await.submit(ALICE, INFO, &letter(subject)).await.starts("250 2.0.0 Queued");
    }
    world.mx.be_kind();
    let world = without_table(world).await;

    until("the queue delivers", || world.mx.taken().len() == 4, LIMIT).await;
    for to in ["info@ours.example", "gone@ours.example", "no@ours.example", "who@elsewhere.example"] {
        rcpt(&world, ALICE, to).await.starts("451 4.3.0");
    }
    rcpt(&world, "", &srs).await.starts("451 4.3.0");
    rcpt(&world, ALICE, "Postmaster").await.starts("250");
    let ready = world.page("/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("the routing table is lost"), "{ready}");
    let (status, _, said) = world.ctl(&["export"]).await;
    assert_eq!((status, said.contains("the routing table is lost")), (1, true), "{said}");
    let (_, resolved, _) = world.ctl(&["resolve", "info@ours.example"]).await;
    assert_eq!(resolved["outcome"], "NOT_KNOWN", "{resolved}");

    let world = world.restarted().await;
    rcpt(&world, ALICE, "info@ours.example").await.starts("451 4.3.0");
    let applied = apply(&world).await;
    assert_eq!(applied["changes"].as_array().unwrap().last().unwrap()["name"], "routing", "{applied}");

    assert!(world.page("/readyz").await.starts_with("HTTP/1.1 200"));
    world.sender().await.submit(ALICE, INFO, &letter("four")).await.starts("250");
    assert_eq!(world.mx.taken().len(), 5);
    rcpt(&world, ALICE, "no@ours.example").await.starts("550 5.1.1");
    rcpt(&world, ALICE, "who@elsewhere.example").await.starts("550 5.7.1");
    rcpt(&world, "", &srs).await.starts("250");
    let world = world.restarted().await;
    rcpt(&world, ALICE, "no@ours.example").await.starts("550 5.1.1");
}

/// The log of the queue is the truth, and no database: they may go while the node is down, or beneath it.
#[tokio::test]
async fn whatever_folder_of_a_database_is_deleted_each_queued_message_is_delivered_once() {
    for (folder, running) in
        ["spool/index", "store", "history", "raft"].map(|folder| [(folder, true), (folder, false)]).concat()
    {
        let world = World::impatient().await;
        world.mx.at(Stage::Banner, Act::Close);
        for subject in ["one", "two"] {
            world.sender().await.submit(ALICE, INFO, &letter(subject)).await.starts("250 2.0.0 Queued");
        }
        let delete = |data: &Path, now: bool| {
            if now {
                fs::remove_dir_all(data.join(folder)).unwrap();
            }
        };
        delete(world.data(), running);
        world.sender().await.submit(ALICE, INFO, &letter("three")).await.starts("250 2.0.0 Queued");
        let world = world.restarted_after(|data| delete(data, !running)).await;
        world.mx.be_kind();
        world.emptied().await;
        let told = |subject: &str| world.mx.taken().iter().filter(|one| one.text().contains(subject)).count();
        let counts = ["one", "two", "three"].map(|subject| told(&format!("Subject: {subject}\r\n")));
        assert_eq!(counts, [1; 3], "{folder}, running: {running}");
    }
}

/// What is written all the time is what a loss of power spoils; the table is not beside it.
#[tokio::test]
async fn a_node_whose_history_is_damaged_begins_it_anew_and_knows_its_table() {
    let world = World::start().await;
    let before = world.sender().await.submit(ALICE, INFO, &letter("before")).await;
    let garbage = vec![0xaa; 1 << 20];
    let world =
        world.restarted_after(|data| fs::write(data.join("history/store/db"), &garbage).unwrap()).await;
    rcpt(&world, ALICE, "no@ours.example").await.starts("550 5.1.1");
    let after = world.sender().await.submit(ALICE, INFO, &letter("after")).await;
    after.starts("250");
    assert_eq!(world.mx.taken().len(), 2);
    assert!(world.page("/readyz").await.starts_with("HTTP/1.1 200"));
    for (heard, status) in [(before, 1), (after, 0)] {
        let (found, _, said) = world.ctl(&["trace", &heard.trace()]).await;
        assert_eq!(found, status, "{said}");
    }
    assert!(world.data().join("history/store.damaged/db").exists());
}

/// Whether the sender is in a domain of ours, and so where the word goes, only the table says.
#[tokio::test]
async fn a_failure_is_told_when_the_table_is_back_and_what_was_delivered_is_not_delivered_again() {
    let world = World::impatient().await;
    world.mx.at(Stage::Banner, Act::Close);
    let both = ["info@ours.example", "sales@ours.example"];
    world.sender().await.submit(ALICE, &both, &letter("both")).await.starts("250 2.0.0 Queued");
    let world = without_table(world).await;
    world.mx.when(Stage::Rcpt, "bob@", usize::MAX, Act::Say("550 5.1.1 nobody".into()));
    world.mx.say(Stage::Banner, "220 mx.dest.example ESMTP");

    let end = Instant::now() + LIMIT;
    let mut refused = world.queued().await.remove(0).copies;
    while refused.len() > 1 || refused[0].attempts < 4 {
        assert!(Instant::now() < end, "bob is asked again until his refusal can be told: {refused:?}");
        tokio::task::yield_now().await;
        refused = world.queued().await.remove(0).copies;
    }
    let to = || world.mx.taken().iter().map(|message| message.recipients().join(", ")).collect::<Vec<_>>();
    assert_eq!(
        (refused[0].destination.to_string(), to()),
        ("bob@dest.example".into(), vec!["ana@dest.example".into()])
    );
    apply(&world).await;
    until("the sender is told", || world.mx.taken().len() == 2, LIMIT).await;
    assert_eq!(to(), ["ana@dest.example", ALICE]);
}

/// An operator's panel goes on adding domains; none of them speaks for the others.
#[tokio::test]
async fn a_domain_that_is_added_alone_is_served_and_the_others_stay_deferred() {
    let world = without_table(World::start().await).await;
    world.domain("new.example").await;
    world.destination("ana@dest.example").await;
    world.forward("info@new.example", &["ana@dest.example"]).await;
    let world = world.restarted().await;
    rcpt(&world, ALICE, "info@new.example").await.starts("250");
    rcpt(&world, ALICE, "no@new.example").await.starts("451 4.3.0");
    rcpt(&world, ALICE, "info@ours.example").await.starts("451 4.3.0");
    assert!(world.page("/readyz").await.starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn a_table_that_is_put_back_is_the_table_as_before() {
    let world = World::start().await;
    let world = world.restarted_after(|data| fs::rename(data.join("raft"), data.join("kept")).unwrap()).await;
    rcpt(&world, ALICE, "info@ours.example").await.starts("451 4.3.0");
    let put_back = |data: &Path| {
        fs::remove_dir_all(data.join("raft")).unwrap();
        fs::rename(data.join("kept"), data.join("raft")).unwrap();
    };
    let world = world.restarted_after(put_back).await;
    rcpt(&world, ALICE, "info@ours.example").await.starts("250");
    rcpt(&world, ALICE, "no@ours.example").await.starts("550 5.1.1");
    assert!(world.page("/readyz").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_store_that_is_gone_takes_no_table_with_it() {
    let world = World::start().await;
    let world = world.restarted_after(|data| fs::remove_dir_all(data.join("store")).unwrap()).await;
    rcpt(&world, ALICE, "info@ours.example").await.starts("250");
    rcpt(&world, ALICE, "no@ours.example").await.starts("550 5.1.1");
}

/// Its snapshot is what it was founded with, so that nothing is left here but that there was a table.
#[tokio::test]
async fn a_node_whose_log_is_damaged_delivers_its_queue_and_refuses_changes() {
    let world = World::impatient().await;
    world.mx.at(Stage::Banner, Act::Close);
    world.sender().await.submit(ALICE, INFO, &letter("one")).await.starts("250 2.0.0 Queued");
    let world = world.restarted_after(|data| fs::remove_dir_all(data.join("raft/1/log")).unwrap()).await;
    world.mx.be_kind();
    until("the queue delivers", || world.mx.taken().len() == 1, LIMIT).await;
    for to in ["info@ours.example", "no@ours.example", "who@elsewhere.example"] {
        rcpt(&world, ALICE, to).await.starts("451 4.3.0");
    }
    let (status, _, said) = world.ctl(&["domain", "add", "new.example"]).await;
    assert_eq!((status, said.contains("has stopped taking part")), (1, true), "{said}");
    let (status, document, _) = world.ctl(&["export", "--partial"]).await;
    let yaml = document["yaml"].as_str().unwrap();
    assert_eq!((status, yaml.starts_with("# What is left of a routing table")), (0, true), "{yaml}");
    let ready = world.page("/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("changes are refused"), "{ready}");
    let metrics = world.page("/metrics").await;
    assert!(metrics.contains("postroad_cluster_stopped 1"), "{metrics}");
}

/// A volume that was not mounted looks like a first start.
#[tokio::test]
async fn a_node_that_was_never_told_of_a_domain_refuses_no_recipient_for_good() {
    let world = World::with(|config| config.delivery.in_session_timeout = Duration::from_secs(2)).await;
    let world = world
        .restarted_after(|data| {
            fs::remove_dir_all(data).unwrap();
            fs::create_dir(data).unwrap();
        })
        .await;
    rcpt(&world, ALICE, "info@ours.example").await.starts("451 4.3.0");
    assert!(world.page("/readyz").await.starts_with("HTTP/1.1 200"));
    world.domain("ours.example").await;
    rcpt(&world, ALICE, "info@ours.example").await.starts("550 5.1.1");
}
