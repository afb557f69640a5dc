//! This host: its certificates and its disk; and the names that the service goes by.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;

use crate::check::{Finding, Verdict};
use crate::clock;
use crate::config::{Config, files};
use crate::dns::{Dns, DnsError};
use crate::telemetry::free_octets;
use crate::tls::RENEWAL_TIME;

/// What can be seen without asking anybody.
pub(super) fn local(config: &Config) -> Vec<Finding> {
    let mut findings = vec![disk(config)];
    for (name, pair) in [("smtp", &config.smtp.tls), ("admin", &config.admin.tls)] {
        if let Some(pair) = pair {
            findings.push(certificate(name, &pair.certificate_file));
        }
    }
    if let Some(cluster) = &config.cluster {
        // One that has ended is among what bars the links of a node (`node::rehearse`).
        let found = certificate("cluster", &cluster.tls.certificate_file);
        findings.extend(Some(found).filter(|found| found.verdict != Verdict::Fail));
    }
    if config.smtp.tls.is_none() {
        let detail = "smtp.certificate_file is not set: STARTTLS is not offered";
        findings.push(Finding::new(Verdict::Warn, "tls", detail));
    }
    findings
}

fn disk(config: &Config) -> Finding {
    let directory = nearest_folder(&config.node.data_dir);
    let shown = directory.display();
    match free_octets(directory) {
        Ok(free) if free < config.limits.min_free_octets => {
            let least = config.limits.min_free_octets;
            let detail = format!(
                "{free} octets free at {shown}, limits.min_free_octets is {least}: nothing is queued"
            );
            Finding::new(Verdict::Fail, "disk", detail)
        }
        Ok(free) => Finding::new(Verdict::Ok, "disk", format!("{free} octets free at {shown}")),
        Err(cause) => Finding::new(Verdict::Fail, "disk", format!("{shown}: {cause}")),
    }
}

/// A folder that the node makes when it starts, or until then the nearest that is there.
pub(crate) fn nearest_folder(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or_else(|| Path::new("."))
}

fn certificate(name: &str, path: &Path) -> Finding {
    let Some(end) = not_after(path) else {
        return Finding::new(Verdict::Fail, "tls", format!("{}: cannot be read again", path.display()));
    };
    let date = humantime::format_rfc3339_seconds(end);
    match end.duration_since(clock::now()) {
        Err(_) => Finding::new(Verdict::Fail, "tls", format!("{name} certificate ended at {date}")),
        Ok(rest) if rest < RENEWAL_TIME => {
            Finding::new(Verdict::Warn, "tls", format!("{name} certificate ends at {date}"))
        }
        Ok(_) => Finding::new(Verdict::Ok, "tls", format!("{name} certificate is good until {date}")),
    }
}

/// When the first certificate of the chain ends.
fn not_after(path: &Path) -> Option<SystemTime> {
    let chain = files::certificates(path).ok()?;
    let end = chain.first()?.parse_x509().ok()?.validity().not_after.timestamp();
    Some(UNIX_EPOCH + Duration::from_secs(u64::try_from(end).ok()?))
}

/// Whether the names of the service and of its hosts are in the DNS.
pub(super) async fn names(config: &Config, dns: &Dns) -> Vec<Finding> {
    let others = config.service.mx.iter().filter(|host| host.hostname != config.node.hostname);
    let mut looked_up = vec![
        known("service.domain", config.service.domain.as_str(), Verdict::Warn, dns),
        known("node.hostname", config.node.hostname.as_str(), Verdict::Fail, dns),
    ];
    looked_up.extend(others.map(|host| known("service.mx", host.hostname.as_str(), Verdict::Fail, dns)));
    join_all(looked_up).await
}

/// Whether the name has addresses. Being without is as bad as `otherwise` says; no answer is always a failure.
async fn known(key: &str, name: &str, otherwise: Verdict, dns: &Dns) -> Finding {
    let (ipv4, ipv6) = tokio::join!(dns.ipv4(name), dns.ipv6(name));
    let addresses: Vec<String> = ipv4
        .iter()
        .flat_map(|answer| answer.records.iter().map(ToString::to_string))
        .chain(ipv6.iter().flat_map(|answer| answer.records.iter().map(ToString::to_string)))
        .collect();
    if !addresses.is_empty() {
        return Finding::new(Verdict::Ok, "dns", format!("{key} {name} is {}", addresses.join(", ")));
    }
    let temporary = [ipv4.err(), ipv6.err()].into_iter().flatten().find(DnsError::is_temporary);
    match temporary {
        Some(cause) => Finding::new(Verdict::Fail, "dns", format!("{key}: {cause}")),
        None => Finding::new(otherwise, "dns", format!("{key} {name} has no address (A, AAAA)")),
    }
}
