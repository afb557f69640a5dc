//! The search: every world that three nodes can come to, breadth first, each node's own steps taken as the rules of this
//! module say. What may happen is in [`events`]; the disks are in [`world`], as the rules read them in [`records`], Raft is
//! in [`turn`], and where it begins in [`scenarios`].
//!
//! Every durable write is a step. A node that is down or cut off takes none, and hears any of its peers or none: so stops,
//! crashes between two writes, losses, delays and partitions are in every run. Two things are held in every world:
//! - There are never two living clusters, but by an order of the operator; and no committed write is lost.
//! - From every world the fair run (all up and connected, nothing goes wrong any more) ends with all three as voters of one
//!   cluster, or with a reason that calls the operator, and that the scenario may come to.
//!
//! Bounds: 3 names, 5 ids a name, 4 clusters, 8 entries (14 in the fair run); one append and one answer at a time are on
//! their way. Not in it: five voters, the removal of a name, a reload of the peers, snapshots, terms (a log is as late as
//! its last entry), a copy of a disk beside the disk.
//!
//! A long run: `POSTROAD_SEARCH_STATES=1000000 cargo test --release --lib founding -- --ignored --nocapture`; 40,000 worlds
//! a second, and 1 GiB of memory for a million in one scenario.

mod events;
mod records;
mod scenarios;
mod turn;
mod world;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::Write as _;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use self::events::{Event, fair_next, last_word, next};
use self::world::{NAMES, Set, Standing, World};
use super::{NodeName, Reason, Rest, Step, Terms};

/// What is the same for a whole search.
struct Laws {
    names: [NodeName; NAMES],
    lists: [Set; NAMES],
    terms: [Terms; NAMES],
    mutation: Mutation,
}

/// A rule broken, to see that the search finds what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutation {
    None,
    /// One of the list.
    Without(&'static str),
    /// Consents outlive the founder's process.
    StaleConsents,
    /// A freed id consents to another founding.
    ConsentsAgain,
    /// A call is taken although the caller's name has said Hello under another id.
    OutdatedCalls,
    /// A membership that is not committed counts as one that is.
    ProposedCounts,
    /// An answer counts although it was asked for before the last write.
    AskedBefore,
    /// Whoever asked to join is taken in although its name answers under another id.
    AbsentJoiners,
}

/// How a fair run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    /// All vote in one cluster.
    Together,
    /// A reason calls the operator.
    Operator(Row),
    /// The world had no more ids, clusters or entries.
    UsedUp,
    /// Nothing happens any more, and nobody calls the operator.
    Stuck,
    /// Something always happens.
    Endless,
    TwoClusters,
    LostWrite,
}

/// The reasons that call the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    AnotherCluster,
    MajorityGone,
    SeveralOldTables,
    TwoTables,
    SeveralClusters,
    TermsDiffer,
    NoPeers,
    FounderGone,
}

/// What a search has found.
struct Report {
    worlds: usize,
    depth: usize,
    is_complete: bool,
    endings: BTreeMap<Ending, usize>,
    /// The first world that may not be: how it ends, and a shortest way to it.
    wrong: Option<(Ending, String)>,
}

/// Steps after which a fair run is endless.
const FAIR_STEPS: usize = 120;

struct Search<'a> {
    laws: &'a Laws,
    allowed: &'a [Row],
    /// How fair runs end, by world.
    endings: HashMap<u64, Ending>,
    reached: Vec<(usize, Event)>,
}

/// Searches from a world on, until all are seen, or this many, or one that may not be.
fn search(start: World, laws: &Laws, allowed: &[Row], cap: usize) -> Report {
    let mut search = Search { laws, allowed, endings: HashMap::new(), reached: vec![(0, Event::Start)] };
    let mut seen = HashSet::from([fingerprint(&start)]);
    let mut queue = VecDeque::from([(0, start)]);
    let mut report = Report { worlds: 1, depth: 0, is_complete: true, endings: BTreeMap::new(), wrong: None };
    while let Some((at, world)) = queue.pop_front() {
        let ending = search.ending(&world);
        *report.endings.entry(ending).or_default() += 1;
        if !search.is_allowed(ending) {
            report.wrong = Some((ending, search.trace(&start, at)));
            break;
        }
        // Worlds that are reached but not looked beyond still have their fair run.
        let successors = if report.is_complete { next(&world, laws) } else { Vec::new() };
        for (event, after) in successors {
            if !seen.insert(fingerprint(&after)) {
                continue;
            }
            if search.reached.len() >= cap {
                report.is_complete = false;
                break;
            }
            search.reached.push((at, event));
            queue.push_back((search.reached.len() - 1, after));
        }
    }
    report.worlds = search.reached.len();
    report.depth = search.path(report.worlds - 1).len();
    report
}

impl Search<'_> {
    fn is_allowed(&self, ending: Ending) -> bool {
        match ending {
            Ending::Together | Ending::UsedUp => true,
            Ending::Operator(row) => self.allowed.contains(&row),
            Ending::Stuck | Ending::Endless | Ending::TwoClusters | Ending::LostWrite => false,
        }
    }

    /// How the fair run from a world ends.
    fn ending(&mut self, world: &World) -> Ending {
        let mut now = world.without_faults();
        let mut passed = Vec::new();
        let ending = loop {
            let print = fingerprint(&now);
            if let Some(ending) = self.endings.get(&print) {
                break *ending;
            }
            passed.push(print);
            if now.has_lost_a_write {
                break Ending::LostWrite;
            }
            if now.has_two_clusters() {
                break Ending::TwoClusters;
            }
            if passed.len() > FAIR_STEPS {
                break Ending::Endless;
            }
            match fair_next(&now, self.laws) {
                Some(after) => now = after,
                None => break at_rest(&now, self.laws),
            }
        };
        self.endings.extend(passed.into_iter().map(|print| (print, ending)));
        ending
    }

    fn path(&self, mut at: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while at != 0 {
            let (before, event) = self.reached[at];
            events.push(event);
            at = before;
        }
        events.reverse();
        events
    }

    /// The way to a world, and its fair run.
    fn trace(&self, start: &World, at: usize) -> String {
        let mut world = *start;
        let mut text = show(&world);
        for event in self.path(at) {
            let after = next(&world, self.laws).into_iter().find(|(other, _)| *other == event);
            world = after.expect("the same world has the same events").1;
            let _ = write!(text, "{event:?}\n{}", show(&world));
        }
        text.push_str("and then, when nothing goes wrong any more\n");
        for _ in 0..FAIR_STEPS {
            let Some(after) = fair_next(&world, self.laws) else { break };
            world = after;
            text.push_str(&show(&world));
        }
        for node in 0..NAMES {
            let _ = writeln!(text, "{}: {:?}", self.laws.names[node], last_word(&world, self.laws, node));
        }
        text
    }
}

/// How a world looks in which nothing happens any more.
fn at_rest(world: &World, laws: &Laws) -> Ending {
    if is_together(world, laws) {
        return Ending::Together;
    }
    let rows = (0..NAMES).filter_map(|node| row(&last_word(world, laws, node)));
    let stuck = if world.is_used_up() { Ending::UsedUp } else { Ending::Stuck };
    rows.min().map_or(stuck, Ending::Operator)
}

/// Whether all vote in one cluster. Where the files differ, whom one of them does not name may stay a learner.
fn is_together(world: &World, laws: &Laws) -> bool {
    let Some((cluster, log)) = world.state(0) else { return false };
    let now = world.membership(cluster, log);
    let is_alike = laws.lists.iter().all(|list| *list == laws.lists[0]);
    let is_member = |name: usize| {
        let id = world.nodes[name].id;
        let follows = world.state(name).is_some_and(|(own, _)| own == cluster);
        follows && (now.voters[name] == id || (!is_alike && now.learners[name] == id))
    };
    now.is_committed && (0..NAMES).all(is_member)
}

/// The row of a last word that calls the operator.
fn row(step: &Step) -> Option<Row> {
    let reason = match step {
        Step::Rest(Rest::Alarm(reason) | Rest::Refuse(reason) | Rest::Wait(reason))
        | Step::Send(_, reason) => reason,
        Step::Rest(Rest::Serve) | Step::Write(_) => return None,
    };
    match reason {
        Reason::AnotherCluster(_) => Some(Row::AnotherCluster),
        Reason::MajorityGone(_) => Some(Row::MajorityGone),
        Reason::SeveralOldTables(_) => Some(Row::SeveralOldTables),
        Reason::TwoTables(_) => Some(Row::TwoTables),
        Reason::SeveralClusters(_) => Some(Row::SeveralClusters),
        Reason::TermsDiffer(_) => Some(Row::TermsDiffer),
        Reason::NoPeers => Some(Row::NoPeers),
        Reason::Founding { .. } => Some(Row::FounderGone),
        _ => None,
    }
}

fn show(world: &World) -> String {
    let mut text = String::new();
    for (name, node) in ["a", "b", "c"].iter().zip(world.nodes) {
        let _ = write!(text, "    {name}: {node:?}");
        if let Standing::State { cluster, log } = node.standing {
            let now = world.membership(cluster, log);
            let _ = write!(text, " {:?} learners {:?} {}", now.voters, now.learners, now.is_committed);
        }
        text.push('\n');
    }
    text
}

fn fingerprint(world: &World) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(world)
}
