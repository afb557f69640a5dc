//! What may happen next in a world: each node's own step as the rules say it, the turns of Raft, mail, faults and orders.

use super::super::rules::{RULES, decide};
use super::super::{
    ClusterId, Message, NodeId, Reply, Request, Step, Write, abandon_others, answer_founder, bootstrap,
};
use super::records::Records;
use super::turn::{Reach, followers};
use super::world::{Entry, Held, Kind, NAMES, Set, Standing, World, bit, members, name_of};
use super::{Laws, Mutation};

/// What happened; enough to be read in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Start,
    /// A node takes the step that the rules say, having heard these.
    Step {
        node: usize,
        heard: Set,
    },
    /// A peer's answer is on its way.
    Answer {
        from: usize,
        to: usize,
    },
    /// The same with an answer that was on its way, among those of these.
    StepByHeld {
        node: usize,
        heard: Set,
    },
    /// A founder's request reaches a node.
    Request {
        node: usize,
        cluster: u8,
    },
    /// A leader appends.
    Turn {
        leader: usize,
        with: Set,
        kind: Kind,
        reach: Reach,
    },
    LateAppend,
    Bootstrap {
        node: usize,
    },
    Abandon {
        node: usize,
        heard: Set,
    },
    Wipe {
        node: usize,
    },
    /// A disk is taken out, and a blank one put in.
    TakeOut {
        node: usize,
    },
    /// The disk that is out and the one in the machine change places.
    Swap,
}

const ALL: Set = (1 << NAMES) - 1;
/// Entries up to which a log grows outside of the fair run.
const BUSY_ENTRIES: u8 = 8;

/// Every world that may be next.
pub(super) fn next(world: &World, laws: &Laws) -> Vec<(Event, World)> {
    let mut records = Records::of(world, laws);
    let mut found = Vec::new();
    for node in 0..NAMES {
        for heard in subsets(laws.peers(node)) {
            let decided = decided(&mut records, laws, node, heard);
            let after = apply(world, laws, node, heard, decided);
            found.extend(after.map(|after| (Event::Step { node, heard }, after)));
        }
        answers(world, laws, node, &mut found);
        for cluster in 1..=world.drawn_clusters {
            let after = request(world, &records, laws, node, cluster);
            found.extend(after.map(|after| (Event::Request { node, cluster }, after)));
        }
        turns(world, &records, laws, node, &mut found);
        orders(world, &mut records, laws, node, &mut found);
        faults(world, node, &mut found);
    }
    found.extend(world.arrive(&records).map(|after| (Event::LateAppend, after)));
    found.extend(swap(world, laws).map(|after| (Event::Swap, after)));
    for (_, after) in &mut found {
        after.held = after.held.filter(|held| is_asked_since(world, after, laws, held));
    }
    found.retain(|(_, after)| after != world);
    found
}

/// Whether an answer that is on its way still counts: whoever has written, or is another process, asks again.
fn is_asked_since(before: &World, after: &World, laws: &Laws, held: &Held) -> bool {
    let to = usize::from(held.to);
    let is_same_process = after.nodes[to].id == before.nodes[to].id && after.left.swaps == before.left.swaps;
    is_same_process && (after.nodes[to] == before.nodes[to] || laws.mutation == Mutation::AskedBefore)
}

/// The one world that is next when all are up and connected and nothing goes wrong any more.
pub(super) fn fair_next(world: &World, laws: &Laws) -> Option<World> {
    let mut records = Records::of(world, laws);
    let is_new = |after: &World| after != world;
    let own = (0..NAMES).find_map(|node| {
        let heard = laws.peers(node);
        let decided = decided(&mut records, laws, node, heard);
        apply(world, laws, node, heard, decided).filter(is_new)
    });
    let asked = || {
        let is_meant = |cluster: u8| {
            let founder = name_of(world.cluster(cluster).founder);
            matches!(world.nodes[founder].standing, Standing::Founding { cluster: now, .. } if now == cluster)
        };
        (1..=world.drawn_clusters).filter(|cluster| is_meant(*cluster)).find_map(|cluster| {
            (0..NAMES).find_map(|node| request(world, &records, laws, node, cluster).filter(is_new))
        })
    };
    let led = || {
        (0..NAMES).find_map(|leader| {
            let willing = followers(world, &records, leader);
            let entry = if world.lags(leader, willing) {
                Entry::default()
            } else {
                world.change(leader, ALL, laws)?
            };
            world.turn(leader, willing, entry, Reach::All)
        })
    };
    own.or_else(asked).or_else(led)
}

/// What a node says when it hears all.
pub(super) fn last_word(world: &World, laws: &Laws, node: usize) -> Step {
    let mut records = Records::of(world, laws);
    decided(&mut records, laws, node, laws.peers(node))
}

fn decided(records: &mut Records, laws: &Laws, node: usize, heard: Set) -> Step {
    let view = records.view(node, &laws.terms[node], heard);
    decide(RULES.iter().filter(|rule| laws.mutation != Mutation::Without(rule.name)), &view).step
}

fn apply(world: &World, laws: &Laws, node: usize, heard: Set, step: Step) -> Option<World> {
    let mut next = *world;
    match step {
        Step::Write(write) => next.write(node, &write)?,
        Step::Send(Message::AskConsent { cluster, of }, _) => {
            let asked = of.values().fold(0, |asked, id| asked | bit(id.0 as u8));
            next.cluster_mut(cluster.0 as u8).asked |= asked;
        }
        Step::Send(Message::AskToJoin { cluster, .. }, _) => {
            next.cluster_mut(cluster.0 as u8).joining |= bit(world.nodes[node].id);
        }
        Step::Rest(_) => {}
    }
    greet(&mut next, laws, node, heard);
    Some(next)
}

fn greet(world: &mut World, laws: &Laws, node: usize, heard: Set) {
    if laws.mutation != Mutation::OutdatedCalls {
        world.greet(node, heard);
    }
}

/// One answer at a time is read later than it was given, by a node that has written nothing meanwhile.
fn answers(world: &World, laws: &Laws, node: usize, found: &mut Vec<(Event, World)>) {
    for from in members(laws.peers(node)).filter(|_| world.left.held > 0 && world.held.is_none()) {
        let mut after = *world;
        after.left.held -= 1;
        after.held = Some(Held { from: from as u8, to: node as u8, node: world.nodes[from] });
        greet(&mut after, laws, node, 1 << from);
        found.push((Event::Answer { from, to: node }, after));
    }
    let Some(held) = world.held.filter(|held| usize::from(held.to) == node) else { return };
    let mut records = Records::of(&world.as_held(&held), laws);
    for heard in subsets(laws.peers(node)).filter(|heard| heard >> held.from & 1 == 1) {
        let decided = decided(&mut records, laws, node, heard);
        let after = apply(world, laws, node, heard & !(1 << held.from), decided);
        found.extend(after.map(|after| (Event::StepByHeld { node, heard }, after)));
    }
}

fn request(world: &World, records: &Records, laws: &Laws, node: usize, cluster: u8) -> Option<World> {
    let id = world.nodes[node].id;
    if world.cluster(cluster).asked & bit(id) == 0 {
        return None;
    }
    let founder = name_of(world.cluster(cluster).founder);
    let request = Request {
        cluster: ClusterId(cluster.into()),
        founder: laws.names[founder].clone(),
        to: NodeId(id.into()),
        terms: laws.terms[founder].clone(),
    };
    let mut disk = records.disks[node].clone();
    if laws.mutation == Mutation::ConsentsAgain {
        disk.spent = None;
    }
    let mut next = *world;
    let has_consented = match answer_founder(&disk, &laws.terms[node], &request) {
        Reply::Consented => true,
        Reply::First(write) => {
            next.write(node, &write)?;
            matches!(write, Write::Consent { .. })
        }
        Reply::Unwilling(_) => false,
    };
    if has_consented {
        next.cluster_mut(cluster).consented |= bit(id);
    }
    Some(next)
}

fn turns(world: &World, records: &Records, laws: &Laws, leader: usize, found: &mut Vec<(Event, World)>) {
    let Some((cluster, _)) = world.state(leader) else { return };
    let willing = followers(world, records, leader);
    let may_grow = world.cluster(cluster).len < BUSY_ENTRIES;
    for with in subsets(ALL).filter(|with| with >> leader & 1 == 1) {
        let change = world.change(leader, with, laws);
        let write = (world.left.writes > 0).then_some(Entry { kind: Kind::Write, ..Entry::default() });
        let empty = world.lags(leader, with & willing).then(Entry::default);
        for entry in [change, write, empty].into_iter().flatten().filter(|_| may_grow) {
            let alone = [Reach::Nobody, Reach::Wire(0), Reach::Wire(1), Reach::Wire(2)].into_iter();
            let may_stay = world.left.lone_entries > 0 && entry.kind != Kind::Empty;
            let alone = alone.filter(|reach| may_stay && *reach != Reach::Wire(leader));
            for reach in alone.chain([Reach::All]) {
                let Some(mut after) = world.turn(leader, with & willing, entry, reach) else { continue };
                after.left.writes -= u8::from(entry.kind == Kind::Write);
                after.left.lone_entries -= u8::from(reach != Reach::All);
                found.push((Event::Turn { leader, with, kind: entry.kind, reach }, after));
            }
        }
    }
}

fn orders(world: &World, records: &mut Records, laws: &Laws, node: usize, found: &mut Vec<(Event, World)>) {
    let ordered = |write: &Write| {
        let mut after = *world;
        after.write(node, write).map(|()| after)
    };
    if world.left.bootstraps > 0 {
        let write = bootstrap(&records.disks[node]).ok();
        let is_done = matches!(write, Some(Write::FoundAlone { .. }));
        found.extend(write.and_then(|write| ordered(&write)).map(|mut after| {
            after.left.bootstraps -= u8::from(is_done);
            (Event::Bootstrap { node }, after)
        }));
    }
    for heard in subsets(laws.peers(node)).filter(|_| world.left.abandons > 0) {
        let write = abandon_others(&records.view(node, &laws.terms[node], heard)).ok();
        let is_done = matches!(write, Some(Write::FoundAlone { .. } | Write::FoundAnew));
        found.extend(write.and_then(|write| ordered(&write)).map(|mut after| {
            after.left.abandons -= u8::from(is_done);
            (Event::Abandon { node, heard }, after)
        }));
    }
}

fn faults(world: &World, node: usize, found: &mut Vec<(Event, World)>) {
    let mut after = *world;
    if after.wipe(node).is_none() {
        return;
    }
    if world.left.wipes > 0 {
        let mut wiped = after;
        wiped.left.wipes -= 1;
        found.push((Event::Wipe { node }, wiped));
    }
    if world.left.disks_out > 0 && world.out.is_none() {
        after.left.disks_out -= 1;
        after.out = Some((node as u8, world.nodes[node]));
        found.push((Event::TakeOut { node }, after));
    }
}

fn swap(world: &World, laws: &Laws) -> Option<World> {
    let (node, disk) = world.out.filter(|_| world.left.swaps > 0)?;
    let mut after = *world;
    after.left.swaps -= 1;
    after.out = Some((node, world.nodes[usize::from(node)]));
    after.nodes[usize::from(node)] = disk;
    // Another process: it asks for the consents again.
    if let Standing::Founding { cluster, .. } = disk.standing
        && laws.mutation != Mutation::StaleConsents
    {
        after.cluster_mut(cluster).consented = 0;
    }
    Some(after)
}

fn subsets(of: Set) -> impl Iterator<Item = Set> {
    (0..=ALL).filter(move |set| set & !of == 0)
}

impl Laws {
    /// The peers in a node's file.
    fn peers(&self, node: usize) -> Set {
        self.lists[node] & !(1 << node)
    }
}
