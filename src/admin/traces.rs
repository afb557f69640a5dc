//! `TraceService`: what became of a transaction, from the journal.

use tonic::{Code, Request, Response, Status};

use super::convert::{self, time_from};
use super::page;
use super::status::{self, Kind, Reason};
use crate::cluster::operate::NodeName;
use crate::journal::{Criteria, Delivery, Journal, Recorded};
use crate::mail::TraceId;
use crate::proto::admin::v1::trace_service_server::TraceService;
use crate::proto::admin::v1::{GetTraceRequest, SearchTracesRequest, SearchTracesResponse, Trace};

/// Longest criterion, in octets (RFC 5322 §2.1.1: a line has at most 998).
const MAX_CRITERION_OCTETS: usize = 998;

/// Answers from the journal.
#[derive(Debug)]
pub(super) struct Traces {
    pub(super) node: NodeName,
    pub(super) journal: Journal,
}

#[tonic::async_trait]
impl TraceService for Traces {
    async fn get_trace(&self, request: Request<GetTraceRequest>) -> Result<Response<Trace>, Status> {
        let name = request.into_inner().name;
        let id = name.strip_prefix("traces/").unwrap_or_default();
        let id: TraceId = id
            .parse()
            .map_err(|_| status::invalid("name", format!("\"{name}\" is not of the form traces/ID")))?;
        let found = self.journal.find(id).await.map_err(|error| status::internal(&error))?;
        let recorded = found.ok_or_else(|| status::not_found(Kind::Trace, &format!("traces/{id}")))?;
        let later = self.deliveries(std::slice::from_ref(&recorded)).await?;
        let later = later.first().map_or(&[][..], Vec::as_slice);
        Ok(Response::new(convert::trace(&self.node, &recorded.entry, later)))
    }

    async fn search_traces(
        &self,
        request: Request<SearchTracesRequest>,
    ) -> Result<Response<SearchTracesResponse>, Status> {
        let request = request.into_inner();
        let scope = format!("traces\0{}\0{}\0{}", request.message_id, request.from, request.to);
        let criteria = criteria(&request, &scope)?;
        let page = self.journal.search(criteria).await.map_err(|error| status::internal(&error))?;
        let later = self.deliveries(&page.found).await?;
        let found = page.found.iter().zip(&later);
        let traces =
            found.map(|(recorded, later)| convert::trace(&self.node, &recorded.entry, later)).collect();
        let next_page_token =
            page.next.map_or_else(String::new, |before| page::token(&scope, &before.to_string()));
        Ok(Response::new(SearchTracesResponse { traces, next_page_token }))
    }
}

impl Traces {
    /// What came later of each of these.
    async fn deliveries(&self, found: &[Recorded]) -> Result<Vec<Vec<Delivery>>, Status> {
        let ids = found.iter().map(|recorded| recorded.entry.id).collect();
        self.journal.deliveries(ids).await.map_err(|error| status::internal(&error))
    }
}

fn criteria(request: &SearchTracesRequest, scope: &str) -> Result<Criteria, Status> {
    for (field, value) in [("message_id", &request.message_id), ("from", &request.from), ("to", &request.to)]
    {
        if value.len() > MAX_CRITERION_OCTETS {
            return Err(status::invalid(field, format!("is longer than {MAX_CRITERION_OCTETS} octets")));
        }
    }
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let from = given(&request.from).map(|from| if from == "<>" { String::new() } else { from });
    let message_id = given(&request.message_id).map(|id| match id.starts_with('<') {
        true => id,
        false => format!("<{id}>"),
    });
    let since = request.since.as_ref().map(|since| time_from("since", since)).transpose()?;
    let to = given(&request.to);
    if message_id.is_none() && from.is_none() && to.is_none() && since.is_none() {
        let message = "at least one of message_id, from, to and since is required";
        return Err(status::new(Code::InvalidArgument, Reason::InvalidField, message, &[]));
    }
    let before = page::key(scope, &request.page_token)?
        .map(|key| key.parse().map_err(|_| status::invalid("page_token", "is not a token of this list")))
        .transpose()?;
    Ok(Criteria { message_id, from, to, since, before, limit: page::size(request.page_size)? })
}
