//! The binary itself: what it prints, and with which status it ends.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::{ALICE, Client, SENDER, World, letter};

pub(crate) fn postroad(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postroad"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn dev_shows_four_samples_and_ends_with_0() {
    let output = postroad(&["dev"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    for part in ["sample 4", "SRS0=", "DMARC", "found on one or more DNSBLs (dnsbl.test)", "mailbox is busy"]
    {
        assert!(text.contains(part), "no {part} in:\n{text}");
    }
}

#[test]
fn dev_of_several_nodes_shows_that_they_are_a_cluster() {
    let shared = "a rule made on linda is used by isaac";
    let of_three = [
        "all 6 samples",
        shared,
        "the last two after the stop",
        "linda               is back and has the change",
    ];
    for (nodes, parts) in
        [("2", &["all 5 samples", "a rule made on isaac is used by amir"][..]), ("3", &of_three)]
    {
        let output = postroad(&["dev", "--nodes", nodes]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        for part in parts {
            assert!(text.contains(part), "no {part} in:\n{text}");
        }
    }
}

#[test]
fn dev_refuses_a_number_of_nodes_that_it_cannot_start() {
    let output = postroad(&["dev", "--nodes", "9"]).output().unwrap();
    assert!(matches!(output.status.code(), Some(1 | 2)), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains('9'));
}

/// A node of the binary; killed when the test is over, however it ends.
pub(crate) struct Served(pub(crate) Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn serve_says_where_it_listens_and_sigterm_drains_it() {
    let world = World::start().await;
    let (mut served, ready) = serve(world.node_file());
    assert_eq!((ready["level"].as_str(), ready["node"].as_str()), (Some("INFO"), Some("linda")));
    let smtp: SocketAddr = ready["smtp"][0].as_str().unwrap().parse().unwrap();
    for face in ["http", "admin"] {
        assert!(ready[face].as_str().unwrap().parse::<SocketAddr>().is_ok(), "{ready}");
    }

    let mut client = Client::greeted(SENDER, smtp, "mail.sender.example").await;
    let killed = Command::new("kill").args(["-TERM", &served.0.id().to_string()]).status().unwrap();
    assert!(killed.success());
    client.expect("421 4.3.2").await;
    client.ended().await;
    let mut waited = 0;
    let status = loop {
        if let Some(status) = served.0.try_wait().unwrap() {
            break status;
        }
        waited += 1;
        assert!(waited < 1000, "the node does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn a_bad_file_is_refused_with_every_error_and_its_key() {
    let world = World::start().await;
    let text = std::fs::read_to_string(world.node_file()).unwrap();
    let text =
        text.replace("min_free_octets = 0", "recipients = 0\nnonsense = 1").replace("port = ", "prot = ");
    let file = format!("{}.bad", world.node_file());
    std::fs::write(&file, text).unwrap();
    for verb in ["serve", "check"] {
        let output = postroad(&[verb, "--config", &file]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{verb}");
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        for key in ["limits.recipients", "limits.nonsense", "delivery.prot"] {
            assert!(said.contains(key), "{verb}: no {key} in:\n{said}");
        }
    }
}

/// Starts `serve` and waits for its ready line.
pub(crate) fn serve(file: &str) -> (Served, serde_json::Value) {
    let mut served = Served(postroad(&["serve", "--config", file]).spawn().unwrap());
    let ready = ready(&mut served);
    (served, ready)
}

/// Waits for the line by which a node says that it is ready.
pub(crate) fn ready(served: &mut Served) -> serde_json::Value {
    let log = BufReader::new(served.0.stdout.take().unwrap()).lines();
    let ready = log.map(Result::unwrap).find(|line| line.contains("\"message\":\"ready\"")).unwrap();
    serde_json::from_str(&ready).unwrap()
}

/// What `postroadctl` prints; it must succeed.
pub(crate) fn ctl(ready: &serde_json::Value, arguments: &[&str]) -> serde_json::Value {
    let server = format!("http://{}", ready["admin"].as_str().unwrap());
    let output = Command::new(env!("CARGO_BIN_EXE_postroadctl"))
        .args(["--server", &server, "--output", "json"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn what_the_admin_client_wrote_is_used_at_once_and_survives_kill_9() {
    let world = World::start().await;
    let (served, ready) = serve(world.node_file());
    ctl(&ready, &["domain", "add", "ours.example"]);
    ctl(&ready, &["destination", "add", "ana@dest.example", "--verified"]);
    let rule = ctl(&ready, &["rule", "add", "ours.example", "--to", "info", "--forward", "ana@dest.example"]);
    assert!(rule["name"].as_str().unwrap().starts_with("domains/ours.example/rules/"), "{rule}");

    let smtp: SocketAddr = ready["smtp"][0].as_str().unwrap().parse().unwrap();
    let mut client = Client::greeted(SENDER, smtp, "mail.sender.example").await;
    let heard = client.submit(ALICE, &["info@ours.example"], &letter("admin")).await;
    heard.starts("250");
    assert_eq!(world.mx.only().recipients(), ["ana@dest.example"]);
    let trace = heard.trace();
    until_traced(&ready, &trace).await;

    drop(served);
    let (_served, ready) = serve(world.node_file());
    let rules = ctl(&ready, &["rule", "list", "ours.example"]);
    assert_eq!(rules["rules"][0]["id"], rule["id"], "{rules}");
}

/// The journal is written behind the reply.
async fn until_traced(ready: &serde_json::Value, trace: &str) {
    for _ in 0..100 {
        let found = ctl(ready, &["trace", "--to", "info@ours.example"]).to_string();
        if found.contains(trace) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("trace {trace} is not found");
}
