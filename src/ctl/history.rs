//! `postroadctl history`: the revisions of the routing table, and the way back to one.

use clap::Subcommand;

use super::document;
use super::failure::Failure;
use super::output::{Output, Row, rfc3339};
use super::pages;
use super::session::{DOCUMENT_DEADLINE, ServerArgs, Session, Wire};
use crate::proto::admin::v1::history_service_client::HistoryServiceClient;
use crate::proto::admin::v1::{ListRevisionsRequest, Revision, RollBackRequest};

/// What to print, or to do.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    /// Print the newest N alone.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Makes the routing table what it was right after a revision, all or nothing, as a change of its own.
    Rollback(Order),
}

/// Which revision, and how.
#[derive(Debug, clap::Args)]
struct Order {
    /// Its number.
    revision: u64,
    /// Say what would change, but change nothing.
    #[arg(long)]
    dry_run: bool,
    /// The newest revision as you know it; the rollback is refused when there is a newer one.
    #[arg(long, value_name = "REVISION")]
    etag: Option<u64>,
}

fn client(wire: Wire) -> HistoryServiceClient<Wire> {
    HistoryServiceClient::new(wire).max_decoding_message_size(document::MAX_ANSWER_OCTETS)
}

pub(super) async fn run(args: Args, server: &ServerArgs, output: &mut Output<'_>) -> Result<(), Failure> {
    match args.verb {
        None => {
            let session = Session::open(server).await?;
            output.list("revisions", &revisions(&session, args.limit).await?)
        }
        Some(Verb::Rollback(order)) => roll_back(&order, server, output).await,
    }
}

async fn revisions(session: &Session, limit: Option<usize>) -> Result<Vec<Revision>, Failure> {
    pages::first(limit.unwrap_or(usize::MAX), async |page_token| {
        let request = ListRevisionsRequest { page_size: super::PAGE_SIZE, page_token };
        let page = session
            .read(request, |wire, request| async move { client(wire).list_revisions(request).await })
            .await?;
        Ok((page.revisions, page.next_page_token))
    })
    .await
}

async fn roll_back(order: &Order, server: &ServerArgs, output: &mut Output<'_>) -> Result<(), Failure> {
    let session = Session::with_deadline(server, DOCUMENT_DEADLINE).await?;
    let Order { revision, dry_run, etag } = *order;
    let etag = etag.map(|etag| etag.to_string()).unwrap_or_default();
    let request = RollBackRequest {
        name: format!("revisions/{revision}"),
        etag,
        dry_run,
        request_id: session.request_id(),
    };
    let response = session
        .call(document::kind(dry_run), request, |wire, request| async move {
            client(wire).roll_back(request).await
        })
        .await?;
    if !output.is_table() {
        return output.json(&response);
    }
    if response.repeated {
        output.talk(document::DONE_BEFORE);
        return Ok(());
    }
    document::show(&response.changes, response.dry_run, output)?;
    output.talk(&format!("the routing table is at revision {}", response.revision));
    Ok(())
}

impl Row for Revision {
    const COLUMNS: &'static [&'static str] = &["REVISION", "TIME", "BY", "FROM", "CHANGE"];

    fn cells(&self) -> Vec<String> {
        let shown = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        vec![
            self.revision.to_string(),
            rfc3339(self.create_time.as_ref()),
            shown(&self.actor),
            shown(&self.address),
            self.description.clone(),
        ]
    }
}
