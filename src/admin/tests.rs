//! The admin API over loopback: most of it through the client's own code, so that both ends are proven.

use std::collections::BTreeSet;
use std::path::Path;
use std::str::FromStr;

use prost::Message;
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_types::StatusExt;

use super::*;
use crate::cluster::alone;
use crate::cluster::operate::Office;
use crate::config::test_files::Files;
use crate::ctl::{self, Terminal};
use crate::dns::Dns;
use crate::journal::{Delivery, DeliveryResult, Entry, Limits, Outcome};
use crate::mail::{Domain, TraceId};
use crate::pipeline::testing::nowhere;
use crate::proto::admin::v1::domain_service_client::DomainServiceClient;
use crate::proto::admin::v1::rule_service_client::RuleServiceClient;
use crate::proto::admin::v1::{
    self as wire, CreateDomainRequest, ListDomainsRequest, ListRulesRequest, UpdateDomainRequest,
};
use crate::routing::test_table::in_memory;
use crate::routing::{Change, NewDomain, RoutingOptions};
use crate::spool::{self, Spool};
use crate::store::Store;

#[path = "audit_tests.rs"]
mod audit_log;
#[path = "dnsbl_tests.rs"]
mod dnsbl_service;
#[path = "history_tests.rs"]
mod history_service;
#[path = "passing_tests.rs"]
mod passed_calls;
#[path = "queue_tests.rs"]
mod queue_service;
#[path = "strangers_tests.rs"]
mod strangers;
#[path = "write_tests.rs"]
mod writes;

/// A node's admin side on a free port.
struct World {
    dir: TempDir,
    services: Services,
    spool: Spool,
    address: SocketAddr,
    terms: LiveTerms,
    shutdown: CancellationToken,
    server: tokio::task::JoinHandle<Result<(), AdminError>>,
}

fn config() -> config::Admin {
    config::Admin {
        listen: "127.0.0.1:0".parse().unwrap(),
        token_file: None,
        tls: None,
        client_ca_file: None,
    }
}

/// Blocklists that are asked for at this server, each a zone under its name.
fn blocklist(server: SocketAddr, zones: &[&str], metrics: &Arc<Metrics>) -> Arc<Blocklist> {
    let config = config::Dns { servers: vec![server], ..config::Dns::default() };
    let dns = Dns::new(&config, metrics.clone()).unwrap();
    let zone = |name: &&str| config::Dnsbl {
        name: (*name).to_owned(),
        zone: Domain::parse(&format!("{name}.example")).unwrap(),
        key_file: None,
        listed: vec!["127.0.0.0/8".parse().unwrap()],
    };
    Blocklist::new(&zones.iter().map(zone).collect::<Vec<_>>(), dns, metrics.clone()).unwrap()
}

/// A queue that nobody runs: what is put in its spool stays.
fn queue(dir: &TempDir, services: &Services) -> (Spool, Queue) {
    let files = Files::new();
    let config = config::Config::parse(&files.minimal(), &[]).unwrap();
    let options = spool::Options { min_free_octets: 0, ..spool::Options::default() };
    let (spool, _) = Spool::open(&dir.path().join("spool"), options, services.metrics.clone()).unwrap();
    let around = crate::pipeline::queue::Surroundings {
        spool: spool.clone(),
        routing: services.routing.clone(),
        journal: services.journal.clone(),
        metrics: services.metrics.clone(),
        deliver: nowhere(),
        rewrite: nowhere(),
        suspended: crate::pipeline::deferred::Suspended::default(),
    };
    (spool, Queue::new(around, (&config).into()))
}

impl World {
    async fn start() -> Self {
        Self::with(tempfile::tempdir().unwrap(), config()).await
    }

    async fn with(dir: TempDir, config: config::Admin) -> Self {
        let store = Store::open(dir.path()).unwrap();
        let options = RoutingOptions {
            service_domain: Domain::parse("email.relay.example").unwrap(),
            mx_hosts: vec![],
            postmaster: crate::mail::Address::parse("ops@relay.example").unwrap(),
        };
        let metrics = Arc::new(Metrics::new().unwrap());
        let services = Services {
            office: Office::Alone(alone::Handle::of_nobody(options.clone(), metrics.clone())),
            routing: in_memory(options),
            blocklist: Arc::new(ArcSwap::from(blocklist("127.0.0.1:9".parse().unwrap(), &[], &metrics))),
            journal: Journal::open(&store, Limits::default()).unwrap(),
            metrics,
        };
        let server = AdminServer::bind(&config, services.clone()).await.unwrap();
        let (address, shutdown) = (server.address(), CancellationToken::new());
        let (spool, queue) = queue(&dir, &services);
        let terms = server.terms();
        let server = tokio::spawn(server.serve(queue, shutdown.clone()));
        Self { dir, services, spool, address, terms, shutdown, server }
    }

    async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    /// Runs the client; its status, standard output and standard error.
    async fn ctl(&self, arguments: &str) -> (u8, String, String) {
        self.ctl_at(&format!("http://{}", self.address), arguments.split(' ')).await
    }

    async fn ctl_at<'a>(
        &self,
        server: &'a str,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> (u8, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let arguments = ["postroadctl", "--server", server].into_iter().chain(arguments).map(Into::into);
        let status = ctl::run(arguments, Terminal { out: &mut out, err: &mut err }).await;
        (status, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    /// Runs the client with JSON output, which must succeed.
    async fn json(&self, arguments: &str) -> Value {
        let (status, out, err) = self.ctl(&format!("--output json {arguments}")).await;
        assert_eq!((status, err.as_str()), (0, ""), "{arguments}: {out}");
        assert_eq!(out.lines().count(), 1, "{out}");
        serde_json::from_str(&out).unwrap()
    }
}

/// Puts words in the place of what differs from run to run.
fn stable(mut value: Value) -> Value {
    let id = value["id"].as_str().unwrap_or("?").to_owned();
    for key in ["id", "createTime", "updateTime", "verifyTime", "etag"] {
        if let Some(text) = value.get_mut(key).filter(|value| value.is_string()) {
            *text = json!(key.to_uppercase());
        }
    }
    let text = value.to_string().replace(&id, "ID");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn json_has_every_field_in_lower_camel_case() {
    let world = World::start().await;
    let domain = json!({
        "name": "domains/example.com", "id": "ID", "enabled": true, "onTempfail": "ON_TEMPFAIL_UNSPECIFIED",
        "subaddressing": true, "createTime": "CREATETIME", "updateTime": "UPDATETIME", "etag": "ETAG",
    });
    assert_eq!(stable(world.json("domain add Example.COM").await), domain);
    assert_eq!(stable(world.json("domain show example.com").await), domain);
    let set = stable(world.json("domain set example.com --on-tempfail queue --subaddressing off").await);
    assert_eq!((&set["onTempfail"], &set["subaddressing"]), (&json!("QUEUE"), &json!(false)));
    assert_eq!(world.json("domain disable example.com").await["enabled"], json!(false));
    assert_eq!(world.json("domain enable example.com").await["enabled"], json!(true));

    let rule = json!({
        "name": "domains/example.com/rules/ID", "id": "ID", "displayName": "the desk", "enabled": true,
        "priority": -3, "matcher": {"to": "info"},
        "action": {"forward": {"addresses": ["ana@dest.example", "bob@dest.example"]}},
        "state": "WAITING", "createTime": "CREATETIME", "updateTime": "UPDATETIME", "etag": "ETAG",
    });
    let add =
        ["--output", "json", "rule", "add", "example.com", "--to", "info", "--forward", "ana@dest.example"];
    let more = ["--forward", "bob@dest.example", "--priority", "-3", "--name", "the desk"];
    let server = format!("http://{}", world.address);
    let (status, out, _) = world.ctl_at(&server, add.into_iter().chain(more)).await;
    assert_eq!((status, stable(serde_json::from_str(&out).unwrap())), (0, rule));
    let drop = world.json("rule add example.com --catch-all --drop").await;
    assert_eq!((&drop["matcher"], &drop["action"]), (&json!({"all": {}}), &json!({"drop": {}})));
    assert_eq!(drop["state"], "ACTIVE");

    let destination = json!({
        "name": "destinations/ana@dest.example", "id": "ID", "address": "ana@dest.example",
        "verifyTime": "VERIFYTIME", "createTime": "CREATETIME", "etag": "ETAG",
    });
    assert_eq!(stable(world.json("destination add ana@dest.example --verified").await), destination);
    let listed = world.json("destination list").await;
    assert_eq!(listed["destinations"][1]["verifyTime"], Value::Null);
    assert_eq!(listed["destinations"].as_array().unwrap().len(), 2);
    assert_eq!(world.json("domain remove example.com").await, json!({}));
    assert_eq!(world.json("domain list").await, json!({"domains": []}));
    assert_eq!(world.json("destination remove ana@dest.example").await, json!({}));
}

#[tokio::test]
async fn a_rule_is_named_by_its_id_or_its_name_and_goes_through_its_states() {
    let world = World::start().await;
    world.json("domain add example.com").await;
    let rule = world.json("rule add example.com --to Info --forward ana@dest.example").await;
    let (id, name) = (rule["id"].as_str().unwrap(), rule["name"].as_str().unwrap());
    assert_eq!(rule["matcher"]["to"], "info");
    assert_eq!(world.json(&format!("rule show {id}")).await, rule);
    assert_eq!(world.json(&format!("rule show {name}")).await, rule);
    assert_eq!(rule["state"], "WAITING");
    world.json("destination add ana@dest.example --verified").await;
    assert_eq!(world.json(&format!("rule show {id}")).await["state"], "ACTIVE");
    assert_eq!(world.json(&format!("rule disable {id}")).await["state"], "DISABLED");
    let set = world.json(&format!("rule set {id} --reject Gone --priority 7")).await;
    assert_eq!((&set["action"], &set["priority"]), (&json!({"reject": {"text": "Gone"}}), &json!(7)));
    assert_eq!(set["matcher"]["to"], "info");
    assert_eq!(world.json(&format!("rule set {id} --catch-all")).await["matcher"], json!({"all": {}}));
    assert_eq!(world.json(&format!("rule enable {name}")).await["state"], "ACTIVE");
    let domain = world.json("domain show example.com").await;
    let by_id = format!("domain show {}", domain["id"].as_str().unwrap());
    assert_eq!(world.json(&by_id).await, domain);
    assert_eq!(world.json(&format!("rule remove {id}")).await, json!({}));
    assert_eq!(world.ctl(&format!("rule remove {id}")).await.0, 1);
}

#[tokio::test]
async fn lists_follow_the_pages_in_the_order_of_matching() {
    let world = World::start().await;
    world.json("domain add example.com").await;
    let names: Vec<Change> = (0..1205)
        .map(|number| Domain::parse(&format!("d{number:04}.example")).unwrap())
        .map(|name| Change::CreateDomain(NewDomain::new(name)))
        .collect();
    world.services.routing.change(Change::Batch(names)).await.unwrap();
    let list = world.json("domain list").await;
    let listed: Vec<&str> =
        list["domains"].as_array().unwrap().iter().map(|domain| domain["name"].as_str().unwrap()).collect();
    assert_eq!(listed.len(), 1206);
    assert!(listed.is_sorted());

    world.json("rule add example.com --catch-all --drop --priority -9").await;
    for (local, priority) in [("b", 5), ("c", 1), ("a", 5), ("d", -1)] {
        world.json(&format!("rule add example.com --to {local} --drop --priority {priority}")).await;
    }
    let mut client = RuleServiceClient::new(world.channel().await);
    let (mut order, mut page_token) = (Vec::new(), String::new());
    loop {
        let parent = "domains/example.com".to_owned();
        let page = client.list_rules(ListRulesRequest { parent, page_size: 2, page_token }).await.unwrap();
        let page = page.into_inner();
        order.extend(page.rules.iter().map(|rule| match &rule.matcher.as_ref().unwrap().kind {
            Some(wire::matcher::Kind::To(to)) => to.clone(),
            _ => "*".to_owned(),
        }));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(order, ["d", "c", "b", "a", "*"]);
}

#[tokio::test]
async fn page_tokens_and_sizes_that_cannot_be_are_invalid_arguments() {
    let world = World::start().await;
    for domain in ["a.example", "b.example"] {
        world.json(&format!("domain add {domain}")).await;
        world.json(&format!("rule add {domain} --to x --drop")).await;
        world.json(&format!("rule add {domain} --to y --drop")).await;
    }
    let mut domains = DomainServiceClient::new(world.channel().await);
    let negative = ListDomainsRequest { page_size: -1, page_token: String::new() };
    let status = domains.list_domains(negative).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "page_size");
    let mut rules = RuleServiceClient::new(world.channel().await);
    let request = |parent: &str, page_token: &str| ListRulesRequest {
        parent: parent.to_owned(),
        page_size: 1,
        page_token: page_token.to_owned(),
    };
    let page = rules.list_rules(request("domains/a.example", "")).await.unwrap().into_inner();
    assert!(rules.list_rules(request("domains/a.example", &page.next_page_token)).await.is_ok());
    let status = rules.list_rules(request("domains/b.example", &page.next_page_token)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn errors_carry_reason_domain_metadata_and_what_they_are_about() {
    let world = World::start().await;
    world.json("domain add example.com").await;
    let mut client = DomainServiceClient::new(world.channel().await);
    let named = |name: &str| wire::Domain { name: name.to_owned(), ..wire::Domain::default() };
    let create =
        |name: &str| CreateDomainRequest { domain: Some(named(name)), ..CreateDomainRequest::default() };

    let status = client.create_domain(create("domains/example.com")).await.unwrap_err();
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!(
        (status.code(), info.reason.as_str(), info.domain.as_str()),
        (Code::AlreadyExists, "DOMAIN_EXISTS", "postroad")
    );
    assert_eq!(info.metadata["name"], "domains/example.com");
    assert_eq!(details.resource_info().unwrap().resource_type, "domain");

    let update = |etag: &str, path: &str| UpdateDomainRequest {
        domain: Some(wire::Domain { etag: etag.to_owned(), ..named("domains/example.com") }),
        update_mask: Some(pbjson_types::FieldMask { paths: vec![path.to_owned()] }),
        ..UpdateDomainRequest::default()
    };
    let status = client.update_domain(update("", "enabled.x")).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "update_mask");
    let status = client.update_domain(update("987654", "enabled")).await.unwrap_err();
    assert_eq!(status.code(), Code::Aborted);
    assert_eq!(status.get_details_error_info().unwrap().reason, "ETAG_MISMATCH");
    let status = client.create_domain(create("example.org")).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn failures_are_one_clear_line_and_status_one() {
    let world = World::start().await;
    world.json("domain add example.com").await;
    for (arguments, line) in [
        ("domain add example.com", "domain example.com exists already (DOMAIN_EXISTS)"),
        ("domain show other.example", "domain domains/other.example does not exist (DOMAIN_NOT_FOUND)"),
        (
            "rule add other.example --to a --drop",
            "domain domains/other.example does not exist (DOMAIN_NOT_FOUND)",
        ),
        (
            "rule show 01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "rule domains/-/rules/01ARZ3NDEKTSV4RRFFQ69G5FAV does not exist (RULE_NOT_FOUND)",
        ),
        (
            "rule show nonsense",
            "name: \"domains/-/rules/nonsense\" is not of the form domains/DOMAIN/rules/ID (INVALID_FIELD)",
        ),
        (
            "destination add nobody",
            "destination.address: address \"nobody\" is not of the form local@domain (INVALID_FIELD)",
        ),
        (
            "trace 01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "trace traces/01ARZ3NDEKTSV4RRFFQ69G5FAV does not exist (TRACE_NOT_FOUND)",
        ),
        ("trace <none@x>", "no transaction with Message-ID <none@x> is kept"),
    ] {
        let (status, out, err) = world.ctl(arguments).await;
        assert_eq!((status, out.as_str(), err.as_str()), (1, "", format!("postroadctl: {line}\n").as_str()));
    }
    let (status, _, err) = world.ctl_at("http://127.0.0.1:1", ["domain", "list"]).await;
    assert_eq!(status, 1);
    assert!(err.starts_with("postroadctl: http://127.0.0.1:1 cannot be reached: "), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}

#[tokio::test]
async fn wrong_usage_is_status_two() {
    let world = World::start().await;
    for arguments in [
        "domain set example.com",
        "domain frobnicate",
        "rule add example.com --to a",
        "rule add example.com --drop",
        "rule add example.com --to a --catch-all --drop",
        "rule add example.com --to a --drop --reject No",
        "rule set 01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "trace",
        "events --outcome lost",
        "--output xml domain list",
    ] {
        let (status, out, err) = world.ctl(arguments).await;
        assert_eq!((status, out.as_str()), (2, ""), "{arguments}: {err}");
        assert!(!err.is_empty());
    }
    let (status, _, err) = world.ctl_at("ftp://host", ["domain", "list"]).await;
    assert_eq!(
        (status, err.as_str()),
        (2, "postroadctl: --server ftp://host: must begin with http:// or https://\n")
    );
    let (status, out, _) = world.ctl("--help").await;
    assert_eq!(status, 0);
    assert!(out.contains("destination"));
    let (status, out, _) = world.ctl("completions bash").await;
    assert_eq!(status, 0);
    assert!(out.contains("postroadctl"));
}

#[tokio::test]
async fn the_next_step_is_a_command_that_works() {
    let world = World::start().await;
    let here = format!("next: postroadctl --server http://{} ", world.address);
    let (_, _, err) = world.ctl("domain add example.com").await;
    let next = err.strip_prefix(&here).unwrap().trim_end();
    let (status, _, err) = world.ctl(next).await;
    assert_eq!(status, 0, "{err}");
    let next = err.strip_prefix(&here).unwrap().trim_end();
    assert_eq!(world.ctl(next).await.0, 0);
    let (_, out, _) = world.ctl("rule list example.com").await;
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["PRIORITY", "TO", "ACTION", "STATE", "NAME", "CHANGED", "ID"]);
    assert_eq!(lines[1][..5], ["0", "info", "forward", "ana@example.net", "active"]);
}

#[tokio::test]
async fn resolve_says_what_would_happen_and_why() {
    let world = World::start().await;
    world.json("domain add example.com").await;
    let rule = world.json("rule add example.com --to info --forward ana@dest.example").await;
    let answer = world.json("resolve info+tag@example.com").await;
    assert_eq!((&answer["outcome"], &answer["match"]), (&json!("WAITING"), &json!("SUBADDRESS")));
    assert_eq!(answer["rule"], rule["name"]);
    assert!(answer["reply"].as_str().unwrap().starts_with("450 4.2.1 "));
    world.json("destination add ana@dest.example --verified").await;
    let answer = world.json("resolve INFO@example.com").await;
    assert_eq!((&answer["outcome"], &answer["match"]), (&json!("FORWARD"), &json!("EXACT")));
    assert_eq!(answer["destinations"], json!(["ana@dest.example"]));
    for (address, outcome, reply) in [
        ("x@example.com", "UNKNOWN_RECIPIENT", "550 5.1.1 "),
        ("x@example.org", "UNKNOWN_DOMAIN", "550 5.7.1 "),
        ("abuse@example.com", "FORWARD", "250 2.1.5 "),
    ] {
        let answer = world.json(&format!("resolve {address}")).await;
        assert_eq!(answer["outcome"], outcome);
        assert!(answer["reply"].as_str().unwrap().starts_with(reply), "{answer}");
    }
    let (_, out, _) = world.ctl("resolve info@example.com").await;
    assert!(out.starts_with("info@example.com: forward\n") && out.contains("-> ana@dest.example"), "{out}");
}

fn entry(number: u8, outcome: Outcome) -> Entry {
    let now = crate::clock::now();
    Entry {
        id: TraceId::new(now, number.into()),
        at: now,
        client_ip: "192.0.2.1".parse().unwrap(),
        helo: "evil\u{1b}[2Jname".to_owned(),
        reverse_path: "bob@sender.example".to_owned(),
        recipients: vec![format!("info{number}@hosted.example")],
        message_id: Some(format!("<{number}@sender.example>")),
        octets: 4096,
        verdict: "spf=pass smtp.mailfrom=sender.example".to_owned(),
        outcome,
        code: 250,
        reply: "250 2.0.0 OK".to_owned(),
        steps: vec!["rule domains/hosted.example/rules/01J".to_owned()],
        duration_ms: 321,
    }
}

#[tokio::test]
async fn a_trace_is_found_by_its_id_by_message_id_and_by_addresses() {
    let world = World::start().await;
    let entries: Vec<Entry> = (0..5).map(|number| entry(number, Outcome::Forwarded)).collect();
    entries.iter().for_each(|entry| world.services.journal.record(entry.clone()));
    world.services.journal.settled().await;
    let trace = world.json(&format!("trace {}", entries[2].id)).await;
    assert_eq!(trace["name"], format!("traces/{}", entries[2].id));
    assert_eq!((&trace["outcome"], &trace["octets"]), (&json!("FORWARDED"), &json!("4096")));
    assert_eq!((&trace["duration"], &trace["clientIp"]), (&json!("0.321s"), &json!("192.0.2.1")));
    for id in ["<2@sender.example>", "2@sender.example"] {
        assert_eq!(world.json(&format!("trace {id}")).await, json!({"traces": [trace]}));
    }
    let found = world.json("trace --to INFO2@hosted.example --since 1h").await;
    assert_eq!(found, json!({"traces": [trace]}));
    let all = world.json("trace --from bob@sender.example --limit 4").await;
    assert_eq!(all["traces"].as_array().unwrap().len(), 4);
    assert_eq!(world.json("trace --from <>").await, json!({"traces": []}));
    let (_, out, _) = world.ctl(&format!("trace {}", entries[2].id)).await;
    assert!(out.contains("client     evil [2Jname [192.0.2.1]\n"), "{out:?}");
}

#[tokio::test]
async fn events_are_those_kept_or_those_to_come_one_object_a_line() {
    let world = World::start().await;
    for number in 0..3 {
        world.services.journal.record(entry(number, Outcome::Forwarded));
    }
    world.services.journal.record(entry(3, Outcome::Rejected));
    world.services.journal.settled().await;
    let (status, out, _) = world.ctl("--output json events --outcome forwarded").await;
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((status, lines.len()), (0, 3));
    assert_eq!(lines[0]["trace"]["messageId"], "<0@sender.example>");
    let (_, out, _) = world.ctl("--output json events --domain other.example").await;
    assert_eq!(out, "");

    let mut client = wire::event_service_client::EventServiceClient::new(world.channel().await);
    let resume_token = lines[1]["resumeToken"].as_str().unwrap().to_owned();
    let request = wire::TailEventsRequest { follow: true, resume_token, ..Default::default() };
    let mut stream = client.tail_events(request).await.unwrap().into_inner();
    world.services.journal.record(entry(4, Outcome::Dropped));
    for wanted in ["<2@sender.example>", "<3@sender.example>", "<4@sender.example>"] {
        let event = stream.message().await.unwrap().unwrap();
        let Some(wire::event::Kind::Trace(trace)) = event.kind else { panic!("{event:?}") };
        assert_eq!(trace.message_id, wanted);
    }
    let id = TraceId::from_str(lines[0]["trace"]["id"].as_str().unwrap()).unwrap();
    let delivery = Delivery {
        at: std::time::UNIX_EPOCH,
        result: DeliveryResult::Cancelled,
        recipient: "info@example.com".into(),
        destination: "ana@dest.example".into(),
        attempts: 1,
        host: String::new(),
        code: 0,
        text: "no answer".into(),
    };
    world.services.journal.record_delivery(id, delivery);
    let event = stream.message().await.unwrap().unwrap();
    let Some(wire::event::Kind::Queue(later)) = event.kind else { panic!("{event:?}") };
    let told = later.delivery.unwrap();
    assert_eq!((later.id, told.result()), (id.to_string(), wire::trace::Result::Cancelled));
    let (_, out, _) = world.ctl(&format!("trace {id}")).await;
    let line = "later      1970-01-01T00:00:00Z  cancelled   <info@example.com>, attempt 1: no answer\n";
    assert!(out.ends_with(line), "{out}");
    // The listener stops though the stream is open, and the reader is told.
    world.shutdown.cancel();
    assert_eq!(stream.message().await.unwrap_err().code(), Code::Unavailable);
    drop((client, stream));
    world.server.await.unwrap().unwrap();
}

#[test]
fn every_method_that_is_served_has_its_role() {
    let sets = [
        DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let mut served = BTreeSet::new();
    for set in sets {
        let set = prost_types::FileDescriptorSet::decode(set).unwrap();
        for file in &set.file {
            for service in &file.service {
                let service_name = format!("{}.{}", file.package(), service.name());
                served.extend(
                    service.method.iter().map(|method| (service_name.clone(), method.name().to_owned())),
                );
            }
        }
    }
    let listed: Vec<(String, String)> =
        access::METHODS.iter().map(|method| (method.service.to_owned(), method.name.to_owned())).collect();
    assert_eq!(listed.len(), listed.iter().collect::<BTreeSet<_>>().len());
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), served);
}

#[tokio::test]
async fn a_token_reaches_as_far_as_its_role() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let tokens =
        file("tokens", "v-token-0123456789 viewer\no-token-0123456789 operator\na-token-0123456789 admin\n");
    let (viewer, operator, admin) =
        (file("v", "v-token-0123456789\n"), file("o", "o-token-0123456789"), file("a", "a-token-0123456789"));
    let nobody = file("n", "unknown");
    let world =
        World::with(tempfile::tempdir().unwrap(), config::Admin { token_file: Some(tokens), ..config() })
            .await;
    let run = async |token: &Path, arguments: &str| {
        world.ctl(&format!("--token-file {} {arguments}", token.display())).await
    };
    let denied = |needs: &str, has: &str, method: &str| {
        format!("postroadctl: {method} needs the role {needs}, the token has {has} (PERMISSION_DENIED)\n")
    };
    assert_eq!(run(&admin, "domain add example.com").await.0, 0);
    assert_eq!(run(&viewer, "domain list").await.0, 0);
    assert_eq!(run(&operator, "rule add example.com --to a --forward a@dest.example").await.0, 0);
    assert_eq!(
        run(&viewer, "rule add example.com --to b --drop").await.2,
        denied("operator", "viewer", "CreateRule")
    );
    assert_eq!(run(&operator, "domain add b.example").await.2, denied("admin", "operator", "CreateDomain"));
    let (status, _, err) = run(&operator, "destination add b@dest.example --verified").await;
    assert_eq!(status, 1);
    assert_eq!(
        err,
        "postroadctl: taking a destination as verified needs the role admin (PERMISSION_DENIED)\n"
    );
    assert_eq!(run(&operator, "destination add b@dest.example").await.0, 0);
    assert_eq!(
        run(&nobody, "domain list").await.2,
        "postroadctl: the token is not known (UNAUTHENTICATED)\n"
    );
    let (status, _, err) = world.ctl("domain list").await;
    assert_eq!((status, err.as_str()), (1, "postroadctl: a bearer token is required (UNAUTHENTICATED)\n"));
    let (status, _, err) = world
        .ctl_at("http://192.0.2.1:5", ["--token-file", viewer.to_str().unwrap(), "domain", "list"])
        .await;
    assert_eq!(status, 2, "{err}");
    // Probes carry no token; what there is to call is told to who is known.
    let mut health = tonic_health::pb::health_client::HealthClient::new(world.channel().await);
    let request = tonic_health::pb::HealthCheckRequest { service: String::new() };
    assert_eq!(health.check(request).await.unwrap().into_inner().status, 1);
    let mut reflection = reflection_client(&world).await;
    let refused = reflection.server_reflection_info(tokio_stream::empty()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    drop(world.dir);
}

type Reflection = tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient<Channel>;

async fn reflection_client(world: &World) -> Reflection {
    Reflection::new(world.channel().await)
}

#[tokio::test]
async fn reflection_lists_our_services_and_health() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let world = World::start().await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = reflection_client(&world).await;
    let answers = client.server_reflection_info(tokio_stream::iter([request])).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else { panic!() };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    for wanted in ["postroad.admin.v1.RuleService", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|name| name == wanted), "{names:?}");
    }
}

#[tokio::test]
async fn a_document_is_applied_exported_and_pruned() {
    let world = World::start().await;
    let file = world.dir.path().join("routing.yaml");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    let apply = format!("apply -f {}", file.display());
    let rules = "rules: [{to: info, forward: [ana@dest.example]}, {catchAll: true, reject: Moved}]";
    write(&format!(
        "domains: [{{name: example.com, {rules}}}]\ndestinations: [{{address: ana@dest.example, verified: true}}]\n"
    ));
    let dry = world.json(&format!("{apply} --dry-run")).await;
    assert_eq!((&dry["dryRun"], dry["changes"].as_array().unwrap().len()), (&json!(true), 4));
    assert_eq!(world.json("domain list").await, json!({"domains": []}));
    let (status, out, err) = world.ctl(&apply).await;
    assert_eq!(status, 0, "{err}");
    let wanted = "+ destinations/ana@dest.example\n+ domains/example.com\n\
                  + info@example.com: forward to ana@dest.example\n+ *@example.com: reject with \"Moved\"\n";
    assert_eq!((out.as_str(), err.as_str()), (wanted, "4 added, 0 changed, 0 removed\n"));
    assert_eq!(world.json(&apply).await["changes"], json!([]));

    let (_, yaml, _) = world.ctl("export").await;
    write(&yaml);
    assert_eq!(world.json(&format!("{apply} --prune")).await["changes"], json!([]));
    assert_eq!(world.json("export").await["yaml"], yaml);
    write("domains: [{name: example.com, rules: [{to: info, drop: true}]}]");
    let changes = world.json(&format!("{apply} --prune")).await["changes"].clone();
    let verbs: Vec<&str> = changes.as_array().unwrap().iter().map(|c| c["verb"].as_str().unwrap()).collect();
    assert_eq!(verbs.iter().filter(|verb| **verb == "DELETE").count(), 2, "{changes}");
    assert_eq!(world.json("rule list example.com").await["rules"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_document_with_mistakes_changes_nothing_and_each_is_named() {
    let world = World::start().await;
    let file = world.dir.path().join("routing.yaml");
    let apply = format!("apply -f {}", file.display());
    for (text, wanted) in [
        ("domains: [{name: example.com, colour: red}]", "colour"),
        ("domains: [{name: a.example, rules: [{to: x}]}, {name: a.example}]", "domains[0].rules[0]"),
        ("domains: [{name: a.example, rules: [{to: x}]}, {name: a.example}]", "domains[1]"),
        ("domains: [", "line 2"),
        (
            "domains: [{name: a.example, rules: [{to: x, forward: [x@a.example]}]}]\n\
             destinations: [{address: x@a.example, verified: true}]",
            "RULE_CYCLE",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        for arguments in [apply.clone(), format!("{apply} --dry-run")] {
            let (status, out, err) = world.ctl(&arguments).await;
            assert_eq!((status, out.as_str(), err.lines().count()), (1, "", 1), "{err}");
            assert!(err.contains(wanted), "{err}");
        }
    }
    assert_eq!(world.json("domain list").await, json!({"domains": []}));
    assert_eq!(world.ctl("apply -f /nowhere/routing.yaml").await.0, 1);
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    let world = World::start().await;
    let mut grpc = tonic::client::Grpc::new(world.channel().await);
    grpc.ready().await.unwrap();
    let path = "/postroad.admin.v1.DomainService/Frobnicate".parse().unwrap();
    let codec: tonic_prost::ProstCodec<(), ()> = tonic_prost::ProstCodec::default();
    let status = grpc.unary(Request::new(()), path, codec).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(status.get_details_error_info().unwrap().reason, "UNKNOWN_METHOD");
}

#[tokio::test]
async fn with_tls_a_client_certificate_of_the_ca_is_admin_and_none_is_nobody() {
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let mut ca_params = rcgen::CertificateParams::new(vec![]).unwrap();
    ca_params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca_file = write("ca.pem", ca_params.self_signed(&ca_key).unwrap().pem());
    let issuer = rcgen::Issuer::new(ca_params, ca_key);
    let issue = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        config::KeyPairFiles {
            certificate_file: write(&format!("{name}.pem"), certificate.pem()),
            private_key_file: write(&format!("{name}.key"), key.serialize_pem()),
        }
    };
    let client = issue("operator.example");
    let admin =
        config::Admin { tls: Some(issue("localhost")), client_ca_file: Some(ca_file.clone()), ..config() };
    let world = World::with(tempfile::tempdir().unwrap(), admin).await;
    let server = format!("https://localhost:{}", world.address.port());
    let ca = ["--ca-file", ca_file.to_str().unwrap()];
    let identity = [
        "--certificate-file",
        client.certificate_file.to_str().unwrap(),
        "--private-key-file",
        client.private_key_file.to_str().unwrap(),
    ];
    let with = ca.into_iter().chain(identity).chain(["domain", "add", "example.com"]);
    let (status, _, err) = world.ctl_at(&server, with).await;
    assert_eq!(status, 0, "{err}");
    let table = world.services.routing.snapshot();
    let author = table.history().next().unwrap().author.clone().unwrap();
    assert_eq!(author.name(), "CN=rcgen self signed cert");
    let without = ca.into_iter().chain(["domain", "list"]);
    let (status, _, err) = world.ctl_at(&server, without).await;
    assert_eq!(status, 1);
    assert_eq!(err.lines().count(), 1, "{err}");
    let plain = format!("http://localhost:{}", world.address.port());
    assert_eq!(world.ctl_at(&plain, ["domain", "list"]).await.0, 1);
}
