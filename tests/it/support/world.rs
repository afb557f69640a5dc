//! A small internet on loopback with one node in it: DNS, an upstream, senders with and without a good name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use postroad::config::Config;
use postroad::ctl;
use postroad::dev::dns::DnsServer;
use postroad::dev::keys::signature;
use postroad::mail::dkim::NewKey;
use postroad::mail::{Address, Domain};
use postroad::node::{Node, Start};
use postroad::pipeline::queue::Filter;
use postroad::routing::{Change, Matcher, NewDomain, NewRule, RuleAction};
use postroad::spool::Queued;
use postroad::telemetry::Metrics;
use socket2::{SockAddr, Socket, Type};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use super::{Client, Heard, LIMIT, Mx};

/// A sender with a good name: its address is in the SPF record of sender.example, and has a PTR record.
pub(crate) const SENDER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 10));
/// An address that no SPF record names.
pub(crate) const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 20));
/// An address that dnsbl.example lists.
pub(crate) const LISTED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66));
/// The name by which a sender says EHLO.
pub(crate) const SENDER_NAME: &str = "mail.sender.example";
/// A sender whose mail passes SPF from [`SENDER`].
pub(crate) const ALICE: &str = "alice@sender.example";

static SENDER_KEY: LazyLock<NewKey> = LazyLock::new(|| NewKey::generate().unwrap());
static SERVICE_KEY: LazyLock<NewKey> = LazyLock::new(|| NewKey::generate().unwrap());
static WORLDS: AtomicU16 = AtomicU16::new(0);

/// What is behind the upstream's IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpstreamV6 {
    /// The upstream itself.
    Listening,
    /// Nothing that ever answers a SYN.
    BlackHole,
}

/// Everything that a test needs.
pub(crate) struct World {
    pub(crate) dns: DnsServer,
    pub(crate) mx: Mx,
    pub(crate) node: Node,
    config: Config,
    pub(crate) smtp: SocketAddr,
    /// The port of every upstream.
    port: u16,
    /// The network, 127.a.b.0/24, of this world's upstreams.
    network: [u8; 3],
    _hole: Option<BlackHole>,
    node_file: String,
    directory: TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts with a queue that does not make a test wait.
    pub(crate) async fn impatient() -> Self {
        Self::with(|config| {
            config.delivery.in_session_timeout = Duration::from_secs(2);
            config.delivery.retry_first = Duration::from_millis(200);
            config.delivery.retry_longest = Duration::from_millis(400);
        })
        .await
    }

    /// Starts with a disk that has no room for a queue.
    pub(crate) async fn without_room() -> Self {
        Self::with(|config| {
            config.delivery.in_session_timeout = Duration::from_secs(2);
            config.limits.min_free_octets = u64::MAX;
            config.delivery.cut_through = false;
        })
        .await
    }

    /// Starts with a changed configuration.
    pub(crate) async fn with(configure: impl FnOnce(&mut Config)) -> Self {
        Self::with_upstream(UpstreamV6::Listening, configure).await
    }

    pub(crate) async fn with_upstream(v6: UpstreamV6, configure: impl FnOnce(&mut Config)) -> Self {
        let [_, number] = WORLDS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let process = u8::try_from(std::process::id() % 100).unwrap();
        let network = [127, 100 + process, number];
        let (listeners, hole) = upstream_sockets(network, v6).await;
        let port = listeners[0].local_addr().unwrap().port();
        let mx = Mx::start(listeners);
        let dns = start_dns(network).await;

        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("dkim.pem"), SERVICE_KEY.pem()).unwrap();
        std::fs::write(directory.path().join("srs"), "tops3cr3t of sixteen octets\n").unwrap();
        let certificate = rcgen::generate_simple_self_signed(vec!["linda.mx.relay.example".into()]).unwrap();
        std::fs::write(directory.path().join("cert.pem"), certificate.cert.pem()).unwrap();
        std::fs::write(directory.path().join("key.pem"), certificate.signing_key.serialize_pem()).unwrap();
        let file = directory.path().join("node.toml").display().to_string();
        let text = node_file(&directory.path().display().to_string(), port, dns.addr());
        std::fs::write(&file, text.replace("/data\"", "/data-of-binary\"")).unwrap();
        let mut config = Config::parse(&text, &[]).unwrap_or_else(|errors| panic!("{errors}"));
        configure(&mut config);
        let node = Node::start(config.clone()).await.unwrap_or_else(|error| panic!("{error}"));
        let smtp = node.addresses().smtp[0];
        let world =
            Self { dns, mx, node, config, smtp, port, network, _hole: hole, node_file: file, directory };
        world.set_up_routing().await;
        world
    }

    /// Starts with a file behind it, which [`World::edit`] changes.
    pub(crate) async fn following() -> Self {
        let world = Self::start().await;
        world.node.drain().await;
        let text = std::fs::read_to_string(&world.node_file).unwrap().replace("/data-of-binary\"", "/data\"");
        std::fs::write(&world.node_file, text).unwrap();
        let path = PathBuf::from(&world.node_file);
        let config = Config::load(&path, &[]).unwrap_or_else(|errors| panic!("{errors}"));
        let metrics = Arc::new(Metrics::new().unwrap());
        let start = Start { config, file: Some((path, Vec::new())), metrics, log_level: None };
        let node = Node::start_from(start).await.unwrap_or_else(|error| panic!("{error}"));
        let smtp = node.addresses().smtp[0];
        Self { node, smtp, ..world }
    }

    /// Replaces a part of the node's file, once.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.node_file).unwrap();
        assert!(text.contains(from), "no {from} in\n{text}");
        // A rename, so that nobody reads half of it.
        let next = self.write("next.toml", &text.replacen(from, to, 1));
        std::fs::rename(next, &self.node_file).unwrap();
    }

    /// A file beside the node's own; its path.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file beside the node's own; its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    async fn set_up_routing(&self) {
        self.domain("ours.example").await;
        for address in ["ana@dest.example", "bob@dest.example", "cal@other.example"] {
            self.destination(address).await;
        }
        self.forward("info@ours.example", &["ana@dest.example"]).await;
        self.forward("sales@ours.example", &["bob@dest.example"]).await;
        self.forward("far@ours.example", &["cal@other.example"]).await;
        self.forward("both@ours.example", &["ana@dest.example", "bob@dest.example"]).await;
        self.rule("gone@ours.example", RuleAction::Reject("Nobody here by that name".into())).await;
        self.rule("bin@ours.example", RuleAction::Drop).await;
    }

    /// Ends the node and starts it again with the same configuration and the same files.
    pub(crate) async fn restarted(self) -> Self {
        self.restarted_after(|_| {}).await
    }

    /// Ends the node and starts it again with a changed configuration.
    pub(crate) async fn restarted_with(mut self, configure: impl FnOnce(&mut Config)) -> Self {
        configure(&mut self.config);
        self.restarted().await
    }

    /// Ends the node, does something to its data directory, and starts it again.
    pub(crate) async fn restarted_after(self, meanwhile: impl FnOnce(&Path)) -> Self {
        self.node.drain().await;
        meanwhile(&self.config.node.data_dir);
        let node = Node::start(self.config.clone()).await.unwrap_or_else(|error| panic!("{error}"));
        let smtp = node.addresses().smtp[0];
        Self { node, smtp, ..self }
    }

    /// Runs `postroadctl --output json` against the node; its status, the answer, and what it says.
    pub(crate) async fn ctl(&self, arguments: &[&str]) -> (u8, serde_json::Value, String) {
        self.ctl_at(&format!("http://{}", self.node.addresses().admin), arguments).await
    }

    /// The same against a server of this URL.
    pub(crate) async fn ctl_at(&self, server: &str, arguments: &[&str]) -> (u8, serde_json::Value, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let line = ["postroadctl", "--server", server, "--output", "json"];
        let line = line.iter().chain(arguments).map(Into::into);
        let status = ctl::run(line, ctl::Terminal { out: &mut out, err: &mut err }).await;
        let answer = serde_json::from_slice(&out).unwrap_or_default();
        (status, answer, String::from_utf8(err).unwrap())
    }

    pub(crate) async fn domain(&self, name: &str) {
        self.change(Change::CreateDomain(NewDomain::new(Domain::parse(name).unwrap()))).await;
    }

    /// Adds a verified destination.
    pub(crate) async fn destination(&self, address: &str) {
        let address = Address::parse(address).unwrap();
        self.change(Change::CreateDestination { address, verified: true }).await;
    }

    pub(crate) async fn forward(&self, alias: &str, destinations: &[&str]) {
        let destinations = destinations.iter().map(|text| Address::parse(text).unwrap()).collect();
        self.rule(alias, RuleAction::Forward(destinations)).await;
    }

    pub(crate) async fn rule(&self, alias: &str, action: RuleAction) {
        let alias = Address::parse(alias).unwrap();
        let matcher = Matcher::Local(alias.local().to_owned());
        self.change(Change::CreateRule(NewRule::new(alias.domain().clone(), matcher, action))).await;
    }

    pub(crate) async fn change(&self, change: Change) {
        let text = format!("{change:?}");
        self.node.routing().change(change).await.unwrap_or_else(|error| panic!("{text}: {error}"));
    }

    /// A client with a good name, greeted.
    pub(crate) async fn sender(&self) -> Client {
        Client::greeted(SENDER, self.smtp, SENDER_NAME).await
    }

    /// A client from another address, greeted.
    /// Sends a message that is signed by its author's domain, from a sender that nobody vouches for: SPF has no
    /// word on the reverse-path, and the signature is not aligned with it.
    pub(crate) async fn unvouched(&self) -> Heard {
        let mut stranger = self.client(STRANGER, "stranger.example").await;
        stranger.submit("bob@stranger.example", &["info@ours.example"], &signed(&letter("x"))).await
    }

    /// What is in the queue.
    pub(crate) async fn queued(&self) -> Vec<Queued> {
        let page = self.node.queue().list(&Filter::default(), None, 1000).await.unwrap();
        page.found.into_iter().map(|described| described.queued).collect()
    }

    /// Waits until nothing is queued any more.
    pub(crate) async fn emptied(&self) {
        let end = Instant::now() + LIMIT;
        while !self.queued().await.is_empty() {
            assert!(Instant::now() < end, "still queued: {:?}", self.queued().await);
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn client(&self, from: IpAddr, name: &str) -> Client {
        Client::greeted(from, self.smtp, name).await
    }

    /// A client that has heard nothing yet.
    pub(crate) async fn raw(&self) -> Client {
        Client::connect(SENDER, self.smtp).await
    }

    /// Starts another upstream on the same port; its address is the answer's second part.
    pub(crate) async fn another_mx(&self, host: u8) -> (Mx, Ipv4Addr) {
        (Mx::start(vec![self.listener(host).await]), self.upstream_ip(host))
    }

    /// Starts an upstream of its own for other.example.
    pub(crate) async fn other_provider(&self) -> Mx {
        let (other, ip) = self.another_mx(3).await;
        let records =
            format!("other.example. 300 IN MX 10 mx.other.example.\nmx.other.example. 300 IN A {ip}");
        self.dns.replace(&records).unwrap();
        other
    }

    /// A socket where an upstream is expected, at an address of this world's upstream network.
    pub(crate) async fn listener(&self, host: u8) -> TcpListener {
        TcpListener::bind((self.upstream_ip(host), self.port)).await.unwrap()
    }

    /// An address of this world's upstream network: host 2 is [`World::mx`].
    pub(crate) fn upstream_ip(&self, host: u8) -> Ipv4Addr {
        let [a, b, c] = self.network;
        Ipv4Addr::new(a, b, c, host)
    }

    /// A file like the node's own configuration, with a folder of its own.
    pub(crate) fn node_file(&self) -> &str {
        &self.node_file
    }

    /// Where the node keeps everything.
    pub(crate) fn data(&self) -> &Path {
        &self.config.node.data_dir
    }

    /// Where the node keeps its queue.
    pub(crate) fn spool(&self) -> PathBuf {
        self.data().join("spool")
    }

    /// Everything that /metrics says.
    pub(crate) async fn metrics(&self) -> String {
        self.page("/metrics").await
    }

    /// A page for the operator, with status line and header.
    pub(crate) async fn page(&self, path: &str) -> String {
        self.page_of(self.node.addresses().http, path).await
    }

    /// A page of one of the listeners, with status line and header.
    pub(crate) async fn page_of(&self, listener: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(listener).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        timeout(LIMIT, stream.read_to_string(&mut text)).await.expect("the page in time").unwrap();
        text
    }
}

/// A plain message from alice to info, unsigned.
pub(crate) fn letter(subject: &str) -> String {
    format!(
        "From: Alice <{ALICE}>\r\nTo: info@ours.example\r\nSubject: {subject}\r\n\
         Date: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <{subject}@sender.example>\r\n\r\nHello,\r\n\r\n  \
         this is {subject}.\r\n.dot\r\n"
    )
}

/// The message with the signature of sender.example on top.
pub(crate) fn signed(message: &str) -> String {
    signature(&SENDER_KEY, "sender.example", "s1", message.as_bytes()).unwrap() + message
}

async fn start_dns([a, b, c]: [u8; 3]) -> DnsServer {
    let mx = format!("{a}.{b}.{c}.2");
    let relay = format!(
        "linda.mx A 127.0.0.1\n_spf.mx TXT \"v=spf1 ip4:127.0.0.0/8 ip6:::1 -all\"\nemail A 127.0.0.1\n\
         email TXT \"v=spf1 include:_spf.mx.relay.example -all\"\ns1._domainkey.email TXT {}\n",
        SERVICE_KEY.record()
    );
    let sender = format!(
        "@ TXT \"v=spf1 ip4:127.0.0.10 ip6:::1 -all\"\n@ MX 10 mx\nmx A {mx}\nmail A 127.0.0.10\n\
         mail TXT \"v=spf1 ip4:127.0.0.10 -all\"\n_dmarc TXT \"v=DMARC1; p=reject\"\ns1._domainkey TXT {}\n",
        SENDER_KEY.record()
    );
    let dest = format!("@ MX 10 mx\nmx A {mx}\n");
    let zones = [
        ("relay.example", relay.as_str()),
        ("sender.example", sender.as_str()),
        ("dest.example", dest.as_str()),
        ("other.example", dest.as_str()),
        (
            "ours.example",
            "@ MX 10 linda.mx.relay.example.\n@ TXT \"v=spf1 include:_spf.mx.relay.example -all\"\n",
        ),
        ("plain.example", "@ A 127.0.0.30\n@ MX 10 plain.example.\n"),
        (
            "dnsbl.example",
            "2.0.0.127 A 127.0.0.2\n66.0.0.127 A 127.0.0.2\n\
             2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0 A 127.0.0.2\n",
        ),
        ("127.in-addr.arpa", "10.0.0 PTR mail.sender.example.\n"),
    ];
    DnsServer::start(&zones).await.unwrap()
}

fn node_file(directory: &str, port: u16, dns: SocketAddr) -> String {
    format!(
        r#"
[node]
name = "linda"
hostname = "linda.mx.relay.example"
data_dir = "{directory}/data"
[service]
domain = "email.relay.example"
spf_name = "_spf.mx.relay.example"
postmaster = "ops@dest.example"
postmaster_url = "https://relay.example/postmaster"
mx = [{{ hostname = "linda.mx.relay.example", preference = 86 }}]
[smtp]
listen = ["127.0.0.1:0"]
certificate_file = "{directory}/cert.pem"
private_key_file = "{directory}/key.pem"
[limits]
min_free_octets = 0
[[dnsbl]]
name = "test"
zone = "dnsbl.example"
[dkim]
selector = "s1"
private_key_file = "{directory}/dkim.pem"
[srs]
secret_file = "{directory}/srs"
[delivery]
port = {port}
private_addresses = "allow"
in_session_timeout = "20s"
[dns]
servers = ["{dns}"]
[http]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
"#
    )
}

/// Host 2 of the network and `::1`, at one port.
async fn upstream_sockets(network: [u8; 3], v6: UpstreamV6) -> (Vec<TcpListener>, Option<BlackHole>) {
    let [a, b, c] = network;
    for _ in 0..50 {
        let (first, hole) = match v6 {
            UpstreamV6::Listening => (Some(TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.unwrap()), None),
            UpstreamV6::BlackHole => (None, Some(BlackHole::open().await)),
        };
        let port = match (&first, &hole) {
            (Some(listener), _) => listener.local_addr().unwrap().port(),
            (None, hole) => hole.as_ref().unwrap().port,
        };
        if let Ok(second) = TcpListener::bind((Ipv4Addr::new(a, b, c, 2), port)).await {
            let mut listeners = vec![second];
            listeners.extend(first);
            return (listeners, hole);
        }
    }
    panic!("no port that is free on both addresses");
}

/// A port of `::1` whose accept queue is full, so that the kernel drops every further SYN.
struct BlackHole {
    port: u16,
    _listener: Socket,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    async fn open() -> Self {
        let listener = Socket::new(socket2::Domain::IPV6, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::from(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)))).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        while let Ok(connected) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            queued.push(connected.unwrap());
            assert!(queued.len() < 16, "the queue of a listener does not fill");
        }
        Self { port: address.port(), _listener: listener, _queued: queued }
    }
}
