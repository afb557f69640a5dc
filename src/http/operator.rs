//! `/metrics`, `/livez` and `/readyz`: for the operator, so without authentication and on loopback by default.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tracing::warn;

use crate::clock;
use crate::http::{Pages, Phase, Readiness, not_found};
use crate::routing::{Coverage, Routing};
use crate::telemetry::{Metrics, free_octets};
use crate::tls::{Ending, Endings};

/// What `/readyz` says of a node that has lost its routing table: it delivers its queue and defers all else, so
/// another MX is the better one.
const ROUTING_LOST: &str =
    "the routing table is lost: apply a routing document, or put the folder raft/ back\n";
/// What it says of a node that takes no part in agreeing on the table any more: mail goes by the one that it has.
const CLUSTER_STOPPED: &str =
    "changes are refused: this node has stopped taking part in the cluster, its log says why\n";
/// What it says of a node that an operator has drained.
const DRAINED: &str =
    "drained: no new session is taken, until `postroadctl cluster drain --undo` or a new start\n";
/// The media type of Prometheus's text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Clone)]
struct Node {
    metrics: Arc<Metrics>,
    readiness: Readiness,
    routing: Routing,
    endings: Endings,
    data_dir: PathBuf,
}

/// The operator's pages; the free room of `data_dir` is measured at each scrape.
#[must_use]
pub fn operator_pages(
    metrics: Arc<Metrics>,
    readiness: Readiness,
    routing: Routing,
    endings: Endings,
    data_dir: PathBuf,
) -> Pages {
    let router = Router::new()
        .route("/metrics", get(metrics_page))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready_page))
        .fallback(not_found)
        .with_state(Node { metrics, readiness, routing, endings, data_dir });
    Pages(router)
}

async fn metrics_page(State(node): State<Node>) -> impl IntoResponse {
    // Reading /proc and asking the disk both block.
    let rendered = tokio::task::spawn_blocking(move || {
        match free_octets(&node.data_dir) {
            Ok(octets) => node.metrics.storage_free_bytes.set(i64::try_from(octets).unwrap_or(i64::MAX)),
            Err(cause) => warn!(%cause, path = %node.data_dir.display(), "the free room is not known"),
        }
        node.metrics.render()
    });
    match rendered.await {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, METRICS_TYPE)], text),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain")], String::new()),
    }
}

async fn ready_page(State(node): State<Node>) -> impl IntoResponse {
    let lost = node.routing.snapshot().coverage() == Coverage::Lost;
    match node.readiness.phase() {
        Phase::Serving if node.readiness.is_drained() => {
            (StatusCode::SERVICE_UNAVAILABLE, DRAINED.to_owned())
        }
        Phase::Serving if lost => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{ROUTING_LOST}{}", node.stopped()))
        }
        Phase::Serving if node.waits() => (StatusCode::SERVICE_UNAVAILABLE, node.reason()),
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n".to_owned()),
        Phase::Serving => (StatusCode::OK, node.serving()),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned()),
    }
}

impl Node {
    /// Neither a certificate at its end nor refused changes keep mail away, but for that of senders who check the
    /// certificate; another node would hardly do better: ready, with a line for each.
    fn serving(&self) -> String {
        let endings = (self.endings)(clock::now());
        endings.iter().fold(format!("ok\n{}{}", self.stopped(), self.reason()), |text, ending: &Ending| {
            format!("{text}{ending}\n")
        })
    }

    /// Whether it has no table yet, and waits for its cluster: another MX is the better one.
    fn waits(&self) -> bool {
        self.readiness.reason().is_some() && self.routing.snapshot().coverage() == Coverage::Empty
    }

    fn reason(&self) -> String {
        self.readiness.reason().map(|reason| format!("{reason}\n")).unwrap_or_default()
    }

    fn stopped(&self) -> &'static str {
        if self.metrics.cluster_stopped.get() == 0 { "" } else { CLUSTER_STOPPED }
    }
}
