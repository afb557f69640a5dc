//! The look at what is around a node; it changes nothing.
//!
//! `postroad check`: what a good node file alone cannot tell. Certificates, room on the disk, and the outside: DNS, PTR and
//! SPF of the outbound addresses, the published DKIM keys, the DNSBLs' test points. Asks the DNS and nothing else. What a
//! start would refuse is found by who starts (`node::rehearse`). `postroad doctor` goes where it runs as well: to the node,
//! and out by port 25. `postroad healthcheck` asks one thing.

mod dkim;
mod dnsbl;
mod doctor;
mod greeting;
mod health;
mod host;
mod source;

pub(crate) use self::host::nearest_folder;

pub use self::doctor::doctor;
pub use self::health::{HealthError, ready, takes_mail};

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::join_all;

use crate::config::Config;
use crate::dns::Dns;

/// For one check: four look-ups that time out, one after the other.
const MAX_CHECK_TIME: Duration = Duration::from_secs(20);
/// Of `service.outbound_prefixes`, those whose ends are looked at.
const MAX_PREFIXES: usize = 32;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Mail will flow, but somebody should look.
    Warn,
    /// Mail will be refused or lost in some place.
    Fail,
}

/// One line of what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How it came out.
    pub verdict: Verdict,
    /// What was looked at: `dns`, `ptr`, `dkim` and so on.
    pub area: &'static str,
    /// What was found, and what to do when it is not as it should be.
    pub detail: String,
}

impl Finding {
    pub(crate) fn new(verdict: Verdict, area: &'static str, detail: impl Into<String>) -> Self {
        Self { verdict, area, detail: detail.into() }
    }
}

/// `ok    ptr    192.0.2.1 is out.example`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        write!(f, "{verdict:<6}{:<7}{}", self.area, self.detail)
    }
}

type Check<'a> = Pin<Box<dyn Future<Output = Vec<Finding>> + Send + 'a>>;

/// Makes every check, all at once, and returns what they found in the order of the node file.
pub async fn check(config: &Config, dns: &Dns) -> Vec<Finding> {
    let mut findings = run(checks(config, dns)).await;
    if config.delivery.sources.is_empty() && config.service.outbound_prefixes.is_empty() {
        let detail = "delivery.source is empty: the system chooses the outbound addresses, so their PTR and SPF \
                      records are not checked; `postroad doctor` on the host itself does";
        findings.push(Finding::new(Verdict::Warn, "ptr", detail));
    }
    findings
}

async fn run(checks: Vec<(&'static str, Check<'_>)>) -> Vec<Finding> {
    join_all(checks.into_iter().map(within_time)).await.concat()
}

fn checks<'a>(config: &'a Config, dns: &'a Dns) -> Vec<(&'static str, Check<'a>)> {
    let mut checks: Vec<(&'static str, Check<'_>)> =
        vec![("host", Box::pin(async { host::local(config) })), ("dns", Box::pin(host::names(config, dns)))];
    for key in &config.dkim.keys {
        checks.push(("dkim", Box::pin(dkim::check(key, &config.service.domain, dns))));
    }
    for zone in &config.dnsbl {
        checks.push(("dnsbl", Box::pin(dnsbl::check(zone, dns))));
    }
    checks.extend(outbound(config, dns));
    checks
}

/// The addresses that others see: those that are said to be, or else those that are sent from.
fn outbound<'a>(config: &'a Config, dns: &'a Dns) -> Vec<(&'static str, Check<'a>)> {
    let (service, sources) = (&config.service, &config.delivery.sources);
    let mut checks: Vec<(&'static str, Check<'_>)> = Vec::new();
    if service.outbound_prefixes.is_empty() {
        for source in sources {
            checks.push(("ptr", Box::pin(source::names(source.address, &source.hostname, dns))));
            checks.push(("spf", Box::pin(source::spf(source.address, &source.hostname, service, dns))));
        }
    }
    for prefix in service.outbound_prefixes.iter().take(MAX_PREFIXES) {
        let (first, last) = (prefix.network(), prefix.broadcast());
        checks.push(("spf", Box::pin(source::spf(first, &service.domain, service, dns))));
        if first == last {
            checks.push(("ptr", Box::pin(source::names(first, &service.domain, dns))));
        } else {
            checks.push(("spf", Box::pin(source::spf(last, &service.domain, service, dns))));
        }
    }
    checks
}

async fn within_time((area, check): (&'static str, Check<'_>)) -> Vec<Finding> {
    tokio::time::timeout(MAX_CHECK_TIME, check).await.unwrap_or_else(|_| {
        let detail = format!("no result within {} s", MAX_CHECK_TIME.as_secs());
        vec![Finding::new(Verdict::Fail, area, detail)]
    })
}

#[cfg(test)]
mod tests;
