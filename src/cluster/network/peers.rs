//! The peers of a node, as it calls them: by name, wherever they are now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::super::facts::Facts;
use super::super::founding::{ClusterId, Disk, NodeId, NodeName, Standing, Terms};
use super::acquaintances::Acquaintances;
use super::dial::Link;
use super::node::{Greeting, Joining, LocalNode, Report};
use super::refusal::CallError;
use super::wire::greeting::{decode_greeting, decode_report, encode_greeting, encode_terms};
use super::wire::{Header, decode_name};
use super::{MAX_MESSAGE_OCTETS, VERSIONS};
use crate::proto::cluster::v1;
use crate::proto::cluster::v1::cluster_service_client::ClusterServiceClient;
use crate::proto::cluster::v1::join_response;
use crate::tls::LinkTls;

/// How long Hello may take: nothing but memory is asked.
const GREETED_WITHIN: Duration = Duration::from_secs(5);
/// How long a consent may take: a Raft that stops, a folder that is set aside, some writes.
const CONSENTED_WITHIN: Duration = Duration::from_secs(30);
/// How long a join may take: a change of the membership.
const JOINED_WITHIN: Duration = Duration::from_secs(30);
/// Longest reason of a refusal that is believed, in characters.
const MAX_REASON_CHARS: usize = 1024;

/// Where peers are: `host:port` by name. The node's own name may be among them.
pub type Addresses = BTreeMap<NodeName, String>;

type Client = ClusterServiceClient<Channel>;

/// The peers. Clones share them.
#[derive(Clone)]
pub struct Peers {
    shared: Arc<Shared>,
}

struct Shared {
    name: NodeName,
    node: Arc<dyn LocalNode>,
    tls: LinkTls,
    acquaintances: Acquaintances,
    links: Mutex<BTreeMap<NodeName, Link>>,
    /// What is shared with them, once it is.
    facts: OnceLock<Facts>,
}

/// On which of the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Short,
    Large,
    Passed,
}

impl Peers {
    /// The peers of the node of this name. Nothing is dialled before there is something to say.
    #[must_use]
    pub fn new(name: NodeName, node: Arc<dyn LocalNode>, tls: LinkTls, addresses: &Addresses) -> Self {
        let (acquaintances, links) = (Acquaintances::default(), Mutex::default());
        let facts = OnceLock::new();
        let this = Self { shared: Arc::new(Shared { name, node, tls, acquaintances, links, facts }) };
        this.swap_addresses(addresses);
        this
    }

    /// Calls peers here from now on; those whose address is another now are dialled anew. Must be called within a runtime.
    pub fn swap_addresses(&self, addresses: &Addresses) {
        let mut links = self.shared.links.lock();
        links.retain(|name, link| addresses.get(name) == Some(&link.address));
        for (name, address) in addresses {
            let link = || Link::new(name, address, &self.shared.tls);
            links.entry(name.clone()).or_insert_with(link);
        }
    }

    /// The name of the node itself.
    pub(super) fn own_name(&self) -> &NodeName {
        &self.shared.name
    }

    /// Whether a call may come from this name.
    pub(super) fn is_listed(&self, name: &NodeName) -> bool {
        *name == self.shared.name || self.shared.links.lock().contains_key(name)
    }

    /// The name that a certificate is of, if a call may come from it. DNS names have no case.
    pub(super) fn listed(&self, dns_name: &str) -> Option<NodeName> {
        let names = self.names().into_iter().chain([self.shared.name.clone()]);
        names.into_iter().find(|name| name.to_string().eq_ignore_ascii_case(dns_name))
    }

    /// Whether an operator has removed this name, as far as this node knows.
    pub(in super::super) fn is_removed(&self, name: &NodeName) -> bool {
        self.node().disk().settled().is_some_and(|state| state.barred.contains(name))
    }

    /// Whether the node of this name is known to know changes of this version.
    pub(in super::super) fn knows(&self, name: &NodeName, version: u32) -> bool {
        // Every version there was knows the first.
        version <= VERSIONS.0
            || self.shared.acquaintances.spoken(name).is_some_and(|spoken| spoken >= version)
    }

    /// The names that there are addresses for.
    #[must_use]
    pub fn names(&self) -> BTreeSet<NodeName> {
        self.shared.links.lock().keys().cloned().collect()
    }

    /// The node whose peers they are.
    pub(in super::super) fn name(&self) -> &NodeName {
        &self.shared.name
    }

    /// Shares these with peers that call. The first are kept.
    pub(in super::super) fn share(&self, facts: Facts) {
        let _first = self.shared.facts.set(facts);
    }

    pub(super) fn facts(&self) -> Option<&Facts> {
        self.shared.facts.get()
    }

    pub(super) fn node(&self) -> &dyn LocalNode {
        &*self.shared.node
    }

    pub(super) fn tls(&self) -> &LinkTls {
        &self.shared.tls
    }

    pub(super) fn acquaintances(&self) -> &Acquaintances {
        &self.shared.acquaintances
    }

    /// Says Hello: what the peer of this name says of itself. From then on it is who answered.
    ///
    /// # Errors
    /// When it does not answer in time, or refuses.
    pub async fn hello(&self, name: &NodeName) -> Result<Greeting, CallError> {
        let mut greeting = self.shared.node.greeting();
        let before = self.shared.acquaintances.greeted(name);
        greeting.answer.seen = before.and_then(|id| self.shared.acquaintances.seen(id));
        let disk = &greeting.answer.disk;
        let header = Some(self.header(disk, cluster_of(disk), None).encode());
        let request = v1::HelloRequest { header, greeting: Some(encode_greeting(&greeting)) };
        let mut client = self.client(name, Size::Short)?;
        let answer = self.answer(name, GREETED_WITHIN, client.hello(request)).await?;
        let greeting = decode_greeting(answer.greeting).map_err(|cause| CallError::malformed(name, cause))?;
        self.shared.acquaintances.greet(name, greeting.answer.disk.id);
        Ok(greeting)
    }

    /// Asks the node with this id for consent to a founding; none: it consents. Why not, else.
    ///
    /// # Errors
    /// When it does not answer in time, or refuses to hear of it.
    pub async fn consent(
        &self,
        (name, to): (&NodeName, NodeId),
        cluster: ClusterId,
        terms: &Terms,
    ) -> Result<Option<String>, CallError> {
        let header = self.header(&self.shared.node.disk(), Some(cluster), Some(to));
        let request = v1::ConsentRequest { header: Some(header.encode()), terms: Some(encode_terms(terms)) };
        let ask = || async {
            let mut client = self.client(name, Size::Short)?;
            self.answer(name, CONSENTED_WITHIN, client.consent(request.clone())).await
        };
        let v1::ConsentResponse { unwilling } = self.greeted(name, ask).await?;
        Ok((!unwilling.is_empty()).then(|| within_bounds(&unwilling)))
    }

    /// Asks the node with this id to be taken into its cluster.
    ///
    /// # Errors
    /// When it does not answer in time, or refuses to hear of it.
    pub async fn join(
        &self,
        (name, to): (&NodeName, NodeId),
        cluster: ClusterId,
    ) -> Result<Joining, CallError> {
        let header = self.header(&self.shared.node.disk(), Some(cluster), Some(to));
        let request = v1::JoinRequest { header: Some(header.encode()) };
        let ask = || async {
            let mut client = self.client(name, Size::Short)?;
            self.answer(name, JOINED_WITHIN, client.join(request.clone())).await
        };
        let malformed = |cause| CallError::malformed(name, cause);
        let answer = self.greeted(name, ask).await?.answer;
        Ok(match answer.ok_or_else(|| malformed("the answer to a join".to_owned()))? {
            join_response::Answer::Taken(_) => Joining::Taken,
            join_response::Answer::Ask(other) => {
                Joining::Ask(decode_name(&other).map_err(|cause| malformed(cause.to_string()))?)
            }
            join_response::Answer::Refused(why) => Joining::Refused(within_bounds(&why)),
        })
    }

    /// Has the node of this name take no new sessions, or take them again. How it is then.
    ///
    /// # Errors
    /// When it does not answer in time, or refuses.
    pub async fn drain(&self, name: &NodeName, ordered: bool) -> Result<Report, CallError> {
        let ask = || async {
            let disk = self.shared.node.disk();
            let to = self.shared.acquaintances.greeted(name);
            let header = Some(self.header(&disk, cluster_of(&disk), to).encode());
            let mut client = self.client(name, Size::Short)?;
            self.answer(name, GREETED_WITHIN, client.drain(v1::DrainRequest { header, ordered })).await
        };
        self.hello(name).await?;
        let answer = self.greeted(name, ask).await?;
        let report = decode_report(answer.report.unwrap_or_default());
        report.map_err(|cause| CallError::malformed(name, cause))
    }

    /// Calls, and once more after a Hello if the peer asks for one.
    pub(super) async fn greeted<T, F>(&self, name: &NodeName, call: impl Fn() -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        match call().await {
            Err(error) if error.wants_hello() => {
                self.hello(name).await?;
                call().await
            }
            answered => answered,
        }
    }

    /// Waits for an answer.
    pub(super) async fn answer<T>(
        &self,
        name: &NodeName,
        within: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, CallError> {
        let answered = timeout(within, call).await.map_err(|_| CallError::late(name, within))?;
        answered.map(Response::into_inner).map_err(|status| CallError::of(name, &status))
    }

    pub(super) fn client(&self, name: &NodeName, size: Size) -> Result<Client, CallError> {
        let channel = self.channel(name, size)?;
        Ok(ClusterServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_OCTETS))
    }

    pub(super) fn channel(&self, name: &NodeName, size: Size) -> Result<Channel, CallError> {
        let links = self.shared.links.lock();
        let link = links.get(name).ok_or_else(|| CallError::Unreachable {
            name: name.clone(),
            cause: "cluster.peers does not name it".to_owned(),
        })?;
        Ok(match size {
            Size::Short => link.short.clone(),
            Size::Large => link.large.clone(),
            Size::Passed => link.passed.clone(),
        })
    }

    pub(super) fn header(&self, disk: &Disk, cluster: Option<ClusterId>, to: Option<NodeId>) -> Header {
        Header { versions: VERSIONS, cluster, from: disk.id, name: self.shared.name.clone(), to }
    }
}

/// The cluster that a disk is of, or is about to be of.
pub(super) fn cluster_of(disk: &Disk) -> Option<ClusterId> {
    match &disk.standing {
        Standing::Blank | Standing::OldTable => None,
        Standing::Consenting { cluster, .. } | Standing::Founding { cluster, .. } => Some(*cluster),
        Standing::State(state) => Some(state.cluster),
    }
}

/// What a peer says why, for the log and for operators.
fn within_bounds(why: &str) -> String {
    why.chars().filter(|char| !char.is_control()).take(MAX_REASON_CHARS).collect()
}
