//! `RoutingService`: the whole routing table as a document. What it holds and how it differs from the table is
//! the routing module's; here it comes and goes.
//!
//! One that needs several steps is planned from what the table is, so that a repeat goes on with the rest. Each step has an id
//! derived from that of the request, the last one that itself: by it the whole is known to be done.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::status;
use super::write::Write;
use crate::proto::admin::v1::routing_change::Verb;
use crate::proto::admin::v1::routing_service_server::RoutingService;
use crate::proto::admin::v1::{
    ApplyRoutingDocumentRequest, ApplyRoutingDocumentResponse, ExportRoutingDocumentRequest,
    ExportRoutingDocumentResponse, RoutingChange,
};
use crate::routing::{
    Change, Changed, Coverage, Document, Matcher, NewRule, Prune, Routing, RoutingError, Rule, RuleAction,
    Table, plan,
};

/// What errors that are about no single resource name.
pub(super) const RESOURCE: &str = "routing";

/// Answers from the routing table.
#[derive(Debug)]
pub(super) struct Documents {
    pub(super) routing: Routing,
    /// Changes that are made at a time.
    pub(super) step: usize,
}

#[tonic::async_trait]
impl RoutingService for Documents {
    async fn apply_routing_document(
        &self,
        request: Request<ApplyRoutingDocumentRequest>,
    ) -> Result<Response<ApplyRoutingDocumentResponse>, Status> {
        let (write, request) = blocking(move || Ok((Write::of(&request)?, request.into_inner()))).await?;
        let ApplyRoutingDocumentRequest { yaml, prune, dry_run, request_id: _ } = request;
        write.actor.about(RESOURCE);
        let wanted = Arc::new(Wanted { yaml, prune: if prune { Prune::Yes } else { Prune::No } });
        let mut response = ApplyRoutingDocumentResponse { changes: Vec::new(), dry_run, repeated: false };
        if dry_run {
            response.changes = self.rehearse(wanted).await?;
            write.actor.rehearsed(RESOURCE);
            return Ok(Response::new(response));
        }
        if write.before(&self.routing)?.is_some() {
            response.repeated = true;
        } else {
            response.changes = self.carry_out(wanted, &write).await?;
        }
        write.actor.did(RESOURCE, self.routing.snapshot().revision());
        Ok(Response::new(response))
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

/// What a caller asks for.
struct Wanted {
    yaml: String,
    prune: Prune,
}

impl Documents {
    async fn rehearse(&self, wanted: Arc<Wanted>) -> Result<Vec<RoutingChange>, Status> {
        let (planned, shown) = self.planned(wanted).await?;
        // The first step is asked everything; later ones stand on it, and it is not there.
        if let Some(first) = planned.chunks(self.step).next() {
            let (routing, first) = (self.routing.clone(), Change::Batch(first.to_vec()));
            blocking(move || routing.rehearse(first).map_err(|error| status::routing(&error, RESOURCE)))
                .await?;
        }
        Ok(shown)
    }

    /// Makes the steps that are not made yet, and says what they changed.
    async fn carry_out(&self, wanted: Arc<Wanted>, write: &Write) -> Result<Vec<RoutingChange>, Status> {
        let (mut made, mut number) = (Vec::new(), write.steps_before(&self.routing)?);
        loop {
            let (planned, shown) = self.planned(wanted.clone()).await?;
            let mut steps = planned.chunks(self.step).zip(shown.chunks(self.step)).peekable();
            loop {
                let Some((step, shown)) = steps.next() else { return Ok(made) };
                let is_last = steps.peek().is_none();
                let step_of = if is_last { write.clone() } else { write.step(number + 1) };
                number += 1;
                let changed = step_of.change(&self.routing, Change::Batch(step.to_vec()), RESOURCE).await?;
                // The call that this one repeats was still at it, and what it planned may be something else.
                if !is_last && is_repeat(&changed) {
                    break;
                }
                made.extend(named(&changed, shown));
            }
        }
    }

    /// The changes that lead from the table to the document, and as they are told.
    async fn planned(&self, wanted: Arc<Wanted>) -> Result<(Vec<Change>, Vec<RoutingChange>), Status> {
        let table = self.routing.snapshot();
        blocking(move || planned(&wanted.yaml, &table, wanted.prune)).await
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

/// Whether a step, none of which is empty, was made before: then it is not told what it made.
fn is_repeat(changed: &Changed) -> bool {
    matches!(changed, Changed::Batch(made) if made.is_empty())
}

/// The changes of a step with the names of the rules that it created.
fn named(changed: &Changed, shown: &[RoutingChange]) -> Vec<RoutingChange> {
    let mut named = shown.to_vec();
    if let Changed::Batch(changed) = changed {
        for (changed, shown) in changed.iter().zip(&mut named) {
            if let Changed::Rule(rule) = changed {
                shown.name = rule.resource_name();
            }
        }
    }
    named
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
        Change::AgreeOnDeliveryKey(_) => {
            (Verb::Update, RESOURCE.to_owned(), "a key for the names of deliveries".to_owned())
        }
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

#[cfg(test)]
#[path = "documents_tests.rs"]
mod tests;
