//! The rules, in the order in which they are asked: what must never be, what is under way, state, no state.

use std::collections::BTreeSet;

use super::disk::{Disk, Origin, Stage, Standing, State, Table};
use super::identity::{ClusterId, Members, NodeId, NodeName};
use super::step::{Message, Reason, Rest, Step, Write};
use super::view::View;

/// A rule: the step, if it applies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// What the log calls it; the search switches rules off by it.
    pub(super) name: &'static str,
    apply: fn(&View<'_>) -> Option<Step>,
}

/// The first that applies decides.
pub(super) const RULES: [Rule; 23] = [
    // What must never be.
    Rule { name: "a name seen twice", apply: name_seen_twice },
    Rule { name: "an id seen twice", apply: id_seen_twice },
    Rule { name: "a disk rolled back", apply: disk_rolled_back },
    // A founding or a consent under way.
    Rule { name: "a founding is given up", apply: give_up_founding },
    Rule { name: "a listed name has a new id", apply: relist },
    Rule { name: "all have consented", apply: initialise },
    Rule { name: "consents are missing", apply: ask_consent },
    Rule { name: "a consent is freed", apply: free_consent },
    // With state.
    Rule { name: "replaced or removed", apply: set_replaced_aside },
    Rule { name: "another cluster", apply: report_another_cluster },
    Rule { name: "the majority is missing", apply: report_missing_majority },
    Rule { name: "with state", apply: serve },
    // Without.
    Rule { name: "a peer has state, and the name is barred", apply: report_barred },
    Rule { name: "a peer has a table, and so have I", apply: report_two_tables },
    Rule { name: "a peer has state, and so have I", apply: set_own_aside },
    Rule { name: "a member already", apply: wait_for_leader },
    Rule { name: "a peer has state", apply: ask_to_join },
    Rule { name: "peers have states", apply: report_several_clusters },
    Rule { name: "a consent stands", apply: wait_for_founding },
    Rule { name: "nobody to ask", apply: report_no_peers },
    Rule { name: "a peer is silent", apply: wait_for_silent },
    Rule { name: "several old tables", apply: report_several_old_tables },
    Rule { name: "all are blank", apply: draw_founding },
];

/// A step, and the rule that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The rule's name, for the log.
    pub rule: &'static str,
    /// The step.
    pub step: Step,
}

/// What to do next.
#[must_use]
pub fn next_step(view: &View<'_>) -> Decision {
    decide(RULES.iter(), view)
}

/// What these rules say; if none applies, another node is to found.
pub(super) fn decide<'a>(mut rules: impl Iterator<Item = &'a Rule>, view: &View<'_>) -> Decision {
    let said = |rule: &Rule| Some(Decision { rule: rule.name, step: (rule.apply)(view)? });
    rules.find_map(said).unwrap_or_else(|| Decision {
        rule: "another founds",
        step: wait(Reason::Founder(founder(view).unwrap_or(view.name).clone())),
    })
}

/// Two machines under one name would consent, vote and found as one: neither a list of ids nor a majority means
/// anything then. The machine that dials its own name and finds another stops.
fn name_seen_twice(view: &View<'_>) -> Option<Step> {
    let other = view.answer(view.name)?.disk.id;
    (other != view.disk.id).then(|| refuse(Reason::NameSeenTwice(other)))
}

/// Two processes with one id vote twice in one term: two leaders.
fn id_seen_twice(view: &View<'_>) -> Option<Step> {
    let is_copy = |name: &NodeName| {
        let other = view.answer(name)?;
        let is_me = name == view.name && other.incarnation == view.incarnation;
        (other.disk.id == view.disk.id && !is_me).then(|| refuse(Reason::IdSeenTwice(name.clone())))
    };
    view.terms.names.iter().find_map(is_copy)
}

/// A log that went back lets a write be acknowledged by fewer disks than a majority; a vote that went back is given twice.
fn disk_rolled_back(view: &View<'_>) -> Option<Step> {
    let mine = view.disk.settled()?;
    let saw_more = view.answers().find(|(_, answer)| {
        let here = answer.seen.filter(|seen| seen.cluster == mine.cluster);
        here.is_some_and(|seen| seen.last > mine.last || seen.vote > view.disk.vote)
    });
    saw_more.map(|(name, _)| refuse(Reason::RolledBack(name.clone())))
}

/// A peer with state or an old table never consents, so the founding would stand forever, and keep this node from joining;
/// initialised by consents that came before, it would be the second cluster.
fn give_up_founding(view: &View<'_>) -> Option<Step> {
    founding(view.disk)?;
    let is_in_vain = view.answers().any(|(_, answer)| !answer.disk.is_blank());
    is_in_vain.then_some(Step::Write(Write::ForgetFounding))
}

/// A peer that was wiped is asked under its new id: its old one, gone with the disk, would be a voter that never votes.
fn relist(view: &View<'_>) -> Option<Step> {
    let (_, list, _) = founding(view.disk)?;
    let renamed = view.answers().find(|(name, answer)| list.get(*name) != Some(&answer.disk.id))?;
    Some(Step::Write(Write::Relist { name: renamed.0.clone(), id: renamed.1.disk.id }))
}

/// With the consent of **all**: whoever did not consent may follow another founder.
fn initialise(view: &View<'_>) -> Option<Step> {
    let (cluster, list, table) = founding(view.disk)?;
    let voters = match table {
        Table::Empty => list.clone(),
        // The table is not in the log: its first voter has it, and the others get it as a snapshot when they join.
        Table::Old => Members::from([(view.name.clone(), view.disk.id)]),
    };
    missing(view, list).is_empty().then_some(Step::Write(Write::Initialise { cluster, voters, table }))
}

/// Asks again whoever has not consented to this process.
fn ask_consent(view: &View<'_>) -> Option<Step> {
    let (cluster, list, _) = founding(view.disk)?;
    let of = missing(view, list);
    let differs = |name: &&NodeName| view.answer(name).is_some_and(|answer| answer.terms != *view.terms);
    let differing: BTreeSet<_> = of.keys().filter(differs).cloned().collect();
    let reason = if differing.is_empty() {
        Reason::Consents(of.keys().cloned().collect())
    } else {
        Reason::TermsDiffer(differing)
    };
    Some(Step::Send(Message::AskConsent { cluster, of }, reason))
}

/// A consent outlives its founder's disk: an entry of it may be under way, or stand with a peer. Freed while one is silent,
/// this node would make the second cluster; never freed, a founder wiped at the first start would need an operator.
fn free_consent(view: &View<'_>) -> Option<Step> {
    let (cluster, founder) = consent(view.disk)?;
    let is_forgotten = !view.answer(founder)?.disk.founds(cluster);
    let is_held = view.answers().any(|(_, answer)| answer.disk.holds(cluster));
    (is_forgotten && !is_held && view.silent().is_empty()).then_some(Step::Write(Write::FreeConsent))
}

/// The name goes on under another id, or under none: what this disk holds is of no use to the cluster, and its votes
/// would be a stranger's. Only a committed membership, by a log that is not behind mine: a proposed one may be lost.
fn set_replaced_aside(view: &View<'_>) -> Option<Step> {
    let mine = view.disk.settled()?;
    let without_me = |state: &&State| {
        let is_final = state.cluster == mine.cluster && state.membership.stage == Stage::Committed;
        is_final && state.last >= mine.last && !state.membership.has(view.disk.id)
    };
    let state = view.settled_peers().map(|(_, state)| state).find(without_me)?;
    Some(if state.barred.contains(view.name) {
        alarm(Reason::Barred(state.cluster))
    } else {
        Step::Write(Write::SetRaftAside)
    })
}

/// Two clusters are one too many, and only an operator knows which is wanted. Before the majority is missed: a disk that
/// was put back, whose peers have founded anew, shall not be told to abandon them.
fn report_another_cluster(view: &View<'_>) -> Option<Step> {
    let mine = view.disk.settled()?;
    let others = view.settled_peers().filter(|(_, state)| state.cluster != mine.cluster);
    let names: BTreeSet<_> = others.map(|(name, _)| name.clone()).collect();
    (!names.is_empty()).then(|| alarm(Reason::AnotherCluster(names)))
}

/// Says who is missing. While a voter is only silent it may come back; when its name answers under a new id, it will not.
fn report_missing_majority(view: &View<'_>) -> Option<Step> {
    let mine = view.disk.settled()?;
    let peers = view.settled_peers().map(|(_, state)| state).filter(|state| state.cluster == mine.cluster);
    let membership = &peers.chain([mine]).max_by_key(|state| state.last)?.membership;
    let (present, ids) = (view.present(), view.present_ids());
    // Who they are is not known before the log is read.
    if membership.voters.is_empty() || membership.is_led_by(&ids) {
        return None;
    }
    let (gone, silent): (Members, Members) = membership
        .all_voters()
        .filter(|(_, id)| !ids.contains(id))
        .map(|(name, id)| (name.clone(), *id))
        .partition(|(name, _)| present.contains_key(name));
    let with_silent = ids.iter().chain(silent.values()).copied().collect();
    let names = |members: Members| members.into_keys().collect();
    Some(if membership.is_led_by(&with_silent) {
        wait(Reason::Minority(names(silent)))
    } else {
        alarm(Reason::MajorityGone(names(gone)))
    })
}

fn serve(view: &View<'_>) -> Option<Step> {
    view.disk.settled().map(|_| Step::Rest(Rest::Serve))
}

/// What an operator removed does not come back by itself.
fn report_barred(view: &View<'_>) -> Option<Step> {
    let (_, state) = to_join(view)?;
    state.barred.contains(view.name).then(|| alarm(Reason::Barred(state.cluster)))
}

/// A cluster that founded itself was nobody's choice, so a table does not give way to its table.
fn report_two_tables(view: &View<'_>) -> Option<Step> {
    let (of, state) = to_join(view)?;
    let is_unchosen = state.origin == Origin::Alone && view.disk.has_old_table();
    is_unchosen.then(|| alarm(Reason::TwoTables(of.clone())))
}

/// What is here gives way to the cluster that there is, before it is asked: a learner takes its table.
fn set_own_aside(view: &View<'_>) -> Option<Step> {
    to_join(view)?;
    set_aside(view.disk)
}

/// Whoever has my id in its membership sends me what I need; a second id by a join would be a second vote.
fn wait_for_leader(view: &View<'_>) -> Option<Step> {
    let (_, state) = to_join(view)?;
    state.membership.has(view.disk.id).then(|| wait(Reason::Leader(state.cluster)))
}

/// A cluster of one that founded itself has a table that nobody chose: a silent peer may have another such.
fn ask_to_join(view: &View<'_>) -> Option<Step> {
    let (of, state) = to_join(view)?;
    let is_unchosen = state.origin == Origin::Alone && state.membership.members() == 1;
    let mut silent = view.silent();
    silent.retain(|name| !state.barred.contains(name));
    if is_unchosen && !silent.is_empty() {
        return Some(wait(Reason::SilentTable { of: of.clone(), silent }));
    }
    let (cluster, of) = (state.cluster, of.clone());
    let message = Message::AskToJoin { cluster, of: of.clone() };
    Some(Step::Send(message, Reason::Joining { cluster, of }))
}

/// A node that is bound by a consent takes no part in the choice.
fn report_several_clusters(view: &View<'_>) -> Option<Step> {
    let names: BTreeSet<_> = view.settled_peers().map(|(name, _)| name.clone()).collect();
    let is_free = consent(view.disk).is_none();
    (is_free && !names.is_empty()).then(|| alarm(Reason::SeveralClusters(names)))
}

fn wait_for_founding(view: &View<'_>) -> Option<Step> {
    let (_, founder) = consent(view.disk)?;
    Some(wait(Reason::Founding { founder: founder.clone(), silent: view.silent() }))
}

fn report_no_peers(view: &View<'_>) -> Option<Step> {
    view.peers().next().is_none().then(|| wait(Reason::NoPeers))
}

/// A silent peer may have a cluster or a table.
fn wait_for_silent(view: &View<'_>) -> Option<Step> {
    let silent = view.silent();
    (!silent.is_empty()).then(|| wait(Reason::Silent(silent)))
}

/// Three MX with a table each is how they run before they are a cluster; which of them counts is not ours to say.
fn report_several_old_tables(view: &View<'_>) -> Option<Step> {
    let names: BTreeSet<_> = old_tables(view).cloned().collect();
    (names.len() > 1).then(|| alarm(Reason::SeveralOldTables(names)))
}

/// One founds: the only node with a table, else that of the lowest name. The others wait for it.
fn draw_founding(view: &View<'_>) -> Option<Step> {
    if founder(view)? != view.name {
        return None;
    }
    let table = if view.disk.has_old_table() { Table::Old } else { Table::Empty };
    let draw = Write::DrawFounding { list: view.present(), table };
    let lone = matches!(view.disk.standing, Standing::State(_)).then(|| set_aside(view.disk)).flatten();
    Some(lone.unwrap_or(Step::Write(draw)))
}

/// Whose turn it is to found, when all answer and none has state.
fn founder<'a>(view: &View<'a>) -> Option<&'a NodeName> {
    old_tables(view).next().or_else(|| view.terms.names.first())
}

fn old_tables<'a>(view: &View<'a>) -> impl Iterator<Item = &'a NodeName> {
    let mine = view.disk.has_old_table().then_some(view.name);
    let others = view.answers().filter(|(_, answer)| answer.disk.has_old_table()).map(|(name, _)| name);
    others.chain(mine)
}

/// The one cluster that peers are in, as the peer with the longest log knows it. For whoever consented: that cluster.
fn to_join<'a>(view: &View<'a>) -> Option<(&'a NodeName, &'a State)> {
    let bound = consent(view.disk).map(|(cluster, _)| cluster);
    let fits = |state: &State| bound.is_none_or(|cluster| state.cluster == cluster);
    let peers = || view.settled_peers().filter(|(_, state)| fits(state));
    let (of, state) = peers().max_by_key(|(_, state)| state.last)?;
    peers().all(|(_, other)| other.cluster == state.cluster).then_some((of, state))
}

/// What counts as blank, or as a table that gives way, in the way.
fn set_aside(disk: &Disk) -> Option<Step> {
    match &disk.standing {
        Standing::OldTable => Some(Step::Write(Write::SetOldTableAside)),
        Standing::State(_) => Some(Step::Write(Write::SetLoneStateAside)),
        Standing::Blank | Standing::Consenting { .. } | Standing::Founding { .. } => None,
    }
}

fn founding(disk: &Disk) -> Option<(ClusterId, &Members, Table)> {
    match &disk.standing {
        Standing::Founding { cluster, list, table } => Some((*cluster, list, *table)),
        Standing::Blank | Standing::OldTable | Standing::Consenting { .. } | Standing::State(_) => None,
    }
}

fn consent(disk: &Disk) -> Option<(ClusterId, &NodeName)> {
    match &disk.standing {
        Standing::Consenting { cluster, founder } => Some((*cluster, founder)),
        Standing::Blank | Standing::OldTable | Standing::Founding { .. } | Standing::State(_) => None,
    }
}

/// Those of the list whose consent this process has not.
fn missing(view: &View<'_>, list: &Members) -> Members {
    let is_missing = |id: &NodeId| *id != view.disk.id && !view.consents.contains(id);
    list.iter().filter(|(_, id)| is_missing(id)).map(|(name, id)| (name.clone(), *id)).collect()
}

fn wait(reason: Reason) -> Step {
    Step::Rest(Rest::Wait(reason))
}

fn alarm(reason: Reason) -> Step {
    Step::Rest(Rest::Alarm(reason))
}

fn refuse(reason: Reason) -> Step {
    Step::Rest(Rest::Refuse(reason))
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
