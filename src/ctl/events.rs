//! `postroadctl events`.

use std::time::SystemTime;

use clap::ValueEnum;
use futures_util::stream::{Stream, StreamExt, select_all};
use tonic::{Request, Status, Streaming};

use super::failure::{Failure, printable};
use super::nodes::{Answers, Node, Nodes};
use super::output::{Output, rfc3339};
use super::session::Wire;
use super::trace::{outcome, told};
use crate::proto::Timestamp;
use crate::proto::admin::v1::event_service_client::EventServiceClient;
use crate::proto::admin::v1::{Event, TailEventsRequest, Trace, event, trace};

/// Which events.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Prints what happens from now on until it is interrupted; without it, the newest of what is kept.
    #[arg(long)]
    follow: bool,
    /// Only messages to this domain.
    #[arg(long, value_name = "D")]
    domain: Option<String>,
    /// Only messages that ended so.
    #[arg(long, value_name = "O", value_enum)]
    outcome: Option<Outcome>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Outcome {
    /// An upstream took it.
    Forwarded,
    /// Refused for good.
    Rejected,
    /// A rule dropped it.
    Dropped,
    /// Refused for now.
    Tempfailed,
    /// Kept in the queue.
    Queued,
    /// Taken, but for a copy that was refused and that nobody may be told of.
    PartlyRefused,
}

impl Outcome {
    fn on_the_wire(self) -> trace::Outcome {
        match self {
            Self::Forwarded => trace::Outcome::Forwarded,
            Self::Rejected => trace::Outcome::Rejected,
            Self::Dropped => trace::Outcome::Dropped,
            Self::Tempfailed => trace::Outcome::Tempfailed,
            Self::Queued => trace::Outcome::Queued,
            Self::PartlyRefused => trace::Outcome::PartlyRefused,
        }
    }
}

pub(super) async fn run(args: Args, nodes: &Nodes, output: &mut Output<'_>) -> Result<(), Failure> {
    if nodes.are_several() {
        output.name_nodes();
    }
    let mut request = TailEventsRequest {
        domain: args.domain.unwrap_or_default(),
        follow: args.follow,
        ..TailEventsRequest::default()
    };
    if let Some(outcome) = args.outcome {
        request.set_outcome(outcome.on_the_wire());
    }
    let Answers { said, mut missing } = nodes.ask(|node| tail(request.clone(), node)).await?;
    if let Some(told) = missing.told().filter(|_| args.follow) {
        output.talk(&printable(&told));
    }
    let mut events = select_all(said);
    let mut kept = Vec::new();
    while let Some((node, event)) = events.next().await {
        match event {
            Ok(event) if args.follow || !nodes.are_several() => print(&event, output)?,
            Ok(event) => kept.push(event),
            Err(status) => {
                let failure = node.session.failure(status);
                if !nodes.are_several() {
                    return Err(failure);
                }
                output.talk(&printable(&format!("{}: {failure}", node.name)));
                missing.add(&node.name, &failure);
            }
        }
    }
    kept.sort_by_key(time);
    kept.iter().try_for_each(|event| print(event, output))?;
    missing.end()
}

/// The events of a node, each with whose it is.
async fn tail(
    request: TailEventsRequest,
    node: Node,
) -> Result<impl Stream<Item = (Node, Result<Event, Status>)> + Unpin, Failure> {
    // A stream has no deadline: it lasts as long as somebody reads it.
    let tailed = node.session.read(request, |wire: Wire, request| async move {
        EventServiceClient::new(wire).tail_events(Request::new(request.into_inner())).await
    });
    let events: Streaming<Event> = tailed.await?;
    Ok(events.map(move |event| (node.clone(), event)))
}

fn print(event: &Event, output: &mut Output<'_>) -> Result<(), Failure> {
    if !output.is_table() {
        return output.json(event);
    }
    let node = if output.names_nodes() { format!("{}  ", event.node) } else { String::new() };
    output.line(&printable(&format!("{node}{}", line(event))))
}

/// When it happened.
fn time(event: &Event) -> Option<SystemTime> {
    let time = match event.kind.as_ref()? {
        event::Kind::Trace(trace) => trace.time.as_ref(),
        event::Kind::Queue(event) => event.delivery.as_ref()?.time.as_ref(),
        event::Kind::Dropped(_) => None,
    };
    time.and_then(Timestamp::time)
}

fn line(event: &Event) -> String {
    match &event.kind {
        Some(event::Kind::Trace(trace)) => trace_line(trace),
        Some(event::Kind::Queue(event)) => {
            let told = event.delivery.as_ref().map(told).unwrap_or_default();
            format!("{told}  {}", event.id)
        }
        Some(event::Kind::Dropped(count)) => format!("{count} events were missed: this reader is too slow"),
        None => "an event that this version does not know".to_owned(),
    }
}

fn trace_line(trace: &Trace) -> String {
    format!(
        "{}  {:10}  {}  <{}> -> {}  [{}]  {}",
        rfc3339(trace.time.as_ref()),
        outcome(trace),
        trace.code,
        trace.reverse_path,
        trace.recipients.join(", "),
        trace.client_ip,
        trace.id,
    )
}
