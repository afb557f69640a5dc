//! Three nodes as one, each a process of its own, with certificates as `postroad cluster certificates` makes them.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::binary::{Served, postroad, serve};
use crate::support::{ALICE, Client, Heard, LIMIT, SENDER, SENDER_NAME, World};

const NAMES: [&str; 3] = ["amir", "isaac", "linda"];

struct Three {
    world: World,
    nodes: BTreeMap<&'static str, (Served, serde_json::Value)>,
}

impl Three {
    /// Their files, and certificates.
    async fn new() -> Self {
        let world = World::start().await;
        let dir = world.file("cluster");
        let arguments = ["cluster", "certificates", "--dir", dir.to_str().unwrap()];
        let made = postroad(&[&arguments[..], &NAMES].concat()).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let peers: Vec<String> = NAMES
            .iter()
            .zip(201..)
            .map(|(name, host)| {
                format!("{{ name = \"{name}\", address = \"{}:50052\" }}", world.upstream_ip(host))
            })
            .collect();
        let text = fs::read_to_string(world.node_file()).unwrap();
        for (name, host) in NAMES.iter().zip(201..) {
            let files = dir.join(name).display().to_string();
            let section = format!(
                "[cluster]\nlisten = \"{}:50052\"\ncertificate_file = \"{files}/node.pem\"\n\
                 private_key_file = \"{files}/node.key\"\nca_file = \"{files}/ca.pem\"\npeers = [{}]\n",
                world.upstream_ip(host),
                peers.join(", ")
            );
            let own = text
                .replace("name = \"linda\"", &format!("name = \"{name}\""))
                .replace("/data-of-binary\"", &format!("/data-of-{name}\""));
            world.write(&format!("{name}.toml"), &format!("{own}\n{section}"));
        }
        Self { world, nodes: BTreeMap::new() }
    }

    fn start(&mut self, name: &'static str) {
        let file = self.world.file(&format!("{name}.toml"));
        self.nodes.insert(name, serve(file.to_str().unwrap()));
    }

    /// SIGKILL.
    fn kill(&mut self, name: &str) {
        drop(self.nodes.remove(name));
    }

    fn tried(&self, on: &str, arguments: &[&str]) -> Result<String, String> {
        let server = format!("http://{}", self.nodes[on].1["admin"].as_str().unwrap());
        let output = Command::new(env!("CARGO_BIN_EXE_postroadctl"))
            .args(["--server", &server, "--output", "json"])
            .args(arguments)
            .output()
            .unwrap();
        let text = |octets| String::from_utf8(octets).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// Changes something on a node, as soon as it takes changes.
    async fn change(&self, on: &str, arguments: &[&str]) {
        let end = Instant::now() + LIMIT;
        while let Err(said) = self.tried(on, arguments) {
            if said.contains("exists already") {
                return;
            }
            assert!(Instant::now() < end, "{on}: {arguments:?}: {said}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn rcpt(&self, on: &str, to: &str) -> Heard {
        let smtp: SocketAddr = self.nodes[on].1["smtp"][0].as_str().unwrap().parse().unwrap();
        let mut client = Client::greeted(SENDER, smtp, SENDER_NAME).await;
        client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
        client.exchange(&format!("RCPT TO:<{to}>")).await
    }

    /// A node that is drained says 421 to new sessions, and the others see it.
    async fn drain_and_undo(&self) {
        let drained = self.tried("amir", &["cluster", "drain", "linda"]).unwrap();
        assert!(drained.contains("\"drained\":true"), "{drained}");
        let smtp: SocketAddr = self.nodes["linda"].1["smtp"][0].as_str().unwrap().parse().unwrap();
        let heard = Client::connect(SENDER, smtp).await.reply().await;
        assert_eq!((heard.code(), heard.text().contains("takes no new sessions")), (421, true));
        let status = self.tried("isaac", &["cluster", "status"]).unwrap();
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        assert_eq!(status["takesChanges"], true, "{status}");
        let linda = status["members"].as_array().unwrap().iter().find(|member| member["node"] == "linda");
        let linda = linda.unwrap();
        assert_eq!((&linda["drained"], &linda["state"]), (&true.into(), &"UP".into()), "{status}");
        self.tried("isaac", &["cluster", "drain", "linda", "--undo"]).unwrap();
        self.takes("linda", "info@ours.example").await;
    }

    /// Waits until a node takes mail for an address.
    async fn takes(&self, on: &str, to: &str) {
        let end = Instant::now() + LIMIT;
        loop {
            let heard = self.rcpt(on, to).await;
            if heard.code() == 250 {
                return;
            }
            // No node says of what another has that it does not exist, for as long as it does not know it.
            assert!(Instant::now() < end, "{on}: {to}: {}", heard.text());
            sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn three_nodes_started_in_any_order_use_each_others_rules_and_any_one_may_be_killed() {
    let mut three = Three::new().await;
    three.start("linda");
    three.start("isaac");
    // Nobody founds without amir, and nobody says that an address does not exist.
    assert_eq!(three.rcpt("linda", "info@ours.example").await.code(), 451);
    let refused = three.tried("isaac", &["domain", "add", "ours.example"]).unwrap_err();
    assert!(refused.contains("amir"), "{refused}");
    three.start("amir");
    three.change("isaac", &["domain", "add", "ours.example"]).await;
    three.change("linda", &["destination", "add", "ana@dest.example", "--verified"]).await;
    let rule = ["rule", "add", "ours.example", "--to", "info", "--forward", "ana@dest.example"];
    three.change("amir", &rule).await;
    for name in NAMES {
        three.takes(name, "info@ours.example").await;
        assert_eq!(three.rcpt(name, "no@ours.example").await.code(), 550);
    }
    three.drain_and_undo().await;

    for (killed, on) in [("amir", "isaac"), ("isaac", "linda"), ("linda", "amir")] {
        three.kill(killed);
        let domain = format!("without-{killed}.example");
        three.change(on, &["domain", "add", &domain]).await;
        three.change(on, &["rule", "add", &domain, "--to", "info", "--forward", "ana@dest.example"]).await;
        let alias = format!("info@{domain}");
        for name in NAMES.into_iter().filter(|name| *name != killed) {
            three.takes(name, &alias).await;
        }
        three.start(killed);
        three.takes(killed, &alias).await;
    }
}

#[tokio::test]
async fn a_client_that_writes_to_each_of_three_nodes_is_looked_up_in_a_blocklist_once() {
    let mut three = Three::new().await;
    for name in NAMES {
        three.start(name);
    }
    three.change("amir", &["domain", "add", "ours.example"]).await;
    three.change("amir", &["destination", "add", "ana@dest.example", "--verified"]).await;
    let rule = ["rule", "add", "ours.example", "--to", "info", "--forward", "ana@dest.example"];
    three.change("amir", &rule).await;
    for name in NAMES {
        three.takes(name, "info@ours.example").await;
    }
    // The nodes find each other within seconds; until then each asks for itself.
    let end = Instant::now() + LIMIT;
    for host in (100..=250).cycle() {
        let client = IpAddr::from([127, 0, 7, host]);
        let asked = format!("{host}.7.0.127.dnsbl.example");
        let before = three.world.dns.queries(&asked, "A");
        for name in NAMES {
            let smtp: SocketAddr = three.nodes[name].1["smtp"][0].as_str().unwrap().parse().unwrap();
            let mut client = Client::greeted(client, smtp, SENDER_NAME).await;
            client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
            client.exchange("RCPT TO:<info@ours.example>").await;
        }
        if three.world.dns.queries(&asked, "A") == before + 1 {
            return;
        }
        assert!(Instant::now() < end, "each node asks for itself");
    }
}
