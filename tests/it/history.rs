//! The history of the routing table: who changed it, and the way back, on a node of the binary.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::binary::{Served, ctl, postroad};
use crate::support::{ALICE, Client, LIMIT, SENDER, World, letter};

/// Starts `serve` with its log in a file, and waits for its ready line.
async fn serve(file: &str, log: &Path) -> (Served, serde_json::Value) {
    let mut command = postroad(&["serve", "--config", file]);
    let served = Served(command.stdout(File::create(log).unwrap()).stderr(Stdio::null()).spawn().unwrap());
    let end = Instant::now() + LIMIT;
    loop {
        let lines = lines(log);
        if let Some(ready) = lines.into_iter().find(|line| line["message"] == "ready") {
            return (served, ready);
        }
        assert!(Instant::now() < end, "the node is not ready");
        sleep(Duration::from_millis(20)).await;
    }
}

fn lines(log: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(log).unwrap();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Whoever has not heard what became of a change asks the node again, which need not have run all the while.
#[tokio::test]
async fn a_change_is_not_made_again_after_a_restart() {
    let world = World::start().await;
    let logs = ["first.log", "second.log"].map(|name| world.file(name));
    let (served, ready) = serve(world.node_file(), &logs[0]).await;
    ctl(&ready, &["domain", "add", "ours.example"]);
    let add = ["rule", "add", "ours.example", "--to", "info", "--drop", "--request-id", "once"];
    let rule = ctl(&ready, &add);
    drop(served);
    let (_served, ready) = serve(world.node_file(), &logs[1]).await;
    assert_eq!(ctl(&ready, &add), rule);
    assert_eq!(ctl(&ready, &["rule", "list", "ours.example"])["rules"].as_array().unwrap().len(), 1);
    assert_eq!(ctl(&ready, &["history"])["revisions"].as_array().unwrap().len(), 2);
}

async fn heard(ready: &serde_json::Value, start: &str) {
    let smtp: SocketAddr = ready["smtp"][0].as_str().unwrap().parse().unwrap();
    let mut client = Client::greeted(SENDER, smtp, "mail.sender.example").await;
    client.submit(ALICE, &["info@ours.example"], &letter("history")).await.starts(start);
}

#[tokio::test]
async fn a_table_comes_back_after_a_restart_and_the_log_says_who_did_it() {
    let world = World::start().await;
    let logs = ["first.log", "second.log"].map(|name| world.file(name));
    let (served, ready) = serve(world.node_file(), &logs[0]).await;
    ctl(&ready, &["domain", "add", "ours.example"]);
    ctl(&ready, &["destination", "add", "ana@dest.example", "--verified"]);
    let rule = ctl(&ready, &["rule", "add", "ours.example", "--to", "info", "--forward", "ana@dest.example"]);
    heard(&ready, "250").await;
    let newest = ctl(&ready, &["history", "--limit", "1"])["revisions"][0].clone();
    assert_eq!(newest["description"], "rule add ours.example info -> ana@dest.example");
    assert_eq!((&newest["actor"], &newest["address"]), (&"loopback".into(), &"127.0.0.1".into()));
    ctl(&ready, &["domain", "remove", "ours.example"]);
    ctl(&ready, &["destination", "remove", "ana@dest.example"]);
    heard(&ready, "550").await;

    // What is kept is in the log and the snapshot.
    drop(served);
    let (_served, ready) = serve(world.node_file(), &logs[1]).await;
    let revision = newest["revision"].as_str().unwrap();
    let done = ctl(&ready, &["history", "rollback", revision]);
    assert_eq!(done["changes"].as_array().unwrap().len(), 3, "{done}");
    heard(&ready, "250").await;
    let rules = ctl(&ready, &["rule", "list", "ours.example"]);
    assert_eq!(
        (&rules["rules"][0]["id"], &rules["rules"][0]["createTime"]),
        (&rule["id"], &rule["createTime"])
    );

    let audited = |log: &Path| -> Vec<serde_json::Value> {
        lines(log).into_iter().filter(|line| line["target"] == "postroad::audit").collect()
    };
    let first = audited(&logs[0]);
    let methods: Vec<&str> = first.iter().map(|line| line["method"].as_str().unwrap()).collect();
    let wanted = ["CreateDomain", "CreateDestination", "CreateRule", "DeleteDomain", "DeleteDestination"];
    assert_eq!(methods, wanted);
    assert_eq!((&first[0]["actor"], &first[0]["from"]), (&"loopback".into(), &"127.0.0.1".into()));
    assert_eq!((&first[0]["code"], &first[0]["name"]), (&"OK".into(), &"domains/ours.example".into()));
    let second = audited(&logs[1]);
    assert_eq!(second.len(), 1, "{second:?}");
    assert_eq!((&second[0]["method"], &second[0]["code"]), (&"RollBack".into(), &"OK".into()));
    assert_eq!(second[0]["revision"].as_u64().unwrap().to_string(), done["revision"].as_str().unwrap());
    assert_eq!(second[0]["name"], format!("revisions/{revision}"));
}
