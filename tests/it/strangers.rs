//! Who has no business with the operator's listeners cannot keep the operator out of them.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

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
