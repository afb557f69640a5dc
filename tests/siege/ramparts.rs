//! What is besieged: a node as a process of its own, the DNS that it asks, and the destinations of its mail, of which
//! one does not answer.

use super::*;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use postroad::dev::dns::Behaviour;
use postroad::mail::dkim::NewKey;
use postroad::telemetry::free_octets;

use crate::support::ALICE;

/// What stands when the siege begins. Dropping it ends all but the node.
pub(super) struct Ramparts {
    world: World,
    pub(super) config: String,
    pub(super) sink: Sink,
    _dead_ends: JoinSet<()>,
}

impl Ramparts {
    pub(super) async fn raise() -> Self {
        let world = World::start().await;
        let sink = Sink::start(world.listener(3).await);
        let mut dead_ends = JoinSet::new();
        dead_ends.spawn(say_nothing(world.listener(4).await));
        let [good, silent] = [3, 4].map(|host| world.upstream_ip(host));
        world
            .dns
            .replace(&format!(
                "mx.dest.example. A {good}\nmx.other.example. A {silent}\n\
                 sender.example. TXT \"v=spf1 ip4:127.0.0.10 ip4:127.210.0.0/16 -all\"\n\
                 mail.sender.example. TXT \"v=spf1 ip4:127.210.0.0/16 -all\"",
            ))
            .unwrap();
        let key = NewKey::generate().unwrap();
        let besieger =
            format!("@ TXT \"v=spf1 ip4:127.201.0.0/16 -all\"\ns1._domainkey TXT {}\n", key.record());
        world.dns.add_zone("besieger.example", &besieger).unwrap();
        world.dns.add_zone("silent.example", &besieger).unwrap();
        world.dns.behave("silent.example.", Behaviour::Silent).unwrap();
        world.dns.behave("s1._domainkey.silent.example.", Behaviour::Silent).unwrap();
        let config = world.node_file().to_owned();
        let text = fs::read_to_string(&config).unwrap();
        let floor = free_octets(world.data()).unwrap().saturating_sub(DISK);
        let limits = format!("min_free_octets = {floor}\noctets_in_flight = {IN_FLIGHT}");
        let text = text.replace("min_free_octets = 0", &limits);
        fs::write(&config, text.replace("in_session_timeout = \"20s\"", "in_session_timeout = \"10s\""))
            .unwrap();
        Self { world, config, sink, _dead_ends: dead_ends }
    }

    pub(super) fn route(&self, node: &Served) {
        node.ctl(&["domain", "add", "ours.example"]);
        for address in ["ana@dest.example", "cal@other.example"] {
            node.ctl(&["destination", "add", address, "--verified"]);
        }
        node.ctl(&["rule", "add", "ours.example", "--to", "info", "--forward", "ana@dest.example"]);
        node.ctl(&["rule", "add", "ours.example", "--to", "far", "--forward", "cal@other.example"]);
        node.ctl(&["rule", "add", "ours.example", "--to", "waiting", "--forward", "dan@dest.example"]);
    }

    /// Waits until none of the honest messages is queued any more.
    pub(super) async fn emptied(&self, node: &Served, limit: Duration) {
        let end = Instant::now() + limit;
        let of_honest = |page: &serde_json::Value| page.to_string().contains(ALICE);
        while of_honest(&node.ctl(&["queue", "list"])) {
            assert!(
                Instant::now() < end,
                "still queued for {}: {}",
                self.world.smtp,
                node.ctl(&["queue", "list"])
            );
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Takes connections and never says a word.
async fn say_nothing(listener: TcpListener) {
    let mut sessions = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        sessions
            .spawn(async move { while stream.read(&mut [0; 512]).await.is_ok_and(|octets| octets > 0) {} });
        while sessions.try_join_next().is_some() {}
    }
}
