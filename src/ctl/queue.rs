//! `postroadctl queue`.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{ArgGroup, Subcommand, ValueEnum};
use futures_util::stream::{self, StreamExt};

use super::failure::{Failure, printable};
use super::nodes::{Answers, Node, Nodes};
use super::output::{Output, Row, ago, ahead, rfc3339};
use super::pages;
use super::session::{Session, Wire};
use crate::proto::Timestamp;
use crate::proto::admin::v1::message_selection::{All, Names, Which};
use crate::proto::admin::v1::queue_service_client::QueueServiceClient;
use crate::proto::admin::v1::queued_message::{Attempt, Copy, State};
use crate::proto::admin::v1::{
    CancelMessagesRequest, GetMessageRequest, GetQueueRequest, ListMessagesRequest, ListSuspensionsRequest,
    MessageFilter, MessageSelection, OrderResult, Queue, QueuedMessage, ResumeDestinationRequest,
    RetryMessagesRequest, SuspendDestinationRequest, Suspension,
};

/// Messages that are looked for at a time.
const AT_ONCE: usize = 16;

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    #[command(flatten)]
    Messages(Messages),
    #[command(flatten)]
    Suspensions(Suspensions),
}

/// What to do with messages, which each node has for itself.
#[derive(Debug, Subcommand)]
pub(super) enum Messages {
    /// Says how much is in the queue, and what of it could not be read.
    Status,
    /// Lists the messages, the oldest first.
    List {
        #[command(flatten)]
        filter: Filter,
    },
    /// Shows a message and the dialogue of its last attempt.
    Show {
        /// The message's id or name.
        id: String,
    },
    /// Has messages tried at once, whatever their back-off.
    Retry(Selection),
    /// Throws whole messages away, with all their copies, to other domains too; nobody is told.
    Cancel(Selection),
}

/// What to do with destinations, alike on every node.
#[derive(Debug, Subcommand)]
pub(super) enum Suspensions {
    /// Stops deliveries to a destination: what comes for it meanwhile goes to the queue.
    Suspend {
        /// The destination's domain.
        destination: String,
        /// For how long (`1h`, `2days`); without it, until it is resumed.
        #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
        duration: Option<Duration>,
        /// Why.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Takes deliveries to a destination up again, at once.
    Resume {
        /// The destination's domain.
        destination: String,
    },
    /// Lists the destinations that are suspended.
    #[command(name = "suspensions")]
    List,
}

/// Which messages.
#[derive(Debug, clap::Args)]
pub(super) struct Filter {
    /// Only with an alias or a destination in this domain.
    #[arg(long, value_name = "D")]
    domain: Option<String>,
    /// Only in this state.
    #[arg(long, value_enum, value_name = "S")]
    state: Option<Wanted>,
    /// Only from this reverse-path.
    #[arg(long, value_name = "ADDRESS")]
    sender: Option<String>,
}

/// A state by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Wanted {
    /// The next attempt has its time.
    Waiting,
    /// The upstream owes its answer.
    AwaitingReply,
    /// Delivered or not, nobody knows.
    Unknown,
}

/// Which messages are acted on: some, those that match, or all of them.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("which").required(true).multiple(true).args(["ids", "domain", "state", "sender", "all"]))]
pub(super) struct Selection {
    /// The messages' ids or names.
    #[arg(value_name = "ID", conflicts_with_all = ["domain", "state", "sender", "all"])]
    ids: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// Every message in the queue.
    #[arg(long, conflicts_with_all = ["domain", "state", "sender"])]
    all: bool,
    /// Only count them.
    #[arg(long)]
    dry_run: bool,
}

type Client = QueueServiceClient<Wire>;

pub(super) async fn run(order: Messages, nodes: &Nodes, output: &mut Output<'_>) -> Result<(), Failure> {
    if nodes.are_several() {
        output.name_nodes();
    }
    match order {
        Messages::Status => {
            let Answers { said, missing } = nodes.ask(|node| status(node.session)).await?;
            output.of_each(&said)?;
            missing.end()
        }
        Messages::List { filter } => {
            let filter = filter.wire();
            let Answers { said, missing } = nodes.ask(|node| list(filter.clone(), node.session)).await?;
            output.list("messages", &merged(said))?;
            missing.end()
        }
        Messages::Show { id } => {
            let message = nodes.first(|node| get(resource_name(&id), node.session)).await?;
            if output.is_table() { show(&message, output) } else { output.json(&message) }
        }
        Messages::Retry(selection) => {
            let done = if selection.dry_run { "would be tried now" } else { "tried now" };
            let ordered = each(selection, nodes, retry).await?;
            report(ordered, done, output)
        }
        Messages::Cancel(selection) => {
            let done = if selection.dry_run { "would be cancelled" } else { "cancelled" };
            let ordered = each(selection, nodes, cancel).await?;
            report(ordered, done, output)
        }
    }
}

pub(super) async fn run_on_suspensions(
    order: Suspensions,
    session: &Session,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    match order {
        Suspensions::Suspend { destination, duration, reason } => {
            let request = SuspendDestinationRequest {
                domain: destination,
                reason,
                duration: duration.map(Into::into),
                request_id: session.request_id(),
            };
            let suspension = session
                .write(request, |wire, request| async move {
                    Client::new(wire).suspend_destination(request).await
                })
                .await?;
            output.resource(&suspension)?;
            output.next(&format!("queue resume {}", suspension.domain));
            Ok(())
        }
        Suspensions::Resume { destination } => resume(&destination, session, output).await,
        Suspensions::List => output.list("suspensions", &suspensions(session).await?),
    }
}

async fn status(session: Session) -> Result<Queue, Failure> {
    let request = GetQueueRequest { name: "queue".to_owned() };
    session.read(request, |wire, request| async move { Client::new(wire).get_queue(request).await }).await
}

async fn get(name: String, session: Session) -> Result<QueuedMessage, Failure> {
    let request = GetMessageRequest { name };
    session.read(request, |wire, request| async move { Client::new(wire).get_message(request).await }).await
}

/// The messages of all nodes, the oldest first.
fn merged(mut of_each: Vec<Vec<QueuedMessage>>) -> Vec<QueuedMessage> {
    if of_each.len() == 1 {
        return of_each.pop().unwrap_or_default();
    }
    let mut messages: Vec<QueuedMessage> = of_each.into_iter().flatten().collect();
    messages.sort_by_cached_key(|message| {
        (message.receive_time.as_ref().and_then(Timestamp::time), message.id.clone())
    });
    messages
}

/// Has each node do what is ordered of its messages: of some, the node that has them. Nothing is done while one of those that
/// are named is nowhere.
async fn each<F>(
    selection: Selection,
    nodes: &Nodes,
    order: impl Fn(MessageSelection, bool, Session) -> F,
) -> Result<Answers<OrderResult>, Failure>
where
    F: Future<Output = Result<OrderResult, Failure>>,
{
    let dry_run = selection.dry_run;
    let selection = selection.wire();
    let Some(Which::Names(Names { names })) = selection.which.as_ref().filter(|_| nodes.are_several()) else {
        return nodes.ask(|node| order(selection.clone(), dry_run, node.session)).await;
    };
    let owners = owners(names, nodes).await?;
    let ask = |node: Node| {
        let names = owners.get(&node.name).cloned().unwrap_or_default();
        let which = Some(Which::Names(Names { names }));
        order(MessageSelection { which }, dry_run, node.session)
    };
    nodes.among(|name| owners.contains_key(name)).ask(ask).await
}

/// The names of messages, by the node that has them.
async fn owners(names: &[String], nodes: &Nodes) -> Result<BTreeMap<String, Vec<String>>, Failure> {
    let asked = names.iter().map(|name| nodes.first(|node| get(name.clone(), node.session)));
    let mut found = stream::iter(asked.collect::<Vec<_>>()).buffered(AT_ONCE);
    let mut owners = BTreeMap::<String, Vec<String>>::new();
    while let Some(message) = found.next().await {
        let message = message?;
        owners.entry(message.node).or_default().push(message.name);
    }
    Ok(owners)
}

async fn list(filter: Option<MessageFilter>, session: Session) -> Result<Vec<QueuedMessage>, Failure> {
    pages::all(async |page_token| {
        let request = ListMessagesRequest { filter: filter.clone(), page_size: super::PAGE_SIZE, page_token };
        let page = session
            .read(request, |wire, request| async move { Client::new(wire).list_messages(request).await })
            .await?;
        Ok((page.messages, page.next_page_token))
    })
    .await
}

async fn retry(
    selection: MessageSelection,
    validate_only: bool,
    session: Session,
) -> Result<OrderResult, Failure> {
    let results = pages::all(async |page_token| {
        let request = RetryMessagesRequest { selection: Some(selection.clone()), validate_only, page_token };
        let page = session
            .order(request, |wire, request| async move { Client::new(wire).retry_messages(request).await })
            .await?;
        Ok((page.result.into_iter().collect(), page.next_page_token))
    });
    Ok(sum(results.await?))
}

async fn cancel(
    selection: MessageSelection,
    validate_only: bool,
    session: Session,
) -> Result<OrderResult, Failure> {
    let results = pages::all(async |page_token| {
        let request = CancelMessagesRequest { selection: Some(selection.clone()), validate_only, page_token };
        let page = session
            .order(request, |wire, request| async move { Client::new(wire).cancel_messages(request).await })
            .await?;
        Ok((page.result.into_iter().collect(), page.next_page_token))
    });
    Ok(sum(results.await?))
}

/// A call acts on a page of messages; all calls together are one answer.
fn sum(results: Vec<OrderResult>) -> OrderResult {
    results.into_iter().fold(OrderResult::default(), |mut sum, result| {
        sum.count += result.count;
        sum.busy.extend(result.busy);
        sum
    })
}

/// Prints what came of an order; messages that were left alone are a failure, and so are nodes that say nothing.
fn report(ordered: Answers<OrderResult>, done: &str, output: &mut Output<'_>) -> Result<(), Failure> {
    let Answers { said, mut missing } = ordered;
    let result = sum(said);
    if output.is_table() {
        let plural = if result.count == 1 { "" } else { "s" };
        output.talk(&format!("{} message{plural} {done}", result.count));
    } else {
        output.json(&result)?;
    }
    missing.note(result.busy.first().map(|first| {
        format!(
            "{} left alone because a delivery is under way, the first of them {first}: try again",
            result.busy.len()
        )
    }));
    missing.end()
}

async fn resume(destination: &str, session: &Session, output: &mut Output<'_>) -> Result<(), Failure> {
    let name = format!("queue/suspensions/{}", destination.trim_start_matches("queue/suspensions/"));
    let request = ResumeDestinationRequest { name: name.clone(), request_id: session.request_id() };
    session
        .write(request, |wire, request| async move { Client::new(wire).resume_destination(request).await })
        .await?;
    output.removed(&name)
}

async fn suspensions(session: &Session) -> Result<Vec<Suspension>, Failure> {
    pages::all(async |page_token| {
        let request = ListSuspensionsRequest { page_size: super::PAGE_SIZE, page_token };
        let page = session
            .read(request, |wire, request| async move { Client::new(wire).list_suspensions(request).await })
            .await?;
        Ok((page.suspensions, page.next_page_token))
    })
    .await
}

impl Selection {
    fn wire(self) -> MessageSelection {
        let Self { ids, filter, all, .. } = self;
        let names = ids.iter().map(|id| resource_name(id)).collect();
        let which = match filter.wire() {
            Some(filter) => Which::Filter(filter),
            None if all => Which::All(All {}),
            None => Which::Names(Names { names }),
        };
        MessageSelection { which: Some(which) }
    }
}

impl Filter {
    /// `None` where nothing is asked.
    fn wire(self) -> Option<MessageFilter> {
        let state = match self.state {
            None => State::Unspecified,
            Some(Wanted::Waiting) => State::Waiting,
            Some(Wanted::AwaitingReply) => State::AwaitingReply,
            Some(Wanted::Unknown) => State::Unknown,
        };
        let filter = MessageFilter {
            domain: self.domain.unwrap_or_default(),
            state: state.into(),
            sender: self.sender.unwrap_or_default(),
        };
        Some(filter).filter(|filter| *filter != MessageFilter::default())
    }
}

fn resource_name(id: &str) -> String {
    if id.starts_with("queue/messages/") { id.to_owned() } else { format!("queue/messages/{id}") }
}

fn show(message: &QueuedMessage, output: &mut Output<'_>) -> Result<(), Failure> {
    let mut lines = vec![
        format!("message    {}", message.id),
        format!("received   {}", rfc3339(message.receive_time.as_ref())),
        format!("size       {} octets", message.octets),
        format!("from       <{}>", message.reverse_path),
    ];
    if output.names_nodes() {
        lines.push(format!("node       {}", message.node));
    }
    for copy in &message.copies {
        let Copy { alias, destination, attempts, .. } = copy;
        lines.push(format!("to         <{alias}> -> <{destination}>"));
        let next = ahead(copy.next_attempt_time.as_ref());
        lines.push(format!("  {}, tried {attempts} times, next {next}", state(copy)));
        if let Some(last) = &copy.last_attempt {
            lines.push(format!("  last {} at {}: {}", rfc3339(last.time.as_ref()), host(last), reply(last)));
            lines.extend(last.dialogue.iter().map(|line| format!("    {line}")));
        }
    }
    for line in lines {
        output.line(&printable(&line))?;
    }
    Ok(())
}

fn host(last: &Attempt) -> &str {
    if last.host.is_empty() { "no host" } else { &last.host }
}

/// `451 4.7.1 greylisted`, in one line.
fn reply(last: &Attempt) -> String {
    let code = if last.code == 0 { String::new() } else { last.code.to_string() };
    let text = last.text.replace('\n', " / ");
    [code, last.enhanced_code.clone(), text]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn state(copy: &Copy) -> String {
    copy.state().as_str_name().to_lowercase()
}

impl Row for Queue {
    const COLUMNS: &'static [&'static str] =
        &["WAITING", "AWAITING REPLY", "UNKNOWN", "OCTETS", "OLDEST", "QUARANTINED"];

    fn cells(&self) -> Vec<String> {
        let Self { waiting, awaiting_reply, unknown, octets, quarantined, .. } = self;
        let mut cells = [waiting, awaiting_reply, unknown, octets].map(ToString::to_string).to_vec();
        cells.extend([ago(self.oldest_receive_time.as_ref()), quarantined.to_string()]);
        cells
    }

    fn node(&self) -> Option<&str> {
        Some(&self.node)
    }
}

impl Row for QueuedMessage {
    const COLUMNS: &'static [&'static str] =
        &["ID", "AGE", "OCTETS", "STATE", "NEXT", "TRIES", "FROM", "ALIAS", "DESTINATION", "LAST REPLY"];

    fn cells(&self) -> Vec<String> {
        let Some(first) = self.copies.first() else { return vec!["-".to_owned(); Self::COLUMNS.len()] };
        let more = self.copies.len() - 1;
        let others = if more == 0 { String::new() } else { format!(" and {more} more") };
        vec![
            self.id.clone(),
            ago(self.receive_time.as_ref()),
            self.octets.to_string(),
            state(first),
            ahead(first.next_attempt_time.as_ref()),
            first.attempts.to_string(),
            format!("<{}>", self.reverse_path),
            format!("{}{others}", first.alias),
            first.destination.clone(),
            first.last_attempt.as_ref().map_or_else(|| "-".to_owned(), reply),
        ]
    }

    fn node(&self) -> Option<&str> {
        Some(&self.node)
    }
}

impl Row for Suspension {
    const COLUMNS: &'static [&'static str] = &["DESTINATION", "SINCE", "UNTIL", "REASON"];

    fn cells(&self) -> Vec<String> {
        let until = self.expire_time.as_ref();
        vec![
            self.domain.clone(),
            ago(self.create_time.as_ref()),
            until.map_or_else(|| "resumed".to_owned(), |until| rfc3339(Some(until))),
            self.reason.clone(),
        ]
    }
}
