//! Three nodes as one, each a process of its own, with certificates as `postroad cluster certificates` makes them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::binary::{Served, postroad, serve};
use crate::support::{ALICE, Act, Client, Heard, LIMIT, SENDER, SENDER_NAME, Stage, World, letter, until};

const ADMIN: &str = "admin-token-0123456789";
const VIEWER: &str = "viewer-token-0123456789";
const NAMES: [&str; 3] = ["amir", "isaac", "linda"];
/// Who only asks: a recipient that is refused leaves a trace, which is none of a message's.
const PROBE: &str = "probe@sender.example";

struct Three {
    world: World,
    nodes: BTreeMap<&'static str, (Served, Value)>,
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
        let tokens = world.write("tokens", &format!("{ADMIN} admin ana\n{VIEWER} viewer vic\n"));
        let text = text.replace("[admin]\n", &format!("[admin]\ntoken_file = \"{}\"\n", tokens.display()));
        let text = text.replace("in_session_timeout = \"20s\"", "in_session_timeout = \"2s\"");
        world.write("admin-token", ADMIN);
        world.write("viewer-token", VIEWER);
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

    /// `postroadctl` of who has this token, for a node.
    fn ctl(&self, on: &str, token: &str) -> Command {
        let server = format!("http://{}", self.nodes[on].1["admin"].as_str().unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_postroadctl"));
        command.args(["--server", &server, "--token-file"]).arg(self.world.file(token));
        command
    }

    /// What the admin is told; exit status, standard output, standard error.
    fn told(&self, on: &str, arguments: &[&str]) -> (i32, String, String) {
        let output = self.ctl(on, "admin-token").args(arguments).output().unwrap();
        let text = |octets| String::from_utf8(octets).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn tried(&self, on: &str, arguments: &[&str]) -> Result<String, String> {
        let (status, out, err) = self.told(on, &[&["--output", "json"], arguments].concat());
        if status == 0 { Ok(out) } else { Err(err) }
    }

    /// The objects that it prints.
    fn objects(&self, on: &str, arguments: &[&str]) -> Vec<Value> {
        let out = self.tried(on, arguments).unwrap_or_else(|said| panic!("{arguments:?}: {said}"));
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Those of the one list that it prints.
    fn listed(&self, on: &str, arguments: &[&str], key: &str) -> Vec<Value> {
        self.objects(on, arguments)[0][key].as_array().unwrap().clone()
    }

    /// Takes a message that no upstream takes; its id.
    async fn queue(&self, on: &str, subject: &str) -> String {
        let smtp: SocketAddr = self.nodes[on].1["smtp"][0].as_str().unwrap().parse().unwrap();
        let mut client = Client::greeted(SENDER, smtp, SENDER_NAME).await;
        let heard = client.submit(ALICE, &["info@ours.example"], &letter(subject)).await;
        heard.starts("250 2.0.0 Queued");
        heard.trace()
    }

    /// A cluster whose nodes take mail for info@ours.example, which goes to the queue.
    async fn queueing() -> Self {
        let mut three = Self::new().await;
        NAMES.into_iter().for_each(|name| three.start(name));
        three.change("amir", &["domain", "add", "ours.example"]).await;
        three.change("amir", &["destination", "add", "ana@dest.example", "--verified"]).await;
        let rule = ["rule", "add", "ours.example", "--to", "info", "--forward", "ana@dest.example"];
        three.change("amir", &rule).await;
        for name in NAMES {
            three.takes(name, "info@ours.example").await;
        }
        three.no_upstream();
        three
    }

    /// The upstream takes nothing from now on, on connections that are kept neither.
    fn no_upstream(&self) {
        for stage in [Stage::Banner, Stage::Mail] {
            self.world.mx.at(stage, Act::Close);
        }
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
        client.command(&format!("MAIL FROM:<{PROBE}>"), "250").await;
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
        let status: Value = serde_json::from_str(&status).unwrap();
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

fn nodes(found: &[Value]) -> Vec<&str> {
    found.iter().map(|one| one["node"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_queues_of_all_nodes_are_seen_and_ordered_by_way_of_any() {
    let mut three = Three::queueing().await;
    let first = three.queue("linda", "first").await;
    let second = three.queue("isaac", "second").await;
    let found = three.listed("amir", &["queue", "list"], "messages");
    assert_eq!(nodes(&found), ["linda", "isaac"], "the oldest first: {found:?}");
    let found = three.listed("amir", &["--node", "isaac", "queue", "list"], "messages");
    assert_eq!((nodes(&found), found[0]["id"].as_str()), (vec!["isaac"], Some(&*second)));
    assert_eq!(nodes(&three.objects("linda", &["queue", "status"])), NAMES);
    let (_, out, _) = three.told("amir", &["queue", "list"]);
    assert!(out.trim_start().starts_with("NODE ") && out.contains(&first), "{out}");
    assert_eq!(nodes(&three.objects("amir", &["queue", "show", &first])), ["linda"]);

    let as_viewer = three.ctl("amir", "viewer-token").args(["queue", "retry", &first]).output().unwrap();
    let said = String::from_utf8(as_viewer.stderr).unwrap();
    assert!(!as_viewer.status.success() && said.contains("PERMISSION_DENIED"), "{said}");
    let missing = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let refused = three.tried("amir", &["queue", "cancel", &second, missing]).unwrap_err();
    assert!(refused.contains(missing) && refused.contains("MESSAGE_NOT_FOUND"), "{refused}");
    assert_eq!(three.world.mx.taken().len(), 0);
    let unknown = three.tried("amir", &["--node", "nobody", "queue", "list"]).unwrap_err();
    assert!(unknown.contains("NODE_NOT_FOUND") && unknown.contains("amir, isaac, linda"), "{unknown}");

    three.world.mx.be_kind();
    assert_eq!(three.objects("amir", &["queue", "retry", &first, &second])[0]["count"], "2");
    until("both are delivered", || three.world.mx.taken().len() == 2, LIMIT).await;
    until("no node has any", || three.listed("amir", &["queue", "list"], "messages").is_empty(), LIMIT).await;

    three.no_upstream();
    let third = three.queue("isaac", "third").await;
    three.queue("linda", "fourth").await;
    three.kill("isaac");
    let (status, out, err) = three.told("amir", &["queue", "list"]);
    assert_eq!((status, out.contains("linda"), out.contains("isaac")), (1, true, false), "{out}");
    assert!(err.contains("isaac") && err.contains("NODE_UNREACHABLE") && err.lines().count() == 1, "{err}");
    let refused = three.tried("amir", &["queue", "cancel", &third]).unwrap_err();
    assert!(refused.contains(&third) && refused.contains("NODE_UNREACHABLE"), "{refused}");
    let (status, out, err) = three.told("amir", &["--output", "json", "queue", "cancel", "--all"]);
    assert!(status == 1 && out.contains("\"count\":\"1\"") && err.contains("isaac"), "{out}{err}");
}

#[tokio::test]
async fn traces_and_events_of_all_nodes_are_seen_by_way_of_any() {
    let mut three = Three::queueing().await;
    let ids = [three.queue("linda", "first").await, three.queue("isaac", "second").await];
    let search = ["trace", "--from", ALICE];
    // The journal is written behind the reply.
    until("both are kept", || three.listed("amir", &search, "traces").len() == 2, LIMIT).await;
    let found = three.listed("amir", &search, "traces");
    assert_eq!(nodes(&found), ["isaac", "linda"], "the newest first: {found:?}");
    assert_eq!(three.listed("amir", &["trace", "--from", ALICE, "--limit", "1"], "traces").len(), 1);
    assert_eq!(nodes(&three.objects("amir", &["trace", &ids[0]])), ["linda"]);
    let (status, out, _) = three.told("amir", &["trace", "<second@sender.example>"]);
    assert!(status == 0 && out.contains("node       isaac"), "{out}");
    let found = three.objects("amir", &["events", "--outcome", "queued"]);
    assert_eq!(nodes(&found), ["linda", "isaac"], "{found:?}");
    let (_, out, _) = three.told("amir", &["events", "--outcome", "queued"]);
    assert!(out.starts_with("linda  2") && out.contains("\nisaac  2"), "{out}");

    let mut following = three
        .ctl("amir", "viewer-token")
        .args(["events", "--follow"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let (sender, told) = mpsc::channel();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let end = Instant::now() + LIMIT;
    let mut wanted = vec!["isaac  ", "linda  "];
    while let Some(node) = wanted.last() {
        assert!(Instant::now() < end, "no event of {node}");
        three.queue(node.trim(), "more").await;
        sleep(Duration::from_millis(100)).await;
        let lines: Vec<String> = told.try_iter().collect();
        wanted.retain(|node| !lines.iter().any(|line| line.starts_with(node)));
    }
    three.kill("isaac");
    // The streams of the others go on.
    while !told.try_iter().any(|line| line.starts_with("linda  ")) {
        assert!(Instant::now() < end, "no more events");
        three.queue("linda", "more").await;
        sleep(Duration::from_millis(100)).await;
    }
    following.kill().unwrap();
    following.wait().unwrap();

    let (status, out, _) = three.told("amir", &["trace", &ids[0]]);
    assert!(status == 0 && out.contains("node       linda"), "{out}");
    let (status, out, err) = three.told("amir", &search);
    assert!(status == 1 && out.contains(&ids[0]) && err.contains("NODE_UNREACHABLE"), "{out}{err}");
}

#[tokio::test]
async fn a_node_that_stands_still_keeps_nothing_back_of_what_the_others_say() {
    let three = Three::queueing().await;
    let id = three.queue("linda", "first").await;
    let isaac = three.nodes["isaac"].0.0.id().to_string();
    assert!(Command::new("kill").args(["-STOP", &isaac]).status().unwrap().success());
    let begin = Instant::now();
    let (status, out, err) = three.told("amir", &["queue", "list"]);
    assert!(status == 1 && out.contains(&id) && err.contains("isaac"), "{out}{err}");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}: {err}", begin.elapsed());
    let (status, out, _) = three.told("amir", &["--output", "json", "queue", "show", &id]);
    assert!(status == 0 && out.contains("\"node\":\"linda\""), "{out}");
}
