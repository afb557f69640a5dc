//! Delivery over real loopback sockets, against scripted upstreams and a DNS server with example zones.

mod basics;
mod bounds;
mod fallback;
mod hostile;
mod hurry;
mod late;
mod open_transactions;
mod permanence;
mod reuse;
mod silence;
mod tls;
mod under_way;
mod upstream;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::upstream::{Heard, Upstream};
use super::options::{Options, Timing};
use super::*;
use crate::config::{LogAddresses, PrivateAddresses};
use crate::dev::dns::DnsServer;
use crate::dns::Dns;
use crate::ledger::Ledger;
use crate::mail::{BodyType, Domain, Envelope, Message, RecipientRequest, ReversePath};
use crate::pipeline::account::Account;
use crate::pipeline::parcel::{
    Advance, ArcState, Client, DmarcVerdict, Protocol, ReceiverHelp, SpfVerdict, Target, TargetKind,
    Transaction, Verdict, Vouched,
};
use crate::store::{Committer, Store};
use crate::telemetry::Metrics;
use crate::telemetry::labels::{AttemptResult, IpFamily, Provider};
use crate::tls::{HTTPS_PORT, Policies, RootCertStore, trusted_roots};

/// The time a message has in these tests.
const IN_SESSION: Duration = Duration::from_secs(4);

pub(super) fn options() -> Options {
    Options {
        port: 25,
        ehlo: Domain::parse("relay.example").unwrap(),
        own_hosts: vec![Domain::parse("amir.relay.example").unwrap()],
        listening: Vec::new(),
        private_addresses: PrivateAddresses::Allow,
        sources: Vec::new(),
        per_destination: 20,
        connections: 100,
        connections_per_address: 50,
        log_addresses: LogAddresses::Full,
        timing: Timing {
            connect: Duration::from_millis(500),
            connect_v6: Duration::from_millis(300),
            banner: Duration::from_secs(60),
            handshake: Duration::from_secs(1),
            command: Duration::from_secs(1),
            data: Duration::from_secs(1),
            block: Duration::from_secs(1),
            dot: Duration::from_secs(8),
            held: Duration::from_secs(2),
            quit: Duration::from_millis(500),
            idle: Duration::from_secs(1),
        },
    }
}

/// A node's delivery and the DNS it asks.
struct World {
    upstreams: Arc<Upstreams>,
    dns: DnsServer,
    _data: tempfile::TempDir,
}

impl World {
    /// `dest.example` with these records, its hosts on this port.
    async fn new(port: u16, records: &str) -> Self {
        Self::with(Options { port, ..options() }, records).await
    }

    async fn with(options: Options, records: &str) -> Self {
        Self::trusting(options, records, trusted_roots(), HTTPS_PORT).await
    }

    /// A world whose Web PKI has these roots, and its HTTPS this port.
    async fn trusting(options: Options, records: &str, roots: RootCertStore, https: u16) -> Self {
        let dns = DnsServer::start(&[("dest.example.", records)]).await.unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let servers = crate::config::Dns { servers: vec![dns.addr()], ..Default::default() };
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).unwrap();
        let committer = Committer::start(store.clone()).unwrap();
        let resolver = Dns::new(&servers, metrics.clone()).unwrap();
        let ledger = Ledger::open(&store, committer).unwrap();
        let policies = Policies::open(&store, resolver, roots, https).unwrap();
        let upstreams = Upstreams::with(options, policies, ledger, metrics);
        Self { upstreams, dns, _data: data }
    }

    /// Delivers a message; gives the outcome of each copy.
    async fn deliver(&self, mail: Mail) -> Vec<Outcome> {
        let attempted = deliver(self.upstreams.clone(), mail.rewritten()).await;
        attempted.deliveries.into_iter().map(|delivery| delivery.outcome).collect()
    }

    /// Delivers a message with one copy.
    async fn deliver_one(&self, mail: Mail) -> Outcome {
        self.deliver(mail).await.remove(0)
    }

    /// What comes of five messages at once, as many as close a destination.
    async fn deliver_five(&self, in_session: Duration) -> Vec<String> {
        let deliver = || self.deliver_one(Mail { in_session, ..Mail::to(&[ANA]) });
        join_all((0..5).map(|_| deliver())).await.iter().map(said).collect()
    }

    fn attempts(&self, family: IpFamily, result: AttemptResult) -> u64 {
        self.upstreams.metrics.delivery_attempts_total.of((Provider::Other, family, result)).get()
    }

    /// Waits until so many connections are open, in use or idle.
    async fn until_connections(&self, count: i64) {
        for _ in 0..500 {
            if self.upstreams.metrics.delivery_connections.get() == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} connections", self.upstreams.metrics.delivery_connections.get());
    }
}

/// A message to deliver: as small as can be, unless a test says otherwise.
struct Mail {
    octets: Bytes,
    to: Vec<String>,
    body_type: BodyType,
    smtp_utf8: SmtpUtf8,
    in_session: Duration,
    message_request: MessageRequest,
    request: RecipientRequest,
}

impl Mail {
    fn to(destinations: &[&str]) -> Self {
        Self {
            octets: Bytes::from_static(b"Subject: hi\r\n\r\n.hello\r\n"),
            to: destinations.iter().map(|to| (*to).to_owned()).collect(),
            body_type: BodyType::SevenBit,
            smtp_utf8: SmtpUtf8::NotRequested,
            in_session: IN_SESSION,
            message_request: MessageRequest::default(),
            request: RecipientRequest::default(),
        }
    }

    fn rewritten(self) -> Rewritten {
        let address = |text: &str| Address::parse(text).unwrap();
        let mut shipments: Vec<Shipment> = Vec::new();
        let mut recipients = Vec::new();
        for (index, to) in self.to.iter().enumerate() {
            let target = Target {
                alias: address(&format!("alias{index}@customer.example")),
                destination: address(to),
                kind: TargetKind::Forward,
                request: self.request.clone(),
            };
            recipients.push(target.alias.clone());
            let domain = target.destination.domain().clone();
            match shipments.iter_mut().find(|shipment| shipment.domain == domain) {
                Some(shipment) => shipment.targets.push(target),
                None => shipments.push(Shipment {
                    reverse_path: ReversePath::Mailbox(address("srs@customer.example")),
                    domain,
                    targets: vec![target],
                }),
            }
        }
        let envelope = Envelope {
            reverse_path: ReversePath::Null,
            recipients,
            body_type: self.body_type,
            smtp_utf8: self.smtp_utf8,
            request: self.message_request,
        };
        let message = Message::from_octets(self.octets);
        Rewritten {
            transaction: transaction(envelope, self.in_session),
            message,
            verdict: verdict(),
            shipments,
        }
    }
}

fn transaction(envelope: Envelope, in_session: Duration) -> Transaction {
    let client = Client {
        ip: [192, 0, 2, 1].into(),
        helo: "client.example".into(),
        protocol: Protocol::Esmtp,
        tls: None,
    };
    Transaction {
        id: TraceId::new(SystemTime::UNIX_EPOCH, 7),
        client: Arc::new(client),
        envelope,
        recipients: Vec::new(),
        advance: Advance::default(),
        received_at: SystemTime::UNIX_EPOCH,
        dot_at: Instant::now(),
        deadline: Deadline::after(in_session),
        gone: CancellationToken::new(),
        memory: Account::new(0).share([192, 0, 2, 1].into()),
        answer: oneshot::channel().0,
    }
}

fn verdict() -> Verdict {
    Verdict {
        spf: SpfVerdict::Pass,
        dmarc: DmarcVerdict::Pass,
        vouched: Vouched::Yes,
        results: String::new(),
        arc: ArcState::None,
        help: ReceiverHelp::Needed,
        confirmed_name: None,
    }
}

/// Code and enhanced code of an upstream's answer, and whose it is.
fn said(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Delivered(upstream) => format!("delivered by {}: {}", upstream.host, upstream.reply),
        Outcome::Refused(upstream) => format!("refused by {}: {}", upstream.host, upstream.reply),
        Outcome::Undeliverable(refusal) => format!("undeliverable: {refusal:?}"),
        Outcome::NoAnswer(no_answer) => format!("no answer: {}", no_answer.detail),
        Outcome::Unknown { host } => format!("unknown at {host}"),
        Outcome::AwaitingReply { host, .. } => format!("awaiting {host}"),
        Outcome::Recorded(_) => panic!("deliver knows no records"),
    }
}

/// A world whose destination has one host, which plays these scripts.
async fn one_host(scripts: &[&str]) -> (World, Upstream) {
    let upstream = Upstream::start("127.0.0.1", 0, scripts).await;
    let world = World::new(upstream.address.port(), "@ MX 10 mx1\nmx1 A 127.0.0.1").await;
    (world, upstream)
}

/// A world whose destination has two hosts, the first of them better.
async fn two_hosts(first: &[&str], second: &[&str]) -> (World, Upstream, Upstream) {
    let [one, two] = Upstream::pair(("127.0.0.1", first), ("127.0.0.2", second)).await;
    let records = "@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 127.0.0.1\nmx2 A 127.0.0.2";
    (World::new(one.address.port(), records).await, one, two)
}

/// An upstream that takes a message and says nothing to its dot.
const AT_THE_DOT: &str =
    "hello \n < MAIL\n > 250 ok\n < RCPT\n > 250 ok\n < DATA\n > 354 go\n message\n hang";

const ANA: &str = "ana@dest.example";
const BOB: &str = "bob@dest.example";
