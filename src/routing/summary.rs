//! A change in one line, for people: in the words of `postroadctl`, as far as it has any.

use super::change::{Change, DomainPatch, NewDomain, NewRule, RulePatch, TempfailSetting};
use super::model::{Matcher, RuleAction};
use super::table::Table;
use super::wire;
use crate::config::OnTempfail;
use crate::mail::Address;

/// Longest line, in octets.
pub(super) const MAX_SUMMARY_OCTETS: usize = 512;
/// Changes of a batch that are told.
const MAX_TOLD: usize = 8;

/// What the change does to this table, cut to [`MAX_SUMMARY_OCTETS`].
pub(super) fn summary(change: &Change, table: &Table) -> String {
    let mut text = if let Change::Batch(changes) = change {
        let told: Vec<String> = changes.iter().take(MAX_TOLD).map(|change| one(change, table)).collect();
        let more = if changes.len() > MAX_TOLD { "; …" } else { "" };
        format!("{} changes: {}{more}", changes.len(), told.join("; "))
    } else {
        one(change, table)
    };
    if text.len() > MAX_SUMMARY_OCTETS {
        text.truncate(text.floor_char_boundary(MAX_SUMMARY_OCTETS - "…".len()));
        text.push('…');
    }
    text
}

fn one(change: &Change, table: &Table) -> String {
    match change {
        Change::CreateDomain(new) => format!("domain add {}{}", new.name, domain_settings(new)),
        Change::UpdateDomain { name, patch, .. } => format!("domain set {name}{}", domain_patch(patch)),
        Change::DeleteDomain { name, .. } => format!("domain remove {name}"),
        Change::CreateRule(new) => new_rule(new),
        Change::UpdateRule { id, patch, .. } => {
            let rule = table.rule(id).map_or_else(|| id.to_string(), |rule| rule.alias());
            format!("rule set {rule}{}", rule_patch(patch))
        }
        Change::DeleteRule { id, .. } => match table.rule(id) {
            Some(rule) => format!("rule remove {}{}", rule.alias(), action(&rule.action)),
            None => format!("rule remove {id}"),
        },
        Change::CreateDestination { address, verified } => {
            format!("destination add {address}{}", if *verified { " verified" } else { "" })
        }
        Change::UpdateDestination { address, verified, .. } => {
            format!("destination {} {address}", if *verified { "verify" } else { "unverify" })
        }
        Change::DeleteDestination { address, .. } => format!("destination remove {address}"),
        Change::Suspend { domain, .. } => format!("queue suspend {domain}"),
        Change::Resume { domain, .. } => format!("queue resume {domain}"),
        Change::EndSuspensions => "queue resume what is over".to_owned(),
        Change::Block { network, .. } => format!("dnsbl block {network}"),
        Change::Allow { network, .. } => format!("dnsbl allow {network}"),
        Change::Unlist { network, .. } => format!("dnsbl remove {network}"),
        Change::BarNode { name } => format!("cluster remove {name}"),
        Change::AdmitNode { name } => format!("cluster bootstrap --admit {name}"),
        Change::DeclareWhole => "the table is whole".to_owned(),
        Change::DeclareLost => "the table is lost".to_owned(),
        Change::AgreeOnDeliveryKey(_) => "a key for the names of deliveries".to_owned(),
        Change::RollBack(order) => format!("history rollback {}", order.revision),
        Change::Batch(changes) => format!("{} changes", changes.len()),
    }
}

fn domain_settings(new: &NewDomain) -> String {
    let default = NewDomain::new(new.name.clone());
    domain_patch(&DomainPatch {
        enabled: (new.enabled != default.enabled).then_some(new.enabled),
        on_tempfail: new.on_tempfail.map(|value| TempfailSetting(Some(value))),
        subaddressing: (new.subaddressing != default.subaddressing).then_some(new.subaddressing),
    })
}

fn domain_patch(patch: &DomainPatch) -> String {
    let tempfail = |value: Option<OnTempfail>| value.map_or("default", wire::tempfail_word);
    let settings = [
        patch.enabled.map(|enabled| format!(" enabled={}", yes_no(enabled))),
        patch.on_tempfail.map(|TempfailSetting(value)| format!(" on-tempfail={}", tempfail(value))),
        patch.subaddressing.map(|on| format!(" subaddressing={}", yes_no(on))),
    ];
    settings.into_iter().flatten().collect()
}

fn new_rule(new: &NewRule) -> String {
    let local = matcher(&new.matcher);
    let patch = RulePatch {
        priority: Some(new.priority).filter(|priority| *priority != 0),
        label: Some(new.label.clone()).filter(|label| !label.is_empty()),
        enabled: Some(new.enabled).filter(|enabled| !enabled),
        ..RulePatch::default()
    };
    format!("rule add {} {local}{}{}", new.domain, action(&new.action), rule_patch(&patch))
}

fn rule_patch(patch: &RulePatch) -> String {
    let settings = [
        patch.matcher.as_ref().map(|to| format!(" to={}", matcher(to))),
        patch.action.as_ref().map(action),
        patch.priority.map(|priority| format!(" priority={priority}")),
        patch.label.as_ref().map(|label| format!(" name=\"{label}\"")),
        patch.enabled.map(|enabled| format!(" enabled={}", yes_no(enabled))),
    ];
    settings.into_iter().flatten().collect()
}

fn matcher(matcher: &Matcher) -> &str {
    match matcher {
        Matcher::Local(local) => local,
        Matcher::CatchAll => "*",
    }
}

fn action(action: &RuleAction) -> String {
    match action {
        RuleAction::Forward(to) => {
            let to: Vec<String> = to.iter().map(Address::to_string).collect();
            format!(" -> {}", to.join(", "))
        }
        RuleAction::Drop => " -> drop".to_owned(),
        RuleAction::Reject(text) => format!(" -> reject \"{text}\""),
    }
}

fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}
