//! A host's addresses: both families asked for at once, and neither waits long for the other (RFC 8305 §3).
//!
//! Servers that drop every question for AAAA are old and many. What comes late is still awaited, in the background, so
//! that the cache has it for the next message; a name of which nothing came at all is not asked again for a while where
//! IPv4 will do.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::{Answer, Cause, Dns, DnsError};

/// How long AAAA is waited for when A is there: the Resolution Delay of RFC 8305 §3.
pub const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// How long a name is not asked for AAAA after the question had no answer: a domain's senders wait for it once a minute
/// at most, and its IPv6 is back a minute after its servers are.
const PAUSE: Duration = Duration::from_secs(60);
/// Names of which that is remembered; past it they are asked each time.
const MAX_REMEMBERED: usize = 10_000;
/// Questions awaited in the background at a time, each for [`super::DnsOptions::time_limit`] at most; past it they are
/// given up with the wait for them.
const MAX_AWAITED: usize = 256;

/// What is known of a host's addresses.
#[derive(Debug)]
pub struct HostAddresses {
    /// IPv6.
    pub ipv6: Result<Answer<Ipv6Addr>, DnsError>,
    /// IPv4.
    pub ipv4: Result<Answer<Ipv4Addr>, DnsError>,
}

/// Questions for AAAA that are slow.
#[derive(Debug)]
pub(super) struct Slow {
    /// Names without an answer, and until when they are left alone.
    unanswered: Mutex<HashMap<String, Instant>>,
    awaited: Arc<Semaphore>,
}

impl Default for Slow {
    fn default() -> Self {
        Self { unanswered: Mutex::default(), awaited: Arc::new(Semaphore::new(MAX_AWAITED)) }
    }
}

impl Slow {
    fn note(&self, name: &str) {
        let now = Instant::now();
        let mut unanswered = self.unanswered.lock();
        if unanswered.len() >= MAX_REMEMBERED {
            unanswered.retain(|_, until| *until > now);
        }
        if unanswered.len() < MAX_REMEMBERED {
            unanswered.insert(name.to_owned(), now + PAUSE);
        }
    }

    fn has(&self, name: &str) -> bool {
        self.unanswered.lock().get(name).is_some_and(|until| *until > Instant::now())
    }
}

impl Dns {
    /// The addresses of a host, with DNSSEC's word. Where an IPv4 address is there that will do, IPv6 is waited for no
    /// longer than [`RESOLUTION_DELAY`]: it has timed out then. Where none is, both questions have all their time.
    pub async fn host_addresses(&self, name: &str, will_do: impl Fn(Ipv4Addr) -> bool) -> HostAddresses {
        let will_do = |ipv4: &Result<Answer<Ipv4Addr>, DnsError>| {
            ipv4.as_ref().is_ok_and(|answer| answer.records.iter().any(|ip| will_do(*ip)))
        };
        if self.shared.slow.has(name) {
            let ipv4 = self.ipv4_secured(name).await;
            let ipv6 = if will_do(&ipv4) { Err(too_late(name)) } else { self.ipv6_secured(name).await };
            return HostAddresses { ipv6, ipv4 };
        }
        let (mut ipv6, mut ipv4) = (Box::pin(self.await_ipv6(name)), Box::pin(self.ipv4_secured(name)));
        let ipv4 = tokio::select! {
            biased;
            ipv6 = &mut ipv6 => return HostAddresses { ipv6, ipv4: ipv4.await },
            ipv4 = &mut ipv4 => ipv4,
        };
        let ipv6 = if will_do(&ipv4) {
            timeout(RESOLUTION_DELAY, ipv6).await.unwrap_or_else(|_| Err(too_late(name)))
        } else {
            ipv6.await
        };
        HostAddresses { ipv6, ipv4 }
    }

    /// Asks in a task of its own, which goes on when nobody waits for it any more.
    async fn await_ipv6(&self, name: &str) -> Result<Answer<Ipv6Addr>, DnsError> {
        let Ok(place) = self.shared.slow.awaited.clone().try_acquire_owned() else {
            return self.ipv6_secured(name).await;
        };
        let (dns, asked) = (self.clone(), name.to_owned());
        let task = tokio::spawn(async move {
            let _place = place;
            let answer = dns.ipv6_secured(&asked).await;
            let timed_out = matches!(answer, Err(DnsError::Temporary { cause: Cause::TimedOut, .. }));
            // Whoever asked with less time than the servers may take has shown nothing.
            if timed_out && dns.until.is_none() {
                dns.shared.slow.note(&asked);
            }
            answer
        });
        task.await.unwrap_or_else(|_| Err(too_late(name)))
    }
}

fn too_late(name: &str) -> DnsError {
    DnsError::Temporary { name: name.to_owned(), cause: Cause::TimedOut }
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
