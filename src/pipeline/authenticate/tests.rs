use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::digest;
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RsaKeyPair};
use bytes::Bytes;
use mail_auth::common::crypto::{RsaKey, Sha256};
use mail_auth::common::headers::HeaderWriter as _;
use mail_auth::dkim::{Canonicalization, DkimSigner};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock;
use crate::config::{self, DmarcMode};
use crate::dev::dns::{Behaviour, DnsServer};
use crate::mail::{
    Address, Body, BodyType, Envelope, MessageRequest, RecipientRequest, SmtpUtf8, TraceId, base64, header,
};
use crate::pipeline::account::Account;
use crate::pipeline::deadline::Deadline;
use crate::pipeline::parcel::Settlement;
use crate::pipeline::parcel::{
    Action, Advance, ArcState, Client, DmarcVerdict, IprevVerdict, Protocol, Recipient, Vouched,
};
use crate::pipeline::testing;
use crate::telemetry::labels::{AuthResult, DkimResult, DmarcResult};

/// The client's address; what `sender.example` lets send.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

const ZONES: &[(&str, &str)] = &[
    (
        "sender.example",
        "@ TXT \"v=spf1 ip4:192.0.2.7 -all\"\n_dmarc TXT \"v=DMARC1; p=reject\"\nmx A 192.0.2.7\n\
         mx TXT \"v=spf1 a -all\"\nlist TXT \"v=spf1 -all\"\nempty MX 0 .\n",
    ),
    ("bank.example", "@ TXT \"v=spf1 -all\"\n_dmarc TXT \"v=DMARC1; p=reject; adkim=s\"\n"),
    ("shop.example", "@ TXT \"v=spf1 -all\"\n_dmarc TXT \"v=DMARC1; p=quarantine\"\n"),
    ("plain.example", "@ TXT \"v=spf1 ip4:192.0.2.7 -all\"\n"),
    ("twice.example", "@ TXT \"v=spf1 ip4:192.0.2.7 -all\"\n@ TXT \"v=spf1 +all\"\n"),
    ("list.example", "@ TXT \"v=spf1 -all\"\n"),
    (
        "0.192.in-addr.arpa",
        "7.2 PTR mx.sender.example.\n7.2 PTR elsewhere.example.\n8.2 PTR mx.sender.example.\n",
    ),
    ("relay.example", ""),
    ("xn--bcher-kva.example", ""),
];

/// Key records of `keys.example`: selector, and what stands before `p=`.
const KEYS: &[(&str, &str)] = &[
    ("plain", ""),
    ("testing", "v=DKIM1; t=y; "),
    ("exact", "v=DKIM1; t=s; "),
    ("sha1", "v=DKIM1; h=sha1; "),
    ("tlsrpt", "v=DKIM1; s=tlsrpt; "),
    ("mail", "v=DKIM1; h=sha1:sha256; s=tlsrpt:email; "),
    ("twice", "v=DKIM1; p=; "),
    ("late", "k=rsa; v=DKIM1; "),
    ("several", "v=DKIM1; s=tlsrpt; "),
    ("several", "v=DKIM1; "),
];

/// The time that a message has.
const IN_SESSION: Duration = Duration::from_secs(45);
/// For bodies that are read back from files.
const MEMORY_OCTETS: usize = 1 << 20;

/// A small internet, a key that its domains sign with, and a context that asks there.
pub(super) struct World {
    pub(super) server: DnsServer,
    pub(super) context: Context,
    _directory: tempfile::TempDir,
}

/// One key for all tests: making one takes a second.
static KEY: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

impl World {
    pub(super) async fn new() -> Self {
        let record = format!("v=DKIM1; k=rsa; p={}", base64::encode(KEY.public_key().as_ref()));
        let strings: Vec<_> = record
            .as_bytes()
            .chunks(200)
            .map(|part| format!("\"{}\"", String::from_utf8_lossy(part)))
            .collect();
        let zones: Vec<_> = ZONES
            .iter()
            .map(|(origin, records)| (*origin, format!("{records}s._domainkey TXT {}\n", strings.join(" "))))
            .collect();
        let keys: String = KEYS
            .iter()
            .map(|(selector, tags)| {
                let record = format!("{tags}p={}", base64::encode(KEY.public_key().as_ref()));
                let (first, second) = record.split_at(200);
                format!("{selector}._domainkey TXT \"{first}\" \"{second}\"\n")
            })
            .collect();
        let zones = zones.iter().map(|(origin, records)| (*origin, records.as_str()));
        let zones: Vec<_> = zones.chain([("keys.example", keys.as_str())]).collect();
        let server = DnsServer::start(&zones).await.unwrap();
        let dns = Dns::new(
            &config::Dns { servers: vec![server.addr()], ..Default::default() },
            Arc::new(Metrics::new().unwrap()),
        )
        .unwrap();
        let settings = Settings {
            hostname: domain("linda.mx.relay.example"),
            service_domain: domain("email.relay.example"),
            authentication: Authentication {
                dmarc: DmarcMode::Enforce,
                require_pass: true,
                trusted_arc_sealers: vec![domain("list.example")],
            },
            dkim_signatures: 3,
            sealing: Sealing::Needed,
            early_limit: IN_SESSION / 4,
        };
        let (chronicle, directory) = testing::chronicle();
        let context = {
            let memory = Arc::new(Semaphore::new(MEMORY_OCTETS));
            Context::new(settings, dns, memory, Cores::of_machine().unwrap(), chronicle)
        };
        Self { server, context, _directory: directory }
    }

    pub(super) fn prover(&self) -> Prover<'_> {
        let Context { dns, works, .. } = &self.context;
        Prover { dns, cores: &works.cores, proofs: 1, deadline: Deadline::after(IN_SESSION) }
    }

    pub(super) fn key() -> RsaKey<Sha256> {
        let der = KEY.as_der().unwrap();
        RsaKey::from_key_der(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.as_ref()))).unwrap()
    }

    /// The message with a signature of this domain on top.
    pub(super) fn signed(&self, by: &str, message: &str) -> String {
        self.signed_as(by, message, Canonicalization::Relaxed)
    }

    pub(super) fn signed_as(&self, by: &str, message: &str, body: Canonicalization) -> String {
        let signer = DkimSigner::from_key(Self::key()).domain(by).selector("s").headers(["From", "Subject"]);
        let signature = signer.body_canonicalization(body).sign(message.as_bytes()).unwrap();
        format!("{}{message}", signature.to_header())
    }

    async fn early(&self, helo: &str, reverse_path: &str) -> EarlyVerdict {
        early::ask(&self.context, &client(helo, CLIENT), &path(reverse_path)).await
    }

    async fn judged(&self, message: &str, reverse_path: &str) -> Result<Authenticated, Refusal> {
        self.judged_for(message, reverse_path, &[Standing::Ordinary]).await
    }

    async fn judged_for(
        &self,
        message: &str,
        reverse_path: &str,
        standings: &[Standing],
    ) -> Result<Authenticated, Refusal> {
        let (accepted, _answered) = accepted(message, reverse_path, standings);
        self.judged_as(accepted).await
    }

    async fn judged_as(&self, accepted: Accepted) -> Result<Authenticated, Refusal> {
        let Accepted { transaction, mut message, early } = accepted;
        let Judged { forged, body_hash, verdict } =
            authenticate(&transaction, &message, early, &self.context)
                .await
                .map_err(|refused| refused.refusal)?;
        message.omit(forged);
        Ok(Authenticated { transaction, message, body_hash, verdict })
    }
}

pub(super) fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

fn path(text: &str) -> ReversePath {
    if text.is_empty() { ReversePath::Null } else { ReversePath::Mailbox(Address::parse(text).unwrap()) }
}

fn client(helo: &str, ip: IpAddr) -> Client {
    Client { ip, helo: helo.to_owned(), protocol: Protocol::Esmtp, tls: None }
}

/// A message whose early verdict was lost, so that it is asked for again.
fn accepted(
    message: &str,
    reverse_path: &str,
    standings: &[Standing],
) -> (Accepted, oneshot::Receiver<Settlement>) {
    let alias = Address::parse("ann@customer.example").unwrap();
    let recipient = |standing: &Standing| Recipient {
        alias: alias.clone(),
        action: Action::Drop,
        standing: *standing,
        on_tempfail: None,
        request: RecipientRequest::default(),
    };
    let (answer, answered) = oneshot::channel();
    let transaction = Transaction {
        id: TraceId::new(clock::now(), 1),
        client: Arc::new(client("mx.sender.example", CLIENT)),
        envelope: Envelope {
            reverse_path: path(reverse_path),
            recipients: vec![alias.clone()],
            body_type: BodyType::SevenBit,
            smtp_utf8: SmtpUtf8::NotRequested,
            request: MessageRequest::default(),
        },
        recipients: standings.iter().map(recipient).collect(),
        advance: Advance::default(),
        received_at: clock::now(),
        dot_at: Instant::now(),
        deadline: Deadline::after(IN_SESSION),
        gone: CancellationToken::new(),
        memory: Account::new(0).share([192, 0, 2, 1].into()),
        answer,
    };
    let message = Message::from_octets(Bytes::copy_from_slice(message.as_bytes()));
    (Accepted { transaction, message, early: oneshot::channel().1 }, answered)
}

fn from(author: &str) -> String {
    format!("From: {author}\r\nSubject: hello\r\n\r\nbody\r\n")
}

/// A message as large as all memory for bodies, in a file.
fn large(head: &str) -> Accepted {
    let (accepted, _answered) = accepted("", "bob@sender.example", &[Standing::Ordinary]);
    let file = tempfile::tempfile().unwrap();
    file.set_len(MEMORY_OCTETS as u64).unwrap();
    let body = Body::File { file: Arc::new(file.into()), offset: 0, octets: MEMORY_OCTETS as u64 };
    Accepted { message: Message::new(Bytes::copy_from_slice(head.as_bytes()), body), ..accepted }
}

#[tokio::test]
async fn no_memory_is_held_while_dns_is_silent() {
    let world = World::new().await;
    let silent = "silent._domainkey.sender.example.";
    world.server.behave(silent, Behaviour::Silent).unwrap();
    let signed = "DKIM-Signature: v=1; a=rsa-sha256; d=sender.example; s=silent; h=from; bh=QUJD; b=QUJD\r\n";
    let judged = async |head: &str| {
        let Accepted { transaction, message, early } = large(head);
        authenticate(&transaction, &message, early, &world.context).await
    };
    let head = "From: bob@sender.example\r\n\r\n";
    let signed = format!("{}{head}", signed.replace("bh=QUJD", &format!("bh={}", zeros())));
    let waiting = judged(&signed);
    tokio::pin!(waiting);
    while world.server.queries(silent, "TXT") == 0 {
        assert!(
            timeout(Duration::from_millis(1), &mut waiting).await.is_err(),
            "it does not wait for the key"
        );
    }
    assert!(judged(head).await.is_ok(), "another one finds no memory");
}

/// The hash of a large body.
fn zeros() -> String {
    base64::encode(
        digest::digest(&digest::SHA256, &[vec![0; MEMORY_OCTETS], b"\r\n".to_vec()].concat()).as_ref(),
    )
}

#[tokio::test]
async fn early_answers_are_those_of_the_dns() {
    let world = World::new().await;
    let early = world.early("mx.sender.example", "bob@sender.example").await;
    assert_eq!((early.spf_helo, early.spf_mail_from), (SpfVerdict::Pass, SpfVerdict::Pass));
    assert_eq!((early.iprev, early.confirmed_names), (IprevVerdict::Pass, vec![domain("mx.sender.example")]));
    assert!(!early.sender_null_mx);
    // RFC 7208 §2.4: postmaster at the HELO identity stands for a null reverse-path.
    let null = world.early("mx.sender.example", "").await;
    assert_eq!(null.spf_mail_from, SpfVerdict::Pass);
    // RFC 7208 §2.3: a HELO that is no domain name is not checked.
    for helo in ["[192.0.2.7]", "localhost", "not a domain", "192.0.2.7", ""] {
        assert_eq!(world.early(helo, "bob@bank.example").await.spf_helo, SpfVerdict::None, "{helo}");
    }
    assert_eq!(world.early("x.example", "bob@bank.example").await.spf_mail_from, SpfVerdict::Fail);
    assert!(world.early("x.example", "bob@empty.sender.example").await.sender_null_mx);
}

#[tokio::test]
async fn rfc8601_2_7_3_names_count_when_their_addresses_confirm_them() {
    let world = World::new().await;
    let ask = async |ip: &str| {
        let client = client("mx.sender.example", ip.parse().unwrap());
        let early = early::ask(&world.context, &client, &path("")).await;
        (early.iprev, early.confirmed_names.len())
    };
    assert_eq!(ask("::ffff:192.0.2.7").await, (IprevVerdict::Pass, 1));
    assert_eq!(ask("192.0.2.8").await, (IprevVerdict::Fail, 0));
    assert_eq!(ask("192.0.2.9").await, (IprevVerdict::PermError, 0));
    world.server.behave("10.2.0.192.in-addr.arpa.", Behaviour::ServFail).unwrap();
    assert_eq!(ask("192.0.2.10").await, (IprevVerdict::TempError, 0));
}

#[tokio::test]
async fn rfc7208_2_6_errors_of_a_record_are_permanent_and_of_the_dns_temporary() {
    let world = World::new().await;
    let spf = async |sender: &str| world.early("x.example", sender).await.spf_mail_from;
    assert_eq!(spf("a@twice.example").await, SpfVerdict::PermError);
    assert_eq!(spf("a@nowhere.example").await, SpfVerdict::None);
    world.server.behave("plain.example.", Behaviour::ServFail).unwrap();
    assert_eq!(spf("a@plain.example").await, SpfVerdict::TempError);
}

#[tokio::test]
async fn good_mail_goes_on_with_its_results_and_without_forged_ones() {
    let world = World::new().await;
    let forged =
        "Authentication-Results: (c) EMAIL.relay.example 1;\r\n dmarc=pass header.from=bank.example\r\n";
    let foreign = "Authentication-Results: mx.other.example; dmarc=fail\r\n";
    let message = world.signed("sender.example", &from("Bob <bob@sender.example>"));
    let message = format!("{forged}{foreign}{message}");
    let found = world.judged(&message, "bob@sender.example").await.unwrap();
    let emitted = found.message.emitted_head().concat();
    assert!(
        emitted.starts_with(b"Authentication-Results: mx.other.example"),
        "{}",
        String::from_utf8_lossy(&emitted)
    );
    assert_eq!(header::fields(&emitted).filter(|field| field.is("Authentication-Results")).count(), 1);
    assert_eq!(found.body_hash.to_string(), "Ck5SoRNWUpSR4X0COv7R5ub2pUTtl6xz4dTFz++ji4M=");
    assert_eq!((found.verdict.spf, found.verdict.dmarc), (SpfVerdict::Pass, DmarcVerdict::Pass));
    assert_eq!((found.verdict.vouched, found.verdict.arc), (Vouched::Yes, ArcState::None));
    assert_eq!(found.verdict.confirmed_name, Some(domain("mx.sender.example")));
    for part in [
        "spf=pass smtp.mailfrom=bob@sender.example;",
        "dkim=pass header.d=sender.example",
        "dmarc=pass (p=reject) header.from=sender.example policy.dmarc=reject;",
    ] {
        assert!(found.verdict.results.contains(part), "{}", found.verdict.results);
    }
    let metrics = world.context.chronicle.metrics();
    assert_eq!(metrics.auth_results_total.of(AuthResult::Dkim(DkimResult::Pass)).get(), 1);
    assert_eq!(metrics.auth_results_total.of(AuthResult::Dmarc(DmarcResult::Pass)).get(), 1);
}

#[tokio::test]
async fn spoofs_are_rejected_in_the_name_of_their_author() {
    let world = World::new().await;
    let rejected = |name: &str| Some(Refusal::Dmarc(domain(name)));
    for author in [
        "ceo@bank.example",
        "\"x@plain.example\" <ceo@bank.example>",
        "x@plain.example, ceo@bank.example",
        "ceo@bank.example <x@plain.example>",
    ] {
        assert_eq!(
            world.judged(&from(author), "x@plain.example").await.err(),
            rejected("bank.example"),
            "{author}"
        );
    }
    // A signature that does not align is none for DMARC.
    let signed = world.signed("plain.example", &from("ceo@bank.example"));
    assert_eq!(world.judged(&signed, "x@plain.example").await.err(), rejected("bank.example"));
    // RFC 9989 §4.4: relaxed, a subdomain's identifier is its organisation's; strict, it is not.
    let signed = world.signed("sender.example", &from("bob@list.sender.example"));
    assert_eq!(world.judged(&signed, "x@plain.example").await.err(), None);
    let signed = world.signed("bank.example", &from("ceo@mail.bank.example"));
    assert_eq!(world.judged(&signed, "x@plain.example").await.err(), rejected("mail.bank.example"));
    // p=quarantine: sent on, marked.
    let found = world.judged(&from("a@shop.example"), "x@plain.example").await.unwrap();
    assert_eq!((found.verdict.dmarc, found.verdict.vouched), (DmarcVerdict::Fail, Vouched::Yes));
    assert!(
        found
            .verdict
            .results
            .contains("dmarc=fail (p=quarantine) header.from=shop.example policy.dmarc=quarantine")
    );
}

#[tokio::test]
async fn messages_without_one_author_are_refused() {
    let world = World::new().await;
    for message in [
        "Subject: x\r\n\r\nbody\r\n",
        "\r\nbody\r\n",
        "From: a@sender.example\r\nFrom: b@bank.example\r\n\r\nbody\r\n",
        "From: nobody\r\n\r\nbody\r\n",
    ] {
        assert_eq!(
            world.judged(message, "bob@sender.example").await.err(),
            Some(Refusal::BadFrom),
            "{message}"
        );
    }
}

#[tokio::test]
async fn mail_that_nothing_vouches_for_is_for_role_accounts_and_bounces_only() {
    let world = World::new().await;
    let message = from("a@list.example");
    let judged =
        async |path: &str, standings: &[Standing]| world.judged_for(&message, path, standings).await.err();
    let (ordinary, role, bounce) = (Standing::Ordinary, Standing::Role, Standing::Bounce);
    assert_eq!(
        judged("a@list.example", &[ordinary]).await,
        Some(Refusal::Unauthenticated { explanation: None })
    );
    assert_eq!(
        judged("a@list.example", &[role, ordinary]).await,
        Some(Refusal::Unauthenticated { explanation: None })
    );
    assert_eq!(judged("a@list.example", &[role, bounce]).await, None);
    // The HELO name of the client is confirmed, so its bounces are taken.
    assert_eq!(judged("", &[ordinary]).await, None);
    let null_mx = judged("a@empty.sender.example", &[role]).await;
    assert_eq!(null_mx, Some(Refusal::SenderNullMx(domain("empty.sender.example"))));
}

#[tokio::test]
async fn missing_answers_defer_only_where_they_decide() {
    let world = World::new().await;
    world.server.behave("_dmarc.shop.example.", Behaviour::ServFail).unwrap();
    let deferred = world.judged(&from("a@shop.example"), "x@plain.example").await.err();
    assert_eq!(deferred, Some(Refusal::AuthenticationUnavailable));
    // It would pass whatever the policy.
    let signed = world.signed("shop.example", &from("a@shop.example"));
    let found = world.judged(&signed, "x@plain.example").await.unwrap();
    assert_eq!(found.verdict.dmarc, DmarcVerdict::TempError);
    // A third party's key that cannot be had changes nothing for the author's own.
    world.server.behave("s._domainkey.list.example.", Behaviour::ServFail).unwrap();
    let signed = world.signed("list.example", &world.signed("sender.example", &from("bob@sender.example")));
    let found = world.judged(&signed, "x@list.example").await.unwrap();
    assert_eq!(found.verdict.dmarc, DmarcVerdict::Pass);
    assert!(
        found.verdict.results.contains("dkim=temperror header.d=list.example"),
        "{}",
        found.verdict.results
    );
    // The author's key cannot be had, and its policy is to reject.
    world.server.behave("s._domainkey.bank.example.", Behaviour::ServFail).unwrap();
    let signed = world.signed("bank.example", &from("ceo@bank.example"));
    let deferred = world.judged(&signed, "x@plain.example").await.err();
    assert_eq!(deferred, Some(Refusal::AuthenticationUnavailable));
}

/// Less than DNS is given to answer, and enough for one that does.
const HURRY: Duration = Duration::from_secs(4);

impl World {
    /// A world that is in a hurry, and whose DNS is silent about some names.
    async fn hurried(silent: &[&str]) -> Self {
        let mut world = Self::new().await;
        world.context.settings.early_limit = HURRY / 4;
        for name in silent {
            world.server.behave(name, Behaviour::Silent).unwrap();
        }
        world
    }

    /// What becomes of a message that is in a hurry. Deliver has its part of the time, whatever that is.
    async fn judged_in_a_hurry(&self, message: &str, reverse_path: &str) -> Result<Authenticated, Refusal> {
        let (mut accepted, _answered) = accepted(message, reverse_path, &[Standing::Ordinary]);
        let deadline = Deadline::after(HURRY);
        accepted.transaction.deadline = deadline;
        let judged = self.judged_as(accepted).await;
        assert!(deadline.is_enough_to_try(), "nothing is left for deliver");
        judged
    }
}

const SILENT_KEY: &str = "silent._domainkey.sender.example.";

/// The message with a signature of sender.example on top, by [`SILENT_KEY`].
fn signed_silently(message: &str) -> String {
    let signer = DkimSigner::from_key(World::key()).domain("sender.example").selector("silent");
    format!("{}{message}", signer.headers(["From"]).sign(message.as_bytes()).unwrap().to_header())
}

#[tokio::test]
async fn what_was_answered_in_time_counts() {
    let world = World::hurried(&[SILENT_KEY]).await;
    let message = signed_silently(&world.signed("sender.example", &from("bob@sender.example")));
    let found = world.judged_in_a_hurry(&message, "x@list.example").await.unwrap();
    assert_eq!((found.verdict.spf, found.verdict.dmarc), (SpfVerdict::Fail, DmarcVerdict::Pass));
    for part in ["dkim=temperror header.d=sender.example", "dkim=pass header.d=sender.example"] {
        assert!(found.verdict.results.contains(part), "{}", found.verdict.results);
    }
    let world = World::hurried(&[SILENT_KEY, "7.2.0.192.in-addr.arpa."]).await;
    let message = signed_silently(&from("bob@sender.example"));
    let found = world.judged_in_a_hurry(&message, "bob@sender.example").await.unwrap();
    assert_eq!((found.verdict.spf, found.verdict.dmarc), (SpfVerdict::Pass, DmarcVerdict::Pass));
    assert!(found.verdict.results.contains("iprev=temperror"), "{}", found.verdict.results);
}

#[tokio::test]
async fn what_was_not_answered_in_time_defers_where_it_decides() {
    for (silent, message, reverse_path) in [
        // All that could pass.
        (SILENT_KEY, signed_silently(&from("bob@sender.example")), "x@list.example"),
        ("plain.example.", from("x@plain.example"), "x@plain.example"),
        // The policy of an author that nothing is aligned with.
        ("_dmarc.bank.example.", from("ceo@bank.example"), "x@plain.example"),
    ] {
        let world = World::hurried(&[silent]).await;
        let deferred = world.judged_in_a_hurry(&message, reverse_path).await.err();
        assert_eq!(deferred, Some(Refusal::AuthenticationUnavailable), "{silent}");
    }
}

#[tokio::test]
async fn keys_that_are_not_answered_for_leave_dmarc_its_part() {
    let world = World::hurried(&[SILENT_KEY]).await;
    let message = signed_silently(&from("bob@list.sender.example"));
    let found = world.judged_in_a_hurry(&message, "bob@sender.example").await.unwrap();
    assert_eq!(found.verdict.dmarc, DmarcVerdict::Pass);
}
