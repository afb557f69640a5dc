use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::smtp::reply;

fn rendered() -> String {
    Metrics::new().unwrap().render()
}

/// The families of a rendering: name to (type, help).
fn families(text: &str) -> BTreeMap<String, (String, String)> {
    let mut families: BTreeMap<String, (String, String)> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        let (hash, kind, name) = (words.next(), words.next(), words.next().unwrap_or_default());
        let rest = words.next().unwrap_or_default().to_owned();
        match (hash, kind) {
            (Some("#"), Some("HELP")) => families.entry(name.to_owned()).or_default().1 = rest,
            (Some("#"), Some("TYPE")) => families.entry(name.to_owned()).or_default().0 = rest,
            _ => {}
        }
    }
    families
}

fn series(text: &str) -> BTreeSet<&str> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.rsplit_once(' ')?.0))
        .collect()
}

/// What `promtool check metrics` and prometheus.io/docs/practices/naming ask for.
#[test]
fn names_and_help_follow_the_naming_rules() {
    for (name, (kind, help)) in families(&rendered()) {
        assert!(!help.trim().is_empty(), "{name} has no HELP");
        let common = name.starts_with("process_") || name == "grpc_server_handled_total";
        assert!(name.starts_with("postroad_") || common, "{name} has no prefix");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
        for word in name.split('_') {
            let not_base = ["ms", "milliseconds", "minutes", "kb", "kilobytes", "octets", "percent"];
            let types = ["counter", "gauge", "histogram", "summary"];
            assert!(!not_base.contains(&word) && !types.contains(&word), "{name}: {word}");
        }
        for suffix in ["_count", "_sum", "_bucket"] {
            assert!(!name.ends_with(suffix), "{name}");
        }
    }
}

#[test]
fn the_contracts_metrics_are_there_from_the_start() {
    let text = rendered();
    let families = families(&text);
    for name in [
        "build_info",
        "config_last_reload_successful",
        "config_restart_required",
        "smtp_connections",
        "smtp_connections_total",
        "smtp_responses_total",
        "smtp_tls_connections_total",
        "messages_received_total",
        "message_size_bytes",
        "auth_results_total",
        "rule_matches_total",
        "srs_operations_total",
        "dkim_signatures_total",
        "pipeline_stage_duration_seconds",
        "delivery_attempts_total",
        "delivery_latency_seconds",
        "queue_messages",
        "queue_oldest_message_timestamp_seconds",
        "dsn_sent_total",
        "storage_flush_duration_seconds",
        "storage_free_bytes",
        "cluster_members",
        "cluster_configured_members",
        "cluster_facts_total",
        "cluster_state_revision",
        "cluster_stopped",
        "log_events_total",
    ] {
        assert!(families.contains_key(&format!("postroad_{name}")), "{name}");
    }
    assert!(
        families.contains_key("process_resident_memory_bytes") && families.contains_key("process_open_fds")
    );
    for line in [
        "postroad_messages_received_total{verdict=\"queued\"} 0",
        "postroad_smtp_responses_total{code=\"550\",command=\"data\",reason=\"dmarc\"} 0",
        "postroad_smtp_responses_total{code=\"554\",command=\"rcpt\",reason=\"dnsbl\"} 0",
        "postroad_smtp_responses_total{code=\"5xx\",command=\"rcpt\",reason=\"upstream\"} 0",
        "postroad_delivery_latency_seconds_count{mode=\"queued\"} 0",
        "postroad_delivery_attempts_total{ip_family=\"ipv6\",provider=\"other\",result=\"timed_out\"} 0",
        "postroad_cluster_configured_members 1",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}");
    }
}

#[test]
fn there_is_room_under_1500_series() {
    let count = series(&rendered()).len();
    // 20 DNSBL zones with 8 series each, 40 gRPC methods with 4 codes each, 30 of DNS look-ups come on top.
    assert!(count + 20 * 8 + 40 * 4 + 30 < 1500, "{count}");
}

#[test]
fn a_reply_that_is_counted_makes_no_new_series() {
    let metrics = Metrics::new().unwrap();
    let before = series(&metrics.render()).len();
    let mut upstream = reply::INTERNAL.reply();
    (upstream.code, upstream.reason) = (571, reply::UPSTREAM_REASON);
    metrics.smtp_reply(SmtpCommand::Data, &upstream);
    metrics.smtp_reply(SmtpCommand::Connect, &reply::GREETING.with(&["linda.example"]));
    metrics.smtp_reply(SmtpCommand::Rcpt, &reply::DNSBL_LISTED.with(&["192.0.2.1", "zone"]));
    let after = metrics.render();
    assert_eq!(series(&after).len(), before);
    assert!(
        after.contains("postroad_smtp_responses_total{code=\"5xx\",command=\"data\",reason=\"upstream\"} 1")
    );
}

#[test]
fn grpc_calls_are_counted_without_the_prefix() {
    let metrics = Metrics::new().unwrap();
    metrics.grpc_handled("postroad.admin.v1.DomainService", "GetDomain", "NotFound");
    let line = "grpc_server_handled_total{grpc_code=\"NotFound\",grpc_method=\"GetDomain\",\
                grpc_service=\"postroad.admin.v1.DomainService\"} 1";
    assert!(metrics.render().lines().any(|other| other == line));
}

#[test]
fn a_disk_says_how_much_is_free() {
    let directory = tempfile::tempdir().unwrap();
    assert!(free_octets(directory.path()).unwrap() > 0);
    assert!(free_octets(&directory.path().join("none")).is_err());
}
