//! What each stage costs for a message of 10 KiB, without sockets, disk or waiting: `cargo bench`.
//!
//! `worst` has header sections of `limits.header_octets` that strangers would send to keep us busy, and what authenticate
//! makes of them: most are refused.
//!
//! `authenticate` and `rewrite` are whole stages, without the joint that runs them; authenticate's DNS
//! answers are in the resolver's cache. The others are the stages' pure functions; `route` has a bench of its own,
//! `routing`.
#![allow(clippy::unwrap_used, reason = "a bench that cannot be set up says so by panicking")]

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput};
use postroad::config::{self, AddressLog, Authentication, DmarcMode, LogAddresses, OnTempfail};
use postroad::dev::dns::DnsServer;
use postroad::dev::keys;
use postroad::dns::Dns;
use postroad::journal::{Journal, Limits};
use postroad::mail::dkim::NewKey;
use postroad::mail::loop_token::LoopKey;
use postroad::mail::{
    Address, BodyType, Domain, Envelope, Message, MessageRequest, RecipientRequest, ReversePath, SmtpUtf8,
    TraceId,
};
use postroad::pipeline::account::Account;
use postroad::pipeline::authenticate::{self, Authenticate};
use postroad::pipeline::chronicle::{Chronicle, Manner};
use postroad::pipeline::cores::Cores;
use postroad::pipeline::deadline::Deadline;
use postroad::pipeline::joint::{Stage, Turn};
use postroad::pipeline::parcel::{
    Accepted, Action, Advance, Authenticated, Client, Delivery, EarlyVerdict, IprevVerdict, Outcome,
    Protocol, Recipient, Routed, SpfVerdict, Standing, Target, TargetKind, Transaction, UpstreamReply,
    Vouched,
};
use postroad::pipeline::rewrite::{self, Rewrite, Sealing, SigningKeys};
use postroad::pipeline::settle::{Policy, Queue, decide};
use postroad::smtp::client::{DotStuffer, ReplyDecoder};
use postroad::smtp::command;
use postroad::smtp::data::{ContentCheck, DataDecoder};
use postroad::smtp::line::{Line, LineDecoder};
use postroad::srs::{Secret, Srs};
use postroad::store::Store;
use postroad::telemetry::Metrics;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const POSTMASTER_URL: &str = "https://relay.test/postmaster";
const MESSAGE_OCTETS: usize = 10 * 1024;
/// What a client is left to wait for.
const STAGE_LIMIT: Duration = Duration::from_secs(10);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    inbound(&mut criterion);
    deliver(&mut criterion);
    settle(&mut criterion);
    stages(&mut criterion);
    worst(&mut criterion);
    criterion.final_summary();
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn letter() -> Vec<u8> {
    let mut octets = b"From: Alice <alice@sender.test>\r\nTo: <info@customer.test>\r\nSubject: bench\r\n\
        Date: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@sender.test>\r\nMIME-Version: 1.0\r\n\r\n"
        .to_vec();
    while octets.len() < MESSAGE_OCTETS {
        octets.extend_from_slice(
            b"The quick brown fox jumps over the lazy dog, and then it rests a while.\r\n",
        );
    }
    octets
}

fn inbound(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("inbound");
    let envelope = b"EHLO mx.sender.test\r\nMAIL FROM:<alice@sender.test> SIZE=10240 BODY=8BITMIME\r\n\
        RCPT TO:<info@customer.test>\r\nDATA\r\n";
    group.bench_function("commands", |bencher| {
        bencher.iter(|| {
            let (mut lines, mut buffer) = (LineDecoder::default(), BytesMut::from(&envelope[..]));
            while let Some(Line::Complete(line)) = lines.decode(&mut buffer) {
                black_box(command::parse(&line)).unwrap();
            }
        });
    });
    let mut data = letter();
    data.extend_from_slice(b".\r\n");
    group.throughput(Throughput::Bytes(data.len() as u64));
    group.bench_function("data", |bencher| {
        bencher.iter(|| {
            let (mut decoder, mut check) = (DataDecoder::default(), ContentCheck::default());
            let mut octets = Vec::with_capacity(data.len());
            black_box(decoder.decode(&data, &mut octets));
            check.check(&octets);
            black_box(check.finish())
        });
    });
    group.finish();
}

fn deliver(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("deliver");
    let reply =
        b"250-mx.dest.test\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n";
    group.bench_function("reply", |bencher| {
        bencher.iter(|| ReplyDecoder::default().decode(&mut BytesMut::from(&reply[..])).unwrap());
    });
    let octets = letter();
    group.throughput(Throughput::Bytes(octets.len() as u64));
    group.bench_function("dot-stuffing", |bencher| {
        bencher.iter(|| {
            let (mut stuffer, mut out) = (DotStuffer::default(), Vec::with_capacity(octets.len() + 16));
            stuffer.stuff(&octets, &mut out);
            stuffer.finish(&mut out);
            out
        });
    });
    group.finish();
}

fn settle(criterion: &mut Criterion) {
    let mut wire =
        BytesMut::from(&b"550 5.1.1 <bob@dest.test>: Recipient address rejected: no bob here\r\n"[..]);
    let reply = ReplyDecoder::default().decode(&mut wire).unwrap().unwrap();
    let deliveries = [Delivery {
        target: target(),
        reverse_path: ReversePath::Null,
        outcome: Outcome::Refused(UpstreamReply { host: "mx.dest.test".into(), reply }),
    }];
    let trace = TraceId::new(postroad::clock::now(), 1);
    criterion.bench_function("settle/relayed-refusal", |bencher| {
        let policy = Policy {
            queue: Queue::Takes,
            vouched: Vouched::Yes,
            on_tempfail: &[OnTempfail::Relay],
            postmaster_url: POSTMASTER_URL,
            trace,
        };
        bencher.iter(|| decide(black_box(&deliveries), policy));
    });
}

fn target() -> Target {
    let (alias, destination) = (address("info@customer.test"), address("bob@dest.test"));
    Target { alias, destination, kind: TargetKind::Forward, request: RecipientRequest::default() }
}

/// What the stage makes of a parcel.
async fn next<S: Stage>(stage: &S, parcel: S::Parcel) -> S::Next {
    let made = match stage.run(parcel).await {
        Turn::Next(next) => Some(next),
        Turn::Refused(_) | Turn::Answered => None,
    };
    made.unwrap()
}

fn transaction() -> Transaction {
    let alias = address("info@customer.test");
    Transaction {
        id: TraceId::new(postroad::clock::now(), 1),
        client: Arc::new(Client {
            ip: Ipv4Addr::LOCALHOST.into(),
            helo: "mx.sender.test".into(),
            protocol: Protocol::Esmtp,
            tls: None,
        }),
        envelope: Envelope {
            reverse_path: ReversePath::Mailbox(address("alice@sender.test")),
            recipients: vec![alias.clone()],
            body_type: BodyType::SevenBit,
            smtp_utf8: SmtpUtf8::NotRequested,
            request: MessageRequest::default(),
        },
        recipients: vec![Recipient {
            alias,
            action: Action::Forward(vec![address("bob@dest.test")]),
            standing: Standing::Ordinary,
            request: RecipientRequest::default(),
            on_tempfail: None,
        }],
        advance: Advance::default(),
        received_at: postroad::clock::now(),
        dot_at: Instant::now(),
        deadline: Deadline::after(STAGE_LIMIT),
        gone: CancellationToken::new(),
        memory: Account::new(0).share([192, 0, 2, 1].into()),
        answer: oneshot::channel().0,
    }
}

fn accepted(octets: &Bytes) -> Accepted {
    let (answer, early) = oneshot::channel();
    let verdict = EarlyVerdict {
        spf_helo: SpfVerdict::None,
        spf_explanation: None,
        spf_mail_from: SpfVerdict::Pass,
        confirmed_names: Vec::new(),
        iprev: IprevVerdict::PermError,
        sender_null_mx: false,
    };
    answer.send(verdict).unwrap();
    Accepted { transaction: transaction(), message: Message::from_octets(octets.clone()), early }
}

fn routed(authenticated: Authenticated) -> Routed {
    let Authenticated { transaction, message, body_hash, verdict } = authenticated;
    Routed { transaction, message, body_hash, verdict, targets: vec![target()] }
}

fn stages(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (sender_key, relay_key) = (NewKey::generate().unwrap(), NewKey::generate().unwrap());
    let plain = letter();
    let signature = keys::signature(&sender_key, "sender.test", "s1", &plain).unwrap();
    let octets = Bytes::from([signature.as_bytes(), &plain].concat());
    let records = format!("s1._domainkey TXT {}\n_dmarc TXT \"v=DMARC1; p=reject\"\n", sender_key.record());
    let metrics = Arc::new(Metrics::new().unwrap());

    let server = runtime.block_on(DnsServer::start(&[("sender.test", &records)])).unwrap();
    let authenticate = runtime.block_on(async { authenticate(&server, &metrics) });
    let rewrite = rewrite(&relay_key, &metrics);
    let mut group = criterion.benchmark_group("stage");
    group.bench_function("authenticate", |bencher| {
        bencher.iter(|| runtime.block_on(next(&authenticate, accepted(&octets))));
    });
    group.bench_function("authenticate-and-rewrite", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let authenticated = next(&authenticate, accepted(&octets)).await;
                next(&rewrite, routed(authenticated)).await
            })
        });
    });
    group.finish();
}

/// The default of `limits.header_octets`.
const HEADER_OCTETS: usize = 262_144;
/// What is taken of a header section (`mail::header::MAX_FIELDS`), less what each case needs beside.
const FIELDS: usize = 980;

/// Of the body of these sections.
const BODY_HASH: &str = "eDCyaw7m810RhFf0TmGWGkTYiT/1GwL4/PCOGIr3ew4=";

/// As many times the unit as make a whole header section, at most `times`, with a From field behind.
fn section(unit: &str, times: usize) -> Bytes {
    let from = "From: alice@sender.test\r\n\r\ntext\r\n";
    Bytes::from(unit.repeat(((HEADER_OCTETS - from.len()) / unit.len()).min(times)) + from)
}

fn signature(names: &str, octets: usize) -> String {
    let start = "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed; d=sender.test; s=s1; b=QUJD; bh=";
    format!("{start}{BODY_HASH}; h=from{names}; z=") + &"x".repeat(octets) + "\r\n"
}

fn worst_sections() -> Vec<(&'static str, Bytes)> {
    let field = |number: usize| format!("X{}: {}\r\n", number % 500, "x ".repeat(120));
    let fields = |count: usize| (0..count).map(field).collect::<String>();
    let names = |count: usize| (0..count).map(|number| format!(":x{}", number % 500)).collect::<String>();
    let signatures = |count: usize| signature(&names(511), 0).repeat(count);
    let arc = |number: usize| {
        let signed = format!("i={number}; a=rsa-sha256; d=sender.test; s=s1; b=QUJD");
        let results = format!(
            "ARC-Authentication-Results: i={number}; sender.test; dmarc=pass {}\r\n",
            "x".repeat(4500)
        );
        let cv = if number == 1 { "none" } else { "pass" };
        format!(
            "ARC-Seal: cv={cv}; {signed}\r\nARC-Message-Signature: c=relaxed; bh={BODY_HASH}; h=from{}; {signed}\r\n{results}",
            names(30)
        )
    };
    let many_names =
        |count| Bytes::from(signature(&names(count), 0) + "From: alice@sender.test\r\n\r\ntext\r\n");
    let author = |unit: &str| {
        let units = unit.repeat(HEADER_OCTETS / unit.len() - 40);
        Bytes::from(format!("From: alice@sender.test{units}\r\n\r\ntext\r\n"))
    };
    vec![
        ("most-names", many_names(28_000)),
        ("names-times-fields", section(&(signatures(10) + &fields(800)), 1)),
        ("most-fields", section(&fields(FIELDS), 1)),
        ("most-signatures", section(&signature(&names(20), 0), FIELDS)),
        ("largest-signatures", section(&signature(&names(511), 20_000), FIELDS)),
        ("most-arc-sets", section(&(1..=50).map(arc).collect::<String>(), 1)),
        ("forged-results", section(&format!("Authentication-Results:{}\r\n", " \u{e9}.".repeat(60)), FIELDS)),
        ("brackets", author(" @ [")),
        ("at-signs", author(" @ \u{e9}")),
    ]
}

/// What authenticate makes of the worst sections, reading and cryptography together.
fn worst(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let key = NewKey::generate().unwrap();
    let records = format!("s1._domainkey TXT {}\n_dmarc TXT \"v=DMARC1; p=reject\"\n", key.record());
    let server = runtime.block_on(DnsServer::start(&[("sender.test", &records)])).unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    let authenticate = runtime.block_on(async { authenticate(&server, &metrics) });
    let mut group = criterion.benchmark_group("worst");
    group.sample_size(10);
    for (name, octets) in worst_sections() {
        group.throughput(Throughput::Bytes(octets.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| runtime.block_on(authenticate.run(accepted(&octets))));
        });
    }
    group.finish();
}

/// Tells of refusals, of which a bench has none. Its folder is left to the system to clean.
fn chronicle(metrics: &Arc<Metrics>) -> Chronicle {
    let folder = tempfile::tempdir().unwrap().keep();
    let journal = Journal::open(&Store::open(&folder).unwrap(), Limits::default()).unwrap();
    let manner = Manner {
        addresses: AddressLog::new(LogAddresses::Full, b"secret"),
        postmaster_url: POSTMASTER_URL.into(),
    };
    Chronicle::new(journal, metrics.clone(), manner, folder.join("poison"))
}

fn authenticate(server: &DnsServer, metrics: &Arc<Metrics>) -> Authenticate {
    let settings = authenticate::Settings {
        hostname: domain("mx.relay.test"),
        service_domain: domain("relay.test"),
        authentication: Authentication {
            dmarc: DmarcMode::Enforce,
            require_pass: true,
            trusted_arc_sealers: Vec::new(),
        },
        dkim_signatures: 10,
        early_limit: STAGE_LIMIT,
        sealing: Sealing::On,
    };
    let dns = Dns::new(&config::Dns { servers: vec![server.addr()], ..Default::default() }, metrics.clone())
        .unwrap();
    let context = authenticate::Context::new(
        settings,
        dns,
        Arc::new(Semaphore::new(1 << 20)),
        Cores::of_machine().unwrap(),
        chronicle(metrics),
    );
    Authenticate(Arc::new(ArcSwap::from_pointee(context)))
}

fn rewrite(key: &NewKey, metrics: &Arc<Metrics>) -> Rewrite {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dkim.pem");
    std::fs::write(&file, key.pem()).unwrap();
    let key = config::DkimKey { selector: "2026".into(), private_key_file: file };
    let settings = rewrite::Settings {
        hostname: domain("mx.relay.test"),
        service_domain: domain("relay.test"),
        sealing: Sealing::On,
    };
    let secrets = rewrite::Secrets {
        keys: SigningKeys::load(&config::Dkim { keys: vec![key] }).unwrap(),
        srs: Arc::new(Srs::new(vec![Secret::new(b"secret")], 21)),
        loop_key: LoopKey::new(b"secret", &domain("relay.test")),
    };
    let keep_alias: rewrite::KeepAlias = Arc::new(|_, _| Box::pin(async { Ok(()) }));
    let context = rewrite::Context::new(
        settings,
        secrets,
        keep_alias,
        Cores::of_machine().unwrap(),
        chronicle(metrics),
    );
    Rewrite(Arc::new(ArcSwap::from_pointee(context)))
}
