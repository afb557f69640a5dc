//! `QueueService`: the queue as operators see it, and what they order of it.

use std::future::Future;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use tonic::{Code, Request, Response, Status};

use super::auth::Actor;
use super::convert::{self, Longest};
use super::page;
use super::status::{self, Kind, Reason};
use super::write::Write;
use crate::clock;
use crate::cluster::operate::NodeName;
use crate::mail::{Address, Domain, TraceId};
use crate::pipeline::queue::{self, Queue, QueueError};
use crate::proto::admin::v1::message_selection::{All, Names, Which};
use crate::proto::admin::v1::queue_service_server::QueueService;
use crate::proto::admin::v1::queued_message::{Attempt, Copy, State};
use crate::proto::admin::v1::{
    self as wire, CancelMessagesRequest, CancelMessagesResponse, GetMessageRequest, GetQueueRequest,
    ListMessagesRequest, ListMessagesResponse, ListSuspensionsRequest, ListSuspensionsResponse,
    MessageFilter, MessageSelection, OrderResult, QueuedMessage, ResumeDestinationRequest,
    RetryMessagesRequest, RetryMessagesResponse, SuspendDestinationRequest, Suspension,
};
use crate::routing::{self, Changed, MAX_REASON_CHARS, Routing};
use crate::spool::{CopyState, Described, LastAttempt, QueuedCopy};

/// Messages that one call acts on.
const MAX_BATCH: usize = page::MAX_SIZE;
/// Messages acted on at a time: the disk's group commit serves all that wait.
const AT_ONCE: usize = 64;
/// Longest suspension that has an end.
const MAX_SUSPENSION: Longest = Longest { hours: 365 * 24, text: "365 days" };
/// Longest name of a message, in octets.
const MAX_NAME_OCTETS: usize = 320;

/// Answers from the queue.
pub(super) struct Queues {
    pub(super) node: NodeName,
    pub(super) queue: Queue,
    /// Which remembers what was suspended and resumed.
    pub(super) routing: Routing,
}

#[tonic::async_trait]
impl QueueService for Queues {
    async fn get_queue(&self, request: Request<GetQueueRequest>) -> Result<Response<wire::Queue>, Status> {
        if request.into_inner().name != "queue" {
            return Err(status::invalid("name", "is not \"queue\""));
        }
        let status = self.queue.status().await.map_err(failed)?;
        let queue::Status { counts, oldest, quarantined } = status;
        Ok(Response::new(wire::Queue {
            name: "queue".to_owned(),
            waiting: count(counts.waiting),
            awaiting_reply: count(counts.awaiting_reply),
            unknown: count(counts.unknown),
            octets: count(counts.octets),
            oldest_receive_time: oldest.map(Into::into),
            quarantined: count(quarantined),
            node: self.node.to_string(),
        }))
    }

    async fn get_message(
        &self,
        request: Request<GetMessageRequest>,
    ) -> Result<Response<QueuedMessage>, Status> {
        let id = message_id("name", &request.into_inner().name)?;
        let found = self.queue.show(id).await.map_err(failed)?;
        let found = found.ok_or_else(|| not_found(id))?;
        Ok(Response::new(message(&self.node, &found, Detail::Full)))
    }

    async fn list_messages(
        &self,
        request: Request<ListMessagesRequest>,
    ) -> Result<Response<ListMessagesResponse>, Status> {
        let request = request.into_inner();
        let (filter, scope) = filter(request.filter.as_ref())?;
        let size = page::size(request.page_size)?;
        let after = after(&scope, &request.page_token)?;
        let page = self.queue.list(&filter, after, size).await.map_err(failed)?;
        let messages = page.found.iter().map(|found| message(&self.node, found, Detail::Summary)).collect();
        Ok(Response::new(ListMessagesResponse { messages, next_page_token: next(&scope, &page) }))
    }

    async fn retry_messages(
        &self,
        request: Request<RetryMessagesRequest>,
    ) -> Result<Response<RetryMessagesResponse>, Status> {
        let actor = Actor::of(&request);
        let RetryMessagesRequest { selection, validate_only, page_token } = request.into_inner();
        let (ids, next_page_token) = self.select(selection, &page_token).await?;
        let result = if validate_only {
            rehearsed(&actor, &ids)
        } else {
            act(&actor, ids, |id| self.queue.retry(id)).await?
        };
        Ok(Response::new(RetryMessagesResponse { result: Some(result), next_page_token }))
    }

    async fn cancel_messages(
        &self,
        request: Request<CancelMessagesRequest>,
    ) -> Result<Response<CancelMessagesResponse>, Status> {
        let actor = Actor::of(&request);
        let CancelMessagesRequest { selection, validate_only, page_token } = request.into_inner();
        let (ids, next_page_token) = self.select(selection, &page_token).await?;
        let result = if validate_only {
            rehearsed(&actor, &ids)
        } else {
            act(&actor, ids, |id| self.queue.cancel(id)).await?
        };
        Ok(Response::new(CancelMessagesResponse { result: Some(result), next_page_token }))
    }

    async fn list_suspensions(
        &self,
        request: Request<ListSuspensionsRequest>,
    ) -> Result<Response<ListSuspensionsResponse>, Status> {
        const SCOPE: &str = "queue/suspensions";
        let request = request.into_inner();
        let size = page::size(request.page_size)?;
        let after = page::key(SCOPE, &request.page_token)?;
        let behind =
            |found: &Arc<routing::Suspension>| after.as_deref().is_none_or(|at| found.domain.as_str() > at);
        let token = |found: &Arc<routing::Suspension>| page::token(SCOPE, found.domain.as_str());
        let (found, next_page_token) =
            page::take(self.queue.suspensions().into_iter().filter(behind), size, token);
        let suspensions = found.iter().map(|found| suspension(found)).collect();
        Ok(Response::new(ListSuspensionsResponse { suspensions, next_page_token }))
    }

    async fn suspend_destination(
        &self,
        request: Request<SuspendDestinationRequest>,
    ) -> Result<Response<Suspension>, Status> {
        let write = Write::of(&request)?;
        if let Some(done) = write.before(&self.routing)? {
            return suspended(&done, &write.actor);
        }
        let SuspendDestinationRequest { domain, reason, duration, request_id: _ } = request.into_inner();
        let domain = parse_domain("domain", &domain)?;
        if reason.chars().count() > MAX_REASON_CHARS || reason.chars().any(char::is_control) {
            let text = format!("is longer than {MAX_REASON_CHARS} characters, or holds control characters");
            return Err(status::invalid("reason", text));
        }
        let until =
            duration.map(|duration| convert::end_of(clock::now(), &duration, &MAX_SUSPENSION)).transpose()?;
        let changed = self.queue.suspend(write.asker(), domain, until, reason).await.map_err(failed)?;
        suspended(&changed, &write.actor)
    }

    async fn resume_destination(
        &self,
        request: Request<ResumeDestinationRequest>,
    ) -> Result<Response<pbjson_types::Empty>, Status> {
        let write = Write::of(&request)?;
        let before = write.before(&self.routing)?;
        let name = request.into_inner().name;
        let domain = name
            .strip_prefix("queue/suspensions/")
            .ok_or_else(|| status::invalid("name", "is not of the form queue/suspensions/DOMAIN"))?;
        let domain = parse_domain("name", domain)?;
        write.actor.about(&name);
        let revision = match before {
            Some(_) => self.routing.snapshot().revision(),
            None => self.queue.resume(write.asker(), &domain).await.map_err(failed)?,
        };
        write.actor.did(&format!("queue/suspensions/{domain}"), revision);
        Ok(Response::new(pbjson_types::Empty {}))
    }
}

/// What the audit log calls the messages of an order.
const MESSAGES: &str = "queue/messages/-";

/// What an order would do.
fn rehearsed(actor: &Actor, ids: &[TraceId]) -> OrderResult {
    actor.rehearsed(MESSAGES);
    OrderResult { count: count(ids.len() as u64), busy: Vec::new() }
}

/// Carries an order out, and says in the log how far it came. What has left the queue meanwhile is passed over; a
/// failure leaves the other messages to be done.
async fn act<F>(actor: &Actor, ids: Vec<TraceId>, order: impl Fn(TraceId) -> F) -> Result<OrderResult, Status>
where
    F: Future<Output = Result<(), QueueError>> + Send,
{
    let orders = ids.into_iter().map(order).collect::<Vec<_>>();
    let done: Vec<Result<(), QueueError>> = stream::iter(orders).buffer_unordered(AT_ONCE).collect().await;
    let mut result = OrderResult::default();
    let mut failure = None;
    for outcome in done {
        match outcome {
            Ok(()) => result.count += 1,
            Err(QueueError::Busy(id)) => result.busy.push(resource_name(id)),
            Err(QueueError::Unknown(_)) => {}
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    actor.did_to(MESSAGES, result.count);
    match failure {
        None => Ok(result),
        Some(error) => Err(status::storage_after(&error, result.count)),
    }
}

impl Queues {
    /// The ids that are meant, and where the next call goes on.
    async fn select(
        &self,
        selection: Option<MessageSelection>,
        page_token: &str,
    ) -> Result<(Vec<TraceId>, String), Status> {
        let missing = || {
            let text = "names, a filter with a criterion, or all is required";
            status::new(Code::InvalidArgument, Reason::InvalidField, text, &[])
        };
        let asked = match selection.and_then(|selection| selection.which).ok_or_else(missing)? {
            Which::Names(Names { names }) if names.is_empty() => return Err(missing()),
            Which::Names(Names { names }) => return Ok((self.existing(&names).await?, String::new())),
            Which::Filter(filter) if filter == MessageFilter::default() => return Err(missing()),
            Which::Filter(filter) => Some(filter),
            Which::All(All {}) => None,
        };
        let (filter, scope) = filter(asked.as_ref())?;
        let after = after(&scope, page_token)?;
        let page = self.queue.list(&filter, after, MAX_BATCH).await.map_err(failed)?;
        Ok((page.found.iter().map(|found| found.queued.id).collect(), next(&scope, &page)))
    }

    /// The ids of messages that all exist.
    async fn existing(&self, names: &[String]) -> Result<Vec<TraceId>, Status> {
        if names.len() > MAX_BATCH {
            return Err(status::invalid("selection.names", format!("are more than {MAX_BATCH}")));
        }
        let mut ids = Vec::with_capacity(names.len());
        for name in names {
            let id = message_id("selection.names", name)?;
            self.queue.show(id).await.map_err(failed)?.ok_or_else(|| not_found(id))?;
            ids.push(id);
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }
}

/// The filter, and the scope that page tokens are bound to.
fn filter(asked: Option<&MessageFilter>) -> Result<(queue::Filter, String), Status> {
    let Some(MessageFilter { domain, state, sender }) = asked else {
        return Ok((queue::Filter::default(), "queue/messages".to_owned()));
    };
    let scope = format!("queue/messages\0{domain}\0{state}\0{sender}");
    let domain = if domain.is_empty() { None } else { Some(parse_domain("filter.domain", domain)?) };
    let wanted =
        State::try_from(*state).map_err(|_| status::invalid("filter.state", "is not a known value"))?;
    let state = match wanted {
        State::Unspecified => None,
        State::Waiting => Some(CopyState::Waiting),
        State::AwaitingReply => Some(CopyState::AwaitingReply),
        State::Unknown => Some(CopyState::Unknown),
    };
    let sender = match sender.as_str() {
        "" => None,
        text => Some(Address::parse(text).map_err(|error| status::invalid("filter.sender", error))?),
    };
    Ok((queue::Filter { domain, state, sender }, scope))
}

fn after(scope: &str, token: &str) -> Result<Option<TraceId>, Status> {
    let parse =
        |key: String| key.parse().map_err(|_| status::invalid("page_token", "is not a token of this list"));
    page::key(scope, token)?.map(parse).transpose()
}

fn next(scope: &str, page: &queue::Page) -> String {
    page.next.map_or_else(String::new, |last| page::token(scope, &last.to_string()))
}

fn message_id(field: &str, name: &str) -> Result<TraceId, Status> {
    if name.len() > MAX_NAME_OCTETS {
        return Err(status::invalid(field, format!("is longer than {MAX_NAME_OCTETS} octets")));
    }
    let id = name.strip_prefix("queue/messages/").and_then(|id| id.parse().ok());
    id.ok_or_else(|| status::invalid(field, format!("\"{name}\" is not of the form queue/messages/ID")))
}

fn parse_domain(field: &str, text: &str) -> Result<Domain, Status> {
    Domain::parse(text).map_err(|error| status::invalid(field, error))
}

fn resource_name(id: TraceId) -> String {
    format!("queue/messages/{id}")
}

fn not_found(id: TraceId) -> Status {
    status::not_found(Kind::Message, &resource_name(id))
}

/// What the queue says, for the wire.
fn failed(error: QueueError) -> Status {
    match error {
        QueueError::Unknown(id) => not_found(id),
        QueueError::NotSuspended(domain) => {
            status::not_found(Kind::Suspension, &format!("queue/suspensions/{domain}"))
        }
        QueueError::Busy(_) => status::new(Code::Aborted, Reason::MessageBusy, &error.to_string(), &[]),
        QueueError::Spool(_) => status::storage(&error),
        QueueError::Routing(error) => status::routing(&error, "queue/suspensions"),
    }
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// How much of a message is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// Without dialogues.
    Summary,
    /// All of it.
    Full,
}

fn message(node: &NodeName, described: &Described, detail: Detail) -> QueuedMessage {
    let Described { queued, octets } = described;
    QueuedMessage {
        name: resource_name(queued.id),
        id: queued.id.to_string(),
        receive_time: Some(queued.received_at.into()),
        reverse_path: queued.reverse_path.to_string(),
        copies: queued.copies.iter().map(|one| copy(one, detail)).collect(),
        octets: count(*octets),
        node: node.to_string(),
    }
}

fn copy(copy: &QueuedCopy, detail: Detail) -> Copy {
    let state = match copy.state {
        CopyState::Waiting => State::Waiting,
        CopyState::AwaitingReply => State::AwaitingReply,
        CopyState::Unknown => State::Unknown,
    };
    Copy {
        alias: copy.alias.to_string(),
        destination: copy.destination.to_string(),
        state: state.into(),
        attempts: i32::try_from(copy.attempts).unwrap_or(i32::MAX),
        next_attempt_time: copy.state.is_scheduled().then(|| copy.due.into()),
        last_attempt: copy.last.as_ref().map(|last| attempt(last, detail)),
    }
}

fn attempt(last: &LastAttempt, detail: Detail) -> Attempt {
    Attempt {
        time: Some(last.at.into()),
        host: last.host.clone(),
        code: last.code.into(),
        enhanced_code: last.enhanced.map(|enhanced| enhanced.to_string()).unwrap_or_default(),
        text: last.lines.join("\n"),
        dialogue: if detail == Detail::Full { last.dialogue.clone() } else { Vec::new() },
    }
}

fn suspended(changed: &Changed, actor: &Actor) -> Result<Response<Suspension>, Status> {
    let Changed::Suspension(suspended) = changed else { return Err(status::unexpected("a suspension")) };
    actor.did(&suspended.resource_name(), suspended.revision);
    Ok(Response::new(suspension(suspended)))
}

fn suspension(suspension: &routing::Suspension) -> Suspension {
    Suspension {
        name: suspension.resource_name(),
        domain: suspension.domain.to_string(),
        reason: suspension.reason.clone(),
        create_time: Some(suspension.since.into()),
        expire_time: suspension.until.map(Into::into),
    }
}

#[cfg(test)]
#[path = "act_tests.rs"]
mod tests;
