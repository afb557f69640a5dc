//! `ClusterService`: the nodes that agree on the routing table.

use std::time::Duration;

use tonic::{Code, Request, Response, Status};

use super::auth::Actor;
use super::status;
use super::write::Write;
use crate::cluster::founding::{ClusterId, NodeId};
use crate::cluster::network::Report;
use crate::cluster::operate::{Bootstrap, Office, OperateError};
use crate::cluster::status::{self as known, Heard, NodeStatus, Role};
use crate::proto::admin::v1::cluster_service_server::ClusterService;
use crate::proto::admin::v1::{
    AdmitMemberRequest, BootstrapClusterRequest, Cluster, DrainMemberRequest, GetClusterRequest, Member,
    RemoveMemberRequest, UndrainMemberRequest, member,
};
use crate::routing::{Change, Routing};

/// The name of the one cluster that there is.
const RESOURCE: &str = "cluster";

/// Answers from the node's part in the cluster.
pub(super) struct Nodes {
    pub(super) routing: Routing,
    pub(super) office: Office,
}

#[tonic::async_trait]
impl ClusterService for Nodes {
    async fn get_cluster(&self, request: Request<GetClusterRequest>) -> Result<Response<Cluster>, Status> {
        if request.into_inner().name != RESOURCE {
            return Err(status::invalid("name", format!("is not \"{RESOURCE}\"")));
        }
        Ok(Response::new(self.cluster().await))
    }

    async fn bootstrap_cluster(
        &self,
        request: Request<BootstrapClusterRequest>,
    ) -> Result<Response<Cluster>, Status> {
        let actor = Actor::of(&request);
        actor.about(RESOURCE);
        let abandons = request.into_inner().abandon_others;
        let extent = if abandons { Bootstrap::AbandonOthers } else { Bootstrap::Found };
        self.office.bootstrap(extent).await.map_err(|error| refused(&error, RESOURCE))?;
        actor.did(RESOURCE, self.routing.snapshot().revision());
        Ok(Response::new(self.cluster().await))
    }

    async fn remove_member(
        &self,
        request: Request<RemoveMemberRequest>,
    ) -> Result<Response<Cluster>, Status> {
        let write = Write::of(&request)?;
        let before = write.before(&self.routing)?;
        let RemoveMemberRequest { name, request_id: _ } = request.into_inner();
        let node = node(&name)?;
        write.actor.about(&name);
        if before.is_none() {
            self.office.may_remove(&node).map_err(|error| refused(&error, &name))?;
            write.change(&self.routing, Change::BarNode { name: node }, &name).await?;
        }
        self.changed(&write.actor, &name).await
    }

    async fn admit_member(&self, request: Request<AdmitMemberRequest>) -> Result<Response<Cluster>, Status> {
        let write = Write::of(&request)?;
        let before = write.before(&self.routing)?;
        let AdmitMemberRequest { name, request_id: _ } = request.into_inner();
        let node = node(&name)?;
        write.actor.about(&name);
        if before.is_none() {
            write.change(&self.routing, Change::AdmitNode { name: node }, &name).await?;
        }
        self.changed(&write.actor, &name).await
    }

    async fn drain_member(&self, request: Request<DrainMemberRequest>) -> Result<Response<Member>, Status> {
        let actor = Actor::of(&request);
        self.drain(&request.into_inner().name, true, &actor).await
    }

    async fn undrain_member(
        &self,
        request: Request<UndrainMemberRequest>,
    ) -> Result<Response<Member>, Status> {
        let actor = Actor::of(&request);
        self.drain(&request.into_inner().name, false, &actor).await
    }
}

impl Nodes {
    async fn cluster(&self) -> Cluster {
        let known::Status { cluster, takes_changes, detail, told_by, nodes } = self.office.status().await;
        let leader = nodes.iter().find(|node| node.leads).map(|node| resource_name(&node.name.to_string()));
        Cluster {
            name: RESOURCE.to_owned(),
            id: cluster.as_ref().map(ClusterId::to_string).unwrap_or_default(),
            takes_changes,
            detail,
            leader: leader.unwrap_or_default(),
            told_by: resource_name(&told_by.to_string()),
            members: nodes.into_iter().map(member).collect(),
        }
    }

    async fn changed(&self, actor: &Actor, name: &str) -> Result<Response<Cluster>, Status> {
        actor.did(name, self.routing.snapshot().revision());
        Ok(Response::new(self.cluster().await))
    }

    async fn drain(&self, name: &str, ordered: bool, actor: &Actor) -> Result<Response<Member>, Status> {
        let node = node(name)?;
        actor.about(name);
        let report = self.office.drain(&node, ordered).await.map_err(|error| refused(&error, name))?;
        actor.did(name, self.routing.snapshot().revision());
        let nodes = self.office.status().await.nodes;
        let found = nodes.into_iter().find(|found| found.name.to_string() == node);
        let found = found.ok_or_else(|| status::unexpected("a node of the cluster"))?;
        // What it said just now counts, and not what it said last before.
        let said = known::Said { report, ..found.said };
        Ok(Response::new(member(NodeStatus { said, ..found })))
    }
}

/// The node that a resource name means; the bare name will do.
fn node(name: &str) -> Result<String, Status> {
    let node = name.strip_prefix("members/").unwrap_or(name);
    if node.is_empty() { Err(status::invalid("name", "is not members/NODE")) } else { Ok(node.to_owned()) }
}

fn resource_name(node: &str) -> String {
    format!("members/{node}")
}

fn member(node: NodeStatus) -> Member {
    let NodeStatus { name, id, role, leads, heard, said } = node;
    let known::Said { revision, lag, report, problems } = said;
    let Report { software, queue, sessions, drained, certificate_ends, .. } = report;
    let (state, silent) = match heard {
        Some(Heard::Now) => (member::State::Up, None),
        Some(Heard::Ago(time)) => (member::State::Down, Some(Duration::from_secs(time.as_secs()).into())),
        None => (member::State::Unheard, None),
    };
    let role = match role {
        Role::Voter => member::Role::Voter,
        Role::Learner => member::Role::Learner,
        Role::Outside => member::Role::Outside,
        Role::Removed => member::Role::Removed,
    };
    Member {
        name: resource_name(&name.to_string()),
        node: name.to_string(),
        id: id.as_ref().map(NodeId::to_string).unwrap_or_default(),
        role: role.into(),
        leads,
        state: state.into(),
        silent_duration: silent,
        revision: count(revision),
        lag: lag.map(count),
        version: software,
        queued: count(queue),
        sessions: count(sessions),
        drained,
        certificate_expire_time: certificate_ends.map(Into::into),
        problems,
    }
}

fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Why an order is not carried out, for the wire.
pub(super) fn refused(error: &OperateError, name: &str) -> Status {
    let code = match error {
        OperateError::UnknownNode { .. } => Code::NotFound,
        OperateError::NoSection
        | OperateError::Inadmissible(_)
        | OperateError::ClusterThere { .. }
        | OperateError::OnlyVoter(_)
        | OperateError::NoMajorityLeft { .. } => Code::FailedPrecondition,
        OperateError::Call(_) | OperateError::DiskFailed | OperateError::Stopping => Code::Unavailable,
    };
    status::with_reason(code, error.reason(), &error.to_string(), name)
}
