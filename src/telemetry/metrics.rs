//! Every metric of a node, registered once. A field's name is the metric's without the `postroad_` prefix.
//! What stands in the labels is in [`super::labels`]: those series start at 0.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use tracing::error;

use crate::smtp::reply::Reply;
use crate::telemetry::families::{Counters, Gauges, Histograms};
use crate::telemetry::labels::{
    Admission, AttemptResult, AuthResult, Contained, CutThrough, DsnAction, FactEvent, FactKind, Handshake,
    IpFamily, Level, Matcher, MemberState, Mode, PipelineStage, Provider, QueueState, RuleAction,
    SignatureResult, SigningAlgorithm, SrsOperation, TlsFallback, Verdict,
};
use crate::telemetry::responses::{self, SmtpCommand};

/// Seconds: 1 ms to 300 s.
const DURATION_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];
/// Octets: 1 KiB to 32 MiB.
const SIZE_BUCKETS: &[f64] =
    &[1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0, 33554432.0];

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $vis:vis $name:ident: $kind:ident $(<$labels:ty>)? $([$($label:expr),*])?;)*) => {
        /// The node's metrics. Labels are from closed sets; never a domain, an address or a client IP.
        #[derive(Debug)]
        pub struct Metrics {
            /// With the prefix `postroad_`.
            own: Registry,
            /// Names that stock dashboards know: no prefix.
            common: Registry,
            grpc_server_handled_total: IntCounterVec,
            $($(#[doc = $help])+ $vis $name: $kind $(<$labels>)?,)*
        }

        impl Metrics {
            /// Registers every metric and starts the series of closed sets at 0.
            ///
            /// # Errors
            /// When two metrics share a name, which is a mistake in this file.
            pub fn new() -> Result<Self, prometheus::Error> {
                let (own, common) = (Registry::new_custom(Some("postroad".into()), None)?, Registry::new());
                let grpc_server_handled_total = grpc_server_handled_total()?;
                common.register(Box::new(grpc_server_handled_total.clone()))?;
                common.register(Box::new(ProcessCollector::for_self()))?;
                $(let $name = make!($kind, stringify!($name), concat!($($help),+).trim() $(, &[$($label),*])?);
                  let $name = registered($name, &own)?.into();)*
                let metrics = Self { own, common, grpc_server_handled_total, $($name,)* };
                metrics.start();
                Ok(metrics)
            }
        }
    };
}

macro_rules! make {
    (IntCounter, $name:expr, $help:expr) => {
        IntCounter::new($name, $help)?
    };
    (IntGauge, $name:expr, $help:expr) => {
        IntGauge::new($name, $help)?
    };
    (Gauges, $name:expr, $help:expr, $labels:expr) => {
        make!(IntGaugeVec, $name, $help, $labels)
    };
    (IntGaugeVec, $name:expr, $help:expr, $labels:expr) => {
        IntGaugeVec::new(Opts::new($name, $help), $labels)?
    };
    (Counters, $name:expr, $help:expr, $labels:expr) => {
        make!(IntCounterVec, $name, $help, $labels)
    };
    (IntCounterVec, $name:expr, $help:expr, $labels:expr) => {
        IntCounterVec::new(Opts::new($name, $help), $labels)?
    };
    (Histogram, $name:expr, $help:expr, &[$buckets:expr]) => {
        Histogram::with_opts(HistogramOpts::new($name, $help).buckets($buckets.to_vec()))?
    };
    (Histograms, $name:expr, $help:expr, $labels:expr) => {
        HistogramVec::new(HistogramOpts::new($name, $help).buckets(DURATION_BUCKETS.to_vec()), $labels)?
    };
}

metrics! {
    /// Version of the running binary; always 1.
    pub build_info: IntGaugeVec["version"];
    /// Whether the last reading of the configuration was taken (1) or refused (0).
    pub config_last_reload_successful: IntGauge;
    /// Whether the configuration that was read last holds values that wait for a restart of the node (1), or none (0).
    pub config_restart_required: IntGauge;
    /// SMTP sessions open now.
    pub smtp_connections: IntGauge;
    /// SMTP connections by address family and what became of them at the door.
    pub smtp_connections_total: Counters<(IpFamily, Admission)>["ip_family", "outcome"];
    /// SMTP replies sent by command, code and catalogue reason.
    smtp_responses_total: IntCounterVec["command", "code", "reason"];
    /// TLS handshakes of SMTP by direction, version and result.
    pub smtp_tls_connections_total: Counters<Handshake>["direction", "version", "result"];
    /// Messages received, by what was answered.
    pub messages_received_total: Counters<Verdict>["verdict"];
    /// Copies refused or given up for good whose sender could not be told, by a reply or in a bounce: nobody vouches for it.
    pub copies_refused_untold_total: IntCounter;
    /// Size of the messages received, in octets.
    pub message_size_bytes: Histogram[SIZE_BUCKETS];
    /// Authentication results by method.
    pub auth_results_total: Counters<AuthResult>["method", "result"];
    /// DNSBL queries by zone and result.
    pub dnsbl_queries_total: IntCounterVec["zone", "result"];
    /// Whether a DNSBL zone answers its test points as RFC 5782 says (1) or is switched off (0), by address family.
    pub dnsbl_zone_healthy: IntGaugeVec["zone", "ip_family"];
    /// Recipients by how their rule matched and what it does.
    pub rule_matches_total: Counters<(Matcher, RuleAction)>["matcher", "action"];
    /// SRS rewriting and unwrapping by result.
    pub srs_operations_total: Counters<SrsOperation>["operation", "result"];
    /// Signatures made, by algorithm.
    pub dkim_signatures_total: Counters<(SigningAlgorithm, SignatureResult)>["algorithm", "result"];
    /// Seconds a message spent in a stage of the pipeline.
    pub pipeline_stage_duration_seconds: Histograms<PipelineStage>["stage"];
    /// Delivery attempts by provider, address family and result.
    pub delivery_attempts_total: Counters<(Provider, IpFamily, AttemptResult)>["provider", "ip_family", "result"];
    /// Connections that went on in the clear though the host offers STARTTLS, by cause.
    pub delivery_tls_fallbacks_total: Counters<TlsFallback>["cause"];
    /// Destinations asked at RCPT by their answer, and upstream transactions held from there by their end.
    pub cut_through_total: Counters<CutThrough>["result"];
    /// Seconds from the client's final dot to the upstream's answer.
    pub delivery_latency_seconds: Histograms<Mode>["mode"];
    /// Outbound connections open now, in use or idle.
    pub delivery_connections: IntGauge;
    /// DNS look-ups by record type and result, those that the cache answers included.
    pub dns_lookups_total: IntCounterVec["type", "result"];
    /// Free octets where the node keeps its data.
    pub storage_free_bytes: IntGauge;
    /// When a certificate ends, in seconds since 1970, by its use.
    pub tls_certificate_not_after_timestamp_seconds: IntGaugeVec["use"];
    /// Messages whose processing ended in a panic, or whose octets on the disk cannot be read.
    pub poisoned_messages_total: Counters<Contained>["stage"];
    /// Log records written, by level.
    pub log_events_total: Counters<Level>["level"];
    /// Messages in the queue by state.
    pub queue_messages: Gauges<QueueState>["state"];
    /// When the oldest message of the queue was received, in seconds since 1970; 0 when the queue is empty.
    pub queue_oldest_message_timestamp_seconds: IntGauge;
    /// Records of the queue that could not be read, kept in quarantine for the operator.
    pub queue_quarantined_records: IntGauge;
    /// Destinations that an operator has suspended, in the whole cluster.
    pub suspended_destinations: IntGauge;
    /// Delivery status notifications sent, by action (RFC 3464 §2.3.3).
    pub dsn_sent_total: Counters<DsnAction>["action"];
    /// Seconds until a group of changes was on the disk.
    pub storage_flush_duration_seconds: Histogram[DURATION_BUCKETS];
    /// Members of the cluster by state, this node among them.
    pub cluster_members: Gauges<MemberState>["state"];
    /// Members that the configuration names, this node among them.
    pub cluster_configured_members: IntGauge;
    /// What the nodes of a cluster tell each other that ends by itself, by kind and what became of it.
    pub cluster_facts_total: Counters<(FactKind, FactEvent)>["kind", "event"];
    /// Revision of the routing table that this node uses.
    pub cluster_state_revision: IntGauge;
    /// 1 when this node takes no part in agreeing on the routing table any more, and no changes; 0 while it does.
    pub cluster_stopped: IntGauge;
}

impl Metrics {
    /// Makes the series of replies, and says what a node alone can say of itself: it is a cluster of one.
    fn start(&self) {
        for labels in responses::all() {
            self.smtp_responses_total.with_label_values(&labels);
        }
        self.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        self.cluster_members.of(MemberState::Up).set(1);
        self.cluster_configured_members.set(1);
    }

    /// Counts a reply to a client.
    pub fn smtp_reply(&self, command: SmtpCommand, reply: &Reply) {
        let code = responses::code_label(reply);
        self.smtp_responses_total.with_label_values(&[command.label(), &code, reply.reason]).inc();
    }

    /// Notes how long a stage had a message.
    pub fn observe_stage(&self, stage: PipelineStage, took: Duration) {
        self.pipeline_stage_duration_seconds.of(stage).observe(took.as_secs_f64());
    }

    /// Counts a gRPC call by its service, its method and its code's name, such as `NotFound`.
    pub fn grpc_handled(&self, service: &str, method: &str, code: &str) {
        self.grpc_server_handled_total.with_label_values(&[service, method, code]).inc();
    }

    /// Every metric in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        let mut families = self.own.gather();
        families.extend(self.common.gather());
        TextEncoder::new().encode_to_string(&families).unwrap_or_else(|cause| {
            error!(%cause, "the metrics could not be written");
            String::new()
        })
    }
}

fn registered<C: Collector + Clone + 'static>(
    metric: C,
    registry: &Registry,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn grpc_server_handled_total() -> Result<IntCounterVec, prometheus::Error> {
    let options = Opts::new("grpc_server_handled_total", "gRPC calls by service, method and code.");
    IntCounterVec::new(options, &["grpc_service", "grpc_method", "grpc_code"])
}
