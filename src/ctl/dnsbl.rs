//! `postroadctl dnsbl`.

use std::time::Duration;

use clap::Subcommand;

use super::failure::{Failure, printable};
use super::output::{Output, Row, ago, rfc3339};
use super::pages;
use super::session::{Session, Wire};
use crate::proto::admin::v1::dnsbl_service_client::DnsblServiceClient;
use crate::proto::admin::v1::listing::Access;
use crate::proto::admin::v1::{
    AllowNetworkRequest, BlockNetworkRequest, CheckAddressRequest, CheckAddressResponse, ListListingsRequest,
    Listing, RemoveListingRequest, ZoneCheck,
};

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Says what operators and each blocklist say of an address.
    Check {
        /// The client's address.
        ip: String,
    },
    /// Refuses clients, with the reason, but for what they write to postmaster and abuse.
    Block(Order),
    /// Lets clients come of whom blocklists are not asked.
    Allow(Order),
    /// Lists the networks that are blocked and allowed.
    List,
    /// Takes back what was said of a network.
    Remove {
        /// The address or network, as it is listed.
        #[arg(value_name = "IP-OR-NET")]
        network: String,
    },
}

/// What is said of a network.
#[derive(Debug, clap::Args)]
pub(super) struct Order {
    /// The address or network (`192.0.2.7`, `2001:db8::/32`).
    #[arg(value_name = "IP-OR-NET")]
    network: String,
    /// For how long (`1h`, `2days`); without it, until it is removed.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Why; blocked clients hear it.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

type Client = DnsblServiceClient<Wire>;

pub(super) async fn run(verb: Verb, session: &Session, output: &mut Output<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Check { ip } => {
            let request = CheckAddressRequest { address: ip };
            let found = session
                .read(request, |wire, request| async move { Client::new(wire).check_address(request).await })
                .await?;
            if output.is_table() { show(&found, output) } else { output.json(&found) }
        }
        Verb::Block(Order { network, duration, reason }) => {
            let request = BlockNetworkRequest {
                network,
                reason,
                duration: duration.map(Into::into),
                request_id: session.request_id(),
            };
            let listing = session
                .write(request, |wire, request| async move { Client::new(wire).block_network(request).await })
                .await?;
            listed(&listing, output)
        }
        Verb::Allow(Order { network, duration, reason }) => {
            let request = AllowNetworkRequest {
                network,
                reason,
                duration: duration.map(Into::into),
                request_id: session.request_id(),
            };
            let listing = session
                .write(request, |wire, request| async move { Client::new(wire).allow_network(request).await })
                .await?;
            listed(&listing, output)
        }
        Verb::List => output.list("listings", &listings(session).await?),
        Verb::Remove { network } => {
            let name = resource_name(&network);
            let request = RemoveListingRequest {
                name: name.clone(),
                etag: String::new(),
                request_id: session.request_id(),
            };
            session
                .write(
                    request,
                    |wire, request| async move { Client::new(wire).remove_listing(request).await },
                )
                .await?;
            output.removed(&name)
        }
    }
}

fn listed(listing: &Listing, output: &mut Output<'_>) -> Result<(), Failure> {
    output.resource(listing)?;
    output.next(&format!("dnsbl remove {}", listing.network));
    Ok(())
}

async fn listings(session: &Session) -> Result<Vec<Listing>, Failure> {
    pages::all(async |page_token| {
        let request = ListListingsRequest { page_size: super::PAGE_SIZE, page_token };
        let page = session
            .read(request, |wire, request| async move { Client::new(wire).list_listings(request).await })
            .await?;
        Ok((page.listings, page.next_page_token))
    })
    .await
}

fn resource_name(network: &str) -> String {
    if network.starts_with("listings/") { network.to_owned() } else { format!("listings/{network}") }
}

/// What an operator says, in one line, and what each zone does.
fn show(found: &CheckAddressResponse, output: &mut Output<'_>) -> Result<(), Failure> {
    let CheckAddressResponse { address, listing, zones } = found;
    let line = match listing {
        Some(listing) => {
            let reason =
                if listing.reason.is_empty() { String::new() } else { format!(": {}", listing.reason) };
            format!("{address}: {} by {}{reason}", access(listing), listing.network)
        }
        None => format!("{address}: neither blocked nor allowed by an operator"),
    };
    output.line(&printable(&line))?;
    output.list("zones", zones)
}

fn access(listing: &Listing) -> String {
    match listing.access() {
        Access::Blocked => "blocked",
        Access::Allowed => "allowed",
        Access::Unspecified => "-",
    }
    .to_owned()
}

impl Row for Listing {
    const COLUMNS: &'static [&'static str] = &["NETWORK", "ACCESS", "SINCE", "UNTIL", "REASON"];

    fn cells(&self) -> Vec<String> {
        let until = self.expire_time.as_ref();
        vec![
            self.network.clone(),
            access(self),
            ago(self.create_time.as_ref()),
            until.map_or_else(|| "removed".to_owned(), |until| rfc3339(Some(until))),
            self.reason.clone(),
        ]
    }
}

impl Row for ZoneCheck {
    const COLUMNS: &'static [&'static str] = &["ZONE", "VERDICT", "CODES", "KEPT", "TEXT"];

    fn cells(&self) -> Vec<String> {
        let verdict = self.verdict().as_str_name().to_lowercase().replace('_', " ");
        let kept = self.cache_duration.as_ref().map(|time| format!("{} s", time.seconds));
        let texts = [self.detail.as_str()].into_iter().chain(self.texts.iter().map(String::as_str));
        let texts: Vec<&str> = texts.filter(|text| !text.is_empty()).collect();
        let shown = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        vec![
            self.name.clone(),
            verdict,
            shown(self.return_codes.join(" ")),
            kept.unwrap_or_else(|| "-".to_owned()),
            shown(texts.join(" / ")),
        ]
    }
}
