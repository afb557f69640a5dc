//! One attempt: the message offered at one address, over an idle connection where there is one.

use std::fmt::Display;

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
use crate::tls::Sighting;

/// One attempt at one address.
pub(super) struct Attempt<'a> {
    pub(super) job: &'a Job,
    pub(super) offer: Offer<'a>,
    pub(super) peer: &'a Peer,
    pub(super) sighting: Sighting<'a>,
    pub(super) budget: Budget,
}

/// What the log says of the connection that was used last.
#[derive(Default)]
struct Facts {
    tls: Option<&'static str>,
    reused: bool,
}

impl Attempt<'_> {
    /// Offers what is pending, and counts and logs what came of it. `Ok` means that all is settled; a
    /// connection whose transaction is open and waits for the message comes back with it.
    pub(super) async fn run(&self, progress: &mut Progress) -> Result<Option<Connection>, Trouble> {
        let started = Instant::now();
        let copies = progress.pending(usize::MAX);
        let mut facts = Facts::default();
        self.note(self.peer);
        let ended = self.offer_all(progress, &mut facts).await;
        let ended = ended.map_err(|trouble| self.excuse(trouble, started));
        if let Err(trouble) = &ended {
            self.note(trouble);
        }
        if !matches!(ended, Ok(Some(_))) {
            self.tell(started, &facts, progress.summary(&copies), ended.as_ref().err());
        }
        ended
    }

    /// Sends the message in a transaction that was opened at RCPT, to the copies that were taken there.
    pub(super) async fn go_on(
        &self,
        mut connection: Connection,
        taken: Vec<usize>,
        progress: &mut Progress,
    ) -> Result<(), Trouble> {
        let started = Instant::now();
        let facts = Facts { tls: connection.tls.as_ref().map(|tls| tls.version), reused: true };
        let transaction = self.transaction(&mut connection, taken.len());
        let ended = transaction.go_on(taken.clone(), progress).await;
        let ended = self.close(connection, ended, progress).map(drop);
        let ended = ended.map_err(|trouble| self.excuse(trouble, started));
        self.tell(started, &facts, progress.summary(&taken), ended.as_ref().err());
        ended
    }

    /// Adds what is pending to a transaction that was opened for earlier recipients, so many of them; gives
    /// the connection back while it is open.
    pub(super) async fn add(
        &self,
        mut connection: Connection,
        recipients: usize,
        progress: &mut Progress,
    ) -> Result<Option<Connection>, Trouble> {
        let started = Instant::now();
        let ended = self.transaction(&mut connection, recipients).add(progress).await;
        self.close(connection, ended, progress).map_err(|trouble| self.excuse(trouble, started))
    }

    /// A time-out is the upstream's only where it had the time to answer.
    fn excuse(&self, trouble: Trouble, started: Instant) -> Trouble {
        if let Trouble::TimedOut(step) = trouble
            && !self.budget.envelope.is_enough_to_blame(started)
        {
            return Trouble::CutShort(step);
        }
        trouble
    }

    /// Counts and logs an attempt, by what came of its copies or else by the trouble.
    fn tell(
        &self,
        started: Instant,
        facts: &Facts,
        summary: Option<(&'static str, u16)>,
        trouble: Option<&Trouble>,
    ) {
        let of_trouble = |trouble: &Trouble| (trouble.word(), trouble.reply().map_or(0, |reply| reply.code));
        let (result, code) = summary.or_else(|| trouble.map(of_trouble)).unwrap_or(("internal", 0));
        self.count(result);
        // An upstream's words may hold the address that they are about.
        let shown = trouble.filter(|_| self.job.options.log_addresses == LogAddresses::Full);
        tracing::info!(
            trace = %self.job.trace,
            host = self.peer.host,
            ip = %self.peer.address.ip(),
            tls = facts.tls,
            demand = self.peer.demand.word(),
            reused = facts.reused,
            result,
            code,
            trouble = shown.map(tracing::field::display),
            duration_ms = started.elapsed().as_millis() as u64,
            "attempt ended"
        );
    }

    fn note(&self, event: impl Display) {
        if let Some(dialogue) = &self.job.dialogue {
            dialogue.note('*', event);
        }
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
    async fn offer_all(
        &self,
        progress: &mut Progress,
        facts: &mut Facts,
    ) -> Result<Option<Connection>, Trouble> {
        let mut idle = self.job.upstreams.pool.take(self.peer);
        while progress.is_pending() {
            facts.reused = idle.is_some();
            let connection = match idle.take() {
                Some(mut connection) => {
                    connection.dialogue.clone_from(&self.job.dialogue);
                    connection
                }
                None => self.open().await?,
            };
            facts.tls = connection.tls.as_ref().map(|tls| tls.version);
            match self.offer_over(connection, progress).await {
                Ok(Some(open)) => return Ok(Some(open)),
                Err(trouble) if facts.reused && trouble.is_staleness() => {
                    tracing::debug!(peer = %self.peer, %trouble, "idle connection was stale");
                }
                ended => drop(ended?),
            }
        }
        Ok(None)
    }

    async fn open(&self) -> Result<Connection, Trouble> {
        let Job { options, upstreams, .. } = self.job;
        let opener = Opener {
            options,
            policies: &upstreams.policies,
            sighting: self.sighting,
            metrics: &upstreams.metrics,
            dialogue: self.job.dialogue.as_ref(),
            until: self.budget.envelope,
        };
        opener.open(self.peer).await
    }

    /// Transactions over one connection until all is settled or it has had enough; more than one only
    /// where the upstream limits recipients.
    async fn offer_over(
        &self,
        mut connection: Connection,
        progress: &mut Progress,
    ) -> Result<Option<Connection>, Trouble> {
        loop {
            match self.transaction(&mut connection, 0).run(progress).await {
                Ok(Ending::Answered) if progress.is_pending() && connection.is_reusable() => {}
                ended => return self.close(connection, ended, progress),
            }
        }
    }

    fn transaction<'a>(&'a self, connection: &'a mut Connection, recipients: usize) -> Transaction<'a> {
        let timing = self.job.options.timing;
        Transaction { connection, offer: self.offer, budget: self.budget, timing, recipients }
    }

    /// What becomes of the connection when a transaction ended, or did not end yet.
    fn close(
        &self,
        connection: Connection,
        ended: Result<Ending, Trouble>,
        progress: &mut Progress,
    ) -> Result<Option<Connection>, Trouble> {
        let (timing, pool) = (self.job.options.timing, &self.job.upstreams.pool);
        match ended {
            Ok(Ending::Open) => return Ok(Some(connection)),
            Ok(Ending::Answered) => pool.release(connection, timing),
            Ok(Ending::Awaiting { copies, dot_at }) => {
                if self.budget.reply.is_enough_to_blame(dot_at) {
                    progress.note_overdue();
                }
                let masks = self.offer.copies.iter();
                let masks = masks.map(|copy| (copy.alias.clone(), copy.forward_path.clone())).collect();
                Late { connection, dot_at, timing, pool: pool.clone(), masks }.follow(copies, progress);
            }
            Err(trouble) => {
                if trouble.leaves_connection() {
                    pool.release(connection, timing);
                }
                return Err(trouble);
            }
        }
        Ok(None)
    }
}
