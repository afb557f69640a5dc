//! `postroadctl rule`.

use clap::{ArgGroup, Subcommand};
use pbjson_types::FieldMask;

use super::domain;
use super::failure::Failure;
use super::output::{Output, Row, ago};
use super::pages;
use super::session::{Session, Wire};
use crate::proto::admin::v1::rule::State;
use crate::proto::admin::v1::rule_service_client::RuleServiceClient;
use crate::proto::admin::v1::{
    Action, CreateRuleRequest, DeleteRuleRequest, GetRuleRequest, ListRulesRequest, Matcher, Rule,
    UpdateRuleRequest, action, matcher,
};

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Adds a rule to a domain.
    #[command(group = ArgGroup::new("which").required(true), group = ArgGroup::new("what").required(true))]
    Add {
        /// The domain.
        domain: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Lists the rules of a domain in the order in which they are tried.
    List {
        /// The domain.
        domain: String,
    },
    /// Shows one rule.
    Show {
        /// The rule's id or name.
        id: String,
    },
    /// Changes a rule.
    #[command(group = ArgGroup::new("which"), group = ArgGroup::new("what"))]
    Set {
        /// The rule's id or name.
        id: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Uses a rule again.
    Enable {
        /// The rule's id or name.
        id: String,
    },
    /// Keeps a rule but does not use it.
    Disable {
        /// The rule's id or name.
        id: String,
    },
    /// Removes a rule.
    Remove {
        /// The rule's id or name.
        id: String,
    },
}

/// What a rule says.
#[derive(Debug, clap::Args)]
pub(super) struct Settings {
    /// The local part that it is for, without regard to case.
    #[arg(long, value_name = "LOCAL", group = "which")]
    to: Option<String>,
    /// It is for every local part without a rule of its own.
    #[arg(long, group = "which")]
    catch_all: bool,
    /// Forward to this address; can be given up to 20 times.
    #[arg(long, value_name = "ADDRESS", group = "what")]
    forward: Vec<String>,
    /// Judge the message, answer 250, and forget it.
    #[arg(long, group = "what")]
    drop: bool,
    /// Refuse the recipient: 550 5.7.1 TEXT.
    #[arg(long, value_name = "TEXT", group = "what")]
    reject: Option<String>,
    /// Lower numbers are tried first.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Your own words for it, up to 200 octets.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
}

type Client = RuleServiceClient<Wire>;

impl Settings {
    fn fill(&self, rule: &mut Rule) -> Vec<String> {
        let mut paths = Vec::new();
        if let Some(kind) = self.matcher() {
            rule.matcher = Some(Matcher { kind: Some(kind) });
            paths.push("matcher".to_owned());
        }
        if let Some(kind) = self.action() {
            rule.action = Some(Action { kind: Some(kind) });
            paths.push("action".to_owned());
        }
        if let Some(priority) = self.priority {
            rule.priority = priority;
            paths.push("priority".to_owned());
        }
        if let Some(name) = &self.name {
            rule.display_name.clone_from(name);
            paths.push("display_name".to_owned());
        }
        paths
    }

    fn matcher(&self) -> Option<matcher::Kind> {
        match &self.to {
            Some(to) => Some(matcher::Kind::To(to.clone())),
            None => self.catch_all.then_some(matcher::Kind::All(matcher::All {})),
        }
    }

    fn action(&self) -> Option<action::Kind> {
        if !self.forward.is_empty() {
            return Some(action::Kind::Forward(action::Forward { addresses: self.forward.clone() }));
        }
        match &self.reject {
            Some(text) => Some(action::Kind::Reject(action::Reject { text: text.clone() })),
            None => self.drop.then_some(action::Kind::Drop(action::Drop {})),
        }
    }
}

pub(super) async fn run(verb: Verb, session: &Session, output: &mut Output<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Add { domain, settings } => {
            let mut rule = Rule::default();
            settings.fill(&mut rule);
            let parent = domain::resource_name(&domain);
            let request = CreateRuleRequest { parent, rule: Some(rule), request_id: session.request_id() };
            let rule = session
                .write(request, |wire, request| async move { Client::new(wire).create_rule(request).await })
                .await?;
            shown(&rule, output)
        }
        Verb::List { domain } => output.list("rules", &list(&domain, session).await?),
        Verb::Show { id } => {
            let request = GetRuleRequest { name: resource_name(&id) };
            let rule = session
                .read(request, |wire, request| async move { Client::new(wire).get_rule(request).await })
                .await?;
            output.resource(&rule)
        }
        Verb::Set { id, settings } => {
            let mut rule = Rule { name: resource_name(&id), ..Rule::default() };
            let paths = settings.fill(&mut rule);
            if paths.is_empty() {
                let text = "rule set: nothing to set; give --to, --catch-all, --forward, --drop, --reject, \
                            --priority or --name";
                return Err(Failure::Usage(text.to_owned()));
            }
            update(rule, paths, session, output).await
        }
        Verb::Enable { id } => enable(&id, true, session, output).await,
        Verb::Disable { id } => enable(&id, false, session, output).await,
        Verb::Remove { id } => {
            let request = DeleteRuleRequest {
                name: resource_name(&id),
                etag: String::new(),
                request_id: session.request_id(),
            };
            session
                .write(request, |wire, request| async move { Client::new(wire).delete_rule(request).await })
                .await?;
            output.removed(&resource_name(&id))
        }
    }
}

async fn enable(id: &str, enabled: bool, session: &Session, output: &mut Output<'_>) -> Result<(), Failure> {
    let rule = Rule { name: resource_name(id), enabled: Some(enabled), ..Rule::default() };
    update(rule, vec!["enabled".to_owned()], session, output).await
}

async fn update(
    rule: Rule,
    paths: Vec<String>,
    session: &Session,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let update_mask = Some(FieldMask { paths });
    let request = UpdateRuleRequest { rule: Some(rule), update_mask, request_id: session.request_id() };
    let rule = session
        .write(request, |wire, request| async move { Client::new(wire).update_rule(request).await })
        .await?;
    shown(&rule, output)
}

/// Prints a rule that was written, and what it waits for.
fn shown(rule: &Rule, output: &mut Output<'_>) -> Result<(), Failure> {
    output.resource(rule)?;
    if rule.state() == State::Waiting {
        for address in forwards(rule) {
            output.next(&format!("destination add {address} --verified"));
        }
    }
    Ok(())
}

async fn list(domain: &str, session: &Session) -> Result<Vec<Rule>, Failure> {
    let parent = domain::resource_name(domain);
    pages::all(async |page_token| {
        let request = ListRulesRequest { parent: parent.clone(), page_size: super::PAGE_SIZE, page_token };
        let page = session
            .read(request, |wire, request| async move { Client::new(wire).list_rules(request).await })
            .await?;
        Ok((page.rules, page.next_page_token))
    })
    .await
}

/// `01J…` becomes `domains/-/rules/01J…`: an id needs no domain.
fn resource_name(id: &str) -> String {
    if id.contains('/') { id.to_owned() } else { format!("domains/-/rules/{id}") }
}

fn forwards(rule: &Rule) -> &[String] {
    match rule.action.as_ref().and_then(|action| action.kind.as_ref()) {
        Some(action::Kind::Forward(forward)) => &forward.addresses,
        Some(action::Kind::Drop(_) | action::Kind::Reject(_)) | None => &[],
    }
}

impl Row for Rule {
    const COLUMNS: &'static [&'static str] = &["PRIORITY", "TO", "ACTION", "STATE", "NAME", "CHANGED", "ID"];

    fn cells(&self) -> Vec<String> {
        let to = match self.matcher.as_ref().and_then(|matcher| matcher.kind.as_ref()) {
            Some(matcher::Kind::To(to)) => to.clone(),
            Some(matcher::Kind::All(_)) | None => "*".to_owned(),
        };
        let action = match self.action.as_ref().and_then(|action| action.kind.as_ref()) {
            Some(action::Kind::Forward(forward)) => format!("forward {}", forward.addresses.join(", ")),
            Some(action::Kind::Reject(reject)) => format!("reject {}", reject.text),
            Some(action::Kind::Drop(_)) => "drop".to_owned(),
            None => "-".to_owned(),
        };
        vec![
            self.priority.to_string(),
            to,
            action,
            self.state().as_str_name().to_lowercase(),
            self.display_name.clone(),
            ago(self.update_time.as_ref()),
            self.id.clone(),
        ]
    }
}
