//! `postroadctl events`.

use clap::ValueEnum;
use tonic::Request;

use super::failure::{Failure, printable};
use super::output::{Output, rfc3339};
use super::session::{Session, Wire};
use super::trace::{outcome, told};
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

pub(super) async fn run(args: Args, session: &Session, output: &mut Output<'_>) -> Result<(), Failure> {
    let mut request = TailEventsRequest {
        domain: args.domain.unwrap_or_default(),
        follow: args.follow,
        ..TailEventsRequest::default()
    };
    if let Some(outcome) = args.outcome {
        request.set_outcome(outcome.on_the_wire());
    }
    // A stream has no deadline: it lasts as long as somebody reads it.
    let mut events = session
        .read(request, |wire: Wire, request| async move {
            EventServiceClient::new(wire).tail_events(Request::new(request.into_inner())).await
        })
        .await?;
    while let Some(event) = events.message().await.map_err(|status| session.failure(status))? {
        if output.is_table() {
            output.line(&printable(&line(&event)))?;
        } else {
            output.json(&event)?;
        }
    }
    Ok(())
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
