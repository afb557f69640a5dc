//! `postroadctl trace`.

use std::cmp::Reverse;
use std::time::{Duration, SystemTime};

use clap::ArgGroup;

use super::failure::{Failure, printable};
use super::nodes::{Answers, Missing, Nodes};
use super::output::{Output, Row, ago, rfc3339};
use super::pages;
use super::session::{Session, Wire};
use crate::clock;
use crate::mail::TraceId;
use crate::proto::Timestamp;
use crate::proto::admin::v1::trace::Delivery;
use crate::proto::admin::v1::trace_service_client::TraceServiceClient;
use crate::proto::admin::v1::{GetTraceRequest, SearchTracesRequest, Trace};

/// What to look for.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["id", "from", "to", "since"]))]
pub(super) struct Args {
    /// A trace id, from a reply, a Received field or the log; or a Message-ID.
    #[arg(value_name = "TRACE-ID-OR-MESSAGE-ID", conflicts_with_all = ["from", "to", "since"])]
    id: Option<String>,
    /// The reverse-path; `<>` for the null one.
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// A recipient as the sender wrote it.
    #[arg(long, value_name = "ADDRESS")]
    to: Option<String>,
    /// Not before this: so long ago (`1h`, `2days`), or a time as in RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<SystemTime>,
    /// At most this many, the newest.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

type Client = TraceServiceClient<Wire>;

pub(super) async fn run(args: Args, nodes: &Nodes, output: &mut Output<'_>) -> Result<(), Failure> {
    if nodes.are_several() {
        output.name_nodes();
    }
    let Args { id, from, to, since, limit } = args;
    let Some(id) = id else {
        let request = SearchTracesRequest {
            from: from.unwrap_or_default(),
            to: to.unwrap_or_default(),
            since: since.map(Into::into),
            ..SearchTracesRequest::default()
        };
        let (traces, missing) = newest(request, limit, nodes).await?;
        output.list("traces", &traces)?;
        return missing.end();
    };
    let bare = id.strip_prefix("traces/").unwrap_or(&id);
    if bare.parse::<TraceId>().is_ok() {
        let trace = nodes.first(|node| get(format!("traces/{bare}"), node.session)).await?;
        return if output.is_table() { show(&trace, output) } else { output.json(&trace) };
    }
    let request = SearchTracesRequest { message_id: id.clone(), ..SearchTracesRequest::default() };
    let (traces, mut missing) = newest(request, limit, nodes).await?;
    match traces.as_slice() {
        [] => {
            missing.note(Some(format!("no transaction with Message-ID {id} is kept")));
            return missing.end();
        }
        [trace] if output.is_table() => show(trace, output)?,
        traces => output.list("traces", traces)?,
    }
    if let Some(told) = missing.told() {
        output.talk(&printable(&told));
    }
    Ok(())
}

async fn get(name: String, session: Session) -> Result<Trace, Failure> {
    let request = GetTraceRequest { name };
    session.read(request, |wire, request| async move { Client::new(wire).get_trace(request).await }).await
}

/// The newest that are found on all nodes, at most `limit`.
async fn newest(
    request: SearchTracesRequest,
    limit: usize,
    nodes: &Nodes,
) -> Result<(Vec<Trace>, Missing), Failure> {
    let Answers { said, missing } = nodes.ask(|node| search(request.clone(), limit, node.session)).await?;
    let mut traces: Vec<Trace> = said.into_iter().flatten().collect();
    if nodes.are_several() {
        traces.sort_by_key(|trace| Reverse(trace.time.as_ref().and_then(Timestamp::time)));
        traces.truncate(limit);
    }
    Ok((traces, missing))
}

/// The newest that are found, at most `limit`.
async fn search(request: SearchTracesRequest, limit: usize, session: Session) -> Result<Vec<Trace>, Failure> {
    let page_size = i32::try_from(limit.max(1)).unwrap_or(super::PAGE_SIZE);
    pages::first(limit, async |page_token| {
        let request = SearchTracesRequest { page_size, page_token, ..request.clone() };
        let page = session
            .read(request, |wire, request| async move { Client::new(wire).search_traces(request).await })
            .await?;
        Ok((page.traces, page.next_page_token))
    })
    .await
}

fn show(trace: &Trace, output: &mut Output<'_>) -> Result<(), Failure> {
    let mut lines = vec![
        format!("trace      {}", trace.id),
        format!("time       {}", rfc3339(trace.time.as_ref())),
        format!("client     {} [{}]", trace.helo, trace.client_ip),
        format!("from       <{}>", trace.reverse_path),
    ];
    lines.extend(trace.recipients.iter().map(|recipient| format!("to         <{recipient}>")));
    if output.names_nodes() {
        lines.push(format!("node       {}", trace.node));
    }
    if !trace.message_id.is_empty() {
        lines.push(format!("message    {}, {} octets", trace.message_id, trace.octets));
    }
    if !trace.authentication_results.is_empty() {
        let folded = trace.authentication_results.split_whitespace().collect::<Vec<_>>().join(" ");
        lines.push(format!("results    {folded}"));
    }
    let steps = trace.steps.iter().enumerate();
    lines.extend(steps.map(|(number, step)| format!("{:2}  {step}", number + 1)));
    lines.push(format!("outcome    {} in {}", outcome(trace), duration(trace)));
    lines.extend(trace.reply.lines().map(|line| format!("reply      {line}")));
    lines.extend(trace.deliveries.iter().map(|later| format!("later      {}", told(later))));
    for line in lines {
        output.line(&printable(&line))?;
    }
    Ok(())
}

/// `2026-11-23T18:00:00Z  delivered   <info@ours.example>, attempt 3, mx.dest.example: 250 OK`
pub(super) fn told(delivery: &Delivery) -> String {
    let Delivery { recipient, attempts, host, code, .. } = delivery;
    let what = delivery.result().as_str_name().to_lowercase();
    let mut line = format!("{}  {what:10}  <{recipient}>", rfc3339(delivery.time.as_ref()));
    if *attempts > 0 {
        line.push_str(&format!(", attempt {attempts}"));
    }
    if !host.is_empty() {
        line.push_str(&format!(", {host}"));
    }
    let code = if *code == 0 { String::new() } else { format!("{code} ") };
    let text = delivery.text.replace('\n', " / ");
    format!("{line}: {code}{text}").trim_end_matches([':', ' ']).to_owned()
}

pub(super) fn outcome(trace: &Trace) -> String {
    trace.outcome().as_str_name().to_lowercase()
}

fn duration(trace: &Trace) -> String {
    let taken = trace.duration.as_ref().and_then(|duration| {
        Some(Duration::new(u64::try_from(duration.seconds).ok()?, u32::try_from(duration.nanos).ok()?))
    });
    humantime::format_duration(taken.unwrap_or_default()).to_string()
}

fn parse_since(text: &str) -> Result<SystemTime, String> {
    let ago = humantime::parse_duration(text).ok().and_then(|ago| clock::now().checked_sub(ago));
    ago.or_else(|| humantime::parse_rfc3339(text).ok())
        .ok_or_else(|| "neither a time span such as 1h nor a time such as 2026-11-23T18:00:00Z".to_owned())
}

impl Row for Trace {
    const COLUMNS: &'static [&'static str] = &["TIME", "OUTCOME", "CODE", "FROM", "TO", "CLIENT", "TRACE"];

    fn cells(&self) -> Vec<String> {
        let more = self.recipients.len().saturating_sub(1);
        let first = self.recipients.first().map_or("-", String::as_str);
        vec![
            ago(self.time.as_ref()),
            outcome(self),
            self.code.to_string(),
            format!("<{}>", self.reverse_path),
            if more == 0 { first.to_owned() } else { format!("{first} and {more} more") },
            self.client_ip.clone(),
            self.id.clone(),
        ]
    }

    fn node(&self) -> Option<&str> {
        Some(&self.node)
    }
}
