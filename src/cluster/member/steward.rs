//! The one task that decides and writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::error::{InitializeError, RaftError};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::super::disk::{
    Bound, Contents, DiskError, Identity, Mark, Place, Standing, before, inherited, renew,
};
use super::super::founding::{
    Allowed, Change, ClusterId, Electorate, Members, Message, NodeId, NodeName, Reason, Rest, Step, Terms,
    View as Rules, Write, next_change, next_step,
};
use super::super::log;
use super::super::network::{Joining, LocalNode as _, Peers};
use super::super::part::Timing;
use super::super::types::Member as RaftMember;
use super::Handle;
use super::electorate::Leading;
use super::hearing::Hearing;
use super::local::{Local, Logged, Order};
use super::seat::{Desk, Running};
use super::standing::StandingBack;
use super::writing::{Kept, Source, Writing, writing};
use crate::routing::{Orders, Table, View};
use crate::telemetry::Metrics;
use crate::telemetry::labels::MemberState;

/// How often the steward looks, if nothing happens.
const LOOKS_EVERY: Duration = Duration::from_millis(500);

/// What a node says whose readers wait for the table of the others.
pub(super) const FETCHES: &str = "fetching what the others have of the routing table";

/// What a call to a peer came to.
pub(super) enum Called {
    Consented(ClusterId, NodeId),
    Unwilling(NodeName, String),
    Other,
}

/// A node's part in a cluster: what it is, hears, and has under way.
pub(super) struct Steward {
    pub(super) place: Place,
    pub(super) name: NodeName,
    pub(super) view: View,
    pub(super) metrics: Arc<Metrics>,
    pub(super) lock: Arc<File>,
    pub(super) mark: Mark,
    pub(super) identity: Identity,
    pub(super) local: Arc<Local>,
    pub(super) peers: Peers,
    pub(super) hearing: Hearing,
    pub(super) voters: Allowed,
    pub(super) timing: Timing,
    pub(super) consents: BTreeSet<NodeId>,
    pub(super) calls: JoinSet<(NodeId, Called)>,
    /// Those with whom a call is under way.
    pub(super) asking: BTreeSet<NodeId>,
    pub(super) changing: Option<JoinHandle<()>>,
    pub(super) running: Running,
    pub(super) desk: Option<Desk>,
    /// Since when readers keep what they see, if they do.
    pub(super) held_since: Instant,
    /// Why nothing is done, as the log said it last.
    pub(super) told: watch::Sender<Option<String>>,
    /// Whether the store says where the table is.
    pub(super) is_noted: bool,
    pub(super) telling_loss: Option<JoinHandle<()>>,
    pub(super) standing_back: StandingBack,
}

impl Steward {
    pub(super) fn new(
        handle: &Handle,
        (place, lock): (Place, Arc<File>),
        (identity, mark): (Identity, Mark),
        (voters, timing): (Allowed, Timing),
        (view, told): (View, watch::Sender<Option<String>>),
    ) -> Self {
        let Handle { peers, local, hearing, metrics, .. } = handle.clone();
        Self {
            name: place.name.clone(),
            place,
            view,
            metrics,
            lock,
            mark,
            identity,
            local,
            peers,
            hearing,
            voters,
            timing,
            consents: BTreeSet::new(),
            calls: JoinSet::new(),
            asking: BTreeSet::new(),
            changing: None,
            running: Running::Not,
            desk: None,
            held_since: Instant::now(),
            told,
            is_noted: true,
            telling_loss: None,
            standing_back: StandingBack::No,
        }
    }

    pub(super) async fn work(
        mut self,
        orders: Orders,
        mut ordered: mpsc::Receiver<Order>,
        stop: &CancellationToken,
    ) {
        self.serve(orders);
        self.start().await;
        let mut asked = self.peers.names();
        let mut asking = self.hearing.ask(&self.peers);
        while !stop.is_cancelled() {
            if asked != self.peers.names() {
                asked = self.peers.names();
                asking = self.hearing.ask(&self.peers);
            }
            self.catch_up().await;
            self.note_table().await;
            let goes_on = self.step().await;
            self.lead();
            self.stand_back();
            self.count();
            if goes_on {
                continue;
            }
            tokio::select! {
                order = ordered.recv() => if let Some(order) = order { self.obey(order).await },
                Some(called) = self.calls.join_next() => self.hear(called),
                () = self.hearing.news() => {}
                () = sleep(LOOKS_EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
        drop(asking);
        self.stop().await;
        if let Some(desk) = self.desk.take() {
            desk.stop.cancel();
            let _orders = desk.work.await;
        }
    }

    /// Does what the rules say; whether they are to be asked again at once.
    async fn step(&mut self) -> bool {
        self.look_after_raft().await;
        let (disk, heard, terms) = (self.local.disk(), self.hearing.heard(), self.local.terms.load_full());
        let decision = next_step(&Rules {
            name: &self.name,
            terms: &terms,
            disk: &disk,
            incarnation: self.local.incarnation(),
            heard: &heard,
            consents: &self.consents,
        });
        match decision.step {
            Step::Write(write) => {
                tracing::info!(rule = decision.rule, ?write, "the cluster's rules say");
                self.write(write).await
            }
            Step::Send(message, reason) => {
                self.run_raft().await;
                self.tell(&Rest::Wait(reason));
                self.send(message, &terms);
                false
            }
            Step::Rest(rest) => {
                match &rest {
                    Rest::Refuse(_) => {
                        self.stop().await;
                        self.show_remains();
                    }
                    Rest::Alarm(Reason::Barred(_)) => {
                        self.run_raft().await;
                        self.show_remains();
                    }
                    Rest::Serve | Rest::Wait(_) | Rest::Alarm(_) => self.run_raft().await,
                }
                self.tell(&rest);
                false
            }
        }
    }

    /// Starts Raft where it was not wanted before.
    async fn run_raft(&mut self) {
        if matches!(self.running, Running::Not) {
            self.start().await;
        }
    }

    /// Makes a write durable; whether it is.
    pub(super) async fn write(&mut self, write: Write) -> bool {
        let is_draw = matches!(write, Write::DrawFounding { .. });
        let written = match writing(write, &self.identity, &self.name) {
            Writing::Identity(identity) => self.become_this(identity).await,
            Writing::First(identity, voters) => match self.become_this(identity).await {
                Ok(()) => self.initialise(voters).await,
                Err(error) => Err(error),
            },
            Writing::Folder(identity, inheritance) => {
                self.become_other(identity, inheritance.vote, inheritance.table).await
            }
            Writing::OldTableAside => self.set_old_table_aside().await,
        };
        if is_draw {
            self.consents.clear();
        }
        self.hearing.wrote();
        if let Err(error) = &written {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "what this node is to be cannot be written"
            );
            sleep(LOOKS_EVERY).await;
        }
        written.is_ok()
    }

    /// Writes another identity over the same folder.
    pub(super) async fn become_this(&mut self, identity: Identity) -> Result<(), DiskError> {
        let (folder, next) = (self.place.folder(), identity.clone());
        spawn_blocking(move || next.write(&folder)).await??;
        self.local.identity.store(Arc::new(identity.clone()));
        self.identity = identity;
        Ok(())
    }

    /// Stops Raft, and begins anew in another folder.
    async fn become_other(
        &mut self,
        identity: Identity,
        vote: Kept,
        source: Option<Source>,
    ) -> Result<(), DiskError> {
        let vote = match (&self.running, vote) {
            (Running::Part { part, .. }, Kept::Yes) => part.log.vote(),
            (Running::Not | Running::Failed { .. }, Kept::Yes) => {
                let log = self.identity.dir(&self.place.folder()).join("log");
                spawn_blocking(move || log::look(&log).vote).await?
            }
            (_, Kept::No) => None,
        };
        let table = match source {
            None => None,
            Some(Source::Empty) => {
                let mark = self.mark.clone();
                let is_lost = spawn_blocking(move || mark.read()).await?? == Standing::Lost;
                let options = self.place.options.clone();
                Some(if is_lost { Table::lost(options) } else { Table::new(options) })
            }
            Some(Source::Old) => Some(before(&self.place, Standing::InStore).await?),
            Some(Source::Present) => {
                self.stop().await;
                let dir = self.identity.dir(&self.place.folder());
                let options = self.place.options.clone();
                let table = spawn_blocking(move || inherited(&dir, options)).await?;
                Some(table.for_another_cluster())
            }
        };
        let takes_over = source == Some(Source::Old);
        self.stop().await;
        self.hold();
        let identity = renew(&self.place.folder(), identity, Contents { vote, table }).await?;
        let (folder, next) = (self.place.folder(), identity.clone());
        self.local.does_not_run(spawn_blocking(move || Logged::read(&folder, &next)).await?);
        self.local.identity.store(Arc::new(identity.clone()));
        self.identity = identity;
        self.consents.clear();
        if takes_over {
            self.set_old_table_aside().await?;
        }
        self.start().await;
        Ok(())
    }

    async fn set_old_table_aside(&self) -> Result<(), DiskError> {
        let mark = self.mark.clone();
        spawn_blocking(move || mark.take_over()).await??;
        self.local.has_old_table.store(false, Ordering::Release);
        Ok(())
    }

    /// Makes the first entry of the cluster. The engine makes none under an id that has voted: then another is drawn, and the
    /// founding begins again.
    async fn initialise(&mut self, voters: Members) -> Result<(), DiskError> {
        let not_made =
            |why: String| DiskError::Engine(format!("the cluster's first entry cannot be made: {why}"));
        let Running::Part { part, .. } = &self.running else {
            return Err(not_made("Raft does not run".to_owned()));
        };
        let members: BTreeMap<NodeId, RaftMember> =
            voters.iter().map(|(name, id)| (*id, RaftMember::from(name))).collect();
        match part.raft.initialize(members).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) if part.log.last().is_some() => Ok(()),
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {
                self.become_other(Identity::draw(self.name.clone()), Kept::No, None).await
            }
            Err(error) => Err(not_made(error.to_string())),
        }
    }

    /// Calls peers, those that are not being called already.
    fn send(&mut self, message: Message, terms: &Terms) {
        match message {
            Message::AskConsent { cluster, of } => {
                for (name, id) in of {
                    if !self.asking.insert(id) {
                        continue;
                    }
                    let (peers, terms) = (self.peers.clone(), terms.clone());
                    self.calls.spawn(async move {
                        let called = match peers.consent((&name, id), cluster, &terms).await {
                            Ok(None) => Called::Consented(cluster, id),
                            Ok(Some(why)) => Called::Unwilling(name, why),
                            Err(_) => Called::Other,
                        };
                        if !matches!(called, Called::Consented(..)) {
                            sleep(LOOKS_EVERY).await;
                        }
                        (id, called)
                    });
                }
            }
            Message::AskToJoin { cluster, of } => {
                let heard = self.hearing.heard();
                let ids: BTreeMap<NodeName, NodeId> =
                    heard.iter().map(|(name, heard)| (name.clone(), heard.answer.disk.id)).collect();
                let Some(id) = ids.get(&of).copied() else { return };
                if !self.asking.insert(id) {
                    return;
                }
                let peers = self.peers.clone();
                self.calls.spawn(async move {
                    match peers.join((&of, id), cluster).await {
                        Ok(Joining::Ask(leader)) => {
                            if let Some(leads) = ids.get(&leader) {
                                drop(peers.join((&leader, *leads), cluster).await);
                            }
                        }
                        Ok(Joining::Taken) => {}
                        // Others may know who leads.
                        Ok(Joining::Refused(_)) | Err(_) => {
                            for (name, other) in ids.iter().filter(|(_, other)| **other != id) {
                                drop(peers.join((name, *other), cluster).await);
                            }
                        }
                    }
                    sleep(LOOKS_EVERY).await;
                    (id, Called::Other)
                });
            }
        }
    }

    fn hear(&mut self, called: Result<(NodeId, Called), JoinError>) {
        let Ok((id, called)) = called else {
            self.asking.clear();
            return;
        };
        self.asking.remove(&id);
        match called {
            Called::Consented(cluster, id) => {
                let is_of_now =
                    matches!(&self.identity.bound, Bound::Founding { cluster: now, .. } if *now == cluster);
                if is_of_now {
                    self.consents.insert(id);
                }
            }
            Called::Unwilling(name, why) => tracing::info!(peer = %name, why, "a peer does not consent yet"),
            Called::Other => {}
        }
    }

    /// Whether it has not all that the others have, and gets it.
    fn fetches(&self) -> bool {
        self.view.is_held() && matches!(self.running, Running::Part { .. })
    }

    /// Says once what is waited for, and what an operator must do.
    fn tell(&self, rest: &Rest) {
        let reason = match rest {
            Rest::Serve => self.fetches().then(|| FETCHES.to_owned()),
            Rest::Wait(reason) | Rest::Alarm(reason) | Rest::Refuse(reason) => Some(reason.to_string()),
        };
        if self.told.borrow().as_ref() == reason.as_ref() {
            return;
        }
        match rest {
            Rest::Serve if self.fetches() => {
                tracing::info!("this node fetches what the others have of the table")
            }
            Rest::Serve => tracing::info!("this node is part of a cluster that takes changes"),
            Rest::Wait(reason) => tracing::warn!(%reason, "this node waits"),
            Rest::Alarm(reason) | Rest::Refuse(reason) => {
                tracing::error!(%reason, "this node's part in the cluster needs an operator");
            }
        }
        if matches!(rest, Rest::Refuse(_)) {
            self.metrics.cluster_stopped.set(1);
        }
        self.told.send_replace(reason);
    }

    /// Changes the membership where this node leads, one change at a time.
    fn lead(&mut self) {
        if self.changing.as_ref().is_some_and(|changing| !changing.is_finished()) {
            return;
        }
        let Running::Part { part, .. } = &self.running else { return };
        let Some(leading) = Leading::of(&part.raft) else { return };
        if let Some(voters) = leading.unfinished() {
            self.changing = Some(tokio::spawn(async move { drop(leading.set(voters).await) }));
            return;
        }
        if let Some(change) = self.wanted(&leading) {
            self.changing = Some(tokio::spawn(leading.change(change)));
        }
    }

    fn wanted(&self, leading: &Leading) -> Option<Change> {
        let disk = self.local.disk();
        let state = disk.settled()?;
        let terms = self.local.terms.load_full();
        let heard = self.hearing.heard();
        let others = terms.names.iter().filter(|name| **name != self.name);
        let present: Members = others
            .filter_map(|name| Some((name.clone(), heard.get(name)?.answer.disk.id)))
            .chain([(self.name.clone(), self.identity.node)])
            .collect();
        next_change(&Electorate {
            membership: &state.membership,
            barred: &state.barred,
            present: &present,
            caught_up: &leading.caught_up(),
            joining: &self.local.joining(),
            names: terms.names.len(),
            allowed: self.voters,
        })
    }

    fn count(&self) {
        let names = &self.local.terms.load_full().names;
        let others = names.iter().filter(|name| **name != self.name).cloned().collect();
        let silent = self.hearing.silent(&others).len();
        let count = |members: usize| i64::try_from(members).unwrap_or(i64::MAX);
        self.metrics.cluster_configured_members.set(count(names.len()));
        self.metrics.cluster_members.of(MemberState::Up).set(count(names.len() - silent));
        self.metrics.cluster_members.of(MemberState::Down).set(count(silent));
    }
}
