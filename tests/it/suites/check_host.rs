//! The openspf.org suites against the evaluator itself: the cases that SMTP cannot carry too, and the explanations.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use postroad::check_host::check_host;
use postroad::config;
use postroad::dev::dns::DnsServer;
use postroad::dns::Dns;
use postroad::spf::Sender;
use postroad::telemetry::Metrics;

use super::openspf::{Case, DECIDED, Section};
use super::{Tally, suite};

/// Sections at a time.
const AT_ONCE: usize = 4;

#[tokio::test]
async fn rfc7208_every_case_is_judged_and_explained_right() {
    let Some(sections) = suite("rfc7208-tests.yml") else { return };
    directly("RFC 7208 cases, the evaluator directly", &sections).await.close(203);
}

#[tokio::test]
async fn rfc4408_every_case_as_rfc7208_has_it_is_judged_and_explained_right() {
    let Some(mut sections) = suite::<Section>("rfc4408-tests.yml") else { return };
    sections.iter_mut().for_each(|section| section.decide(DECIDED));
    directly("RFC 4408 cases, the evaluator directly", &sections).await.close(191);
}

async fn directly(of: &'static str, sections: &[Section]) -> Tally {
    let mut tally = Tally::new(of);
    let mut evaluated = stream::iter(sections).map(evaluate).buffer_unordered(AT_ONCE);
    while let Some(results) = evaluated.next().await {
        for (name, result) in results {
            tally.count(name, result);
        }
    }
    tally
}

/// Evaluates the cases of one section, with a DNS of its own.
async fn evaluate(section: &Section) -> Vec<(&str, Result<(), String>)> {
    let server = DnsServer::start(&[(".", "")]).await.unwrap();
    section.publish(&server);
    let servers = config::Dns { servers: vec![server.addr()], ..config::Dns::default() };
    let dns = Dns::new(&servers, Arc::new(Metrics::new().unwrap())).unwrap();
    let mut results = Vec::new();
    for (name, case) in &section.tests {
        results.push((name.as_str(), judge(&dns, case).await));
    }
    results
}

async fn judge(dns: &Dns, case: &Case) -> Result<(), String> {
    // RFC 7208 §2.4: the null reverse-path is postmaster at the HELO name; §4.3: so is what has no local part.
    let (local, domain) = case.mail_from.rsplit_once('@').unwrap_or(("", &case.helo));
    let sender = Sender {
        ip: case.client_ip().to_canonical(),
        helo: case.helo.clone(),
        local: if local.is_empty() { "postmaster" } else { local }.to_owned(),
        domain: domain.to_owned(),
    };
    let checked = check_host(dns, &sender).await;
    let result = checked.verdict.word();
    if !case.accepts(result) {
        let fault = checked.fault.map(|fault| fault.to_string()).unwrap_or_default();
        return Err(format!("{} is right, found {result} {fault}", case.results().join(" or ")));
    }
    let Some(right) = case.explanation.as_deref().filter(|_| result == "fail") else { return Ok(()) };
    let said = match checked.explanation {
        Some(explanation) => explanation.fetch(dns, "mx.example.org").await,
        None => None,
    };
    // The suites' word for a text of the receiver's own.
    let said = said.as_deref().unwrap_or("DEFAULT");
    if said == right { Ok(()) } else { Err(format!("\"{right}\" is the explanation, found \"{said}\"")) }
}
