//! The closed sets that stand in labels. Their series exist from the start, at 0, so that rates are right
//! from the first event on.
//!
//! Not here, because they are known later: the zones of `dnsbl_*` (blocklist starts them), the record types
//! of `dns_lookups_total` (dns does), the uses of certificates (their end would be in 1970), gRPC methods.

use prometheus::IntCounterVec;

use crate::telemetry::labels::PipelineStage;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::responses;

/// Where the processing of a message broke down.
const CONTAINED: &[&str] = &["pipeline", "deliver", "spool", "queue"];

const IP_FAMILIES: &[&str] = &["ipv4", "ipv6"];
/// What became of a connection at the door, in the words of the reply catalogue.
const DOOR: &[&str] =
    &["accepted", "sessions", "network_sessions", "early_talker", "proxy_header", "srs_guesses", "shutdown"];
const DIRECTIONS: &[&str] = &["inbound", "outbound"];
const TLS_VERSIONS: &[&str] = &["TLSv1_2", "TLSv1_3"];
/// What a destination was held to, in a handshake that succeeded.
const TLS_DEMANDS: &[&str] = &["opportunistic", "mta_sts", "dane"];
const VERDICTS: &[&str] = &["forwarded", "queued", "rejected", "dropped", "tempfailed"];
/// Authentication methods with their results (RFC 8601 §2.7, RFC 8617 §4.4).
const AUTH_RESULTS: &[(&str, &[&str])] = &[
    ("iprev", &["pass", "fail", "temperror", "permerror"]),
    ("spf", &["none", "pass", "fail", "softfail", "neutral", "temperror", "permerror"]),
    ("dkim", &["pass", "fail", "policy", "neutral", "temperror", "permerror"]),
    ("arc", &["none", "pass", "fail", "temperror"]),
    ("dmarc", &["none", "pass", "fail", "temperror"]),
];
const MATCHERS: &[&str] = &["exact", "subaddress", "role", "catch_all"];
const ACTIONS: &[&str] = &["forward", "drop", "reject", "waiting"];
const SRS: &[(&str, &[&str])] =
    &[("encode", &["ok"]), ("alias", &["ok", "error"]), ("decode", &["ok", "expired", "invalid"])];
const ALGORITHMS: &[&str] = &["rsa-sha256", "ed25519-sha256"];
const SIGNATURE_RESULTS: &[&str] = &["ok", "error"];
/// Whose MX hosts took or refused a message; everyone else is `other`.
const PROVIDERS: &[&str] = &["google", "microsoft", "yahoo", "apple", "proton", "other"];
/// What came of offering a message at one address: the upstream's word, or why there was none.
const ATTEMPT_RESULTS: &[&str] = &[
    "delivered",
    "awaiting_reply",
    "unknown",
    "tempfailed",
    "refused",
    "timed_out",
    "unreachable",
    "lost",
    "unwelcome",
    "tls_failed",
    "unfit",
    "internal",
];
/// What a destination said at RCPT; then what became of the transaction that was held for the dot.
const CUT_THROUGH_RESULTS: &[&str] =
    &["taken", "refused", "tempfailed", "unanswered", "used", "replaced", "given_up"];
const MODES: &[&str] = &["in_session", "queued"];
const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];
const QUEUE_STATES: &[&str] = &["waiting", "awaiting_reply", "unknown"];
const DSN_ACTIONS: &[&str] = &["failed", "delayed", "relayed"];

impl Metrics {
    /// Makes every series of a closed set.
    pub(super) fn start_series(&self) {
        for labels in responses::all() {
            self.smtp_responses_total.with_label_values(&labels);
        }
        for stage in PipelineStage::ALL {
            self.pipeline_stage_duration_seconds.with_label_values(&[stage.label()]);
        }
        for mode in MODES {
            self.delivery_latency_seconds.with_label_values(&[mode]);
        }
        for state in QUEUE_STATES {
            self.queue_messages.with_label_values(&[state]);
        }
        start(&self.messages_received_total, [VERDICTS]);
        start(&self.poisoned_messages_total, [CONTAINED]);
        start(&self.log_events_total, [LEVELS]);
        start(&self.dsn_sent_total, [DSN_ACTIONS]);
        start(&self.smtp_connections_total, [IP_FAMILIES, DOOR]);
        start(&self.rule_matches_total, [MATCHERS, ACTIONS]);
        start(&self.dkim_signatures_total, [ALGORITHMS, SIGNATURE_RESULTS]);
        start(&self.delivery_attempts_total, [PROVIDERS, IP_FAMILIES, ATTEMPT_RESULTS]);
        start(&self.cut_through_total, [CUT_THROUGH_RESULTS]);
        for (method, results) in AUTH_RESULTS {
            start(&self.auth_results_total, [&[method], results]);
        }
        for (operation, results) in SRS {
            start(&self.srs_operations_total, [&[operation], results]);
        }
        // A failed handshake has no version.
        start(&self.smtp_tls_connections_total, [DIRECTIONS, &["none"], &["failed"]]);
        start(&self.smtp_tls_connections_total, [&["inbound"], TLS_VERSIONS, &["ok"]]);
        start(&self.smtp_tls_connections_total, [&["outbound"], TLS_VERSIONS, TLS_DEMANDS]);
        start(&self.smtp_tls_connections_total, [&["inbound"], &["none"], &["timeout"]]);
        self.start_node();
    }

    /// What a node alone can say of itself: it is a cluster of one.
    fn start_node(&self) {
        self.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        self.cluster_members.with_label_values(&["up"]).set(1);
        self.cluster_members.with_label_values(&["down"]).set(0);
        self.cluster_configured_members.set(1);
    }
}

/// Makes the counter's series for every combination of the labels' words.
fn start<const LABELS: usize>(counter: &IntCounterVec, words: [&[&str]; LABELS]) {
    let count: usize = words.iter().map(|set| set.len()).product();
    for mut number in 0..count {
        let labels = words.map(|set| {
            let word = set.get(number % set.len()).copied().unwrap_or_default();
            number /= set.len();
            word
        });
        counter.with_label_values(&labels);
    }
}
