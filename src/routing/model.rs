//! The resources of the routing table: domains, rules, destinations, suspensions, listings. Their form in JSON is that
//! of [`super::earlier`].

use std::time::SystemTime;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::wire;
use crate::config::OnTempfail;
use crate::mail::{Address, Domain};

/// Longest label of a rule, in octets.
pub const MAX_LABEL_OCTETS: usize = 200;
/// Longest text of a rule that rejects, in octets: with codes, URL and trace id it wraps into two reply lines
/// at most (RFC 5321 §4.5.3.1.5).
pub const MAX_REJECT_OCTETS: usize = 200;
/// Destinations that one rule may name, and final destinations that one recipient may have.
pub const MAX_DESTINATIONS_PER_RULE: usize = 20;
/// Domains in the table. A domain without rules takes about 0.5 KB of memory.
pub const MAX_DOMAINS: usize = 1_000_000;
/// Rules in one domain. A rule takes about 1 KB of memory.
pub const MAX_RULES_PER_DOMAIN: usize = 1_000_000;
/// Destinations in the table.
pub const MAX_DESTINATIONS: usize = 2_000_000;
/// Suspended destination domains in the table: each is in the memory of every stage that delivers, too.
pub const MAX_SUSPENSIONS: usize = 10_000;
/// Networks of clients that are blocked or allowed. A listing takes about 0.5 KB of memory.
pub const MAX_LISTINGS: usize = 100_000;
/// Names of nodes that are kept out of the cluster.
pub(super) const MAX_BARRED: usize = 64;
/// Longest reason of an operator's order, in characters.
pub const MAX_REASON_CHARS: usize = 200;

/// A domain that we route for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DomainEntry {
    /// Cluster-unique.
    pub id: Ulid,
    /// The domain; its resource name is `domains/NAME`.
    pub name: Domain,
    /// A disabled domain takes no mail but bounces to its SRS addresses.
    pub enabled: bool,
    /// Overrides `delivery.on_tempfail`.
    #[serde(with = "wire::tempfail")]
    pub on_tempfail: Option<OnTempfail>,
    /// Whether `user+tag` falls back to `user`.
    pub subaddressing: bool,
    /// When it was added.
    #[serde(deserialize_with = "wire::millis")]
    pub created_at: SystemTime,
    /// When it was last changed.
    #[serde(deserialize_with = "wire::millis")]
    pub updated_at: SystemTime,
    /// The revision of the table that wrote it: its etag.
    pub revision: u64,
}

/// What is done with mail to an address, or to every address without a rule of its own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Rule {
    /// Cluster-unique; the resource name is `domains/NAME/rules/ID`.
    pub id: Ulid,
    /// The domain that it belongs to.
    pub domain: Domain,
    /// Which mail.
    pub matcher: Matcher,
    /// What happens.
    pub action: RuleAction,
    /// Lower numbers first; ties by creation.
    pub priority: i32,
    /// The operator's words, up to [`MAX_LABEL_OCTETS`].
    pub label: String,
    /// A disabled rule matches nothing.
    pub enabled: bool,
    /// When it was added.
    #[serde(deserialize_with = "wire::millis")]
    pub created_at: SystemTime,
    /// When it was last changed.
    #[serde(deserialize_with = "wire::millis")]
    pub updated_at: SystemTime,
    /// The revision of the table that wrote it: its etag.
    pub revision: u64,
}

/// Which recipients a rule is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
pub enum Matcher {
    /// One local part, in its look-up form: in lower case and composed.
    Local(String),
    /// Every local part; always last.
    CatchAll,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub enum RuleAction {
    /// Forward to these, at least one.
    Forward(Vec<Address>),
    /// Judge, answer 250, and forget.
    Drop,
    /// Refuse at RCPT with this text: ASCII, 1 to 200 octets.
    Reject(String),
}

/// An address that rules forward to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Destination {
    /// Cluster-unique; the resource name is `destinations/ADDRESS`.
    pub id: Ulid,
    /// The address.
    pub address: Address,
    /// When its owner confirmed it; rules to an unverified destination wait.
    #[serde(deserialize_with = "wire::optional_millis")]
    pub verified_at: Option<SystemTime>,
    /// When it was added.
    #[serde(deserialize_with = "wire::millis")]
    pub created_at: SystemTime,
    /// The revision of the table that wrote it: its etag.
    pub revision: u64,
}

/// A destination domain to which nothing is delivered, by order of an operator. Its times are whole seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// The destination domain; the resource name is `queue/suspensions/DOMAIN`.
    pub domain: Domain,
    /// Since when.
    pub since: SystemTime,
    /// Until when; `None`: until it is resumed.
    pub until: Option<SystemTime>,
    /// The operator's words, up to [`MAX_REASON_CHARS`].
    pub reason: String,
    /// The revision of the table that wrote it: its etag.
    pub revision: u64,
}

/// What an operator says of a network of clients, in the place of what blocklists say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The network, without bits behind its prefix; IPv4 is never in its IPv6-mapped form (RFC 4291 §2.5.5.2). The resource
    /// name is `listings/NETWORK`.
    pub network: IpNet,
    /// Whether its clients may come.
    pub access: Access,
    /// The operator's words, up to [`MAX_REASON_CHARS`].
    pub reason: String,
    /// Since when.
    pub since: SystemTime,
    /// Until when; `None`: until it is taken back.
    pub until: Option<SystemTime>,
    /// The revision of the table that wrote it: its etag.
    pub revision: u64,
}

/// Whether the clients of a network may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// They may not.
    Blocked,
    /// They may, whatever a blocklist says.
    Allowed,
}

impl DomainEntry {
    /// `domains/NAME`.
    #[must_use]
    pub fn resource_name(&self) -> String {
        format!("domains/{}", self.name)
    }
}

impl Rule {
    /// `domains/NAME/rules/ID`.
    #[must_use]
    pub fn resource_name(&self) -> String {
        format!("domains/{}/rules/{}", self.domain, self.id)
    }

    /// What the rule is for: `LOCAL@DOMAIN`, or `*@DOMAIN`.
    #[must_use]
    pub fn alias(&self) -> String {
        match &self.matcher {
            Matcher::Local(local) => format!("{local}@{}", self.domain),
            Matcher::CatchAll => format!("*@{}", self.domain),
        }
    }

    /// The destinations, if the rule forwards.
    #[must_use]
    pub fn destinations(&self) -> &[Address] {
        self.action.destinations()
    }

    /// Where the rule stands among those of its domain.
    #[must_use]
    pub fn rank(&self) -> Rank {
        Rank { last: self.matcher == Matcher::CatchAll, priority: self.priority, id: self.id }
    }
}

impl RuleAction {
    /// The destinations, if it forwards.
    #[must_use]
    pub fn destinations(&self) -> &[Address] {
        match self {
            Self::Forward(destinations) => destinations,
            Self::Drop | Self::Reject(_) => &[],
        }
    }
}

impl Destination {
    /// `destinations/ADDRESS`.
    #[must_use]
    pub fn resource_name(&self) -> String {
        format!("destinations/{}", self.address)
    }
}

impl Suspension {
    /// `queue/suspensions/DOMAIN`.
    #[must_use]
    pub fn resource_name(&self) -> String {
        format!("queue/suspensions/{}", self.domain)
    }

    /// Whether its time is over. It stands in the table until it is ended, and nobody obeys it.
    #[must_use]
    pub fn is_over(&self, now: SystemTime) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl Listing {
    /// `listings/NETWORK`, as [`Self::resource_name_of`] has it.
    #[must_use]
    pub fn resource_name(&self) -> String {
        Self::resource_name_of(&self.network)
    }

    /// `listings/192.0.2.0-24`, `listings/2001-db8---32`: with `-` for what means something else in a name (AIP-122).
    #[must_use]
    pub fn resource_name_of(network: &IpNet) -> String {
        format!("listings/{}", network.to_string().replace([':', '/'], "-"))
    }

    /// Whether its time is over. Nobody obeys it then, and one of the next changes of listings removes it.
    #[must_use]
    pub fn is_over(&self, now: SystemTime) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// The order of a domain's rules: catch-alls last, lower priority numbers first, ties by id, which is the
/// order of creation. Serialisable, for page tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rank {
    /// Whether it is a catch-all.
    last: bool,
    priority: i32,
    id: Ulid,
}
