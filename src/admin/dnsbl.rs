//! `DnsblService`: networks that operators block and allow, and what is known of an address.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tonic::{Request, Response, Status};

use super::auth::Actor;
use super::convert::Longest;
use super::write::Write;
use super::{convert, names, page, status};
use crate::blocklist::{Blocklist, ZoneReport, ZoneVerdict};
use crate::clock;
use crate::proto::admin::v1::dnsbl_service_server::DnsblService;
use crate::proto::admin::v1::zone_check::Verdict;
use crate::proto::admin::v1::{
    AllowNetworkRequest, BlockNetworkRequest, CheckAddressRequest, CheckAddressResponse, ListListingsRequest,
    ListListingsResponse, Listing, RemoveListingRequest, ZoneCheck,
};
use crate::routing::{self, Change, Changed, Routing};

/// Longest listing that has an end: ten years of 365.25 days, which is what `10years` is to the client.
const MAX_LISTED: Longest = Longest { hours: 87_660, text: "10 years" };

/// Answers from the routing table, and from the blocklists in force.
#[derive(Debug)]
pub(super) struct Listings {
    pub(super) routing: Routing,
    pub(super) blocklist: Arc<ArcSwap<Blocklist>>,
}

#[tonic::async_trait]
impl DnsblService for Listings {
    async fn list_listings(
        &self,
        request: Request<ListListingsRequest>,
    ) -> Result<Response<ListListingsResponse>, Status> {
        const SCOPE: &str = "listings";
        let request = request.into_inner();
        let size = page::size(request.page_size)?;
        let table = self.routing.snapshot();
        let after = page::key(SCOPE, &request.page_token)?
            .map(|network| names::network("page_token", &network))
            .transpose()?;
        let now = clock::now();
        let counts = |listing: &&Arc<routing::Listing>| !listing.is_over(now);
        let token_of = |listing: &&Arc<routing::Listing>| page::token(SCOPE, &listing.network.to_string());
        let (found, next_page_token) = match &after {
            Some(after) => page::take(table.listings_after(after).filter(counts), size, token_of),
            None => page::take(table.listings().filter(counts), size, token_of),
        };
        let listings = found.into_iter().map(|listing| convert::listing(listing)).collect();
        Ok(Response::new(ListListingsResponse { listings, next_page_token }))
    }

    async fn block_network(
        &self,
        request: Request<BlockNetworkRequest>,
    ) -> Result<Response<Listing>, Status> {
        let write = Write::of(&request)?;
        if let Some(done) = write.before(&self.routing)? {
            return answer(done, &write.actor);
        }
        let BlockNetworkRequest { network, reason, duration, request_id: _ } = request.into_inner();
        let (network, until) = (names::network("network", &network)?, end(duration.as_ref())?);
        let change = Change::Block { network, until, reason };
        self.list(network, change, &write).await
    }

    async fn allow_network(
        &self,
        request: Request<AllowNetworkRequest>,
    ) -> Result<Response<Listing>, Status> {
        let write = Write::of(&request)?;
        if let Some(done) = write.before(&self.routing)? {
            return answer(done, &write.actor);
        }
        let AllowNetworkRequest { network, reason, duration, request_id: _ } = request.into_inner();
        let (network, until) = (names::network("network", &network)?, end(duration.as_ref())?);
        let change = Change::Allow { network, until, reason };
        self.list(network, change, &write).await
    }

    async fn remove_listing(
        &self,
        request: Request<RemoveListingRequest>,
    ) -> Result<Response<pbjson_types::Empty>, Status> {
        let write = Write::of(&request)?;
        let before = write.before(&self.routing)?;
        let request = request.into_inner();
        let network = names::listing("name", &request.name)?;
        let etag = convert::etag_from("etag", &request.etag)?;
        let resource = routing::Listing::resource_name_of(&network);
        write.actor.about(&resource);
        if before.is_none() {
            write.change(&self.routing, Change::Unlist { network, etag }, &resource).await?;
        }
        write.actor.did(&resource, self.routing.snapshot().revision());
        Ok(Response::new(pbjson_types::Empty {}))
    }

    async fn check_address(
        &self,
        request: Request<CheckAddressRequest>,
    ) -> Result<Response<CheckAddressResponse>, Status> {
        let address = request.into_inner().address;
        let ip: IpAddr = address.parse().map_err(|_| status::invalid("address", "is not an IP address"))?;
        let ip = ip.to_canonical();
        let blocklist = self.blocklist.load_full();
        let zones = blocklist.report(ip).await.into_iter().map(zone).collect();
        let listing = self.routing.snapshot().listing(ip, clock::now()).map(|found| convert::listing(found));
        Ok(Response::new(CheckAddressResponse { address: ip.to_string(), listing, zones }))
    }
}

impl Listings {
    async fn list(&self, network: IpNet, change: Change, write: &Write) -> Result<Response<Listing>, Status> {
        let resource = routing::Listing::resource_name_of(&network);
        write.actor.about(&resource);
        answer(write.change(&self.routing, change, &resource).await?, &write.actor)
    }
}

fn answer(changed: Changed, actor: &Actor) -> Result<Response<Listing>, Status> {
    let Changed::Listing(listing) = changed else { return Err(status::unexpected("a listing")) };
    actor.did(&listing.resource_name(), listing.revision);
    Ok(Response::new(convert::listing(&listing)))
}

/// When a listing ends that is to last so long from now on.
fn end(duration: Option<&pbjson_types::Duration>) -> Result<Option<SystemTime>, Status> {
    duration.map(|duration| convert::end_of(clock::now(), duration, &MAX_LISTED)).transpose()
}

/// What a zone says, for the wire.
fn zone(report: ZoneReport) -> ZoneCheck {
    let (verdict, detail) = match report.verdict {
        ZoneVerdict::Listed => (Verdict::Listed, ""),
        ZoneVerdict::NotListed => (Verdict::NotListed, ""),
        ZoneVerdict::Nonsense => (Verdict::NoVerdict, ""),
        ZoneVerdict::Failed => (Verdict::Failed, ""),
        ZoneVerdict::TimedOut => (Verdict::TimedOut, ""),
        ZoneVerdict::SwitchedOff { why } => (Verdict::SwitchedOff, why),
    };
    ZoneCheck {
        name: report.zone,
        verdict: verdict.into(),
        return_codes: report.codes.iter().map(ToString::to_string).collect(),
        texts: report.texts,
        cache_duration: report.kept_for.map(|time| Duration::from_secs(time.as_secs()).into()),
        detail: detail.to_owned(),
    }
}
