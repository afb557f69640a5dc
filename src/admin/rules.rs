//! `RuleService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::auth::Actor;
use super::mask::Mask;
use super::write::Write;
use super::{convert, names, page, status};
use crate::proto::admin::v1::rule::State;
use crate::proto::admin::v1::rule_service_server::RuleService;
use crate::proto::admin::v1::{
    CreateRuleRequest, DeleteRuleRequest, GetRuleRequest, ListRulesRequest, ListRulesResponse, Rule,
    UpdateRuleRequest,
};
use crate::routing::{self, Change, Changed, NewRule, Rank, Routing, RulePatch, Table};

/// Answers from the routing table.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) routing: Routing,
}

#[tonic::async_trait]
impl RuleService for Rules {
    async fn get_rule(&self, request: Request<GetRuleRequest>) -> Result<Response<Rule>, Status> {
        let table = self.routing.snapshot();
        let rule = names::rule(&table, "name", &request.into_inner().name)?;
        Ok(Response::new(shown(&table, &rule)))
    }

    async fn list_rules(
        &self,
        request: Request<ListRulesRequest>,
    ) -> Result<Response<ListRulesResponse>, Status> {
        let request = request.into_inner();
        let size = page::size(request.page_size)?;
        let table = self.routing.snapshot();
        let domain = names::domain(&table, "parent", &request.parent)?;
        let scope = format!("rules\0{}", domain.id);
        let after: Option<Rank> = page::key(&scope, &request.page_token)?
            .map(|key| serde_json::from_str(&key))
            .transpose()
            .map_err(|_| status::invalid("page_token", "is not a token of this list"))?;
        let token_of = |rule: &&Arc<routing::Rule>| {
            serde_json::to_string(&rule.rank()).map(|key| page::token(&scope, &key)).unwrap_or_default()
        };
        let (rules, next_page_token) = match &after {
            Some(after) => page::take(table.rules_after(&domain.name, after), size, token_of),
            None => page::take(table.rules(&domain.name), size, token_of),
        };
        let rules = rules.into_iter().map(|rule| shown(&table, rule)).collect();
        Ok(Response::new(ListRulesResponse { rules, next_page_token }))
    }

    async fn create_rule(&self, request: Request<CreateRuleRequest>) -> Result<Response<Rule>, Status> {
        let write = Write::of(&request)?;
        if let Some(done) = write.before(&self.routing)? {
            return self.answer(done, &write.actor);
        }
        let request = request.into_inner();
        let rule = request.rule.ok_or_else(|| status::invalid("rule", "is required"))?;
        let domain = names::domain(&self.routing.snapshot(), "parent", &request.parent)?;
        let new = NewRule {
            domain: domain.name.clone(),
            matcher: convert::matcher(&rule)?,
            action: convert::action(&rule)?,
            priority: rule.priority,
            label: rule.display_name,
            enabled: rule.enabled.unwrap_or(true),
        };
        self.change(Change::CreateRule(new), &write, &domain.resource_name()).await
    }

    async fn update_rule(&self, request: Request<UpdateRuleRequest>) -> Result<Response<Rule>, Status> {
        const FIELDS: [&str; 5] = ["display_name", "enabled", "priority", "matcher", "action"];
        let write = Write::of(&request)?;
        if let Some(done) = write.before(&self.routing)? {
            return self.answer(done, &write.actor);
        }
        let request = request.into_inner();
        let rule = request.rule.ok_or_else(|| status::invalid("rule", "is required"))?;
        let mask = Mask::read(request.update_mask.as_ref(), &FIELDS)?;
        let stored = names::rule(&self.routing.snapshot(), "rule.name", &rule.name)?;
        let mut patch = RulePatch::default();
        if mask.names("display_name", !rule.display_name.is_empty()) {
            patch.label = Some(rule.display_name.clone());
        }
        if mask.names("enabled", rule.enabled.is_some()) {
            patch.enabled = Some(rule.enabled.unwrap_or(true));
        }
        if mask.names("priority", rule.priority != 0) {
            patch.priority = Some(rule.priority);
        }
        if mask.names("matcher", rule.matcher.is_some()) {
            patch.matcher = Some(convert::matcher(&rule)?);
        }
        if mask.names("action", rule.action.is_some()) {
            patch.action = Some(convert::action(&rule)?);
        }
        let etag = convert::etag_from("rule.etag", &rule.etag)?;
        let change = Change::UpdateRule { id: stored.id, patch, etag };
        self.change(change, &write, &stored.resource_name()).await
    }

    async fn delete_rule(
        &self,
        request: Request<DeleteRuleRequest>,
    ) -> Result<Response<pbjson_types::Empty>, Status> {
        let write = Write::of(&request)?;
        let before = write.before(&self.routing)?;
        let request = request.into_inner();
        if before.is_some() {
            write.actor.did(&request.name, self.routing.snapshot().revision());
            return Ok(Response::new(pbjson_types::Empty {}));
        }
        let rule = names::rule(&self.routing.snapshot(), "name", &request.name)?;
        let etag = convert::etag_from("etag", &request.etag)?;
        let resource = rule.resource_name();
        let change = Change::DeleteRule { id: rule.id, etag };
        write.actor.about(&resource);
        write.change(&self.routing, change, &resource).await?;
        write.actor.did(&resource, self.routing.snapshot().revision());
        Ok(Response::new(pbjson_types::Empty {}))
    }
}

impl Rules {
    async fn change(&self, change: Change, write: &Write, resource: &str) -> Result<Response<Rule>, Status> {
        write.actor.about(resource);
        self.answer(write.change(&self.routing, change, resource).await?, &write.actor)
    }

    fn answer(&self, changed: Changed, actor: &Actor) -> Result<Response<Rule>, Status> {
        let Changed::Rule(rule) = changed else { return Err(status::unexpected("a rule")) };
        actor.did(&rule.resource_name(), rule.revision);
        Ok(Response::new(shown(&self.routing.snapshot(), &rule)))
    }
}

/// A rule for the wire, with what it does now.
fn shown(table: &Table, rule: &routing::Rule) -> Rule {
    let domain_enabled = table.domain(&rule.domain).is_some_and(|domain| domain.enabled);
    let state = if !rule.enabled || !domain_enabled {
        State::Disabled
    } else if table.is_waiting(rule) {
        State::Waiting
    } else {
        State::Active
    };
    convert::rule(rule, state)
}
