//! `RoutingService`: the whole routing table as a document. What it holds and how it differs from the table is
//! the routing module's; here it comes and goes.

use tonic::{Request, Response, Status};

use super::auth::Actor;
use super::status;
use crate::proto::admin::v1::routing_change::Verb;
use crate::proto::admin::v1::routing_service_server::RoutingService;
use crate::proto::admin::v1::{
    ApplyRoutingDocumentRequest, ApplyRoutingDocumentResponse, ExportRoutingDocumentRequest,
    ExportRoutingDocumentResponse, RoutingChange,
};
use crate::routing::{
    Change, Changed, Coverage, Document, MAX_CHANGES_PER_BATCH, Matcher, NewRule, Prune, Routing,
    RoutingError, Rule, RuleAction, Table, plan,
};

/// What errors that are about no single resource name.
pub(super) const RESOURCE: &str = "routing";

/// Answers from the routing table.
#[derive(Debug)]
pub(super) struct Documents {
    pub(super) routing: Routing,
}

#[tonic::async_trait]
impl RoutingService for Documents {
    async fn apply_routing_document(
        &self,
        request: Request<ApplyRoutingDocumentRequest>,
    ) -> Result<Response<ApplyRoutingDocumentResponse>, Status> {
        let actor = Actor::of(&request);
        let ApplyRoutingDocumentRequest { yaml, prune, dry_run } = request.into_inner();
        actor.about(RESOURCE);
        let prune = if prune { Prune::Yes } else { Prune::No };
        let table = self.routing.snapshot();
        let (planned, mut shown) = blocking(move || planned(&yaml, &table, prune)).await?;
        let steps = planned.chunks(MAX_CHANGES_PER_BATCH).map(|step| Change::Batch(step.to_vec()));
        if dry_run {
            // The first step is asked everything; later ones stand on it, and it is not there.
            if let Some(first) = steps.take(1).next() {
                let routing = self.routing.clone();
                blocking(move || routing.rehearse(first).map_err(|error| status::routing(&error, RESOURCE)))
                    .await?;
            }
            actor.rehearsed(RESOURCE);
            return Ok(Response::new(ApplyRoutingDocumentResponse { changes: shown, dry_run }));
        }
        let mut names = shown.iter_mut();
        for step in steps {
            let changed = self
                .routing
                .by(actor.author())
                .change(step)
                .await
                .map_err(|error| status::routing(&error, RESOURCE))?;
            name_created(&changed, &mut names);
        }
        actor.did(RESOURCE, self.routing.snapshot().revision());
        Ok(Response::new(ApplyRoutingDocumentResponse { changes: shown, dry_run }))
    }

    async fn export_routing_document(
        &self,
        request: Request<ExportRoutingDocumentRequest>,
    ) -> Result<Response<ExportRoutingDocumentResponse>, Status> {
        let table = self.routing.snapshot();
        let is_lost = table.coverage() == Coverage::Lost;
        if is_lost && !request.get_ref().partial {
            // It would be kept in the place of the document that brings the table back.
            return Err(status::routing(&RoutingError::Lost, RESOURCE));
        }
        let yaml = blocking(move || Document::of(&table).to_yaml().map_err(|error| status::internal(&error)))
            .await?;
        let yaml = if is_lost { format!("{NOT_ALL}{yaml}") } else { yaml };
        Ok(Response::new(ExportRoutingDocumentResponse { yaml }))
    }
}

/// What a document of a table begins with that is lost in part.
const NOT_ALL: &str = "# What is left of a routing table that is lost in part.\n";

/// Large documents take seconds of CPU.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    tokio::task::spawn_blocking(work).await.map_err(|error| status::internal(&error))?
}

fn planned(yaml: &str, table: &Table, prune: Prune) -> Result<(Vec<Change>, Vec<RoutingChange>), Status> {
    let document = Document::parse(yaml).map_err(|error| status::invalid_document(&[error.to_string()]))?;
    let changes = plan(&document, table, prune).map_err(|errors| {
        let mistakes: Vec<String> = errors.iter().map(ToString::to_string).collect();
        status::invalid_document(&mistakes)
    })?;
    let shown = changes.iter().map(|change| shown(change, table)).collect();
    Ok((changes, shown))
}

/// Gives the rules that were created their names.
fn name_created<'c>(changed: &Changed, names: &mut impl Iterator<Item = &'c mut RoutingChange>) {
    let Changed::Batch(changed) = changed else { return };
    for (changed, shown) in changed.iter().zip(names) {
        if let Changed::Rule(rule) = changed {
            shown.name = rule.resource_name();
        }
    }
}

fn shown(change: &Change, table: &Table) -> RoutingChange {
    let (verb, name, description) = match change {
        Change::CreateDomain(new) => (Verb::Create, format!("domains/{}", new.name), String::new()),
        Change::UpdateDomain { name, .. } => (Verb::Update, format!("domains/{name}"), String::new()),
        Change::DeleteDomain { name, .. } => (Verb::Delete, format!("domains/{name}"), String::new()),
        Change::CreateRule(new) => (Verb::Create, format!("domains/{}/rules/-", new.domain), new_rule(new)),
        Change::UpdateRule { id, patch, .. } => {
            let stored = table.rule(id);
            let name = stored.map(|rule| rule.resource_name()).unwrap_or_default();
            let action = |rule: &Rule| match &patch.action {
                Some(action) => described(&rule.domain, &rule.matcher, action),
                None => described(&rule.domain, &rule.matcher, &rule.action),
            };
            (Verb::Update, name, stored.map(|rule| action(rule)).unwrap_or_default())
        }
        Change::DeleteRule { id, .. } => {
            let stored = table.rule(id);
            let name = stored.map(|rule| rule.resource_name()).unwrap_or_default();
            let text = |rule: &Rule| described(&rule.domain, &rule.matcher, &rule.action);
            (Verb::Delete, name, stored.map(|rule| text(rule)).unwrap_or_default())
        }
        Change::CreateDestination { address, .. } => {
            (Verb::Create, format!("destinations/{address}"), String::new())
        }
        Change::UpdateDestination { address, .. } => {
            (Verb::Update, format!("destinations/{address}"), String::new())
        }
        Change::DeleteDestination { address, .. } => {
            (Verb::Delete, format!("destinations/{address}"), String::new())
        }
        Change::Suspend { domain, .. } => {
            (Verb::Create, format!("queue/suspensions/{domain}"), String::new())
        }
        Change::Resume { domain, .. } => (Verb::Delete, format!("queue/suspensions/{domain}"), String::new()),
        Change::EndSuspensions => {
            (Verb::Delete, "queue/suspensions".to_owned(), "those that are over".to_owned())
        }
        Change::Block { network, .. } | Change::Allow { network, .. } => {
            (Verb::Create, format!("listings/{network}"), String::new())
        }
        Change::Unlist { network, .. } => (Verb::Delete, format!("listings/{network}"), String::new()),
        Change::BarNode { name } => (Verb::Delete, format!("cluster/members/{name}"), String::new()),
        Change::AdmitNode { name } => (Verb::Create, format!("cluster/members/{name}"), String::new()),
        Change::DeclareWhole => {
            (Verb::Update, RESOURCE.to_owned(), "what it holds is all there is again".to_owned())
        }
        Change::DeclareLost => (Verb::Update, RESOURCE.to_owned(), "what it held is lost".to_owned()),
        Change::RollBack(order) => {
            (Verb::Update, RESOURCE.to_owned(), format!("what it was at revision {}", order.revision))
        }
        Change::Batch(changes) => (Verb::Update, RESOURCE.to_owned(), format!("{} changes", changes.len())),
    };
    RoutingChange { verb: verb.into(), name, description }
}

fn new_rule(new: &NewRule) -> String {
    described(&new.domain, &new.matcher, &new.action)
}

pub(super) fn described(domain: &crate::mail::Domain, matcher: &Matcher, action: &RuleAction) -> String {
    let local = match matcher {
        Matcher::Local(local) => local.as_str(),
        Matcher::CatchAll => "*",
    };
    match action {
        RuleAction::Forward(to) => {
            let to: Vec<String> = to.iter().map(ToString::to_string).collect();
            format!("{local}@{domain}: forward to {}", to.join(", "))
        }
        RuleAction::Drop => format!("{local}@{domain}: drop"),
        RuleAction::Reject(text) => format!("{local}@{domain}: reject with \"{text}\""),
    }
}
