//! One zone: its name with the subscriber's key, its verdicts, its health.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use moka::sync::Cache;
use tokio::sync::{OnceCell, watch};
use tracing::{error, info, warn};

use super::answer::{Family, LISTINGS, REVERSED_OCTETS, Verdict, reversed};
use super::report::{ZoneReport, ZoneVerdict, texts};
use super::shared::{Finding, Others, Question, ZoneId};
use super::{BlocklistError, BlocklistOptions};
use crate::config;
use crate::dns::{Answer, Cause, Dns, DnsError};
use crate::telemetry::Metrics;

/// Addresses whose verdict is kept, a zone; about 200 octets each.
const MAX_VERDICTS: u64 = 32_768;
/// Shortest and longest time a verdict is kept. A second, so that one client's session asks once; an hour,
/// so that a client that was delisted is not refused for longer.
/// Longest time for which another node's verdict is kept: what its resolver makes of a zone is tested there, as often.
const TOLD_FOR: Duration = Duration::from_secs(5 * 60);
/// As for [`TOLD_FOR`], of the DNS.
pub(super) const VERDICT_TTL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60 * 60));
/// Addresses of an answer that are kept for operators; zones give one to four.
pub(super) const MAX_CODES: usize = 16;
/// Octets read of a key file: a label and what surrounds it.
const MAX_KEY_FILE_OCTETS: u64 = 1024;
/// Longest name in the DNS as text without trailing dot (RFC 1035 §2.3.4).
const MAX_NAME_OCTETS: usize = 253;
/// Longest label (RFC 1035 §2.3.4).
const MAX_LABEL_OCTETS: usize = 63;
/// The results of a question, as labels of `dnsbl_queries_total`.
const RESULTS: [&str; 6] = ["listed", "not_listed", "error", "timeout", "off", "cached"];

/// A zone. It has no `Debug`: `suffix` and `key` hold the subscriber's key.
pub(super) struct Zone {
    name: String,
    id: ZoneId,
    /// What follows the reversed address: the key, if any, and the zone.
    suffix: String,
    /// The subscriber's, which is told to nobody.
    key: Option<String>,
    listed: Vec<Ipv4Net>,
    ipv4: watch::Sender<Health>,
    ipv6: watch::Sender<Health>,
    /// A cell is empty while its question is under way: those who come meanwhile wait for it.
    verdicts: Cache<IpAddr, Arc<OnceCell<Known>>>,
    dns: Dns,
    metrics: Arc<Metrics>,
    /// The other nodes, of a cluster.
    others: Option<Arc<dyn Others>>,
}

/// Who is asked where nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    /// Other nodes, then the DNS.
    Anyone,
    /// The DNS alone: another node asks.
    Dns,
}

/// A verdict that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    verdict: Verdict,
    /// The answer itself; empty where it is that there is no such name.
    codes: Box<[Ipv4Addr]>,
    valid_until: Instant,
}

/// What the test points say of a zone (RFC 5782 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// No test has ended yet.
    Untested,
    /// As it should be.
    Healthy,
    /// The point that must be listed is not.
    ListsNothing,
    /// The point that must not be listed is.
    ListsEverything,
    /// No answer, or one that no zone gives.
    Failing,
}

/// What became of one question.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Now(Known),
    Before(Known),
    Failed,
    TimedOut,
    SwitchedOff,
}

impl Zone {
    pub(super) fn new(
        config: &config::Dnsbl,
        dns: Dns,
        metrics: Arc<Metrics>,
        others: Option<Arc<dyn Others>>,
    ) -> Result<Self, BlocklistError> {
        let zone = config.zone.as_str();
        let key = config.key_file.as_ref().map(|path| read_key(&config.name, path)).transpose()?;
        let suffix = key.as_ref().map_or_else(|| zone.to_owned(), |key| format!("{key}.{zone}"));
        if config.zone.is_literal() || suffix.len() + REVERSED_OCTETS > MAX_NAME_OCTETS {
            return Err(BlocklistError::ZoneName { zone: config.name.clone() });
        }
        for result in RESULTS {
            metrics.dnsbl_queries_total.with_label_values(&[&*config.name, result]);
        }
        for family in [Family::Ipv4, Family::Ipv6] {
            metrics.dnsbl_zone_healthy.with_label_values(&[&*config.name, family.label()]).set(0);
        }
        Ok(Self {
            name: config.name.clone(),
            id: ZoneId::of(config),
            suffix,
            key,
            listed: config.listed.clone(),
            ipv4: watch::Sender::new(Health::Untested),
            ipv6: watch::Sender::new(Health::Untested),
            verdicts: Cache::builder().max_capacity(MAX_VERDICTS).time_to_live(VERDICT_TTL.1).build(),
            dns,
            metrics,
            others,
        })
    }

    /// The configured name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What other nodes call it.
    pub(super) fn id(&self) -> ZoneId {
        self.id
    }

    /// Keeps what another node found, where nothing is known; whether it is a verdict by the settings here.
    pub(super) fn hear(&self, ip: IpAddr, finding: &Finding) -> bool {
        let verdict = Verdict::read(finding.codes(), &self.listed);
        if verdict == Verdict::Nonsense || finding.remaining().is_none() {
            return false;
        }
        let told = Arc::new(OnceCell::new_with(Some(Known::told(verdict, finding))));
        // A question that is under way goes on for those who wait for it.
        let is_unknown = |cell: &Arc<OnceCell<Known>>| cell.get().is_none_or(Known::is_over);
        self.verdicts.entry(ip).or_insert_with_if(|| told, is_unknown);
        true
    }

    /// What it answers of an address, for another node: known here, or asked for now, by the deadline. Nothing while it is
    /// switched off.
    pub(super) async fn find(&self, ip: IpAddr, deadline: tokio::time::Instant) -> Option<Finding> {
        if *self.health(Family::of(ip)).borrow() != Health::Healthy {
            return None;
        }
        let asked = self.judge(ip, Whom::Dns);
        let asked = tokio::time::timeout_at(deadline, asked).await.unwrap_or(Asked::TimedOut);
        // Another node's look at what is known here is no query of this one.
        if !matches!(asked, Asked::Before(_)) {
            self.count(&asked);
        }
        self.finding(asked.known()?)
    }

    /// Whether the zone lists an address; no answer by the deadline is a no.
    pub(super) async fn lists(&self, ip: IpAddr, deadline: tokio::time::Instant) -> bool {
        let asked = self.judge_by(ip, deadline).await;
        asked.known().is_some_and(|known| known.verdict == Verdict::Listed)
    }

    /// What the zone says of an address, for an operator; by the deadline, as far as it is known.
    pub(super) async fn report(&self, ip: IpAddr, deadline: tokio::time::Instant) -> ZoneReport {
        let asked = self.judge_by(ip, deadline).await;
        let verdict = match &asked {
            Asked::Now(known) | Asked::Before(known) => known.verdict.into(),
            Asked::Failed => ZoneVerdict::Failed,
            Asked::TimedOut => ZoneVerdict::TimedOut,
            Asked::SwitchedOff => {
                ZoneVerdict::SwitchedOff { why: self.health(Family::of(ip)).borrow().reason() }
            }
        };
        let is_listed = verdict == ZoneVerdict::Listed;
        let texts = if is_listed { self.texts(ip, deadline).await } else { Vec::new() };
        let known = asked.known();
        ZoneReport {
            zone: self.name.clone(),
            verdict,
            codes: known.map_or_else(Vec::new, |known| known.codes.to_vec()),
            texts,
            kept_for: known.map(|known| known.valid_until.saturating_duration_since(Instant::now())),
        }
    }

    /// Tests both families at once, again and again.
    pub(super) async fn watch(&self, options: &BlocklistOptions) {
        loop {
            let (ipv4, ipv6) = tokio::join!(self.test(Family::Ipv4), self.test(Family::Ipv6));
            let failing = [ipv4, ipv6].contains(&Health::Failing);
            let pause = if failing { options.retest_interval } else { options.test_interval };
            tokio::time::sleep(pause).await;
        }
    }

    /// Asks for the test points of a family, past every cache of ours, and switches the zone on or off.
    pub(super) async fn test(&self, family: Family) -> Health {
        let (listed, not_listed) = family.test_points();
        let (listed, not_listed) = tokio::join!(self.ask_point(listed), self.ask_point(not_listed));
        let health = Health::read(listed, not_listed);
        let before = self.health(family).send_replace(health);
        let healthy = i64::from(health == Health::Healthy);
        self.metrics.dnsbl_zone_healthy.with_label_values(&[&*self.name, family.label()]).set(healthy);
        if health != before {
            self.log_change(family, before, health);
        }
        health
    }

    /// Asks, and counts what came of it.
    async fn judge_by(&self, ip: IpAddr, deadline: tokio::time::Instant) -> Asked {
        let asked = self.judge(ip, Whom::Anyone);
        let asked = tokio::time::timeout_at(deadline, asked).await.unwrap_or(Asked::TimedOut);
        self.count(&asked);
        asked
    }

    fn count(&self, asked: &Asked) {
        self.metrics.dnsbl_queries_total.with_label_values(&[&*self.name, asked.label()]).inc();
    }

    /// The zone's words on a listing; none if it has none, or does not say in time.
    async fn texts(&self, ip: IpAddr, deadline: tokio::time::Instant) -> Vec<String> {
        let answer = self.dns.until(deadline).txt(&self.question(ip)).await;
        answer.map_or_else(|_| Vec::new(), |answer| texts(&answer.records, self.key.as_deref()))
    }

    async fn judge(&self, ip: IpAddr, whom: Whom) -> Asked {
        if self.tested(Family::of(ip)).await != Health::Healthy {
            return Asked::SwitchedOff;
        }
        let stale = |cell: &Arc<OnceCell<Known>>| cell.get().is_some_and(Known::is_over);
        let cell = self.verdicts.entry(ip).or_insert_with_if(Arc::default, stale).into_value();
        let mut asked_now = false;
        let asks = &mut asked_now;
        let known = cell.get_or_try_init(|| async move {
            if whom == Whom::Anyone
                && let Some(told) = self.ask_others(ip).await
            {
                return Ok(told);
            }
            *asks = true;
            self.ask(ip).await
        });
        match known.await {
            Ok(known) if asked_now => Asked::Now(known.clone()),
            Ok(known) => Asked::Before(known.clone()),
            Err(Some(Cause::TimedOut)) => Asked::TimedOut,
            Err(Some(Cause::ResponseCode(_) | Cause::Network(_)) | None) => Asked::Failed,
        }
    }

    /// The health of a family, once it is known.
    async fn tested(&self, family: Family) -> Health {
        let now = *self.health(family).borrow();
        if now != Health::Untested {
            return now;
        }
        let mut health = self.health(family).subscribe();
        health.wait_for(|health| *health != Health::Untested).await.map_or(now, |health| *health)
    }

    /// Asks the DNS, and tells the other nodes.
    async fn ask(&self, ip: IpAddr) -> Result<Known, Option<Cause>> {
        let known = read(self.dns.ipv4(&self.question(ip)).await, &self.listed)?;
        if let Some(others) = &self.others
            && let Some(finding) = self.finding(&known)
        {
            others.tell(Question { zone: self.id, ip }, finding);
        }
        Ok(known)
    }

    /// What another node found, read by the settings here.
    async fn ask_others(&self, ip: IpAddr) -> Option<Known> {
        let finding = self.others.as_ref()?.ask(Question { zone: self.id, ip }).await?;
        let verdict = Verdict::read(finding.codes(), &self.listed);
        (verdict != Verdict::Nonsense).then(|| Known::told(verdict, &finding))
    }

    /// What other nodes may be told of a verdict: what the codes that are kept say as well.
    fn finding(&self, known: &Known) -> Option<Finding> {
        let is_told =
            known.verdict != Verdict::Nonsense && Verdict::read(&known.codes, &self.listed) == known.verdict;
        let remaining = known.valid_until.saturating_duration_since(Instant::now());
        Finding::new(&known.codes, remaining).filter(|_| is_told)
    }

    /// Test points are no listings of the operator's choice: any of 127.0.0.0/8 will do.
    async fn ask_point(&self, ip: IpAddr) -> Option<Verdict> {
        let known = read(self.dns.ipv4_afresh(&self.question(ip)).await, &[LISTINGS]);
        known.ok().map(|known| known.verdict)
    }

    fn question(&self, ip: IpAddr) -> String {
        reversed(ip) + &self.suffix
    }

    fn health(&self, family: Family) -> &watch::Sender<Health> {
        match family {
            Family::Ipv4 => &self.ipv4,
            Family::Ipv6 => &self.ipv6,
        }
    }

    fn log_change(&self, family: Family, before: Health, health: Health) {
        let (zone, ip_family, reason) = (&*self.name, family.label(), health.reason());
        match (family, health) {
            (_, Health::Untested) => {}
            (_, Health::Healthy) if before == Health::Untested => {
                info!(zone, ip_family, "dnsbl zone is in use");
            }
            (_, Health::Healthy) => warn!(zone, ip_family, "dnsbl zone is in use again"),
            // Most zones cover IPv4 only, and need not say so.
            (Family::Ipv6, Health::ListsNothing) => {
                info!(zone, ip_family, reason, "dnsbl zone is not used for this family");
            }
            (_, Health::ListsNothing | Health::ListsEverything | Health::Failing) => {
                error!(zone, ip_family, reason, "dnsbl zone is switched off");
            }
        }
    }
}

impl Known {
    fn told(verdict: Verdict, finding: &Finding) -> Self {
        let valid_until = finding.valid_until().min(Instant::now() + TOLD_FOR);
        Self { verdict, codes: finding.codes().into(), valid_until }
    }

    fn is_over(&self) -> bool {
        self.valid_until <= Instant::now()
    }
}

impl Health {
    /// What the answers for the two test points mean; `None`: there was none.
    fn read(listed: Option<Verdict>, not_listed: Option<Verdict>) -> Self {
        match (listed, not_listed) {
            (_, Some(Verdict::Listed)) => Self::ListsEverything,
            (None | Some(Verdict::Nonsense), _) | (_, None | Some(Verdict::Nonsense)) => Self::Failing,
            (Some(Verdict::NotListed), Some(Verdict::NotListed)) => Self::ListsNothing,
            (Some(Verdict::Listed), Some(Verdict::NotListed)) => Self::Healthy,
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Untested => "its test points were not asked for yet",
            Self::Healthy => "its test points are as RFC 5782 wants them",
            Self::ListsNothing => "the test point that must be listed is not",
            Self::ListsEverything => "the test point that must not be listed is",
            Self::Failing => "its test points get no answer, or one that means an error",
        }
    }
}

impl From<Verdict> for ZoneVerdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Listed => Self::Listed,
            Verdict::NotListed => Self::NotListed,
            Verdict::Nonsense => Self::Nonsense,
        }
    }
}

impl Asked {
    /// The verdict, if there is one.
    fn known(&self) -> Option<&Known> {
        match self {
            Self::Now(known) | Self::Before(known) => Some(known),
            Self::Failed | Self::TimedOut | Self::SwitchedOff => None,
        }
    }

    /// The label `result` of `dnsbl_queries_total`.
    fn label(&self) -> &'static str {
        match self {
            Self::Now(known) => match known.verdict {
                Verdict::Listed => "listed",
                Verdict::NotListed => "not_listed",
                Verdict::Nonsense => "error",
            },
            Self::Failed => "error",
            Self::Before(_) => "cached",
            Self::TimedOut => "timeout",
            Self::SwitchedOff => "off",
        }
    }
}

/// The verdict in an answer of the DNS, or why there is none; the DNS error itself, which holds the key,
/// ends here.
fn read(answer: Result<Answer<Ipv4Addr>, DnsError>, listed: &[Ipv4Net]) -> Result<Known, Option<Cause>> {
    let (records, valid_until) = match answer {
        Ok(answer) => (answer.records, answer.valid_until),
        Err(DnsError::NoSuchName { valid_until, .. } | DnsError::NoRecords { valid_until, .. }) => {
            (Vec::new(), valid_until)
        }
        Err(DnsError::Temporary { cause, .. }) => return Err(Some(cause)),
        Err(DnsError::NoUsableMx { .. } | DnsError::NotAName { .. } | DnsError::System { .. }) => {
            return Err(None);
        }
    };
    let now = Instant::now();
    let verdict = Verdict::read(&records, listed);
    let codes = records.into_iter().take(MAX_CODES).collect();
    Ok(Known { verdict, codes, valid_until: valid_until.clamp(now + VERDICT_TTL.0, now + VERDICT_TTL.1) })
}

fn read_key(zone: &str, path: &Path) -> Result<String, BlocklistError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_KEY_FILE_OCTETS).read_to_string(&mut text))
        .map_err(|source| BlocklistError::KeyFile { zone: zone.to_owned(), path: path.into(), source })?;
    let key = text.trim();
    let is_label = (1..=MAX_LABEL_OCTETS).contains(&key.len())
        && key.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
    if !is_label {
        return Err(BlocklistError::Key { zone: zone.to_owned(), path: path.into() });
    }
    Ok(key.to_owned())
}

#[cfg(test)]
#[path = "zone_tests.rs"]
mod tests;
