//! `postroadctl trace`.

use std::time::{Duration, SystemTime};

use clap::ArgGroup;

use super::failure::{Failure, printable};
use super::output::{Output, Row, ago, rfc3339};
use super::pages;
use super::session::{Session, Wire};
use crate::clock;
use crate::mail::TraceId;
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

pub(super) async fn run(args: Args, session: &Session, output: &mut Output<'_>) -> Result<(), Failure> {
    let Args { id, from, to, since, limit } = args;
    let Some(id) = id else {
        let request = SearchTracesRequest {
            from: from.unwrap_or_default(),
            to: to.unwrap_or_default(),
            since: since.map(Into::into),
            ..SearchTracesRequest::default()
        };
        let traces = search(request, limit, session).await?;
        return output.list("traces", &traces);
    };
    let bare = id.strip_prefix("traces/").unwrap_or(&id);
    if bare.parse::<TraceId>().is_ok() {
        let request = GetTraceRequest { name: format!("traces/{bare}") };
        let trace = session
            .read(request, |wire, request| async move { Client::new(wire).get_trace(request).await })
            .await?;
        return if output.is_table() { show(&trace, output) } else { output.json(&trace) };
    }
    let request = SearchTracesRequest { message_id: id.clone(), ..SearchTracesRequest::default() };
    let traces = search(request, limit, session).await?;
    match traces.as_slice() {
        [] => Err(Failure::Local(format!("no transaction with Message-ID {id} is kept"))),
        [trace] if output.is_table() => show(trace, output),
        traces => output.list("traces", traces),
    }
}

/// The newest that are found, at most `limit`.
async fn search(
    request: SearchTracesRequest,
    limit: usize,
    session: &Session,
) -> Result<Vec<Trace>, Failure> {
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
}
