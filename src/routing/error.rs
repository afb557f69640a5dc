//! How a change of the table, or opening it, fails.

use ipnet::IpNet;
use thiserror::Error;
use ulid::Ulid;

use self::ErrorKind::{
    Aborted, AlreadyExists, DeadlineExceeded, FailedPrecondition, InvalidArgument, NotFound,
    ResourceExhausted, Unavailable,
};
use super::change::MAX_CHANGES_PER_BATCH;
use super::encoding::{EncodingError, MAX_STAMPED_OCTETS};
use super::model::{
    MAX_BARRED, MAX_DESTINATIONS, MAX_DESTINATIONS_PER_RULE, MAX_DOMAINS, MAX_LABEL_OCTETS, MAX_LISTINGS,
    MAX_REASON_CHARS, MAX_REJECT_OCTETS, MAX_RULES_PER_DOMAIN, MAX_SUSPENSIONS,
};
use super::passed::Told;
use super::requests::{MAX_REQUEST_ID_OCTETS, RequestId};
use super::resolve::MAX_DEPTH;
use crate::mail::{Address, AddressError, Domain};
use crate::store::StoreError;

/// Why the table stays as it is. [`RoutingError::reason`] is the word for machines.
#[derive(Debug, Clone, Error)]
#[allow(missing_docs, reason = "the texts say it, and the fields are what they name")]
pub enum RoutingError {
    #[error("domain {0} exists already")]
    DomainExists(Domain),
    #[error("domain {0} does not exist")]
    DomainNotFound(Domain),
    #[error("domain {name} has {rules} rules; delete them with it, or first")]
    DomainNotEmpty { name: Domain, rules: usize },
    #[error("{0} is an address literal; a domain to route for has a name")]
    DomainIsLiteral(Domain),
    #[error("{0} is one of our own MX hosts; mail for it would come to us for ever")]
    DomainIsOurs(Domain),
    #[error("rule {0} does not exist")]
    RuleNotFound(Ulid),
    #[error("local part \"{local}\" cannot be matched: {cause}")]
    LocalPartInvalid { local: String, cause: AddressError },
    #[error("\"{0}\" is an address; give its local part alone")]
    LocalPartIsAddress(String),
    #[error("local part \"{0}\" is of the form of return addresses (SRS), which are read before any rule")]
    LocalPartReserved(String),
    #[error("a rule that forwards needs a destination")]
    NoDestination,
    #[error("{0} destinations are past the limit of {MAX_DESTINATIONS_PER_RULE}")]
    TooManyDestinationsInRule(usize),
    #[error("the text of a rule that rejects is 1 to {MAX_REJECT_OCTETS} octets of printable ASCII")]
    RejectText,
    #[error("the name of a rule is up to {MAX_LABEL_OCTETS} octets without control characters")]
    Label,
    #[error("destination {0} exists already")]
    DestinationExists(Address),
    #[error("destination {0} does not exist")]
    DestinationNotFound(Address),
    #[error("destination {address} is in use by {total} rules: {}", rules.join(", "))]
    DestinationInUse {
        address: Address,
        /// The names of the first ten.
        rules: Vec<String>,
        total: usize,
    },
    #[error("destination {0} is in a domain of our own service; mail for it would come to us for ever")]
    DestinationIsOurs(Address),
    #[error("destination {0} is of the form of return addresses (SRS), which take bounces only")]
    DestinationIsSrs(Address),
    #[error("deliveries to {0} are not suspended")]
    SuspensionNotFound(Domain),
    #[error("network {0} is neither blocked nor allowed")]
    ListingNotFound(IpNet),
    #[error("network {given} is written {canonical}")]
    NetworkForm { given: IpNet, canonical: IpNet },
    #[error("node {0} was not removed from the cluster")]
    NodeNotBarred(String),
    #[error(
        "{MAX_BARRED} nodes were removed from the cluster and not admitted again: admit one of them first"
    )]
    TooManyBarred,
    #[error("a reason is up to {MAX_REASON_CHARS} characters, none of them a control character")]
    Reason,
    #[error("rules form a cycle: {}", chain.join(" -> "))]
    RuleCycle { chain: Vec<String> },
    #[error("more than {MAX_DEPTH} rules follow each other: {}", chain.join(" -> "))]
    RulesTooDeep { chain: Vec<String> },
    #[error("mail to {0} would go to more than {MAX_DESTINATIONS_PER_RULE} final destinations")]
    TooManyFinalDestinations(String),
    #[error("{resource} has changed: its etag is {current}, not {given}")]
    EtagMismatch { resource: String, current: u64, given: u64 },
    #[error("the table holds {MAX_DOMAINS} domains, and no more")]
    TooManyDomains,
    #[error("domain {0} has {MAX_RULES_PER_DOMAIN} rules, and takes no more")]
    TooManyRules(Domain),
    #[error("the table holds {MAX_DESTINATIONS} destinations, and no more")]
    TooManyDestinations,
    #[error("the table holds {MAX_SUSPENSIONS} suspended destinations, and no more")]
    TooManySuspensions,
    #[error("the table holds {MAX_LISTINGS} blocked and allowed networks, and no more")]
    TooManyListings,
    #[error("{0} changes are past the limit of {MAX_CHANGES_PER_BATCH} for a batch")]
    TooManyChanges(usize),
    #[error("a batch holds another, or a rollback")]
    NestedBatch,
    #[error("revision {revision} is older than the oldest kept, {oldest}")]
    RevisionTooOld { revision: u64, oldest: u64 },
    #[error("revision {revision} is not there yet: the routing table is at {latest}")]
    RevisionNotFound { revision: u64, latest: u64 },
    #[error("the history of the routing table cannot be read: {0}")]
    HistoryUnreadable(EncodingError),
    #[error("the routing table on disk is damaged: {0}")]
    Damaged(String),
    #[error(
        "the routing table is lost, and what is here is not all of it: apply the last document exported; \
         `export --partial` prints what is left"
    )]
    Lost,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the routing table's writer has stopped")]
    Stopped,
    #[error("a request id is 1 to {MAX_REQUEST_ID_OCTETS} octets of printable ASCII")]
    RequestId,
    #[error("request id \"{0}\" was given to another change within the hour")]
    RequestIdReused(RequestId),
    #[error("a change is past the limit of {MAX_STAMPED_OCTETS} octets")]
    TooLarge,
    #[error("no node leads the cluster, and nothing was changed{}", unreachable(missing))]
    NoLeader {
        /// The names of those who do not answer, as far as it is known.
        missing: Vec<String>,
    },
    #[error("a majority of the cluster does not answer, and nothing was changed{}", unreachable(missing))]
    NoMajority {
        /// As for `NoLeader`.
        missing: Vec<String>,
    },
    #[error("node {leader:016x} leads the cluster, and takes changes")]
    NotLeader { leader: u64 },
    #[error("changes before it took too long, and nothing was changed: try again")]
    Overtaken,
    #[error("the change was not confirmed, and may still take effect: {}", repeat(request_id.as_ref()))]
    Unconfirmed { request_id: Option<RequestId> },
    #[error("this node has stopped taking part in the cluster, and nothing was changed: its log says why")]
    ClusterStopped,
    #[error("a large change is on its way into the table already (request \"{0}\"): try again later")]
    LargeChangeUnderWay(RequestId),
    #[error("the parts of a large change are not all there, and nothing was changed: send it again")]
    PartsGone,
    #[error(
        "not every node is known to have a version of Postroad that knows this change, and nothing was changed: upgrade, \
         start or remove {}", nodes.join(", ")
    )]
    VersionsDiffer {
        /// The names of those of which it is not known.
        nodes: Vec<String>,
    },
    #[error("{}", .0.text)]
    Told(Told),
}

fn unreachable(missing: &[String]) -> String {
    if missing.is_empty() { String::new() } else { format!(": {} cannot be reached", missing.join(", ")) }
}

fn repeat(request_id: Option<&RequestId>) -> String {
    match request_id {
        Some(id) => format!("repeat it with its request id \"{id}\""),
        None => "look what is there before it is repeated".to_owned(),
    }
}

/// What kind of trouble an error is, after the canonical codes of gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The change itself cannot be right.
    InvalidArgument,
    /// What it is about does not exist.
    NotFound,
    /// What it creates exists.
    AlreadyExists,
    /// The table is not in the state for it.
    FailedPrecondition,
    /// Somebody else was faster: read again, then try again.
    Aborted,
    /// A limit is reached.
    ResourceExhausted,
    /// Our own trouble: try again once it is mended.
    Unavailable,
    /// What became of it is not known: it may still take effect.
    DeadlineExceeded,
}

impl RoutingError {
    /// The word of `google.rpc.ErrorInfo`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.classify().0
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.classify().1
    }

    fn classify(&self) -> (&'static str, ErrorKind) {
        match self {
            Self::DomainExists(_) => ("DOMAIN_EXISTS", AlreadyExists),
            Self::DomainNotFound(_) => ("DOMAIN_NOT_FOUND", NotFound),
            Self::DomainNotEmpty { .. } => ("DOMAIN_NOT_EMPTY", FailedPrecondition),
            Self::DomainIsLiteral(_) => ("DOMAIN_IS_LITERAL", InvalidArgument),
            Self::DomainIsOurs(_) => ("DOMAIN_IS_OURS", InvalidArgument),
            Self::RuleNotFound(_) => ("RULE_NOT_FOUND", NotFound),
            Self::LocalPartInvalid { .. } => ("LOCAL_PART_INVALID", InvalidArgument),
            Self::LocalPartIsAddress(_) => ("LOCAL_PART_IS_ADDRESS", InvalidArgument),
            Self::LocalPartReserved(_) => ("LOCAL_PART_RESERVED", InvalidArgument),
            Self::NoDestination => ("NO_DESTINATION", InvalidArgument),
            Self::TooManyDestinationsInRule(_) => ("TOO_MANY_DESTINATIONS_IN_RULE", InvalidArgument),
            Self::RejectText => ("REJECT_TEXT_INVALID", InvalidArgument),
            Self::Label => ("NAME_INVALID", InvalidArgument),
            Self::DestinationExists(_) => ("DESTINATION_EXISTS", AlreadyExists),
            Self::DestinationNotFound(_) => ("DESTINATION_NOT_FOUND", NotFound),
            Self::DestinationInUse { .. } => ("DESTINATION_IN_USE", FailedPrecondition),
            Self::DestinationIsOurs(_) => ("DESTINATION_IS_OURS", InvalidArgument),
            Self::DestinationIsSrs(_) => ("DESTINATION_IS_SRS", InvalidArgument),
            Self::SuspensionNotFound(_) => ("SUSPENSION_NOT_FOUND", NotFound),
            Self::ListingNotFound(_) => ("LISTING_NOT_FOUND", NotFound),
            Self::NetworkForm { .. } => ("NETWORK_INVALID", InvalidArgument),
            Self::NodeNotBarred(_) => ("NODE_NOT_REMOVED", FailedPrecondition),
            Self::TooManyBarred => ("TOO_MANY_REMOVED_NODES", ResourceExhausted),
            Self::Reason => ("REASON_INVALID", InvalidArgument),
            Self::RuleCycle { .. } => ("RULE_CYCLE", FailedPrecondition),
            Self::RulesTooDeep { .. } => ("RULES_TOO_DEEP", FailedPrecondition),
            Self::TooManyFinalDestinations(_) => ("TOO_MANY_FINAL_DESTINATIONS", FailedPrecondition),
            Self::EtagMismatch { .. } => ("ETAG_MISMATCH", Aborted),
            Self::TooManyDomains => ("TOO_MANY_DOMAINS", ResourceExhausted),
            Self::TooManyRules(_) => ("TOO_MANY_RULES", ResourceExhausted),
            Self::TooManyDestinations => ("TOO_MANY_DESTINATIONS", ResourceExhausted),
            Self::TooManySuspensions => ("TOO_MANY_SUSPENSIONS", ResourceExhausted),
            Self::TooManyListings => ("TOO_MANY_LISTINGS", ResourceExhausted),
            Self::TooManyChanges(_) => ("TOO_MANY_CHANGES", InvalidArgument),
            Self::NestedBatch => ("NESTED_BATCH", InvalidArgument),
            Self::RevisionTooOld { .. } => ("REVISION_TOO_OLD", FailedPrecondition),
            Self::RevisionNotFound { .. } => ("REVISION_NOT_FOUND", NotFound),
            Self::HistoryUnreadable(_) => ("HISTORY_UNREADABLE", FailedPrecondition),
            Self::Damaged(_) => ("TABLE_DAMAGED", Unavailable),
            Self::Lost => ("TABLE_LOST", FailedPrecondition),
            Self::Store(_) => ("STORE_FAILED", Unavailable),
            Self::Stopped => ("WRITER_STOPPED", Unavailable),
            Self::RequestId => ("REQUEST_ID_INVALID", InvalidArgument),
            Self::RequestIdReused(_) => ("REQUEST_ID_REUSED", InvalidArgument),
            Self::TooLarge => ("CHANGE_TOO_LARGE", InvalidArgument),
            Self::NoLeader { .. } => ("NO_LEADER", Unavailable),
            Self::NoMajority { .. } => ("NO_MAJORITY", Unavailable),
            Self::NotLeader { .. } => ("NOT_LEADER", Unavailable),
            Self::Overtaken => ("OVERTAKEN", Unavailable),
            Self::Unconfirmed { .. } => ("UNCONFIRMED", DeadlineExceeded),
            Self::ClusterStopped => ("CLUSTER_STOPPED", Unavailable),
            Self::LargeChangeUnderWay(_) => ("LARGE_CHANGE_UNDER_WAY", Aborted),
            Self::PartsGone => ("PARTS_GONE", Aborted),
            Self::VersionsDiffer { .. } => ("VERSIONS_DIFFER", FailedPrecondition),
            Self::Told(told) => (told.reason, told.kind),
        }
    }
}
