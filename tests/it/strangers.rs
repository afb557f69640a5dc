//! Who has no business with the operator's listeners cannot keep the operator out of them.

use std::io::ErrorKind;
use std::net::SocketAddr;

use postroad::proto::admin::v1::TailEventsRequest;
use postroad::proto::admin::v1::event_service_client::EventServiceClient;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{LIMIT, World, until};

/// Connections from 127.0.0.`host` that say nothing.
async fn idle_from(host: u8, to: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut connections = Vec::new();
    for _ in 0..count {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, host], 0).into()).unwrap();
        connections.push(socket.connect(to).await.unwrap());
    }
    connections
}

async fn channel(world: &World) -> Channel {
    let server = format!("http://{}", world.node.addresses().admin);
    Channel::from_shared(server).unwrap().connect().await.unwrap()
}

async fn operator_gets_in(world: &World) {
    let (status, _, said) =
        timeout(LIMIT, world.ctl(&["domain", "list"])).await.expect("an answer to the operator");
    assert_eq!(status, 0, "{said}");
}

#[tokio::test]
async fn idle_connections_keep_no_operator_out() {
    let world = World::start().await;
    let _idle = idle_from(1, world.node.addresses().admin, 300).await;
    operator_gets_in(&world).await;
}

#[tokio::test]
async fn health_watches_keep_no_operator_out() {
    let world = World::start().await;
    let mut watches = Vec::new();
    for _ in 0..4 {
        let mut health = HealthClient::new(channel(&world).await);
        for _ in 0..64 {
            watches.push(health.watch(HealthCheckRequest { service: String::new() }).await);
        }
    }
    assert!(watches.iter().any(Result::is_ok), "some may watch");
    operator_gets_in(&world).await;
}

#[tokio::test]
async fn streams_leave_places_for_calls() {
    let world = World::start().await;
    let mut tails = Vec::new();
    for _ in 0..5 {
        let mut events = EventServiceClient::new(channel(&world).await);
        for _ in 0..60 {
            tails.push(events.tail_events(TailEventsRequest { follow: true, ..Default::default() }).await);
        }
    }
    assert!(tails.iter().any(Result::is_ok), "some may listen");
    operator_gets_in(&world).await;
}

#[tokio::test]
async fn idle_connections_keep_nobody_from_the_pages() {
    let world = World::with(|config| {
        config.public = Some(postroad::config::Public { listen: "127.0.0.1:0".parse().unwrap() });
    })
    .await;
    let addresses = world.node.addresses();
    for listener in [addresses.http, addresses.public.unwrap()] {
        let mut idle = idle_from(2, listener, 50).await;
        idle.extend(idle_from(3, listener, 50).await);
        let answer = timeout(LIMIT, world.page_of(listener, "/nonsense")).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        // One made room; it was not that all of them ran into a time limit.
        let open = |stream: &&TcpStream| {
            stream.try_read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        };
        until("one is gone", || idle.iter().filter(open).count() == 99, LIMIT).await;
    }
}
