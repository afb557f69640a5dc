//! `ResolveService`: what would happen to mail to an address.

use tonic::{Request, Response, Status};
use ulid::Ulid;

use super::status;
use crate::mail::Address;
use crate::proto::admin::v1::resolution::{MatchKind, Outcome};
use crate::proto::admin::v1::resolve_service_server::ResolveService;
use crate::proto::admin::v1::{self as wire, ResolveRecipientRequest};
use crate::routing::{Explanation, MatchedBy, Resolution, Routing, Step, Table};
use crate::smtp::reply::{self, Row};

/// Answers from the routing table.
#[derive(Debug)]
pub(super) struct Resolver {
    pub(super) routing: Routing,
}

#[tonic::async_trait]
impl ResolveService for Resolver {
    async fn resolve_recipient(
        &self,
        request: Request<ResolveRecipientRequest>,
    ) -> Result<Response<wire::Resolution>, Status> {
        let text = request.into_inner().address;
        let address = Address::parse(&text).map_err(|error| status::invalid("address", error))?;
        let table = self.routing.snapshot();
        let Explanation { resolution, steps } = table.explain(&address);
        let mut answer = wire::Resolution {
            address: address.to_string(),
            steps: steps.iter().map(step).collect(),
            ..wire::Resolution::default()
        };
        fill(&mut answer, resolution, &table);
        Ok(Response::new(answer))
    }
}

fn step(step: &Step) -> String {
    format!("{:indent$}{} {}", "", step.address, step.text, indent = 2 * step.depth)
}

fn fill(answer: &mut wire::Resolution, resolution: Resolution, table: &Table) {
    let (outcome, row, rule, matcher) = match resolution {
        Resolution::UnknownDomain => (Outcome::UnknownDomain, Some(reply::UNKNOWN_DOMAIN), None, None),
        Resolution::UnknownRecipient => {
            (Outcome::UnknownRecipient, Some(reply::UNKNOWN_RECIPIENT), None, None)
        }
        Resolution::Waiting { rule, matcher } => {
            (Outcome::Waiting, Some(reply::RULE_WAITING), Some(rule), Some(matcher))
        }
        Resolution::Reject { rule, matcher, text } => {
            answer.reply = said(reply::RULE_REJECT, &[&text]);
            (Outcome::Reject, None, Some(rule), Some(matcher))
        }
        Resolution::Drop { rule, matcher } => {
            (Outcome::Drop, Some(reply::RECIPIENT_OK), Some(rule), Some(matcher))
        }
        Resolution::Forward { rule, matcher, destinations } => {
            answer.destinations = destinations.iter().map(Address::to_string).collect();
            (Outcome::Forward, Some(reply::RECIPIENT_OK), rule, Some(matcher))
        }
        Resolution::Cycle { .. } => (Outcome::Loop, Some(reply::LOOP), None, None),
        Resolution::TooMany => (Outcome::TooManyDestinations, Some(reply::INTERNAL), None, None),
        Resolution::NoPostmaster => (Outcome::NoPostmaster, Some(reply::INTERNAL), None, None),
        Resolution::NotKnown => (Outcome::NotKnown, Some(reply::INTERNAL), None, None),
    };
    answer.set_outcome(outcome);
    answer.set_match(matcher.map_or(MatchKind::Unspecified, kind));
    answer.rule = rule.map(|id| rule_name(table, id)).unwrap_or_default();
    if let Some(row) = row {
        answer.reply = said(row, &[]);
    }
}

fn rule_name(table: &Table, id: Ulid) -> String {
    table.rule(&id).map(|rule| rule.resource_name()).unwrap_or_default()
}

fn kind(matched: MatchedBy) -> MatchKind {
    match matched {
        MatchedBy::Exact => MatchKind::Exact,
        MatchedBy::Subaddress => MatchKind::Subaddress,
        MatchedBy::Role => MatchKind::Role,
        MatchedBy::CatchAll => MatchKind::CatchAll,
    }
}

/// A reply on one line, without the URL and the trace id that a transaction would add.
fn said(row: &'static Row, arguments: &[&str]) -> String {
    let reply = row.with(arguments);
    let enhanced = reply.enhanced.map(|enhanced| format!(" {enhanced}")).unwrap_or_default();
    format!("{}{enhanced} {}", reply.code, reply.lines.join(" "))
}
