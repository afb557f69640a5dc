//! What an operator sees: metrics, health, the journal.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{ALICE, LIMIT, Stage, World, letter, until};

async fn get(world: &World, path: &str) -> String {
    let mut stream = TcpStream::connect(world.node.addresses().http).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    tokio::time::timeout(LIMIT, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

#[tokio::test]
async fn a_node_that_greets_is_ready_and_alive() {
    let world = World::start().await;
    for path in ["/readyz", "/livez"] {
        assert!(get(&world, path).await.starts_with("HTTP/1.1 200"), "{path}");
    }
    assert!(get(&world, "/nonsense").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn series_begin_at_0_and_stay_under_1500() {
    let world = World::start().await;
    let metrics = world.metrics().await;
    for verdict in ["forwarded", "rejected", "dropped", "tempfailed"] {
        let series = format!("postroad_messages_received_total{{verdict=\"{verdict}\"}} 0");
        assert!(metrics.contains(&series), "{series}");
    }
    let series = metrics.lines().filter(|line| line.starts_with("postroad_")).count();
    assert!(series < 1500, "{series} series");
    assert!(!metrics.contains("dest.example") && !metrics.contains("127.0.0.10"));
}

#[tokio::test]
async fn every_outcome_is_counted() {
    let world = World::start().await;
    let mut client = world.sender().await;
    client.submit(ALICE, &["info@ours.example"], &letter("a")).await.starts("250");
    client.submit(ALICE, &["bin@ours.example"], &letter("b")).await.starts("250");
    world.mx.say(Stage::Dot, "554 5.7.1 no");
    client.submit(ALICE, &["info@ours.example"], &letter("c")).await.starts("554");
    world.mx.say(Stage::Dot, "451 4.3.0 later");
    client.submit(ALICE, &["info@ours.example"], &letter("d")).await.starts("451");
    let metrics = world.metrics().await;
    for verdict in ["forwarded", "rejected", "dropped", "tempfailed"] {
        let series = format!("postroad_messages_received_total{{verdict=\"{verdict}\"}} 1");
        assert!(metrics.contains(&series), "{series} in\n{metrics}");
    }
}

#[tokio::test]
async fn the_node_is_not_ready_while_it_drains() {
    let world = World::start().await;
    let http = world.node.addresses().http;
    let World { node, .. } = world;
    node.drain().await;
    let mut gone = false;
    until("the listener is gone", || std::mem::replace(&mut gone, true), LIMIT).await;
    assert!(TcpStream::connect(http).await.is_err());
}
