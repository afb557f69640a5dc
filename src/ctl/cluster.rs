//! `postroadctl cluster`.

use clap::Subcommand;

use super::failure::{Failure, printable};
use super::output::{Output, Row, rfc3339};
use super::session::{Session, Wire};
use crate::proto::admin::v1::cluster_service_client::ClusterServiceClient;
use crate::proto::admin::v1::member::{Role, State};
use crate::proto::admin::v1::{
    AdmitMemberRequest, BootstrapClusterRequest, Cluster, DrainMemberRequest, GetClusterRequest, Member,
    RemoveMemberRequest, UndrainMemberRequest,
};

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Says how the cluster is: whether changes are taken, who leads, and how each node is.
    Status,
    /// Lists the nodes.
    Members,
    /// Founds a cluster of one on this node, or lets a removed name in again.
    Bootstrap(Bootstrap),
    /// Removes a node for good; nobody of its name is taken in until it is admitted.
    Remove {
        /// Its `node.name`.
        node: String,
    },
    /// Has a node take no new sessions, and try its queue at once.
    Drain {
        /// Its `node.name`.
        node: String,
        /// Takes the order back.
        #[arg(long)]
        undo: bool,
    },
}

/// Which.
#[derive(Debug, clap::Args)]
pub(super) struct Bootstrap {
    /// Lets nodes of this name be members again.
    #[arg(long, value_name = "NAME", conflicts_with = "abandon_others")]
    admit: Option<String>,
    /// Goes on alone from the table of this node: the majority of its cluster is gone for good.
    #[arg(long)]
    abandon_others: bool,
}

type Client = ClusterServiceClient<Wire>;

pub(super) async fn run(verb: Verb, session: &Session, output: &mut Output<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Status => {
            let found = get(session).await?;
            if output.is_table() { show(&found, output) } else { output.json(&found) }
        }
        Verb::Members => output.list("members", &get(session).await?.members),
        Verb::Bootstrap(Bootstrap { admit: Some(name), .. }) => {
            let request = AdmitMemberRequest { name: resource_name(&name), request_id: session.request_id() };
            let found = session
                .write(request, |wire, request| async move { Client::new(wire).admit_member(request).await })
                .await?;
            changed(&found, output)
        }
        Verb::Bootstrap(Bootstrap { admit: None, abandon_others }) => {
            let request = BootstrapClusterRequest { abandon_others };
            let found = session
                .order(
                    request,
                    |wire, request| async move { Client::new(wire).bootstrap_cluster(request).await },
                )
                .await?;
            changed(&found, output)
        }
        Verb::Remove { node } => {
            let request =
                RemoveMemberRequest { name: resource_name(&node), request_id: session.request_id() };
            let found = session
                .write(request, |wire, request| async move { Client::new(wire).remove_member(request).await })
                .await?;
            changed(&found, output)
        }
        Verb::Drain { node, undo: false } => {
            let request = DrainMemberRequest { name: resource_name(&node) };
            let found = session
                .order(request, |wire, request| async move { Client::new(wire).drain_member(request).await })
                .await?;
            output.resource(&found)?;
            output.next(&format!("cluster drain {node} --undo"));
            Ok(())
        }
        Verb::Drain { node, undo: true } => {
            let request = UndrainMemberRequest { name: resource_name(&node) };
            let found = session
                .order(
                    request,
                    |wire, request| async move { Client::new(wire).undrain_member(request).await },
                )
                .await?;
            output.resource(&found)
        }
    }
}

/// The cluster as the node knows it that we are connected to.
pub(super) async fn get(session: &Session) -> Result<Cluster, Failure> {
    let request = GetClusterRequest { name: "cluster".to_owned() };
    session.read(request, |wire, request| async move { Client::new(wire).get_cluster(request).await }).await
}

fn resource_name(node: &str) -> String {
    if node.starts_with("members/") { node.to_owned() } else { format!("members/{node}") }
}

/// The cluster after a change of it.
fn changed(cluster: &Cluster, output: &mut Output<'_>) -> Result<(), Failure> {
    if !output.is_table() {
        return output.json(cluster);
    }
    output.list("members", &cluster.members)?;
    output.next("cluster status");
    Ok(())
}

/// What there is to say in words, then the nodes, then what is wrong with them.
fn show(cluster: &Cluster, output: &mut Output<'_>) -> Result<(), Failure> {
    let Cluster { id, detail, leader, members, .. } = cluster;
    let cluster_of = if id.is_empty() { "no cluster yet".to_owned() } else { format!("cluster {id}") };
    let leader = leader.strip_prefix("members/").filter(|name| !name.is_empty());
    let led = leader.map_or_else(|| "nobody leads".to_owned(), |name| format!("{name} leads"));
    output.line(&printable(&format!("{cluster_of}, {led}")))?;
    output.line(&printable(detail))?;
    output.list("members", members)?;
    for member in members {
        for problem in &member.problems {
            output.line(&printable(&format!("{}: {problem}", member.node)))?;
        }
    }
    Ok(())
}

impl Row for Member {
    const COLUMNS: &'static [&'static str] = &[
        "NODE",
        "ROLE",
        "STATE",
        "REVISION",
        "LAG",
        "VERSION",
        "SESSIONS",
        "QUEUED",
        "CERTIFICATE UNTIL",
        "ID",
    ];

    fn cells(&self) -> Vec<String> {
        let is_heard = self.state() != State::Unheard;
        let said = |text: String| if is_heard && !text.is_empty() { text } else { "-".to_owned() };
        vec![
            self.node.clone(),
            role(self).to_owned(),
            state(self),
            said(self.revision.to_string()),
            said(self.lag.map(|lag| lag.to_string()).unwrap_or_default()),
            said(self.version.clone()),
            said(self.sessions.to_string()),
            said(self.queued.to_string()),
            rfc3339(self.certificate_expire_time.as_ref()),
            if self.id.is_empty() { "-".to_owned() } else { self.id.clone() },
        ]
    }
}

fn role(member: &Member) -> &'static str {
    match (member.role(), member.leads) {
        (_, true) => "leader",
        (Role::Voter, _) => "voter",
        (Role::Learner, _) => "learner",
        (Role::Outside, _) => "no member",
        (Role::Removed, _) => "removed",
        (Role::Unspecified, _) => "-",
    }
}

fn state(member: &Member) -> String {
    let silent = member.silent_duration.as_ref().map(|time| format!("down for {} s", time.seconds));
    match member.state() {
        State::Up if member.drained => "drained".to_owned(),
        State::Up => "up".to_owned(),
        State::Down => silent.unwrap_or_else(|| "down".to_owned()),
        State::Unheard => "not heard".to_owned(),
        State::Unspecified => "-".to_owned(),
    }
}
