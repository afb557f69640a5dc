//! `postroadctl resolve`.

use super::failure::Failure;
use super::output::Output;
use super::session::{Session, Wire};
use crate::proto::admin::v1::resolve_service_client::ResolveServiceClient;
use crate::proto::admin::v1::{Resolution, ResolveRecipientRequest};

/// What to ask.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The address as a sender would write it.
    address: String,
}

type Client = ResolveServiceClient<Wire>;

pub(super) async fn run(args: Args, session: &Session, output: &mut Output<'_>) -> Result<(), Failure> {
    let request = ResolveRecipientRequest { address: args.address };
    let resolution = session
        .read(request, |wire, request| async move { Client::new(wire).resolve_recipient(request).await })
        .await?;
    if !output.is_table() {
        return output.json(&resolution);
    }
    for line in lines(&resolution) {
        output.line(&super::failure::printable(&line))?;
    }
    Ok(())
}

fn lines(resolution: &Resolution) -> Vec<String> {
    let outcome = resolution.outcome().as_str_name().to_lowercase().replace('_', " ");
    let mut lines = vec![format!("{}: {outcome}", resolution.address)];
    let steps = resolution.steps.iter().enumerate();
    lines.extend(steps.map(|(number, step)| format!("{:2}  {step}", number + 1)));
    lines.extend(resolution.destinations.iter().map(|destination| format!("    -> {destination}")));
    lines.push(format!("RCPT would hear: {}", resolution.reply));
    lines
}
