//! `EventService`: what becomes of transactions, as it happens. A reader that is too slow holds up nobody.

use std::pin::Pin;

use futures_util::Stream;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{convert, page, status};
use crate::cluster::operate::NodeName;
use crate::journal::{Criteria, Delivery, Happened, Journal, JournalError, Outcome, Recorded, SEARCH_LIMIT};
use crate::mail::{Domain, TraceId};
use crate::proto::admin::v1::event_service_server::EventService;
use crate::proto::admin::v1::{Event, QueueEvent, TailEventsRequest, event, trace};

/// Events between the journal and the connection.
const BUFFER_EVENTS: usize = 64;
/// What a resume token is bound to; any filter may go on from any event.
const SCOPE: &str = "events";

/// Streams from the journal.
#[derive(Debug)]
pub(super) struct Events {
    pub(super) node: NodeName,
    pub(super) journal: Journal,
    /// Streams end with it, or the listener could not.
    pub(super) shutdown: CancellationToken,
}

#[tonic::async_trait]
impl EventService for Events {
    type TailEventsStream = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;

    async fn tail_events(
        &self,
        request: Request<TailEventsRequest>,
    ) -> Result<Response<Self::TailEventsStream>, Status> {
        let request = request.into_inner();
        let filter = Filter::new(&request)?;
        let resume = page::key(SCOPE, &request.resume_token)
            .ok()
            .map(|key| key.map(|key| key.parse::<u64>()).transpose())
            .and_then(Result::ok)
            .ok_or_else(|| status::invalid("resume_token", "is not a token of an event"))?;
        // Subscribed before the journal is read, so that nothing falls between.
        let live = self.journal.subscribe();
        let (sender, receiver) = mpsc::channel(BUFFER_EVENTS);
        let tail = Tail { node: self.node.clone(), journal: self.journal.clone(), filter, sender };
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = tail.run(resume, request.follow, live) => ended,
                () = shutdown.cancelled() => Err(Some(Box::new(status::stopping()))),
            };
            if let Err(Some(status)) = ended {
                // The caller may be gone, or too slow to be told: then nobody is left to tell.
                let _ = tail.sender.try_send(Err(*status));
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// Which events are wanted.
#[derive(Debug)]
struct Filter {
    domain: Option<Domain>,
    outcome: Option<Outcome>,
}

impl Filter {
    fn new(request: &TailEventsRequest) -> Result<Self, Status> {
        let domain = match request.domain.as_str() {
            "" => None,
            domain => Some(Domain::parse(domain).map_err(|error| status::invalid("domain", error))?),
        };
        let outcome = match request.outcome() {
            trace::Outcome::Unspecified if request.outcome != 0 => {
                return Err(status::invalid("outcome", "is not a known outcome"));
            }
            trace::Outcome::Unspecified => None,
            trace::Outcome::Forwarded => Some(Outcome::Forwarded),
            trace::Outcome::Rejected => Some(Outcome::Rejected),
            trace::Outcome::Dropped => Some(Outcome::Dropped),
            trace::Outcome::Tempfailed => Some(Outcome::Tempfailed),
            trace::Outcome::Queued => Some(Outcome::Queued),
            trace::Outcome::PartlyRefused => Some(Outcome::PartlyRefused),
        };
        Ok(Self { domain, outcome })
    }

    fn wants(&self, recorded: &Recorded) -> bool {
        self.outcome.is_none_or(|outcome| outcome == recorded.entry.outcome)
            && (self.domain.is_none()
                || recorded.entry.recipients.iter().any(|recipient| self.is_of_domain(recipient)))
    }

    fn wants_later(&self, delivery: &Delivery) -> bool {
        self.outcome.is_none() && self.is_of_domain(&delivery.recipient)
    }

    fn is_of_domain(&self, recipient: &str) -> bool {
        let of = || recipient.rsplit_once('@').and_then(|(_, of)| Domain::parse(of).ok());
        self.domain.as_ref().is_none_or(|domain| of().as_ref() == Some(domain))
    }
}

/// One stream being written. The error `None` means that the caller hung up.
struct Tail {
    node: NodeName,
    journal: Journal,
    filter: Filter,
    sender: mpsc::Sender<Result<Event, Status>>,
}

type Ended = Option<Box<Status>>;

impl Tail {
    async fn run(
        &self,
        resume: Option<u64>,
        follow: bool,
        live: broadcast::Receiver<Happened>,
    ) -> Result<(), Ended> {
        let sent = match (resume, follow) {
            (Some(after), _) => self.kept_after(after).await?,
            (None, true) => 0,
            (None, false) => return self.newest().await,
        };
        if follow { self.follow(sent, live).await } else { Ok(()) }
    }

    /// Sends all kept after a sequence; returns the last one looked at.
    async fn kept_after(&self, mut after: u64) -> Result<u64, Ended> {
        loop {
            let batch = self.journal.after(after).await.map_err(failed)?;
            let Some(last) = batch.last() else { return Ok(after) };
            after = last.sequence;
            for recorded in &batch {
                self.send(recorded).await?;
            }
        }
    }

    /// Sends the newest of those kept that match, oldest first.
    async fn newest(&self) -> Result<(), Ended> {
        let (mut wanted, mut before) = (Vec::new(), None);
        while wanted.len() < SEARCH_LIMIT {
            let criteria = Criteria { before, limit: SEARCH_LIMIT, ..Criteria::default() };
            let page = self.journal.search(criteria).await.map_err(failed)?;
            wanted.extend(page.found.into_iter().filter(|recorded| self.filter.wants(recorded)));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        for recorded in wanted.iter().take(SEARCH_LIMIT).rev() {
            self.send(recorded).await?;
        }
        Ok(())
    }

    async fn follow(&self, mut sent: u64, mut live: broadcast::Receiver<Happened>) -> Result<(), Ended> {
        loop {
            let received = tokio::select! {
                received = live.recv() => received,
                () = self.sender.closed() => return Err(None),
            };
            match received {
                Ok(Happened::Ended(recorded)) if recorded.sequence <= sent => {}
                Ok(Happened::Ended(recorded)) => {
                    sent = recorded.sequence;
                    self.send(&recorded).await?;
                }
                Ok(Happened::Later(id, delivery)) => self.send_later(id, &delivery, sent).await?,
                Err(RecvError::Lagged(dropped)) => {
                    self.tell(event::Kind::Dropped(dropped), sent).await?;
                }
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }

    async fn send_later(&self, id: TraceId, delivery: &Delivery, sent: u64) -> Result<(), Ended> {
        if !self.filter.wants_later(delivery) {
            return Ok(());
        }
        let event = QueueEvent { id: id.to_string(), delivery: Some(convert::delivery(delivery)) };
        self.tell(event::Kind::Queue(event), sent).await
    }

    async fn send(&self, recorded: &Recorded) -> Result<(), Ended> {
        if !self.filter.wants(recorded) {
            return Ok(());
        }
        let kind = event::Kind::Trace(convert::trace(&self.node, &recorded.entry, &[]));
        self.tell(kind, recorded.sequence).await
    }

    async fn tell(&self, kind: event::Kind, sent: u64) -> Result<(), Ended> {
        let event = Event { kind: Some(kind), resume_token: token(sent), node: self.node.to_string() };
        self.sender.send(Ok(event)).await.map_err(|_| None)
    }
}

/// The token to go on after an entry; none before the first one.
fn token(sequence: u64) -> String {
    if sequence == 0 { String::new() } else { page::token(SCOPE, &sequence.to_string()) }
}

fn failed(error: JournalError) -> Ended {
    Some(Box::new(status::internal(&error)))
}
