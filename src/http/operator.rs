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
    "the routing table is lost: restore the folder store/, or apply a routing document\n";
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
        Phase::Serving if lost => (StatusCode::SERVICE_UNAVAILABLE, ROUTING_LOST.to_owned()),
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n".to_owned()),
        Phase::Serving => (StatusCode::OK, serving(&(node.endings)(clock::now()))),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned()),
    }
}

/// A certificate at its end keeps no mail away but that of senders who check it, and another node would hardly do
/// better: ready, with a line for each.
fn serving(endings: &[Ending]) -> String {
    endings.iter().fold("ok\n".to_owned(), |text, ending| format!("{text}{ending}\n"))
}
