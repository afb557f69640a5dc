//! A shell gives a process a thousand descriptors, and its clients may be more.

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};

use crate::binary::{Served, ready};
use crate::support::{Client, World};

#[tokio::test]
async fn more_clients_come_in_than_the_soft_limit_of_descriptors() {
    let world = World::start().await;
    let command = "ulimit -Sn 128 && exec \"$0\" serve --config \"$1\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", command, env!("CARGO_BIN_EXE_postroad"), world.node_file()]).stdout(Stdio::piped());
    let mut served = Served(shell.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let smtp = ready(&mut served)["smtp"][0].as_str().unwrap().parse().unwrap();
    let mut clients = Vec::new();
    for number in 0..160 {
        let from = IpAddr::V4(Ipv4Addr::new(127, 0, number / 40, 1));
        let mut client = Client::connect(from, smtp).await;
        client.expect("220").await;
        clients.push(client);
    }
}
