//! `postroadctl destination`.

use clap::Subcommand;
use tonic::Code;

use super::failure::Failure;
use super::output::{Output, Row, ago};
use super::pages;
use super::session::{Session, Wire};
use crate::proto::admin::v1::destination_service_client::DestinationServiceClient;
use crate::proto::admin::v1::{
    CreateDestinationRequest, DeleteDestinationRequest, Destination, ListDestinationsRequest,
    VerifyDestinationRequest,
};

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Adds a destination; rules that forward to it wait until it is verified.
    Add {
        /// The address.
        address: String,
        /// Take it as verified without asking its owner, if it is there already too.
        #[arg(long)]
        verified: bool,
    },
    /// Lists the destinations.
    List,
    /// Removes a destination that no rule forwards to.
    Remove {
        /// The address, or the destination's id.
        address: String,
    },
}

type Client = DestinationServiceClient<Wire>;

pub(super) async fn run(verb: Verb, session: &Session, output: &mut Output<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Add { address, verified } => {
            let destination = add(address, verified, session).await?;
            output.resource(&destination)?;
            if destination.verify_time.is_none() {
                output.next(&format!("destination add {} --verified", destination.address));
            }
            Ok(())
        }
        Verb::List => output.list("destinations", &list(session).await?),
        Verb::Remove { address } => {
            let name = resource_name(&address);
            let request = DeleteDestinationRequest {
                name: name.clone(),
                etag: String::new(),
                request_id: session.request_id(),
            };
            session
                .write(
                    request,
                    |wire, request| async move { Client::new(wire).delete_destination(request).await },
                )
                .await?;
            output.removed(&name)
        }
    }
}

async fn add(address: String, verified: bool, session: &Session) -> Result<Destination, Failure> {
    let name = resource_name(&address);
    let destination = Some(Destination { address, ..Destination::default() });
    let request = CreateDestinationRequest { destination, verified, request_id: session.request_id() };
    let created = session
        .write(request, |wire, request| async move { Client::new(wire).create_destination(request).await })
        .await;
    match created {
        // A rule has created it unverified, as rules do.
        Err(failure) if verified && failure.is(Code::AlreadyExists) => {
            let request =
                VerifyDestinationRequest { name, etag: String::new(), request_id: session.request_id_of(2) };
            session
                .write(
                    request,
                    |wire, request| async move { Client::new(wire).verify_destination(request).await },
                )
                .await
        }
        Ok(destination) => Ok(destination),
        Err(failure) => Err(failure),
    }
}

async fn list(session: &Session) -> Result<Vec<Destination>, Failure> {
    pages::all(async |page_token| {
        let request = ListDestinationsRequest { page_size: super::PAGE_SIZE, page_token };
        let page = session
            .read(request, |wire, request| async move { Client::new(wire).list_destinations(request).await })
            .await?;
        Ok((page.destinations, page.next_page_token))
    })
    .await
}

fn resource_name(address: &str) -> String {
    if address.starts_with("destinations/") { address.to_owned() } else { format!("destinations/{address}") }
}

impl Row for Destination {
    const COLUMNS: &'static [&'static str] = &["ADDRESS", "VERIFIED", "ADDED", "ID"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.address.clone(),
            self.verify_time.as_ref().map_or_else(|| "no".to_owned(), |time| ago(Some(time))),
            ago(self.create_time.as_ref()),
            self.id.clone(),
        ]
    }
}
