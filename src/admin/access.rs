//! Owns the one table that says what each gRPC method needs: a method that is not in it cannot be called.

pub use crate::config::files::Role;

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Anyone who can connect: health probes carry no token.
    Public,
    /// This role or a higher one.
    Role(Role),
}

/// How long a call may take, and which places it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One answer, within 30 s.
    Unary,
    /// One answer about the whole routing table, within 5 minutes.
    Document,
    /// Answers for as long as the caller listens.
    Stream,
}

/// What a method is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// What all nodes have alike, or the node that is asked alone.
    Any,
    /// What one node has: it may be asked by way of another.
    Node,
}

/// One method.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Method {
    /// Full name of the service.
    pub(super) service: &'static str,
    /// Name of the method.
    pub(super) name: &'static str,
    /// Who may call it.
    pub(super) access: Access,
    /// How long it may take.
    pub(super) shape: Shape,
    /// What it is about.
    pub(super) scope: Scope,
}

impl Method {
    /// Whether it may change anything: who may only view changes nothing.
    pub(super) fn writes(&self) -> bool {
        match self.access {
            Access::Public => false,
            Access::Role(role) => role > Role::Viewer,
        }
    }
}

const fn row(service: &'static str, name: &'static str, access: Access, shape: Shape) -> Method {
    Method { service, name, access, shape, scope: Scope::Any }
}

const fn of_node(service: &'static str, name: &'static str, access: Access, shape: Shape) -> Method {
    Method { service, name, access, shape, scope: Scope::Node }
}

const VIEWER: Access = Access::Role(Role::Viewer);
const OPERATOR: Access = Access::Role(Role::Operator);
const ADMIN: Access = Access::Role(Role::Admin);

const DOMAINS: &str = "postroad.admin.v1.DomainService";
const RULES: &str = "postroad.admin.v1.RuleService";
const DESTINATIONS: &str = "postroad.admin.v1.DestinationService";
const ROUTING: &str = "postroad.admin.v1.RoutingService";
const TRACES: &str = "postroad.admin.v1.TraceService";
const QUEUE: &str = "postroad.admin.v1.QueueService";
const DNSBL: &str = "postroad.admin.v1.DnsblService";
const CLUSTER: &str = "postroad.admin.v1.ClusterService";
const HISTORY: &str = "postroad.admin.v1.HistoryService";
const HEALTH: &str = "grpc.health.v1.Health";

/// Every method that the listener serves. Domains, and destinations taken as verified unasked, are the
/// admin's: they decide for whom we speak and to whom we send. So are changes of the table as a whole, and who is in the
/// cluster.
pub(super) static METHODS: [Method; 46] = [
    row(DOMAINS, "GetDomain", VIEWER, Shape::Unary),
    row(DOMAINS, "ListDomains", VIEWER, Shape::Unary),
    row(DOMAINS, "CreateDomain", ADMIN, Shape::Unary),
    row(DOMAINS, "UpdateDomain", ADMIN, Shape::Unary),
    row(DOMAINS, "DeleteDomain", ADMIN, Shape::Unary),
    row(RULES, "GetRule", VIEWER, Shape::Unary),
    row(RULES, "ListRules", VIEWER, Shape::Unary),
    row(RULES, "CreateRule", OPERATOR, Shape::Unary),
    row(RULES, "UpdateRule", OPERATOR, Shape::Unary),
    row(RULES, "DeleteRule", OPERATOR, Shape::Unary),
    row(DESTINATIONS, "GetDestination", VIEWER, Shape::Unary),
    row(DESTINATIONS, "ListDestinations", VIEWER, Shape::Unary),
    row(DESTINATIONS, "CreateDestination", OPERATOR, Shape::Unary),
    row(DESTINATIONS, "VerifyDestination", ADMIN, Shape::Unary),
    row(DESTINATIONS, "DeleteDestination", OPERATOR, Shape::Unary),
    row("postroad.admin.v1.ResolveService", "ResolveRecipient", VIEWER, Shape::Unary),
    of_node(TRACES, "GetTrace", VIEWER, Shape::Unary),
    of_node(TRACES, "SearchTraces", VIEWER, Shape::Unary),
    of_node("postroad.admin.v1.EventService", "TailEvents", VIEWER, Shape::Stream),
    row(ROUTING, "ApplyRoutingDocument", ADMIN, Shape::Document),
    row(ROUTING, "ExportRoutingDocument", VIEWER, Shape::Document),
    of_node(QUEUE, "GetQueue", VIEWER, Shape::Unary),
    of_node(QUEUE, "GetMessage", VIEWER, Shape::Unary),
    of_node(QUEUE, "ListMessages", VIEWER, Shape::Unary),
    of_node(QUEUE, "RetryMessages", OPERATOR, Shape::Unary),
    of_node(QUEUE, "CancelMessages", OPERATOR, Shape::Unary),
    row(QUEUE, "ListSuspensions", VIEWER, Shape::Unary),
    row(QUEUE, "SuspendDestination", OPERATOR, Shape::Unary),
    row(QUEUE, "ResumeDestination", OPERATOR, Shape::Unary),
    row(DNSBL, "ListListings", VIEWER, Shape::Unary),
    row(DNSBL, "BlockNetwork", OPERATOR, Shape::Unary),
    row(DNSBL, "AllowNetwork", OPERATOR, Shape::Unary),
    row(DNSBL, "RemoveListing", OPERATOR, Shape::Unary),
    row(DNSBL, "CheckAddress", VIEWER, Shape::Unary),
    row(CLUSTER, "GetCluster", VIEWER, Shape::Unary),
    row(CLUSTER, "BootstrapCluster", ADMIN, Shape::Unary),
    row(CLUSTER, "RemoveMember", ADMIN, Shape::Unary),
    row(CLUSTER, "AdmitMember", ADMIN, Shape::Unary),
    row(CLUSTER, "DrainMember", OPERATOR, Shape::Unary),
    row(CLUSTER, "UndrainMember", OPERATOR, Shape::Unary),
    row(HISTORY, "ListRevisions", VIEWER, Shape::Unary),
    row(HISTORY, "RollBack", ADMIN, Shape::Document),
    row(HEALTH, "Check", Access::Public, Shape::Unary),
    row(HEALTH, "Watch", Access::Public, Shape::Stream),
    row("grpc.reflection.v1.ServerReflection", "ServerReflectionInfo", VIEWER, Shape::Stream),
    row("grpc.reflection.v1alpha.ServerReflection", "ServerReflectionInfo", VIEWER, Shape::Stream),
];

/// What a path that names no method of ours is counted as.
pub(super) static UNKNOWN: Method = row("unknown", "unknown", ADMIN, Shape::Unary);

/// The method of a request path, `/package.Service/Method`.
pub(super) fn find(path: &str) -> Option<&'static Method> {
    let (service, name) = path.strip_prefix('/')?.split_once('/')?;
    METHODS.iter().find(|method| method.service == service && method.name == name)
}
