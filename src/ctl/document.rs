//! `postroadctl apply` and `postroadctl export`: the whole routing table as a file.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::failure::{Failure, printable};
use super::output::Output;
use super::session::{DOCUMENT_DEADLINE, Kind, ServerArgs, Session, Wire, file_up_to};
use crate::proto::admin::v1::routing_change::Verb;
use crate::proto::admin::v1::routing_service_client::RoutingServiceClient;
use crate::proto::admin::v1::{ApplyRoutingDocumentRequest, ExportRoutingDocumentRequest, RoutingChange};

/// Largest document, in octets; the server's bound.
const MAX_DOCUMENT_OCTETS: u64 = 64 << 20;
/// Largest answer: an export, or a change for every resource.
pub(super) const MAX_ANSWER_OCTETS: usize = 256 << 20;

/// What is said of a repeat.
pub(super) const DONE_BEFORE: &str = "it was done when it was asked first, and is not done again";

/// Which file, and how.
#[derive(Debug, clap::Args)]
pub(super) struct ApplyArgs {
    /// The file; `-` is standard input.
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: PathBuf,
    /// Remove what the file does not name.
    #[arg(long)]
    prune: bool,
    /// Say what would change, but change nothing.
    #[arg(long)]
    dry_run: bool,
}

/// What is printed.
#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    /// Also print what is left of a table that is lost in part.
    #[arg(long)]
    partial: bool,
}

fn client(wire: Wire) -> RoutingServiceClient<Wire> {
    RoutingServiceClient::new(wire).max_decoding_message_size(MAX_ANSWER_OCTETS)
}

pub(super) async fn apply(
    args: ApplyArgs,
    server: &ServerArgs,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let session = Session::with_deadline(server, DOCUMENT_DEADLINE).await?;
    let yaml = read(&args.file).await?;
    let ApplyArgs { prune, dry_run, .. } = args;
    let request = ApplyRoutingDocumentRequest { yaml, prune, dry_run, request_id: session.request_id() };
    let response = session
        .call(kind(dry_run), request, |wire, request| async move {
            client(wire).apply_routing_document(request).await
        })
        .await?;
    if !output.is_table() {
        return output.json(&response);
    }
    if response.repeated {
        output.talk(DONE_BEFORE);
        return Ok(());
    }
    show(&response.changes, response.dry_run, output)
}

pub(super) async fn export(
    args: ExportArgs,
    server: &ServerArgs,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let session = Session::with_deadline(server, DOCUMENT_DEADLINE).await?;
    let response = session
        .read(ExportRoutingDocumentRequest { partial: args.partial }, |wire, request| async move {
            client(wire).export_routing_document(request).await
        })
        .await?;
    if output.is_table() { output.raw(&response.yaml) } else { output.json(&response) }
}

async fn read(path: &Path) -> Result<String, Failure> {
    let octets = if path == Path::new("-") {
        let read = tokio::task::spawn_blocking(|| {
            let mut octets = Vec::new();
            std::io::stdin().take(MAX_DOCUMENT_OCTETS + 1).read_to_end(&mut octets).map(|_| octets)
        });
        let failed = |error: &dyn std::fmt::Display| Failure::Local(format!("standard input: {error}"));
        read.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?
    } else {
        file_up_to(path, MAX_DOCUMENT_OCTETS).await?
    };
    if u64::try_from(octets.len()).is_ok_and(|octets| octets > MAX_DOCUMENT_OCTETS) {
        return Err(Failure::Local(format!("standard input: larger than {MAX_DOCUMENT_OCTETS} octets")));
    }
    String::from_utf8(octets).map_err(|_| Failure::Local(format!("{}: not UTF-8", path.display())))
}

/// A dry run changes nothing.
pub(super) fn kind(dry_run: bool) -> Kind {
    if dry_run { Kind::Read } else { Kind::Write }
}

/// Prints what was done to each resource, or would be.
pub(super) fn show(changes: &[RoutingChange], dry_run: bool, output: &mut Output<'_>) -> Result<(), Failure> {
    let mut counts = [0_u32; 3];
    for change in changes {
        let [created, updated, deleted] = &mut counts;
        let (sign, count) = match change.verb() {
            Verb::Create => ('+', created),
            Verb::Delete => ('-', deleted),
            Verb::Update | Verb::Unspecified => ('~', updated),
        };
        *count += 1;
        let what = if change.description.is_empty() { &change.name } else { &change.description };
        output.line(&printable(&format!("{sign} {what}")))?;
    }
    let [created, updated, deleted] = counts;
    let done = format!("{created} added, {updated} changed, {deleted} removed");
    output.talk(&if dry_run { format!("{done} (dry run: nothing was done)") } else { done });
    Ok(())
}
