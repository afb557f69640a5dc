//! One shipment: the hosts of its destination in order, each host's addresses in order, until every copy
//! has its outcome.
//!
//! Decisions:
//! - A refusal at MAIL, RCPT, DATA or the dot is the destination's word and goes to the sender; no other
//!   host is asked for a better one (differs: RFC 5321 §5.1 lets a client try the next after a 4xx; the
//!   sender's own retry does that).
//! - A host that cannot take the message (no SMTPUTF8, no 8BITMIME, SIZE too small) is passed over for the
//!   next host; the message is refused only when every host was asked and none can.
//! - IPv6 that is left alone after a time-out is left alone only at hosts that have IPv4 addresses too.
//! - An address of one of our own listeners ends the list, as a host name of ours does: what is worse in
//!   preference would come back to us (RFC 5321 §5.1).

use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use tokio::time::{Instant, timeout_at};

use super::addresses::{self, Barred};
use super::attempt::Attempt;
use super::destinations::Visit;
use super::outcome::{Failure, Patience, Progress};
use super::plan::{self, Host};
use super::transaction::{Budget, Offer};
use super::trouble::{Peer, Trouble};
use super::{Job, content::Octets};
use crate::mail::{Address, BodyType, ReversePath, SmtpUtf8};
use crate::pipeline::parcel::{Delivery, Shipment};
use crate::pipeline::refusal::Refusal;
use crate::smtp::client::MailParameters;

/// Addresses tried for one shipment, over all hosts.
const MAX_ADDRESSES: usize = 10;

/// Delivers one shipment: one outcome for each of its copies, in their order.
pub(super) async fn deliver(shipment: Shipment, job: &Job) -> Vec<Delivery> {
    let mut progress = Progress::new(shipment.targets.len());
    let failures = match job.upstreams.destinations.enter(&shipment.domain, job.options.per_destination) {
        Ok(visit) => travel(&shipment, job, &visit, &mut progress).await,
        Err(closed) => vec![Failure::no_answer(&format!("{}: {closed}", shipment.domain))],
    };
    let outcomes = progress.finish(&failures);
    let deliveries = shipment.targets.into_iter().zip(outcomes);
    deliveries.map(|(target, outcome)| Delivery { target, outcome }).collect()
}

/// Tries the destination's hosts, and remembers of the destination what the next shipment should know.
async fn travel(shipment: &Shipment, job: &Job, visit: &Visit<'_>, progress: &mut Progress) -> Vec<Failure> {
    let forward_paths: Vec<&Address> = shipment.targets.iter().map(|target| &target.destination).collect();
    let parameters = parameters(&shipment.reverse_path, &forward_paths, job);
    let offer = Offer {
        reverse_path: &shipment.reverse_path,
        forward_paths: &forward_paths,
        content: &job.content,
        parameters,
    };
    let mut journey = Journey { job, visit, offer, failures: Vec::new(), tried: 0 };
    journey.try_hosts(shipment, progress).await;
    let slow = matches!(journey.failures.last(), Some(Failure::NoAnswer { patience: Patience::Ended, .. }));
    // A message that came with no time left says nothing of the destination.
    if progress.is_awaiting() || (slow && progress.is_pending() && journey.tried > 0) {
        visit.timed_out();
    }
    journey.failures
}

/// What MAIL says of the message. SMTPUTF8 is needed by an address that is not ASCII, and by a header
/// section that is not, where the sender asked for it (RFC 6531 §3.4).
fn parameters(reverse_path: &ReversePath, forward_paths: &[&Address], job: &Job) -> MailParameters {
    let utf8_address =
        forward_paths.iter().copied().chain(reverse_path.mailbox()).any(|address| !address.is_ascii());
    let utf8_head = job.smtp_utf8 == SmtpUtf8::Requested && job.content.head_octets == Octets::EightBit;
    MailParameters {
        octets: job.content.octets,
        body_type: match job.content.all_octets {
            Octets::SevenBit => BodyType::SevenBit,
            Octets::EightBit => BodyType::EightBitMime,
        },
        smtp_utf8: if utf8_address || utf8_head { SmtpUtf8::Requested } else { SmtpUtf8::NotRequested },
    }
}

/// One shipment on its way from address to address.
struct Journey<'a> {
    job: &'a Job,
    visit: &'a Visit<'a>,
    offer: Offer<'a>,
    failures: Vec<Failure>,
    tried: usize,
}

impl Journey<'_> {
    async fn try_hosts(&mut self, shipment: &Shipment, progress: &mut Progress) {
        let Job { upstreams, options, budget, .. } = self.job;
        let hosts = plan::hosts(&shipment.domain, &upstreams.dns, &options.own_hosts);
        let hosts = timeout_at(budget.envelope, hosts).await;
        match hosts.unwrap_or_else(|_| Err(Failure::timed_out("looking up the MX hosts"))) {
            Ok(hosts) => self.try_each(&hosts, progress).await,
            Err(failure) => self.failures.push(failure),
        }
    }

    async fn try_each(&mut self, hosts: &[Host], progress: &mut Progress) {
        for (index, host) in hosts.iter().enumerate() {
            let (peers, end) = self.peers(host).await;
            let last_host = end.is_break() || index + 1 == hosts.len();
            if self.try_host(&peers, last_host, progress).await.is_break() || end.is_break() {
                return;
            }
        }
    }

    /// The host's addresses that may be connected to, and whether hosts behind it may be tried.
    async fn peers(&mut self, host: &Host) -> (Vec<Peer>, ControlFlow<()>) {
        let Job { upstreams, options, budget, .. } = self.job;
        let found = timeout_at(budget.envelope, plan::addresses(host, &upstreams.dns)).await;
        let timed_out = || Err(Failure::timed_out(&format!("{}: looking up its addresses", host.name)));
        let addresses = match found.unwrap_or_else(|_| timed_out()) {
            Ok(addresses) => addresses,
            Err(failure) => {
                self.failures.push(failure);
                return (Vec::new(), ControlFlow::Continue(()));
            }
        };
        let mut peers = Vec::with_capacity(addresses.len());
        for ip in addresses {
            let source = addresses::check(ip, options).and_then(|()| addresses::source(ip, options));
            match source {
                Ok(source) => peers.push(Peer {
                    host: host.name.clone(),
                    address: SocketAddr::new(ip, options.port),
                    source,
                }),
                Err(Barred::Ours) => {
                    self.failures.push(Failure::Ruled(Refusal::Loop));
                    return (peers, ControlFlow::Break(()));
                }
                Err(barred) => self.failures.push(Failure::no_answer(&explain(host, ip, barred))),
            }
        }
        (peers, ControlFlow::Continue(()))
    }

    /// Tries one host's addresses. `Break`: all is settled, or nothing more may be tried.
    async fn try_host(
        &mut self,
        peers: &[Peer],
        last_host: bool,
        progress: &mut Progress,
    ) -> ControlFlow<()> {
        let has_ipv4 = peers.iter().any(|peer| peer.address.is_ipv4());
        for (index, peer) in peers.iter().enumerate() {
            if peer.address.is_ipv6() && has_ipv4 && !self.takes_ipv6() {
                continue;
            }
            if self.tried == MAX_ADDRESSES || Instant::now() >= self.job.budget.envelope {
                if self.failures.is_empty() {
                    self.failures.push(Failure::timed_out(&format!("{peer}: no time left to try it")));
                }
                return ControlFlow::Break(());
            }
            self.tried += 1;
            let last = last_host && index + 1 == peers.len();
            let attempt =
                Attempt { job: self.job, offer: self.offer, peer, budget: self.job.budget.share(last) };
            let Err(trouble) = attempt.run(progress).await else { return ControlFlow::Break(()) };
            let next = self.note(peer, trouble);
            if !progress.is_pending() {
                return ControlFlow::Break(());
            }
            match next {
                Next::Address => {}
                Next::Host => return ControlFlow::Continue(()),
                Next::Nothing => return ControlFlow::Break(()),
            }
        }
        ControlFlow::Continue(())
    }

    fn takes_ipv6(&self) -> bool {
        !self.job.ipv6_timed_out.load(Ordering::Relaxed) && self.visit.takes_ipv6()
    }

    /// Keeps what went wrong, and says what it means for the addresses that are left.
    fn note(&mut self, peer: &Peer, trouble: Trouble) -> Next {
        if trouble.is_timeout() && peer.address.is_ipv6() {
            self.job.ipv6_timed_out.store(true, Ordering::Relaxed);
            self.visit.ipv6_timed_out();
        }
        let next = match trouble {
            Trouble::Unfit(_) => Next::Host,
            Trouble::Message(_) => Next::Nothing,
            Trouble::TimedOut(_)
            | Trouble::Unreachable(_)
            | Trouble::Lost(..)
            | Trouble::Garbage(_)
            | Trouble::OutOfStep(_)
            | Trouble::Unwelcome(_)
            | Trouble::Ipv6Unwelcome(_)
            | Trouble::Handshake(_) => Next::Address,
        };
        self.failures.push(Failure::of(peer, trouble));
        next
    }
}

/// What to try after trouble.
enum Next {
    Address,
    Host,
    Nothing,
}

impl Budget {
    /// The part of the budget that one address may use up: all of it for the last, half of what is left
    /// for others, so that one that never answers leaves time for the next.
    fn share(self, last: bool) -> Self {
        let now = Instant::now();
        let half = now + self.envelope.saturating_duration_since(now) / 2;
        Self { envelope: if last { self.envelope } else { half }, ..self }
    }
}

fn explain(host: &Host, ip: IpAddr, barred: Barred) -> String {
    let why = match barred {
        Barred::Ours => "is our own listener",
        Barred::NotPublic => "is not an address on the Internet",
        Barred::NoSource => "is of a family that the outbound pool has no address of",
    };
    format!("{} [{ip}] {why}", host.name)
}
