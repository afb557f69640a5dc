//! `DestinationService`.

use std::sync::Arc;

use tonic::{Code, Request, Response, Status};

use super::access::Role;
use super::auth::Actor;
use super::status::Reason;
use super::write::Write;
use super::{convert, names, page, status};
use crate::mail::Address;
use crate::proto::admin::v1::destination_service_server::DestinationService;
use crate::proto::admin::v1::{
    CreateDestinationRequest, DeleteDestinationRequest, Destination, GetDestinationRequest,
    ListDestinationsRequest, ListDestinationsResponse, VerifyDestinationRequest,
};
use crate::routing::{self, Change, Changed, Routing};

/// Answers from the routing table.
#[derive(Debug)]
pub(super) struct Destinations {
    pub(super) routing: Routing,
}

#[tonic::async_trait]
impl DestinationService for Destinations {
    async fn get_destination(
        &self,
        request: Request<GetDestinationRequest>,
    ) -> Result<Response<Destination>, Status> {
        let found = names::destination(&self.routing.snapshot(), "name", &request.into_inner().name)?;
        Ok(Response::new(convert::destination(&found)))
    }

    async fn list_destinations(
        &self,
        request: Request<ListDestinationsRequest>,
    ) -> Result<Response<ListDestinationsResponse>, Status> {
        const SCOPE: &str = "destinations";
        let request = request.into_inner();
        let size = page::size(request.page_size)?;
        let table = self.routing.snapshot();
        let after = page::key(SCOPE, &request.page_token)?
            .map(|key| Address::parse(&key))
            .transpose()
            .map_err(|_| status::invalid("page_token", "is not a token of this list"))?;
        let token_of = |destination: &&Arc<routing::Destination>| {
            page::token(SCOPE, &destination.address.folded().to_string())
        };
        let (found, next_page_token) = match &after {
            Some(after) => page::take(table.destinations_after(after), size, token_of),
            None => page::take(table.destinations(), size, token_of),
        };
        let destinations = found.into_iter().map(|found| convert::destination(found)).collect();
        Ok(Response::new(ListDestinationsResponse { destinations, next_page_token }))
    }

    async fn create_destination(
        &self,
        request: Request<CreateDestinationRequest>,
    ) -> Result<Response<Destination>, Status> {
        let write = Write::of(&request)?;
        let before = write.before(&self.routing)?;
        let request = request.into_inner();
        let destination = request.destination.ok_or_else(|| status::invalid("destination", "is required"))?;
        let address = Address::parse(&destination.address)
            .map_err(|error| status::invalid("destination.address", error))?;
        if request.verified && write.actor.role < Role::Admin {
            let message = "taking a destination as verified needs the role admin";
            let metadata = [("role", write.actor.role.as_str()), ("required_role", Role::Admin.as_str())];
            return Err(status::new(Code::PermissionDenied, Reason::PermissionDenied, message, &metadata));
        }
        if let Some(done) = before {
            return answer(done, &write.actor);
        }
        let resource = format!("destinations/{address}");
        let change = Change::CreateDestination { address, verified: request.verified };
        self.change(change, &write, &resource).await
    }

    async fn verify_destination(
        &self,
        request: Request<VerifyDestinationRequest>,
    ) -> Result<Response<Destination>, Status> {
        let write = Write::of(&request)?;
        if let Some(done) = write.before(&self.routing)? {
            return answer(done, &write.actor);
        }
        let request = request.into_inner();
        let found = names::destination(&self.routing.snapshot(), "name", &request.name)?;
        let etag = convert::etag_from("etag", &request.etag)?;
        if found.verified_at.is_some() && etag.is_none_or(|etag| etag == found.revision) {
            return Ok(Response::new(convert::destination(&found)));
        }
        let change = Change::UpdateDestination { address: found.address.clone(), verified: true, etag };
        self.change(change, &write, &found.resource_name()).await
    }

    async fn delete_destination(
        &self,
        request: Request<DeleteDestinationRequest>,
    ) -> Result<Response<pbjson_types::Empty>, Status> {
        let write = Write::of(&request)?;
        if write.before(&self.routing)?.is_some() {
            return Ok(Response::new(pbjson_types::Empty {}));
        }
        let request = request.into_inner();
        let found = names::destination(&self.routing.snapshot(), "name", &request.name)?;
        let etag = convert::etag_from("etag", &request.etag)?;
        let change = Change::DeleteDestination { address: found.address.clone(), etag };
        let resource = found.resource_name();
        let by_id = format!("destinations/{}", found.id);
        write.actor.about(&by_id);
        write.change(&self.routing, change, &resource).await?;
        write.actor.did(&by_id, self.routing.snapshot().revision());
        Ok(Response::new(pbjson_types::Empty {}))
    }
}

impl Destinations {
    async fn change(
        &self,
        change: Change,
        write: &Write,
        resource: &str,
    ) -> Result<Response<Destination>, Status> {
        answer(write.change(&self.routing, change, resource).await?, &write.actor)
    }
}

fn answer(changed: Changed, actor: &Actor) -> Result<Response<Destination>, Status> {
    let Changed::Destination(destination) = changed else { return Err(status::unexpected("a destination")) };
    // By id: mail addresses in the log are `log.addresses`' affair.
    actor.did(&format!("destinations/{}", destination.id), destination.revision);
    Ok(Response::new(convert::destination(&destination)))
}
