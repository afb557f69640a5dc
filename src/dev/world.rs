//! Owns the parts of the demo world: zones, keys, files, sink and nodes, all on loopback.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::time::sleep;

use super::DevError;
use super::dns::DnsServer;
use super::links::Links;
use super::sink::Sink;
use crate::config::{self, Config};
use crate::dns::Dns;
use crate::mail::dkim::NewKey;
use crate::mail::{Address, Domain};
use crate::node::Node;
use crate::private_files;
use crate::routing::{Change, Matcher, NewDomain, NewRule, RequestId, RuleAction};
use crate::telemetry::Metrics;

/// A client with a good name: in the SPF record of sender.test, with a PTR record.
pub(super) const SENDER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 10));
/// A client in nobody's SPF record.
pub(super) const SPOOFER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 20));
/// A client that dnsbl.test lists.
pub(super) const LISTED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66));
/// Where the destination's MX host is.
const SINK: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 25);
/// The selector of both keys.
pub(super) const SELECTOR: &str = "dev";
/// The domain that the node forwards for.
pub(super) const DOMAIN: &str = "example.com";
/// The local parts of that domain and where each goes.
pub(super) const ALIASES: &[(&str, &str)] = &[
    ("info", "ana@dest.test"),
    ("busy", "tempfail@dest.test"),
    ("gone", "permfail@dest.test"),
    ("full", "full@dest.test"),
    ("slow", "slow@dest.test"),
];
/// The names of the nodes, as many as there can be, each with its preference as an MX host.
pub(super) const NODES: &[(&str, u16)] = &[("amir", 13), ("isaac", 24), ("linda", 86)];

/// How long the nodes of a cluster may take to agree on a change, their founding with it: a few seconds on a busy machine.
pub(super) const AGREED_WITHIN: Duration = Duration::from_secs(30);
/// How often that is looked at.
pub(super) const LOOKS_EVERY: Duration = Duration::from_millis(10);

/// Everything that runs.
pub(super) struct World {
    pub(super) dns: DnsServer,
    pub(super) sink: Sink,
    pub(super) nodes: Vec<(&'static str, Node)>,
    /// The key that sender.test signs with.
    pub(super) sender_key: NewKey,
    /// How the destination asks the DNS.
    pub(super) lookups: Dns,
    /// What makes several nodes a cluster.
    links: Option<Links>,
    pub(super) directory: TempDir,
}

impl World {
    /// Starts everything, with so many nodes: several are a cluster.
    pub(super) async fn start(nodes: usize) -> Result<Self, DevError> {
        let (sender_key, service_key) = (NewKey::generate()?, NewKey::generate()?);
        let dns = start_dns(&sender_key, &service_key).await?;
        let sink = Sink::start(SocketAddr::from((SINK, 0)))
            .await
            .map_err(|error| DevError::Loopback(IpAddr::V4(SINK), error))?;
        let directory = tempfile::Builder::new().prefix("postroad-dev-").tempdir()?;
        write(&directory.path().join("dkim.pem"), &service_key.pem())?;
        write(&directory.path().join("srs.secret"), &format!("{:032x}\n", rand::random::<u128>()))?;
        let metrics = Metrics::new().map_err(|error| DevError::Metrics(error.to_string()))?;
        let lookups =
            Dns::new(&config::Dns { servers: vec![dns.addr()], ..Default::default() }, Arc::new(metrics))?;
        let names: Vec<&str> = NODES.iter().take(nodes).map(|(name, _)| *name).collect();
        let links = match names.len() {
            0 | 1 => None,
            _ => Some(Links::prepare(directory.path(), &names).await?),
        };
        let mut world = Self { dns, sink, nodes: Vec::new(), sender_key, lookups, links, directory };
        for name in names {
            write(&world.file(name), &world.node_file(name))?;
            world.start_node(name).await?;
        }
        world.make_rules().await?;
        Ok(world)
    }

    /// Starts a node with its file and its folder, as they are.
    pub(super) async fn start_node(&mut self, name: &'static str) -> Result<(), DevError> {
        let node = Node::start(Config::load(&self.file(name), &[])?).await?;
        self.nodes.push((name, node));
        Ok(())
    }

    /// A node that runs.
    pub(super) fn node(&self, name: &'static str) -> Result<&Node, DevError> {
        let named = self.nodes.iter().find(|(other, _)| *other == name);
        named.map(|(_, node)| node).ok_or(DevError::NoNode(name))
    }

    /// Makes the rules on the first node, as soon as it takes changes, and waits until all have them.
    async fn make_rules(&self) -> Result<(), DevError> {
        let Some((_, first)) = self.nodes.first() else { return Ok(()) };
        let (request, table, start) = (RequestId::draw(), table()?, Instant::now());
        while let Err(error) = first.routing().change_once(request.clone(), table.clone()).await {
            if self.links.is_none() {
                return Err(error.into());
            }
            if start.elapsed() > AGREED_WITHIN {
                return Err(DevError::NoCluster(error));
            }
            sleep(LOOKS_EVERY).await;
        }
        let revision = first.routing().snapshot().revision();
        for (name, _) in &self.nodes {
            if !self.has(name, revision).await? {
                return Err(DevError::Behind(name));
            }
        }
        Ok(())
    }

    /// Waits until a node has the table of this revision, or a later one; whether it came to that.
    pub(super) async fn has(&self, name: &'static str, revision: u64) -> Result<bool, DevError> {
        let (routing, start) = (self.node(name)?.routing(), Instant::now());
        while routing.snapshot().revision() < revision {
            if start.elapsed() > AGREED_WITHIN {
                return Ok(false);
            }
            sleep(LOOKS_EVERY).await;
        }
        Ok(true)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.toml"))
    }

    fn node_file(&self, name: &str) -> String {
        let text = node_file(self.directory.path(), name, self.sink.address().port(), self.dns.addr());
        self.links.iter().fold(text, |text, links| text + &links.section(name))
    }

    /// Ends the nodes one after the other, each when its messages are through.
    pub(super) async fn stop(self) {
        for (_, node) in self.nodes {
            node.drain().await;
        }
    }
}

/// Writes a file that nobody else may read.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    private_files::create(path)?.write_all(text.as_bytes())
}

/// The routing table of all nodes.
fn table() -> Result<Change, DevError> {
    let domain = Domain::parse(DOMAIN)?;
    let mut changes = vec![Change::CreateDomain(NewDomain::new(domain.clone()))];
    for (local, destination) in ALIASES {
        let address = Address::parse(destination)?;
        changes.push(Change::CreateDestination { address: address.clone(), verified: true });
        let (matcher, action) = (Matcher::Local((*local).to_owned()), RuleAction::Forward(vec![address]));
        changes.push(Change::CreateRule(NewRule::new(domain.clone(), matcher, action)));
    }
    Ok(Change::Batch(changes))
}

async fn start_dns(sender: &NewKey, service: &NewKey) -> Result<DnsServer, DevError> {
    let mx: String =
        NODES.iter().map(|(name, preference)| format!("@ MX {preference} {name}.mx.relay.test.\n")).collect();
    let hosts: String = NODES.iter().map(|(name, _)| format!("{name}.mx A 127.0.0.1\n")).collect();
    let ours = format!("{mx}@ TXT \"v=spf1 include:_spf.mx.relay.test -all\"\n");
    let relay = format!(
        "{hosts}_spf.mx TXT \"v=spf1 ip4:127.0.0.1 -all\"\nemail A 127.0.0.1\n\
         email TXT \"v=spf1 include:_spf.mx.relay.test -all\"\n{SELECTOR}._domainkey.email TXT {}\n",
        service.record()
    );
    let sending = format!(
        "@ MX 10 mail\nmail A {SENDER}\n@ TXT \"v=spf1 ip4:{SENDER} -all\"\n\
         mail TXT \"v=spf1 ip4:{SENDER} -all\"\n_dmarc TXT \"v=DMARC1; p=reject\"\n\
         {SELECTOR}._domainkey TXT {}\n",
        sender.record()
    );
    // RFC 5782 §5: what a zone must list, in both address families; then the one client.
    let blocklist = "2.0.0.127 A 127.0.0.2\n\
        2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0 A 127.0.0.2\n\
        66.0.0.127 A 127.0.0.2\n66.0.0.127 TXT \"an example of a listed client\"\n";
    let destination = format!("@ MX 10 mx\nmx A {SINK}\n");
    let zones = [
        (DOMAIN, ours.as_str()),
        ("relay.test", relay.as_str()),
        ("sender.test", sending.as_str()),
        ("dest.test", destination.as_str()),
        ("dnsbl.test", blocklist),
        ("127.in-addr.arpa", "10.0.0 PTR mail.sender.test.\n1.0.0 PTR email.relay.test.\n"),
    ];
    Ok(DnsServer::start(&zones).await?)
}

fn node_file(directory: &Path, name: &str, port: u16, dns: SocketAddr) -> String {
    let directory = directory.display();
    let mx: Vec<String> = NODES
        .iter()
        .map(|(name, preference)| {
            format!("  {{ hostname = \"{name}.mx.relay.test\", preference = {preference} }},\n")
        })
        .collect();
    format!(
        r#"[node]
name = "{name}"
hostname = "{name}.mx.relay.test"
data_dir = "{directory}/{name}"
[service]
domain = "email.relay.test"
spf_name = "_spf.mx.relay.test"
postmaster = "ops@dest.test"
postmaster_url = "https://relay.test/postmaster"
mx = [
{mx}]
[smtp]
listen = ["127.0.0.1:0"]
[limits]
min_free_octets = 0
[[dnsbl]]
name = "dnsbl.test"
zone = "dnsbl.test"
[dkim]
selector = "{SELECTOR}"
private_key_file = "{directory}/dkim.pem"
[srs]
secret_file = "{directory}/srs.secret"
[delivery]
port = {port}
private_addresses = "allow"
[dns]
servers = ["{dns}"]
[http]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
"#,
        mx = mx.concat()
    )
}

/// Milliseconds, for people.
pub(super) fn millis(took: Duration) -> String {
    format!("{} ms", took.as_millis())
}
