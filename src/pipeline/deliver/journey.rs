//! The hosts of a shipment's destination in order, each host's addresses in order, until every copy has its outcome.
//!
//! Decisions:
//! - A refusal at MAIL, RCPT, DATA or the dot is the destination's word and goes to the sender; no other
//!   host is asked for a better one (differs: RFC 5321 §5.1 lets a client try the next after a 4xx; the
//!   sender's own retry does that).
//! - A host that cannot take the message (no SMTPUTF8, no 8BITMIME, SIZE too small) is passed over for the
//!   next host; the message is refused only when every host was asked and none can.
//! - A message is refused for good where the DNS is known to lead nowhere, or every host says that it takes no mail
//!   (521, RFC 7504 §3). A host that was not asked, or of which nobody knows, keeps it open. Of 521 the other addresses
//!   of the host are asked too: what is behind an IPv6 address is not always what is behind the IPv4 one.
//! - IPv6 that is left alone after a time-out is left alone only at hosts that have IPv4 addresses too.
//! - Hosts that were silent of late are tried behind all others, whatever their preference (differs: RFC 5321 §5.1 has
//!   them in order; as if they had been tried in order, a moment ago).
//! - An address is tried once a message, whatever names and destinations lead to it, where nothing could be offered
//!   there. RCPT and the dot are two occasions: what was said at one is not held against the other.
//! - An address of one of our own listeners ends the list, as a host name of ours does: what is worse in
//!   preference would come back to us (RFC 5321 §5.1).

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use tokio::time::{Instant, timeout_at};

use super::addresses::{self, Barred};
use super::destinations::Visit;
use super::job::{Job, Matter};
use super::outcome::{Failure, Patience, Progress, is_slow};
use super::plan::{self, Host};
use super::tls::TlsWish;
use super::upstream::address_error::{AddressError, Peer};
use super::upstream::attempt::{Attempt, Opening, Trial};
use super::upstream::transaction::Offer;
use crate::mail::Domain;
use crate::pipeline::parcel::{Shipment, Silence};
use crate::pipeline::refusal::Refusal;
use crate::tls::{self, Candidate, Demand, Judgement, Sighting, Sts};

/// Addresses tried for one shipment, over all hosts.
const MAX_ADDRESSES: usize = 10;

/// Where a shipment may go.
struct Way<'a> {
    domain: &'a Domain,
    hosts: Vec<Host>,
    sts: Sts,
}

/// One host on it: the addresses to try, and what the reports should know.
struct Stop<'a> {
    peers: Vec<Peer>,
    /// Whether it has IPv4 addresses, to be tried now or later.
    has_ipv4: bool,
    sighting: Sighting<'a>,
}

/// One shipment on its way from address to address: until an upstream has taken the envelope and, where the message is
/// there, answered for it.
pub(super) struct Journey<'a> {
    job: &'a Job,
    shipment: &'a Shipment,
    visit: &'a Visit,
    offer: Offer<'a>,
    /// What came of its copies so far.
    pub(super) progress: Progress,
    /// What went wrong, in order.
    pub(super) failures: Vec<Failure>,
    tried: usize,
    is_overdue: bool,
    /// Ahead of the message: the transaction that waits for it.
    pub(super) open: Option<Opening>,
}

impl<'a> Journey<'a> {
    /// Nothing was tried yet.
    pub(super) fn new(shipment: &'a Shipment, offer: Offer<'a>, job: &'a Job, visit: &'a Visit) -> Self {
        Self {
            job,
            shipment,
            visit,
            offer,
            progress: Progress::new(shipment.targets.len()),
            failures: Vec::new(),
            tried: 0,
            is_overdue: false,
            open: None,
        }
    }

    /// Tries the destination's hosts, and remembers of the destination what the next shipment should know.
    pub(super) async fn travel(&mut self) {
        if !self.progress.is_pending() {
            return;
        }
        let started = Instant::now();
        self.try_hosts().await;
        let slow = is_slow(&self.failures, started) && self.open.is_none() && self.progress.is_pending();
        match self.job.matter {
            // Look-ups alone say nothing of its hosts.
            Matter::Message { .. } => {
                if self.is_overdue || (slow && self.tried > 0) {
                    self.visit.timed_out();
                }
            }
            // The little time of RCPT says nothing of what it can do at the dot.
            Matter::Envelope(_) => {
                if slow {
                    self.visit.kept_rcpt_waiting();
                }
            }
        }
    }

    async fn try_hosts(&mut self) {
        let Job { upstreams, options, budget, .. } = self.job;
        let domain = &self.shipment.domain;
        let asked_at = Instant::now();
        let hosts = plan::hosts(domain, &upstreams.dns, &options.own_hosts);
        // Side by side: the policy is bounded in time, and no reason not to deliver.
        let found = async { tokio::join!(hosts, upstreams.policies.sts(domain)) };
        let timed_out = || (Err(self.no_look_up("looking up the MX hosts", asked_at)), Sts::default());
        let (hosts, sts) = timeout_at(budget.envelope.at(), found).await.unwrap_or_else(|_| timed_out());
        match hosts {
            Ok(hosts) => self.try_each(&Way { domain, hosts, sts }).await,
            Err(failure) => self.failures.push(failure),
        }
    }

    /// RFC 5321 §5.1: a better preference comes first, whatever is known of its hosts.
    async fn try_each(&mut self, way: &Way<'_>) {
        let mut preferences = way.hosts.chunk_by(|one, next| one.preference == next.preference).peekable();
        while let Some(equals) = preferences.next() {
            if self.try_equals(way, equals, preferences.peek().is_none()).await.is_break() {
                return;
            }
        }
    }

    /// Tries hosts of one preference, those that were silent lately behind the others. `Break`: all is settled, or nothing
    /// more may be tried.
    async fn try_equals(&mut self, way: &Way<'_>, hosts: &[Host], are_last: bool) -> ControlFlow<()> {
        let silent_hosts = &self.job.upstreams.silent_hosts;
        let (mut silent, mut end) = (VecDeque::new(), ControlFlow::Continue(()));
        for (index, host) in hosts.iter().enumerate() {
            let mut stop;
            (stop, end) = self.stop(way, host).await;
            stop.has_ipv4 = stop.peers.iter().any(|peer| peer.address.is_ipv4());
            let peers: Vec<_> = stop.peers.extract_if(.., |peer| silent_hosts.has(peer)).collect();
            if !peers.is_empty() {
                silent.push_back(Stop { peers, ..stop });
            }
            let is_last = end.is_break() || (are_last && index + 1 == hosts.len());
            self.try_host(&stop, is_last && silent.is_empty()).await?;
            if end.is_break() {
                break;
            }
        }
        let are_last = are_last || end.is_break();
        while let Some(stop) = silent.pop_front() {
            self.try_host(&stop, are_last && silent.is_empty()).await?;
        }
        end
    }

    /// The host's addresses that may be connected to, and whether hosts behind it may be tried.
    async fn stop<'w>(&mut self, way: &'w Way<'_>, host: &Host) -> (Stop<'w>, ControlFlow<()>) {
        let Job { upstreams, options, budget, .. } = self.job;
        let asked_at = Instant::now();
        let source = |ip| addresses::check(ip, options).and_then(|()| addresses::source(ip, options));
        let addresses = plan::addresses(host, &upstreams.dns, |ip| source(ip).is_ok());
        let found = timeout_at(budget.envelope.at(), addresses).await;
        let timed_out =
            || Err(self.no_look_up(&format!("{}: looking up its addresses", host.name), asked_at));
        let nowhere = Stop { peers: Vec::new(), has_ipv4: false, sighting: Sighting::of(way.domain) };
        let plan::Found { addresses, security, open } = match found.unwrap_or_else(|_| timed_out()) {
            Ok(found) => found,
            Err(failure) => {
                self.pass_over(failure);
                return (nowhere, ControlFlow::Continue(()));
            }
        };
        let candidate = Candidate { domain: way.domain, host: &host.name, security };
        let Some(judgement) = self.judge(candidate, &way.sts).await else {
            return (nowhere, ControlFlow::Continue(()));
        };
        let Judgement { basis, demand, failure } = judgement;
        let sighting = Sighting { domain: way.domain, basis, failure };
        let mut stop = Stop { peers: Vec::new(), has_ipv4: false, sighting };
        let (mut without_source, mut not_public, mut end) =
            (Vec::new(), Vec::new(), ControlFlow::Continue(()));
        for ip in addresses {
            match source(ip) {
                Ok(source) => stop.peers.push(Peer {
                    host: host.name.clone(),
                    address: SocketAddr::new(ip, options.port),
                    source,
                    demand: demand.clone(),
                }),
                Err(Barred::Ours) => {
                    end = ControlFlow::Break(());
                    break;
                }
                Err(Barred::NoSource) => without_source.push(ip),
                Err(Barred::NotPublic) => not_public.push(ip),
            }
        }
        // The outbound pool is ours to mend.
        if let Some(detail) = explain(host, &without_source, "of a family that the outbound pool lacks") {
            self.pass_over(Failure::no_answer(Silence::Unreachable, &detail));
        }
        if let Some(detail) = explain(host, &not_public, "not on the Internet") {
            self.pass_over(Failure::unroutable(detail));
        }
        if end.is_break() {
            self.failures.push(Failure::Ruled(Refusal::Loop));
            return (stop, end);
        }
        if let Some(open) = open.filter(|_| stop.peers.is_empty()) {
            self.pass_over(Failure::no_answer(Silence::LookUp, &open.to_string()));
        }
        (stop, ControlFlow::Continue(()))
    }

    /// What the host must show; `None`: it may not be tried, and why is noted.
    async fn judge(&mut self, candidate: Candidate<'_>, sts: &Sts) -> Option<Judgement> {
        let Job { upstreams, budget, tls_wish, .. } = self.job;
        let judging = upstreams.policies.judge(candidate, sts);
        let asked_at = Instant::now();
        let judged = match timeout_at(budget.envelope.at(), judging).await {
            Ok(Err(barred)) if *tls_wish == TlsWish::NotRequired => {
                let tls::Barred { basis, failure, .. } = barred;
                Ok(Judgement { basis, demand: Demand::Opportunistic, failure: Some(failure) })
            }
            Ok(Ok(judgement)) => tls_wish.weigh(judgement, candidate, sts),
            Ok(Err(barred)) => {
                let tls::Barred { basis, failure, detail } = barred;
                let sighting = Sighting { domain: candidate.domain, basis, failure: Some(failure) };
                upstreams.policies.reports().note(&sighting, candidate.host);
                Err(Failure::no_answer(Silence::Tls, &format!("{}: {detail}", candidate.host)))
            }
            Err(_) => {
                let detail = format!("{}: looking up its TLSA records", candidate.host);
                Err(self.no_look_up(&detail, asked_at))
            }
        };
        judged.map_err(|failure| self.failures.push(failure)).ok()
    }

    /// Tries one host's addresses. `Break`: all is settled, or nothing more may be tried.
    async fn try_host(&mut self, stop: &Stop<'_>, last_host: bool) -> ControlFlow<()> {
        let Stop { peers, has_ipv4, sighting } = stop;
        for (index, peer) in peers.iter().enumerate() {
            if peer.address.is_ipv6() && *has_ipv4 && !self.takes_ipv6() {
                continue;
            }
            if let Some(failure) = self.job.tries.given_up(peer.address.ip()) {
                self.failures.push(failure);
                continue;
            }
            if let Some(end) = self.end(peer) {
                // Who was not asked may take what others cannot.
                if !self.failures.iter().any(Failure::is_unanswered) {
                    self.failures.push(end);
                }
                return ControlFlow::Break(());
            }
            self.tried += 1;
            let last = last_host && index + 1 == peers.len();
            match self.try_address(peer, *sighting, last).await {
                Next::Address => {}
                Next::Host => return ControlFlow::Continue(()),
                Next::Nothing => return ControlFlow::Break(()),
            }
        }
        ControlFlow::Continue(())
    }

    /// Why no address is tried any more, if none is.
    fn end(&self, peer: &Peer) -> Option<Failure> {
        if !self.job.budget.envelope.is_enough_to_try() {
            let detail = format!("{peer}: no time left to try it");
            return Some(Failure::timed_out(Silence::Interrupted, &detail, Patience::CutShort));
        }
        let goes_on = self.tried < MAX_ADDRESSES && self.job.tries.has_another(self.tried);
        let end =
            || Failure::no_answer(Silence::Unreachable, &format!("{peer}: enough addresses were tried"));
        (!goes_on).then(end)
    }

    /// Both phases at one address, or the first alone where the message is to come.
    async fn try_address(&mut self, peer: &Peer, sighting: Sighting<'_>, last: bool) -> Next {
        let Job { matter, budget, .. } = self.job;
        let budget = budget.share(last);
        let trial = Trial { means: self.job.means(), offer: self.offer, peer, sighting, budget };
        let mut attempt = Attempt::new(trial, self.progress.pending());
        attempt.connect_limit = self.job.upstreams.silent_hosts.connect_limit(peer);
        let turnout = match matter.content() {
            Some(content) => attempt.deliver(content).await,
            None => attempt.open().await,
        };
        self.progress.settle(turnout.outcomes);
        turnout.fallback.into_iter().for_each(|fallback| self.job.tries.remark(fallback));
        self.is_overdue |= turnout.is_overdue;
        self.open = turnout.open;
        self.job.upstreams.silent_hosts.note(peer, turnout.trouble.as_ref());
        let next = turnout.trouble.map_or(Next::Nothing, |trouble| self.note(peer, trouble));
        if self.progress.is_pending() { next } else { Next::Nothing }
    }

    /// Keeps why a host or an address is not tried.
    fn pass_over(&mut self, failure: Failure) {
        if let Failure::Closed { detail, .. } | Failure::NoAnswer { detail, .. } = &failure {
            tracing::info!(trace = %self.job.trace, detail, "passed over");
            if let Some(dialogue) = &self.job.dialogue {
                dialogue.note('*', detail);
            }
        }
        self.failures.push(failure);
    }

    /// A look-up that had no answer when our time was up.
    fn no_look_up(&self, detail: &str, asked_at: Instant) -> Failure {
        let enough = self.job.budget.envelope.is_enough_to_blame(asked_at);
        let patience = if enough { Patience::Ended } else { Patience::CutShort };
        Failure::timed_out(Silence::LookUp, detail, patience)
    }

    fn takes_ipv6(&self) -> bool {
        !self.job.tries.ipv6_timed_out.load(Ordering::Relaxed) && self.visit.takes_ipv6()
    }

    /// This message leaves IPv6 alone after a time-out; all others, where it was the destination's.
    fn note_ipv6(&self, trouble: &AddressError) {
        if matches!(trouble, AddressError::TimedOut(_) | AddressError::CutShort(_)) {
            self.job.tries.ipv6_timed_out.store(true, Ordering::Relaxed);
        }
        if trouble.is_timeout() {
            self.visit.ipv6_timed_out();
        }
    }

    /// Keeps what went wrong, and says what it means for the addresses that are left.
    fn note(&mut self, peer: &Peer, trouble: AddressError) -> Next {
        if peer.address.is_ipv6() {
            self.note_ipv6(&trouble);
        }
        let bound = self.job.tls_wish == TlsWish::Required;
        let trouble = if bound && matches!(trouble, AddressError::NotEncrypted) {
            // RFC 8689 §4.2.1: such a host cannot take this message, now or later.
            AddressError::Unfit(Refusal::UpstreamWithoutRequireTls)
        } else {
            trouble
        };
        let next = match trouble {
            AddressError::Unfit(_) => Next::Host,
            AddressError::Message(_) => Next::Nothing,
            AddressError::TimedOut(_)
            | AddressError::CutShort(_)
            | AddressError::NoPlace(_)
            | AddressError::Unreachable(_)
            | AddressError::Lost(..)
            | AddressError::Garbage(_)
            | AddressError::OutOfStep(_)
            | AddressError::Unwelcome(_)
            | AddressError::Closing(_)
            | AddressError::TakesNoMail(_)
            | AddressError::Ipv6Unwelcome(_)
            | AddressError::TlsRefused(_)
            | AddressError::Handshake(_)
            | AddressError::NotEncrypted => Next::Address,
        };
        let is_of_address = trouble.is_of_address();
        let failure = Failure::of(peer, trouble);
        if is_of_address {
            self.job.tries.give_up(peer.address.ip(), failure.clone());
        }
        self.failures.push(failure);
        next
    }
}

/// What to try after trouble.
enum Next {
    Address,
    Host,
    Nothing,
}

/// Why addresses of a host are not tried, if there are any: one line for all, however many its DNS says that it has.
fn explain(host: &Host, barred: &[IpAddr], why: &str) -> Option<String> {
    match barred {
        [] => None,
        [ip] => Some(format!("{} [{ip}] is {why}", host.name)),
        _ => Some(format!("{}: {} addresses are {why}", host.name, barred.len())),
    }
}
