//! A report as a message (RFC 8460 §4.4, §5.3). Pure.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::{Basis, Count, DAY, Report, Reporter, start_of};
use crate::mail::{Address, Domain, base64, date};
use crate::tls::StsPolicy;

/// What a report is about.
pub(super) struct About<'a> {
    pub(super) day: u64,
    pub(super) domain: &'a Domain,
    pub(super) counts: &'a BTreeMap<Basis, Count>,
    /// The domain's MTA-STS policy in force, if any.
    pub(super) policy: Option<Arc<StsPolicy>>,
}

/// Writes the report. `None` only where memory cannot be written to, which compresses nothing.
pub(super) fn report(about: &About<'_>, reporter: &Reporter, to: Address) -> Option<Report> {
    let (domain, organization) = (about.domain, &reporter.organization);
    let id = report_id(about, reporter);
    let json = serde_json::to_vec(&content(about, reporter, &id)).ok()?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&json).ok()?;
    let encoded = base64::encode_lines(&gzip.finish().ok()?);
    let boundary = format!("report-{id}");
    let (from, until) = (about.day.saturating_mul(DAY), about.day.saturating_add(1).saturating_mul(DAY));
    let file = format!("{organization}!{domain}!{from}!{}!{id}.json.gz", until.saturating_sub(1));
    let date = date::rfc5322(start_of(about.day.saturating_add(1)));
    // RFC 8689 §3, RFC 8460 §3: a report of failures must not fail of them.
    let octets = format!(
        "From: <postmaster@{organization}>\r\n\
         To: <{to}>\r\n\
         Date: {date}\r\n\
         Subject: Report Domain: {domain}\r\n Submitter: {organization}\r\n Report-ID: <{id}@{organization}>\r\n\
         Message-ID: <{id}@{organization}>\r\n\
         TLS-Report-Domain: {domain}\r\n\
         TLS-Report-Submitter: {organization}\r\n\
         TLS-Required: No\r\n\
         Auto-Submitted: auto-generated\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n boundary=\"{boundary}\"\r\n\
         \r\n\
         --{boundary}\r\n\
         Content-Type: text/plain; charset=us-ascii\r\n\
         \r\n\
         This is an aggregate report of TLS sessions with the mail hosts of\r\n{domain}, from {organization}.\r\n\
         \r\n\
         --{boundary}\r\n\
         Content-Type: application/tlsrpt+gzip\r\n\
         Content-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment;\r\n filename=\"{file}\"\r\n\
         \r\n\
         {encoded}\
         --{boundary}--\r\n",
    );
    Some(Report { domain: domain.clone(), to, octets: octets.into() })
}

/// Octets of a digest that name a report.
const ID_OCTETS: usize = 12;

/// Names a report: the same one whenever it is written.
fn report_id(about: &About<'_>, reporter: &Reporter) -> String {
    let named = format!("{} {} {}", about.day, about.domain, reporter.organization);
    let hash = digest(&SHA256, named.as_bytes());
    HEXLOWER.encode(hash.as_ref().get(..ID_OCTETS).unwrap_or_default())
}

fn content(about: &About<'_>, reporter: &Reporter, id: &str) -> Value {
    let policies: Vec<Value> =
        about.counts.iter().map(|(basis, count)| policy(about, *basis, count)).collect();
    let last = start_of(about.day.saturating_add(1)) - std::time::Duration::from_secs(1);
    json!({
        "organization-name": reporter.organization.as_str(),
        "date-range": {
            "start-datetime": date::rfc3339(start_of(about.day)),
            "end-datetime": date::rfc3339(last),
        },
        "contact-info": format!("postmaster@{}", reporter.organization),
        "report-id": id,
        "policies": policies,
    })
}

fn policy(about: &About<'_>, basis: Basis, count: &Count) -> Value {
    let mut policy = json!({ "policy-type": basis, "policy-domain": about.domain.as_str() });
    if let (Basis::Sts, Some(sts), Some(fields)) = (basis, &about.policy, policy.as_object_mut()) {
        let lines: Vec<String> = sts.to_string().lines().map(str::to_owned).collect();
        fields.insert("policy-string".to_owned(), json!(lines));
        fields.insert("mx-host".to_owned(), json!(sts.patterns().collect::<Vec<_>>()));
    }
    let failures: Vec<Value> = count
        .failures
        .iter()
        .map(|failures| {
            let mut line = json!({
                "result-type": failures.failure.word(),
                "failed-session-count": failures.sessions,
            });
            if let Some(line) = line.as_object_mut() {
                if !failures.host.is_empty() {
                    line.insert("receiving-mx-hostname".to_owned(), json!(failures.host));
                }
                if let Some(reason) = failures.failure.reason() {
                    line.insert("failure-reason-code".to_owned(), json!(reason));
                }
            }
            line
        })
        .collect();
    json!({
        "policy": policy,
        "summary": {
            "total-successful-session-count": count.successes,
            "total-failure-session-count": count.failed(),
        },
        "failure-details": failures,
    })
}
