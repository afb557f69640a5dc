//! One attempt: the message offered at one address, over an idle connection where there is one.

use tokio::time::Instant;

use super::Job;
use super::connect::Opener;
use super::connection::Connection;
use super::late::Late;
use super::outcome::Progress;
use super::provider::Provider;
use super::transaction::{Budget, Ending, Offer, Transaction};
use super::trouble::{Peer, Trouble};
use crate::config::LogAddresses;

/// One attempt at one address.
pub(super) struct Attempt<'a> {
    pub(super) job: &'a Job,
    pub(super) offer: Offer<'a>,
    pub(super) peer: &'a Peer,
    pub(super) budget: Budget,
}

/// What the log says of the connection that was used last.
#[derive(Default)]
struct Facts {
    tls: Option<&'static str>,
    reused: bool,
}

impl Attempt<'_> {
    /// Offers what is pending, and counts and logs what came of it. `Ok` means that all is settled.
    pub(super) async fn run(&self, progress: &mut Progress) -> Result<(), Trouble> {
        let started = Instant::now();
        let copies = progress.pending(usize::MAX);
        let mut facts = Facts::default();
        let ended = self.offer_all(progress, &mut facts).await;
        let trouble = ended.as_ref().err();
        let (result, code) = progress
            .summary(&copies)
            .or_else(|| {
                trouble.map(|trouble| (trouble.word(), trouble.reply().map_or(0, |reply| reply.code)))
            })
            .unwrap_or(("internal", 0));
        self.count(result);
        // An upstream's words may hold the address that they are about.
        let shown = trouble.filter(|_| self.job.options.log_addresses == LogAddresses::Full);
        tracing::info!(
            trace = %self.job.trace,
            host = self.peer.host,
            ip = %self.peer.address.ip(),
            tls = facts.tls,
            reused = facts.reused,
            result,
            code,
            trouble = shown.map(tracing::field::display),
            duration_ms = started.elapsed().as_millis() as u64,
            "attempt ended"
        );
        ended
    }

    fn count(&self, result: &str) {
        let provider = Provider::of(&self.peer.host).label();
        let family = if self.peer.address.is_ipv6() { "ipv6" } else { "ipv4" };
        let attempts = &self.job.upstreams.metrics.delivery_attempts_total;
        attempts.with_label_values(&[provider, family, result]).inc();
    }

    /// Transactions until all is settled: over an idle connection first, then over fresh ones. An idle one
    /// that turns out to be dead before its dot costs nothing but one more try; copies whose dot was sent
    /// are settled as unknown by then and never offered again.
    async fn offer_all(&self, progress: &mut Progress, facts: &mut Facts) -> Result<(), Trouble> {
        let mut idle = self.job.upstreams.pool.take(self.peer);
        while progress.is_pending() {
            facts.reused = idle.is_some();
            let connection = match idle.take() {
                Some(connection) => connection,
                None => self.open().await?,
            };
            facts.tls = connection.tls.as_ref().map(|tls| tls.version);
            match self.offer_over(connection, progress).await {
                Err(trouble) if facts.reused && trouble.is_staleness() => {
                    tracing::debug!(peer = %self.peer, %trouble, "idle connection was stale");
                }
                ended => ended?,
            }
        }
        Ok(())
    }

    async fn open(&self) -> Result<Connection, Trouble> {
        let Job { options, upstreams, .. } = self.job;
        let opener =
            Opener { options, tls: &upstreams.tls, metrics: &upstreams.metrics, until: self.budget.envelope };
        opener.open(self.peer).await
    }

    /// Transactions over one connection until all is settled or it has had enough; more than one only
    /// where the upstream limits recipients.
    async fn offer_over(&self, mut connection: Connection, progress: &mut Progress) -> Result<(), Trouble> {
        let (timing, pool) = (self.job.options.timing, &self.job.upstreams.pool);
        loop {
            let transaction =
                Transaction { connection: &mut connection, offer: self.offer, budget: self.budget, timing };
            match transaction.run(progress).await {
                Ok(Ending::Answered) if progress.is_pending() && connection.is_reusable() => {}
                Ok(Ending::Answered) => break,
                Ok(Ending::Awaiting { copies, dot_at }) => {
                    let late = Late { connection, dot_at, timing, pool: pool.clone() };
                    late.follow(copies, progress);
                    return Ok(());
                }
                Err(trouble) if trouble.leaves_connection() => {
                    pool.release(connection, timing);
                    return Err(trouble);
                }
                Err(trouble) => return Err(trouble),
            }
        }
        pool.release(connection, timing);
        Ok(())
    }
}
