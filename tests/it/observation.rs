//! What an operator sees: metrics, health, the journal.

use postroad::config::KeyPairFiles;
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
async fn certificates_at_their_end_are_told_of_and_the_node_stays_ready() {
    let directory = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let pair = KeyPairFiles {
        certificate_file: directory.path().join("ended.pem"),
        private_key_file: directory.path().join("ended.key"),
    };
    std::fs::write(&pair.certificate_file, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&pair.private_key_file, key.serialize_pem()).unwrap();
    let world = World::with(|config| {
        config.smtp.tls = Some(pair.clone());
        config.admin.tls = Some(pair.clone());
    })
    .await;
    let ready = get(&world, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    let file = pair.certificate_file.display();
    for usage in ["smtp", "admin"] {
        let line = format!("{usage} certificate {file} ended at 2020-01-01T00:00:00Z\n");
        assert!(ready.contains(&line), "{ready}");
        let series = format!("postroad_tls_certificate_not_after_timestamp_seconds{{use=\"{usage}\"}} ");
        let metrics = world.metrics().await;
        let value =
            metrics.lines().find_map(|line| line.strip_prefix(&series)).map(|value| value.parse::<f64>());
        assert_eq!(value, Some(Ok(1_577_836_800.0)), "{series}");
    }
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
