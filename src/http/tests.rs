use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

use super::*;
use crate::config::Config;
use crate::config::test_files::Files;
use crate::connections::Drain;
use crate::mail::{Address, Domain};
use crate::routing::RoutingOptions;
use crate::routing::test_table::in_memory;
use crate::telemetry::Metrics;

struct Node {
    address: SocketAddr,
    readiness: Readiness,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<()>,
    _data: tempfile::TempDir,
}

async fn node() -> Node {
    let data = tempfile::tempdir().unwrap();
    let readiness = Readiness::new(Drain::default());
    let metrics = Arc::new(Metrics::new().unwrap());
    let options = RoutingOptions {
        service_domain: Domain::parse("email.relay.example").unwrap(),
        mx_hosts: Vec::new(),
        postmaster: Address::parse("ops@relay.example").unwrap(),
    };
    let routing = in_memory(options);
    let pages = operator_pages(
        metrics.clone(),
        readiness.clone(),
        routing,
        Arc::new(|_| Vec::new()),
        data.path().to_owned(),
    );
    let server = HttpServer::bind("127.0.0.1:0".parse().unwrap(), pages).await.unwrap();
    let (address, stop) = (server.address(), CancellationToken::new());
    let served = tokio::spawn(server.serve(stop.clone()));
    Node { address, readiness, metrics, stop, served, _data: data }
}

/// Sends the text and reads to the end of the connection.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A connection that is cut while we still write may end in a reset: what was read counts.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

async fn get(address: SocketAddr, path: &str) -> String {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await
}

#[tokio::test]
async fn metrics_are_scraped_with_the_free_room_of_the_disk() {
    let node = node().await;
    let answer = get(node.address, "/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    let free = answer.lines().find_map(|line| line.strip_prefix("postroad_storage_free_bytes ")).unwrap();
    assert_ne!(free, "0");
}

#[tokio::test]
async fn readiness_follows_the_node_and_liveness_does_not() {
    let node = node().await;
    for (phase, status, body) in [
        (Phase::Starting, "503", "starting"),
        (Phase::Serving, "200", "ok"),
        (Phase::Draining, "503", "draining"),
    ] {
        node.readiness.set(phase);
        let ready = get(node.address, "/readyz").await;
        assert!(ready.starts_with(&format!("HTTP/1.1 {status} ")) && ready.ends_with(&format!("{body}\n")));
        assert!(get(node.address, "/livez").await.starts_with("HTTP/1.1 200 "));
    }
}

#[tokio::test]
async fn a_node_that_takes_no_changes_is_ready_and_says_so() {
    let node = node().await;
    node.readiness.set(Phase::Serving);
    node.metrics.cluster_stopped.set(1);
    let ready = get(node.address, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200 ") && ready.contains("changes are refused"), "{ready}");
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let node = node().await;
    assert!(get(node.address, "/").await.starts_with("HTTP/1.1 404 "));
    let post = exchange(node.address, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await;
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
    assert!(exchange(node.address, "nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    let huge = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "a".repeat(2 * MAX_REQUEST_OCTETS));
    assert!(exchange(node.address, &huge).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn a_stopped_server_lets_go_of_its_port_and_of_idle_connections() {
    let node = node().await;
    let mut idle = TcpStream::connect(node.address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
    node.stop.cancel();
    tokio::time::timeout(5 * STOP_TIME, node.served).await.unwrap().unwrap();
    assert!(TcpStream::connect(node.address).await.is_err());
}

#[tokio::test]
async fn the_postmaster_page_is_all_that_strangers_see() {
    let files = Files::new();
    let config = Arc::new(Config::parse(&files.with(""), &[]).unwrap());
    let (_sender, receiver) = watch::channel(config);
    let pages = public_pages(receiver);
    let server = HttpServer::bind("127.0.0.1:0".parse().unwrap(), pages).await.unwrap();
    let (address, stop) = (server.address(), CancellationToken::new());
    tokio::spawn(server.serve(stop.clone()));
    let page = get(address, "/postmaster").await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("<h2 id=\"dmarc\">"), "{page}");
    assert!(get(address, "/metrics").await.starts_with("HTTP/1.1 404 "));
    stop.cancel();
}
