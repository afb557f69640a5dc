//! `HistoryService`: the revisions of the routing table, and the way back to one. What is restored is the routing module's
//! affair.

use std::sync::Arc;
use std::time::Duration;

use tonic::{Request, Response, Status};

use super::documents::{RESOURCE, blocking, described};
use super::write::Write;
use super::{convert, page, status};
use crate::clock;
use crate::proto::admin::v1::history_service_server::HistoryService;
use crate::proto::admin::v1::routing_change::Verb;
use crate::proto::admin::v1::{
    ListRevisionsRequest, ListRevisionsResponse, Revision, RollBackRequest, RollBackResponse, RoutingChange,
};
use crate::routing::{self, Author, Change, Image, RollBack, Routing, RoutingError, Rule, Table};

/// How often a rollback is looked up anew that others have overtaken, where its caller named no etag.
const MAX_TRIES: u32 = 3;
/// The reason of a change that comes after another.
const OVERTAKEN: &str = "ETAG_MISMATCH";
/// How long it is waited for this node to see what overtook it.
const SEEN_WITHIN: Duration = Duration::from_secs(1);
/// How often it is looked meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Answers from the routing table.
#[derive(Debug)]
pub(super) struct Histories {
    pub(super) routing: Routing,
}

#[tonic::async_trait]
impl HistoryService for Histories {
    async fn list_revisions(
        &self,
        request: Request<ListRevisionsRequest>,
    ) -> Result<Response<ListRevisionsResponse>, Status> {
        const SCOPE: &str = "revisions";
        let request = request.into_inner();
        let size = page::size(request.page_size)?;
        let table = self.routing.snapshot();
        let before = page::key(SCOPE, &request.page_token)?
            .map(|key| key.parse().map_err(|_| status::invalid("page_token", "is not a token of this list")))
            .transpose()?;
        let token_of = |revision: &&Arc<routing::Revision>| page::token(SCOPE, &revision.number.to_string());
        let (found, next_page_token) = match before {
            Some(before) => page::take(table.history_before(before), size, token_of),
            None => page::take(table.history(), size, token_of),
        };
        let revisions = found.into_iter().map(|found| revision(found)).collect();
        Ok(Response::new(ListRevisionsResponse { revisions, next_page_token }))
    }

    async fn roll_back(
        &self,
        request: Request<RollBackRequest>,
    ) -> Result<Response<RollBackResponse>, Status> {
        let write = Write::of(&request)?;
        let RollBackRequest { name, etag, dry_run, request_id: _ } = request.into_inner();
        let etag = convert::etag_from("etag", &etag)?;
        let plan = Plan { to: number(&name)?, etag, dry_run };
        write.actor.about(&name);
        if !dry_run && write.before(&self.routing)?.is_some() {
            let revision = self.routing.snapshot().revision();
            write.actor.did(&name, revision);
            return Ok(Response::new(RollBackResponse {
                repeated: true,
                ..response(Vec::new(), revision, false)
            }));
        }
        let response = self.carry_out(plan, &write).await?;
        Ok(Response::new(response))
    }
}

/// What a caller asks for.
#[derive(Debug, Clone, Copy)]
struct Plan {
    to: u64,
    etag: Option<u64>,
    dry_run: bool,
}

impl Plan {
    fn check(self, current: u64) -> Result<(), RoutingError> {
        let resource = "the routing table".to_owned();
        match self.etag.filter(|given| *given != current) {
            Some(given) => Err(RoutingError::EtagMismatch { resource, current, given }),
            None => Ok(()),
        }
    }
}

impl Histories {
    /// Looks up what is restored, and has just that done: of a table that is another by then nothing is.
    async fn carry_out(&self, plan: Plan, write: &Write) -> Result<RollBackResponse, Status> {
        if let Some(etag) = plan.etag {
            self.see(etag).await;
        }
        let mut left = MAX_TRIES;
        loop {
            let table = self.routing.snapshot();
            let revision = table.revision();
            plan.check(revision).map_err(|error| status::routing(&error, RESOURCE))?;
            let changes = self.planned(plan, table).await?;
            if plan.dry_run || changes.is_empty() {
                if plan.dry_run {
                    write.actor.rehearsed(&resource_name(plan.to));
                }
                return Ok(response(changes, revision, plan.dry_run));
            }
            let change = Change::RollBack(RollBack::to(plan.to, Some(revision)));
            match self.routing.asked_by(write.asker()).change(change).await {
                Ok(_) => {
                    write.actor.did(&resource_name(plan.to), revision + 1);
                    return Ok(response(changes, revision + 1, plan.dry_run));
                }
                Err(error) if error.reason() == OVERTAKEN && plan.etag.is_none() && left > 1 => {
                    left -= 1;
                    self.see(revision + 1).await;
                }
                Err(error) => return Err(status::routing(&error, RESOURCE)),
            }
        }
    }

    /// What would be done, all of which is asked that is asked of a change.
    async fn planned(&self, plan: Plan, table: Arc<Table>) -> Result<Vec<RoutingChange>, Status> {
        let routing = self.routing.clone();
        blocking(move || {
            let refused = |error| status::routing(&error, RESOURCE);
            if plan.dry_run {
                let order = RollBack::to(plan.to, None);
                routing.rehearse(Change::RollBack(order)).map_err(refused)?;
            }
            let restored = table.undo(plan.to, clock::now()).map_err(refused)?;
            Ok(restored.iter().map(|image| shown(image, &table)).collect())
        })
        .await
    }

    /// Waits until this node's table is at a revision.
    async fn see(&self, revision: u64) {
        let seen = async {
            while self.routing.snapshot().revision() < revision {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        // It is looked what is there all the same.
        drop(tokio::time::timeout(SEEN_WITHIN, seen).await);
    }
}

fn response(changes: Vec<RoutingChange>, revision: u64, dry_run: bool) -> RollBackResponse {
    RollBackResponse { changes, revision: wire_number(revision), dry_run, repeated: false }
}

fn number(name: &str) -> Result<u64, Status> {
    let number = name.strip_prefix("revisions/").and_then(|number| number.parse().ok());
    number.ok_or_else(|| status::invalid("name", "is not of the form revisions/NUMBER"))
}

fn resource_name(number: u64) -> String {
    format!("revisions/{number}")
}

fn wire_number(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

fn revision(found: &routing::Revision) -> Revision {
    let address = found.author.as_ref().and_then(Author::address);
    Revision {
        name: resource_name(found.number),
        revision: wire_number(found.number),
        create_time: Some(found.at.into()),
        actor: found.author.as_ref().map(ToString::to_string).unwrap_or_default(),
        address: address.map(|address| address.to_string()).unwrap_or_default(),
        description: found.what.clone(),
    }
}

/// What restoring this does to a table.
fn shown(image: &Image, table: &Table) -> RoutingChange {
    let now = image.now(table);
    let verb = match (is_there(&now), is_there(image)) {
        (false, true) => Verb::Create,
        (true, false) => Verb::Delete,
        (true, true) | (false, false) => Verb::Update,
    };
    let (name, description) = match (image, &now) {
        (Image::Domain(name, _), _) => (format!("domains/{name}"), String::new()),
        (Image::Rule(_, Some(rule)), _) | (Image::Rule(_, None), Image::Rule(_, Some(rule))) => {
            (rule.resource_name(), of_rule(rule))
        }
        (Image::Rule(id, None), _) => (id.to_string(), String::new()),
        (Image::Destination(folded, _), _) => (format!("destinations/{folded}"), String::new()),
        (Image::Suspension(domain, _), _) => (format!("queue/suspensions/{domain}"), String::new()),
        (Image::Listing(network, _), _) => {
            (routing::Listing::resource_name_of(network), format!("listings/{network}"))
        }
        (Image::Coverage(_), _) => {
            (RESOURCE.to_owned(), "what it means that something is not in it".to_owned())
        }
    };
    RoutingChange { verb: verb.into(), name, description }
}

fn of_rule(rule: &Rule) -> String {
    described(&rule.domain, &rule.matcher, &rule.action)
}

fn is_there(image: &Image) -> bool {
    match image {
        Image::Domain(_, entry) => entry.is_some(),
        Image::Rule(_, rule) => rule.is_some(),
        Image::Destination(_, entry) => entry.is_some(),
        Image::Suspension(_, entry) => entry.is_some(),
        Image::Listing(_, entry) => entry.is_some(),
        Image::Coverage(_) => true,
    }
}
