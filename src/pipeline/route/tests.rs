use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::aliases::Aliases;
use crate::clock;
use crate::config::{AddressLog, LogAddresses};
use crate::journal::{Journal, Limits};
use crate::mail::loop_token::{self, LoopKey};
use crate::mail::{Address, Domain, RecipientRequest, ReversePath};
use crate::pipeline::chronicle::{Chronicle, Manner};
use crate::pipeline::joint::Stage as _;
use crate::pipeline::parcel::{Action, Recipient, Standing, Target, TargetKind};
use crate::pipeline::refusal::Refusal;
use crate::routing::test_table::in_memory;
use crate::routing::{Change, DomainPatch, Matcher, NewDomain, NewRule, RoutingOptions, RuleAction};
use crate::srs::{Secret, Srs};
use crate::store::{Committer, Store};
use crate::telemetry::Metrics;
use crate::telemetry::labels::{self, SrsOperation};

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

struct Stage {
    context: Context,
    metrics: Arc<Metrics>,
    _dir: tempfile::TempDir,
}

impl Stage {
    /// One.example with a rule for every action, and off.example, disabled.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let options = RoutingOptions {
            service_domain: domain("email.relay.example"),
            mx_hosts: vec![domain("linda.mx.relay.example")],
            postmaster: address("ops@relay.example"),
        };
        let routing = in_memory(options);
        routing.change(Change::Batch(changes())).await.unwrap();
        let committer = Committer::start(store.clone()).unwrap();
        let context = Context {
            routing,
            srs: Arc::new(Srs::new(vec![Secret::new(b"tops3cr3t")], 21)),
            aliases: Arc::new(Aliases::open(&store, committer, 21).unwrap()),
            loop_key: LoopKey::new(b"tops3cr3t", &domain("email.relay.example")),
            hops: 3,
            chronicle: Chronicle::new(
                Journal::open(&store, Limits::default()).unwrap(),
                metrics.clone(),
                Manner {
                    addresses: AddressLog::new(LogAddresses::Full, b"tops3cr3t"),
                    postmaster_url: "https://relay.example/postmaster".to_owned(),
                },
                dir.path().join("poison"),
            ),
        };
        Self { context, metrics, _dir: dir }
    }

    async fn rcpt(&self, to: &str, from: &str) -> Result<Recipient, Refusal> {
        let from = if from.is_empty() { ReversePath::Null } else { ReversePath::Mailbox(address(from)) };
        recipient::take((!to.is_empty()).then(|| address(to)), &from, &self.context).await
    }

    /// Action and standing in words, or the refusal.
    async fn said(&self, to: &str, from: &str) -> String {
        match self.rcpt(to, from).await {
            Ok(Recipient { action: Action::Forward(to), standing, .. }) => {
                let to: Vec<String> = to.iter().map(ToString::to_string).collect();
                format!("{standing:?} forward {}", to.join(" "))
            }
            Ok(Recipient { action: Action::ReturnToSender(to), standing, .. }) => {
                format!("{standing:?} return {to}")
            }
            Ok(Recipient { action: Action::Drop, standing, .. }) => format!("{standing:?} drop"),
            Err(refusal) => format!("{refusal:?}"),
        }
    }

    fn srs(&self, original: &str, forwarding: &str) -> String {
        self.context.srs.encode(&address(original), &domain(forwarding), clock::now()).unwrap().to_string()
    }

    fn matches(&self, matcher: labels::Matcher, action: labels::RuleAction) -> u64 {
        self.metrics.rule_matches_total.of((matcher, action)).get()
    }
}

fn changes() -> Vec<Change> {
    let rule = |matcher: &str, action: RuleAction| {
        let matcher = match matcher {
            "*" => Matcher::CatchAll,
            local => Matcher::Local(local.to_owned()),
        };
        Change::CreateRule(NewRule::new(domain("one.example"), matcher, action))
    };
    let forward = |to: &str| RuleAction::Forward(vec![address(to)]);
    vec![
        Change::CreateDestination { address: address("real@dest.example"), verified: true },
        Change::CreateDomain(NewDomain::new(domain("one.example"))),
        Change::CreateDomain(NewDomain { enabled: false, ..NewDomain::new(domain("off.example")) }),
        Change::CreateDomain(NewDomain::new(domain("empty.example"))),
        rule("user", forward("real@dest.example")),
        rule("abuse", forward("real@dest.example")),
        rule("drop", RuleAction::Drop),
        rule("reject", RuleAction::Reject("Gone away".to_owned())),
        rule("wait", forward("new@dest.example")),
        rule("*", forward("real@dest.example")),
    ]
}

#[tokio::test]
async fn each_recipient_hears_what_its_rule_does() {
    let stage = Stage::new().await;
    for (to, expected) in [
        ("user@one.example", "Ordinary forward real@dest.example"),
        ("User+tag@one.example", "Ordinary forward real@dest.example"),
        ("other@one.example", "Ordinary forward real@dest.example"),
        ("drop@one.example", "Ordinary drop"),
        ("reject@one.example", "RuleReject(\"Gone away\")"),
        ("wait@one.example", "RuleWaiting"),
        ("user@empty.example", "UnknownRecipient"),
        ("user@off.example", "UnknownDomain"),
        ("user@elsewhere.example", "UnknownDomain"),
    ] {
        assert_eq!(stage.said(to, "sender@else.example").await, expected, "{to}");
    }
    assert_eq!(
        (
            stage.matches(labels::Matcher::Exact, labels::RuleAction::Forward),
            stage.matches(labels::Matcher::Subaddress, labels::RuleAction::Forward)
        ),
        (1, 1)
    );
    assert_eq!(
        (
            stage.matches(labels::Matcher::CatchAll, labels::RuleAction::Forward),
            stage.matches(labels::Matcher::Exact, labels::RuleAction::Waiting)
        ),
        (1, 1)
    );
}

/// RFC 5321 §4.5.1, RFC 2142 §4.
#[tokio::test]
async fn postmaster_and_abuse_always_have_somewhere_to_go() {
    let stage = Stage::new().await;
    for (to, expected) in [
        ("", "Role forward ops@relay.example"),
        ("postmaster@one.example", "Role forward ops@relay.example"),
        ("Abuse@empty.example", "Role forward ops@relay.example"),
        ("abuse@one.example", "Role forward real@dest.example"),
        ("postmaster@linda.mx.relay.example", "Role forward ops@relay.example"),
        ("postmaster@elsewhere.example", "UnknownDomain"),
        ("postmaster@off.example", "UnknownDomain"),
    ] {
        assert_eq!(stage.said(to, "sender@else.example").await, expected, "{to}");
    }
    let alias = stage.rcpt("", "sender@else.example").await.unwrap().alias;
    assert_eq!(alias.to_string(), "Postmaster@email.relay.example");
    assert_eq!(stage.matches(labels::Matcher::Role, labels::RuleAction::Forward), 5);
}

#[tokio::test]
async fn a_return_address_of_ours_is_read_before_any_rule_and_takes_bounces_only() {
    let stage = Stage::new().await;
    for forwarding in ["one.example", "off.example", "email.relay.example"] {
        let to = stage.srs("sender@else.example", forwarding);
        assert_eq!(stage.said(&to, "").await, "Bounce return sender@else.example", "{to}");
        assert_eq!(stage.said(&to.to_lowercase(), "").await, "Bounce return sender@else.example");
        assert_eq!(stage.said(&to, "sender@else.example").await, "SrsNotABounce");
    }
    let foreign = stage.srs("sender@else.example", "elsewhere.example");
    assert_eq!(stage.said(&foreign, "").await, "UnknownDomain");
    let forged = "SRS0=AAAA=BB=else.example=sender@one.example";
    assert_eq!(stage.said(forged, "").await, "SrsForged");
    assert_eq!(stage.said("SRS0=nonsense@one.example", "").await, "SrsInvalid");
    for no_bounce in [forged, "SRS0=nonsense@one.example", "SRSA=aaaa=2W=AAAAAAAAAAAAAAAA@one.example"] {
        assert_eq!(stage.said(no_bounce, "sender@else.example").await, "SrsNotABounce");
    }
    let old = clock::now() - Duration::from_hours(24 * 30);
    let old = stage.context.srs.encode(&address("sender@else.example"), &domain("one.example"), old).unwrap();
    assert_eq!(stage.said(&old.to_string(), "").await, "SrsInvalid");
    let decoded = |operation| stage.metrics.srs_operations_total.of(operation).get();
    assert_eq!(
        (decoded(SrsOperation::Decoded), decoded(SrsOperation::Invalid), decoded(SrsOperation::Expired)),
        (6, 2, 1)
    );
}

/// The secret of a running node was exchanged without the weeks that its addresses are good for.
#[tokio::test]
async fn what_a_secret_out_of_use_signed_is_refused_and_no_guess() {
    let mut stage = Stage::new().await;
    let to = stage.srs("sender@else.example", "one.example");
    let next = Srs::new(vec![Secret::new(b"n3w")], 21).after(&stage.context.srs, clock::now());
    stage.context.srs = Arc::new(next);
    assert_eq!(stage.said(&to, "").await, "SrsInvalid");
    assert_eq!(stage.metrics.srs_operations_total.of(SrsOperation::Expired).get(), 1);
}

#[tokio::test]
async fn a_bounce_to_a_sender_in_a_domain_of_ours_follows_its_rules() {
    let stage = Stage::new().await;
    let to = stage.srs("user@one.example", "empty.example");
    assert_eq!(stage.said(&to, "").await, "Bounce forward real@dest.example");
    let to = stage.srs("nobody@empty.example", "one.example");
    assert_eq!(stage.said(&to, "").await, "UnknownRecipient");
}

#[tokio::test]
async fn the_original_of_a_long_return_address_is_found_where_it_was_kept() {
    let stage = Stage::new().await;
    let original = address(&format!("{}@else.example", "x".repeat(60)));
    let alias = |at| stage.context.srs.alias(&original, &domain("one.example"), at).unwrap();
    let (to, token) = alias(clock::now());
    assert_eq!(stage.said(&to.to_string(), "").await, "SrsInvalid");
    stage.context.aliases.clone().keep(token.clone(), original.clone()).await.unwrap();
    assert_eq!(stage.said(&to.to_string(), "").await, format!("Bounce return {original}"));
}

fn recipient_of(alias: &str, action: Action) -> Recipient {
    Recipient {
        alias: address(alias),
        action,
        standing: Standing::Ordinary,
        on_tempfail: None,
        request: RecipientRequest::default(),
    }
}

#[tokio::test]
async fn a_destination_gets_one_copy_under_the_first_alias_and_a_drop_none() {
    let stage = Stage::new().await;
    let forward = |to: &[&str]| Action::Forward(to.iter().map(|to| address(to)).collect());
    let recipients = [
        recipient_of("drop@one.example", Action::Drop),
        recipient_of("a@one.example", forward(&["x@dest.example", "y@dest.example"])),
        recipient_of("b@one.example", forward(&["Y@dest.example", "z@dest.example"])),
        recipient_of("srs@one.example", Action::ReturnToSender(address("sender@else.example"))),
    ];
    let target = |alias: &str, to: &str, kind| Target {
        alias: address(alias),
        destination: address(to),
        kind,
        request: RecipientRequest::default(),
    };
    assert_eq!(
        copies::copies(&recipients, b"Subject: x\r\n\r\n", &stage.context).unwrap(),
        [
            target("a@one.example", "x@dest.example", TargetKind::Forward),
            target("a@one.example", "y@dest.example", TargetKind::Forward),
            target("b@one.example", "z@dest.example", TargetKind::Forward),
            target("srs@one.example", "sender@else.example", TargetKind::Return),
        ]
    );
    assert_eq!(copies::copies(&recipients[..1], b"\r\n", &stage.context).unwrap(), []);
}

/// RFC 5321 §6.3.
#[tokio::test]
async fn a_message_that_was_forwarded_for_the_recipient_before_is_a_loop() {
    let stage = Stage::new().await;
    let recipients =
        [recipient_of("user@one.example", Action::Drop), recipient_of("b@one.example", Action::Drop)];
    let head = |alias: &str| {
        let token = stage.context.loop_key.token(&address(alias));
        format!("{}Subject: x\r\n\r\n", loop_token::field(&[token]))
    };
    let judged = |head: String| copies::copies(&recipients, head.as_bytes(), &stage.context);
    assert_eq!(judged(head("B@one.example")), Err(Refusal::Loop));
    assert_eq!(judged(head("c@one.example")), Ok(Vec::new()));
    assert_eq!(judged(format!("{}\r\n", "Received: x\r\n".repeat(3))), Ok(Vec::new()));
    assert_eq!(judged(format!("{}\r\n", "received : x\r\n".repeat(4))), Err(Refusal::Loop));
}

#[tokio::test]
async fn rules_that_have_come_to_lead_in_a_circle_refuse_the_mail_as_a_loop() {
    let stage = Stage::new().await;
    let routing = &stage.context.routing;
    let turn = |on| Change::UpdateDomain {
        name: domain("one.example"),
        patch: DomainPatch { subaddressing: Some(on), ..DomainPatch::default() },
        etag: None,
    };
    let rule = |name: &str, local: &str, to: &str| {
        let action = RuleAction::Forward(vec![address(to)]);
        [
            Change::CreateDestination { address: address(to), verified: true },
            Change::CreateRule(NewRule::new(domain(name), Matcher::Local(local.to_owned()), action)),
        ]
    };
    let there = rule("one.example", "turn", "back@empty.example");
    let back = rule("empty.example", "back", "turn+x@one.example");
    let changes = [vec![turn(false)], there.to_vec(), back.to_vec()].concat();
    routing.change(Change::Batch(changes)).await.unwrap();
    assert_eq!(stage.said("turn@one.example", "").await, "Ordinary forward real@dest.example");
    routing.change(turn(true)).await.unwrap();
    assert_eq!(stage.said("turn@one.example", "").await, "Loop");
}

#[tokio::test]
async fn a_recipient_is_answered() {
    let stage = Stage::new().await;
    let take = Take(Arc::new(ArcSwap::from_pointee(stage.context)));
    let (answer, answered) = tokio::sync::oneshot::channel();
    let recipient = Some(address("drop@one.example"));
    take.run(Addressed { recipient, reverse_path: ReversePath::Null, answer }).await;
    assert_eq!(answered.await.unwrap().unwrap().action, Action::Drop);
}
