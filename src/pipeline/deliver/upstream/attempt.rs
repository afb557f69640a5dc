//! One attempt: the message, or its envelope alone, offered at one address, over an idle connection where there is
//! one. Counts and logs what came of it.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::address_error::{AddressError, CONNECTING, Peer};
use super::connect::Opener;
use super::connection::{Connection, Phase, within};
use super::dialogue::Dialogue;
use super::late::Late;
use super::outcomes::{Outcomes, summary, unknown};
use super::outgoing::Content;
use super::pool::Pool;
use super::provider;
use super::transaction::{Budget, Data, Ending, Fed, Offer, Opened, Transaction};
use crate::config::LogAddresses;
use crate::mail::TraceId;
use crate::pipeline::deadline::had_time_to_connect;
use crate::pipeline::deliver::options::Options;
use crate::telemetry::Metrics;
use crate::telemetry::labels::{AttemptResult, IpFamily, Label, TlsVersion};
use crate::tls::{Policies, Sighting};

/// What attempts work with.
#[derive(Clone, Copy)]
pub(crate) struct Means<'a> {
    pub(crate) options: &'a Options,
    pub(crate) policies: &'a Policies,
    pub(crate) pool: &'a Arc<Pool>,
    pub(crate) metrics: &'a Arc<Metrics>,
    /// Where what is said is kept, if anywhere.
    pub(crate) dialogue: Option<&'a Dialogue>,
    pub(crate) trace: TraceId,
}

/// What is tried where, and until when.
#[derive(Clone, Copy)]
pub(crate) struct Trial<'a> {
    pub(crate) means: Means<'a>,
    pub(crate) offer: Offer<'a>,
    pub(crate) peer: &'a Peer,
    pub(crate) sighting: Sighting<'a>,
    pub(crate) budget: Budget,
}

/// What came of an attempt. Copies that are in none of it may be offered elsewhere.
#[derive(Default)]
pub(crate) struct Turnout {
    /// The copies that are settled.
    pub(crate) outcomes: Outcomes,
    /// The transaction that waits for the message, and the copies that were taken for it.
    pub(crate) open: Option<Opening>,
    /// Why the last connection was in the clear though TLS was offered.
    pub(crate) fallback: Option<Arc<str>>,
    /// What broke it off.
    pub(crate) trouble: Option<AddressError>,
    /// Whether the upstream owes an answer to our dot that it had the time to give.
    pub(crate) is_overdue: bool,
}

/// An envelope that the upstream takes, over this connection.
pub(crate) struct Opening {
    pub(crate) connection: Connection,
    pub(crate) opened: Opened,
}

/// One attempt at one address.
pub(crate) struct Attempt<'a> {
    trial: Trial<'a>,
    /// The time for TCP, where it is less than usual.
    pub(crate) connect_limit: Option<Duration>,
    started: Instant,
    /// Copies that are still to be offered.
    left: Vec<usize>,
    turnout: Turnout,
    tls: Option<TlsVersion>,
    reused: bool,
}

impl<'a> Attempt<'a> {
    /// Of these copies.
    pub(crate) fn new(trial: Trial<'a>, copies: Vec<usize>) -> Self {
        let started = Instant::now();
        Self {
            trial,
            connect_limit: None,
            started,
            left: copies,
            turnout: Turnout::default(),
            tls: None,
            reused: false,
        }
    }

    /// Both phases, as often as it takes: an upstream may want few recipients in a transaction.
    pub(crate) async fn deliver(mut self, content: &Content) -> Turnout {
        self.note(self.trial.peer);
        let ended = self.offer_all(Some(content)).await;
        self.end(ended)
    }

    /// The first phase alone: the transaction waits for the message.
    pub(crate) async fn open(mut self) -> Turnout {
        self.note(self.trial.peer);
        let ended = self.offer_all(None).await;
        self.end(ended)
    }

    /// More of the first phase: adds the copies to a transaction that was opened for earlier recipients, so many of
    /// them, and is open afterwards too.
    pub(crate) async fn add(mut self, mut connection: Connection, recipients: usize) -> Turnout {
        match self.transaction(&mut connection, recipients).add(&self.left).await {
            Ok(opened) => self.wait(connection, opened),
            Err(trouble) => {
                let trouble = self.leave(connection, trouble);
                self.turnout.trouble = Some(self.excuse(trouble));
            }
        }
        self.turnout
    }

    /// The second phase of a transaction that waited for the message.
    pub(crate) async fn feed(mut self, opening: Opening, content: &Content) -> Turnout {
        let Opening { mut connection, opened } = opening;
        self.reused = true;
        self.look_at(&connection);
        let transaction = self.transaction(&mut connection, opened.taken.len());
        let Fed { outcomes, ending } = transaction.feed_later(opened, content).await;
        self.settle(outcomes);
        let ended = self.close(connection, ending);
        self.end(ended)
    }

    /// Counts and logs the attempt, unless it is to go on.
    fn end(mut self, ended: Result<(), AddressError>) -> Turnout {
        if let Err(trouble) = ended {
            let trouble = self.excuse(trouble);
            self.note(&trouble);
            self.turnout.trouble = Some(trouble);
        }
        if self.turnout.open.is_none() {
            self.tell();
        }
        self.turnout
    }

    /// A time-out is the upstream's only where it had the time to answer.
    fn excuse(&self, trouble: AddressError) -> AddressError {
        if let AddressError::TimedOut(step) = trouble
            && !self.trial.budget.envelope.is_enough_to_blame(self.started)
            && !(step == CONNECTING && had_time_to_connect(self.started))
        {
            return AddressError::CutShort(step);
        }
        trouble
    }

    /// By what came of its copies, or else by the trouble.
    fn tell(&self) {
        let Trial { means, peer, .. } = self.trial;
        let trouble = self.turnout.trouble.as_ref();
        let of_trouble =
            |trouble: &AddressError| (trouble.result(), trouble.reply().map_or(0, |reply| reply.code));
        let of_copies = summary(&self.turnout.outcomes);
        let (result, code) =
            of_copies.or_else(|| trouble.map(of_trouble)).unwrap_or((AttemptResult::Internal, 0));
        self.count(result);
        // An upstream's words may hold the address that they are about.
        let shown = trouble.filter(|_| means.options.log_addresses == LogAddresses::Full);
        tracing::info!(
            trace = %means.trace,
            host = peer.host,
            ip = %peer.address.ip(),
            tls = self.tls.map(Label::label),
            fallback = self.turnout.fallback.as_deref(),
            demand = peer.demand.word(),
            reused = self.reused,
            result = result.label(),
            code,
            trouble = shown.map(tracing::field::display),
            duration_ms = self.started.elapsed().as_millis() as u64,
            "attempt ended"
        );
    }

    fn note(&self, event: impl Display) {
        if let Some(dialogue) = self.trial.means.dialogue {
            dialogue.note('*', event);
        }
    }

    fn count(&self, result: AttemptResult) {
        let Trial { means, peer, .. } = self.trial;
        let provider = provider::of(&peer.host);
        let family = IpFamily::of(peer.address.ip());
        means.metrics.delivery_attempts_total.of((provider, family, result)).inc();
    }

    /// Transactions until nothing is left: over an idle connection first, then over fresh ones. An idle one
    /// that turns out to be dead before its dot costs nothing but one more try; copies whose dot was sent
    /// are settled as unknown by then and never offered again.
    async fn offer_all(&mut self, content: Option<&Content>) -> Result<(), AddressError> {
        let Trial { means, peer, .. } = self.trial;
        if content.is_none() {
            means.pool.has_plenty(peer.address.ip(), means.options).map_err(AddressError::NoPlace)?;
        }
        let mut idle = means.pool.take(peer);
        while !self.left.is_empty() && self.turnout.open.is_none() {
            self.reused = idle.is_some();
            let connection = match idle.take() {
                Some(mut connection) => {
                    connection.dialogue = means.dialogue.cloned();
                    connection
                }
                None => self.connect().await?,
            };
            self.look_at(&connection);
            match self.offer_over(connection, content).await {
                Err(trouble) if self.reused && trouble.is_staleness() => {
                    tracing::debug!(peer = %self.trial.peer, %trouble, "idle connection was stale");
                }
                ended => ended?,
            }
        }
        Ok(())
    }

    /// Notes how safe a connection is.
    fn look_at(&mut self, connection: &Connection) {
        self.tls = connection.tls.as_ref().map(|tls| tls.version);
        self.turnout.fallback = connection.fallback.clone();
    }

    async fn connect(&self) -> Result<Connection, AddressError> {
        let Trial { means, peer, sighting, budget, .. } = self.trial;
        let opener = Opener {
            options: means.options,
            policies: means.policies,
            pool: means.pool,
            sighting,
            metrics: means.metrics,
            dialogue: means.dialogue,
            connect_limit: self.connect_limit,
            trace: means.trace,
            until: budget.envelope,
        };
        opener.open(peer).await
    }

    /// Transactions over one connection until nothing is left or it has had enough; more than one only where the
    /// upstream limits recipients.
    async fn offer_over(
        &mut self,
        mut connection: Connection,
        content: Option<&Content>,
    ) -> Result<(), AddressError> {
        let data = if content.is_some() { Data::Along } else { Data::Later };
        loop {
            let mut opened = match self.transaction(&mut connection, 0).open(&self.left, data).await {
                Ok(opened) => opened,
                Err(trouble) => return Err(self.leave(connection, trouble)),
            };
            self.settle(std::mem::take(&mut opened.refused));
            if let Some(trouble) = opened.trouble.take() {
                return Err(self.leave(connection, trouble));
            }
            let ending = match content {
                _ if opened.taken.is_empty() => Ending::Answered,
                Some(content) => {
                    let Fed { outcomes, ending } =
                        self.transaction(&mut connection, 0).feed(opened, content).await;
                    self.settle(outcomes);
                    ending
                }
                None => {
                    self.wait(connection, opened);
                    return Ok(());
                }
            };
            let goes_on = matches!(ending, Ending::Answered) && !self.left.is_empty();
            if !(goes_on && self.is_ready(&mut connection).await) {
                return self.close(connection, ending);
            }
        }
    }

    /// Whether the connection takes another transaction.
    async fn is_ready(&self, connection: &mut Connection) -> bool {
        let Trial { means, budget, .. } = self.trial;
        let limit = within(means.options.timing.command, budget.envelope);
        connection.is_reusable() && (connection.phase == Phase::Clean || connection.reset(limit).await)
    }

    fn settle(&mut self, outcomes: Outcomes) {
        self.left.retain(|copy| outcomes.iter().all(|(settled, _)| settled != copy));
        self.turnout.outcomes.extend(outcomes);
    }

    /// Leaves a transaction open for the message.
    fn wait(&mut self, connection: Connection, mut opened: Opened) {
        self.settle(std::mem::take(&mut opened.refused));
        self.turnout.open = Some(Opening { connection, opened });
    }

    /// What becomes of the connection when its transaction has ended.
    fn close(&mut self, connection: Connection, ending: Ending) -> Result<(), AddressError> {
        let Trial { means, offer, budget, peer, .. } = self.trial;
        let timing = means.options.timing;
        match ending {
            Ending::Answered => means.pool.release(connection, timing),
            Ending::Awaiting { copies, dot_at } => {
                self.turnout.is_overdue = budget.reply.is_enough_to_blame(dot_at);
                let outcomes = match means.pool.late_place(peer.address.ip(), means.options) {
                    Some(place) => {
                        let masks = offer.copies.iter();
                        let masks =
                            masks.map(|copy| (copy.alias.clone(), copy.forward_path.clone())).collect();
                        let pool = means.pool.clone();
                        Late { connection, dot_at, timing, pool, masks, place }.follow(copies)
                    }
                    None => unknown(&connection.peer.host, copies),
                };
                self.settle(outcomes);
            }
            Ending::Broken(trouble) => return Err(self.leave(connection, trouble)),
        }
        Ok(())
    }

    /// Leaves a connection in trouble, for another message where it can take one.
    fn leave(&self, connection: Connection, trouble: AddressError) -> AddressError {
        let means = self.trial.means;
        if trouble.leaves_connection() {
            means.pool.release(connection, means.options.timing);
        }
        trouble
    }

    fn transaction<'c>(&self, connection: &'c mut Connection, recipients: usize) -> Transaction<'c>
    where
        'a: 'c,
    {
        let Trial { means, offer, budget, .. } = self.trial;
        Transaction { connection, offer, budget, timing: means.options.timing, recipients }
    }
}
