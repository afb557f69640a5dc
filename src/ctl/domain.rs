//! `postroadctl domain`.

use clap::{Subcommand, ValueEnum};
use pbjson_types::FieldMask;

use super::failure::Failure;
use super::output::{Output, Row, ago, yes_no};
use super::pages;
use super::session::Session;
use crate::proto::admin::v1::domain::OnTempfail;
use crate::proto::admin::v1::domain_service_client::DomainServiceClient;
use crate::proto::admin::v1::{
    CreateDomainRequest, DeleteDomainRequest, Domain, GetDomainRequest, ListDomainsRequest,
    UpdateDomainRequest,
};

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Adds a domain.
    Add {
        /// The domain.
        name: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Lists the domains.
    List,
    /// Shows one domain.
    Show {
        /// The domain, or its id.
        name: String,
    },
    /// Changes the settings of a domain.
    Set {
        /// The domain, or its id.
        name: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Takes mail for a domain again.
    Enable {
        /// The domain, or its id.
        name: String,
    },
    /// Takes no more mail for a domain, but bounces to its SRS addresses.
    Disable {
        /// The domain, or its id.
        name: String,
    },
    /// Removes a domain with all its rules.
    Remove {
        /// The domain, or its id.
        name: String,
    },
}

/// The settings of a domain.
#[derive(Debug, clap::Args)]
pub(super) struct Settings {
    /// What an upstream 4xx becomes for a message that nobody has yet.
    #[arg(long, value_name = "V", value_enum)]
    on_tempfail: Option<Tempfail>,
    /// Whether user+tag falls back to the rule of user.
    #[arg(long, value_enum)]
    subaddressing: Option<Switch>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Tempfail {
    /// What the node's configuration says.
    Default,
    /// The sender hears it and keeps the message.
    Relay,
    /// The message is queued.
    Queue,
    /// Queued for senders that SPF or DKIM vouches for, else relayed.
    Verified,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

type Client = DomainServiceClient<super::session::Wire>;

impl Settings {
    fn fill(&self, domain: &mut Domain) -> Vec<String> {
        let mut paths = Vec::new();
        if let Some(tempfail) = self.on_tempfail {
            domain.set_on_tempfail(match tempfail {
                Tempfail::Default => OnTempfail::Unspecified,
                Tempfail::Relay => OnTempfail::Relay,
                Tempfail::Queue => OnTempfail::Queue,
                Tempfail::Verified => OnTempfail::Verified,
            });
            paths.push("on_tempfail".to_owned());
        }
        if let Some(switch) = self.subaddressing {
            domain.subaddressing = Some(switch == Switch::On);
            paths.push("subaddressing".to_owned());
        }
        paths
    }
}

pub(super) async fn run(verb: Verb, session: &Session, output: &mut Output<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Add { name, settings } => add(&name, &settings, session, output).await,
        Verb::List => {
            let domains = list(session).await?;
            output.list("domains", &domains)
        }
        Verb::Show { name } => {
            let request = GetDomainRequest { name: resource_name(&name) };
            let domain = session
                .read(
                    request.clone(),
                    |wire, request| async move { Client::new(wire).get_domain(request).await },
                )
                .await?;
            output.resource(&domain)
        }
        Verb::Set { name, settings } => {
            let mut domain = Domain { name: resource_name(&name), ..Domain::default() };
            let paths = settings.fill(&mut domain);
            if paths.is_empty() {
                let text = "domain set: nothing to set; give --on-tempfail or --subaddressing";
                return Err(Failure::Usage(text.to_owned()));
            }
            update(domain, paths, session, output).await
        }
        Verb::Enable { name } => enable(&name, true, session, output).await,
        Verb::Disable { name } => enable(&name, false, session, output).await,
        Verb::Remove { name } => {
            let request = DeleteDomainRequest {
                name: resource_name(&name),
                etag: String::new(),
                force: true,
                request_id: session.request_id(),
            };
            session
                .write(request.clone(), |wire, request| async move {
                    Client::new(wire).delete_domain(request).await
                })
                .await?;
            output.removed(&request.name)
        }
    }
}

async fn add(
    name: &str,
    settings: &Settings,
    session: &Session,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let mut domain = Domain { name: resource_name(name), ..Domain::default() };
    settings.fill(&mut domain);
    let request = CreateDomainRequest { domain: Some(domain), request_id: session.request_id() };
    let domain = session
        .write(request.clone(), |wire, request| async move { Client::new(wire).create_domain(request).await })
        .await?;
    output.resource(&domain)?;
    let name = short(&domain.name);
    output.next(&format!("rule add {name} --to info --forward ana@example.net"));
    Ok(())
}

async fn enable(
    name: &str,
    enabled: bool,
    session: &Session,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let domain = Domain { name: resource_name(name), enabled: Some(enabled), ..Domain::default() };
    update(domain, vec!["enabled".to_owned()], session, output).await
}

async fn update(
    domain: Domain,
    paths: Vec<String>,
    session: &Session,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let request = UpdateDomainRequest {
        domain: Some(domain),
        update_mask: Some(FieldMask { paths }),
        request_id: session.request_id(),
    };
    let domain = session
        .write(request.clone(), |wire, request| async move { Client::new(wire).update_domain(request).await })
        .await?;
    output.resource(&domain)
}

async fn list(session: &Session) -> Result<Vec<Domain>, Failure> {
    pages::all(async |page_token| {
        let request = ListDomainsRequest { page_size: super::PAGE_SIZE, page_token };
        let page = session
            .read(request, |wire, request| async move { Client::new(wire).list_domains(request).await })
            .await?;
        Ok((page.domains, page.next_page_token))
    })
    .await
}

/// `example.com` and `01J…` become `domains/…`.
pub(super) fn resource_name(name: &str) -> String {
    if name.starts_with("domains/") { name.to_owned() } else { format!("domains/{name}") }
}

/// `domains/example.com` becomes `example.com`.
pub(super) fn short(name: &str) -> &str {
    name.strip_prefix("domains/").unwrap_or(name)
}

impl Row for Domain {
    const COLUMNS: &'static [&'static str] =
        &["DOMAIN", "ENABLED", "ON TEMPFAIL", "SUBADDRESSING", "CHANGED", "ID"];

    fn cells(&self) -> Vec<String> {
        let on_tempfail = match self.on_tempfail() {
            OnTempfail::Unspecified => "default",
            OnTempfail::Relay => "relay",
            OnTempfail::Queue => "queue",
            OnTempfail::Verified => "verified",
        };
        vec![
            short(&self.name).to_owned(),
            yes_no(self.enabled),
            on_tempfail.to_owned(),
            yes_no(self.subaddressing),
            ago(self.update_time.as_ref()),
            self.id.clone(),
        ]
    }
}
