//! What the search begins with: who has what on disk, what may go wrong, and which calls of the operator are right then.

use super::world::{Left, NAMES, Set, Source, Standing, World, names, terms};
use super::{Laws, Mutation, Report, Row, search};

struct Scenario {
    name: &'static str,
    start: World,
    lists: [Set; NAMES],
    allowed: &'static [Row],
}

/// All three in every file.
const ALIKE: [Set; NAMES] = [7; NAMES];
/// Two of three disks wiped take the cluster with them.
const GONE: &[Row] = &[Row::MajorityGone];
const GONE_OR_OTHER: &[Row] = &[Row::MajorityGone, Row::AnotherCluster, Row::SeveralClusters];
const OTHER_TERMS: &[Row] = &[Row::TermsDiffer, Row::NoPeers, Row::FounderGone, Row::MajorityGone];

fn left(wipes: u8, writes: u8, lone_entries: u8) -> Left {
    Left { wipes, writes, lone_entries, ..Left::default() }
}

fn ordered(left: Left) -> Left {
    Left { bootstraps: 1, ..left }
}

fn swapped(left: Left, swaps: u8) -> Left {
    Left { disks_out: 1, swaps, ..left }
}

fn blank(left: Left) -> World {
    World::blank(left)
}

fn old(left: Left, with_table: &[usize]) -> World {
    let mut world = World::blank(left);
    with_table.iter().for_each(|name| world.nodes[*name].standing = Standing::OldTable);
    world
}

fn alone(left: Left, nodes: &[usize]) -> World {
    let mut world = World::blank(left);
    nodes.iter().for_each(|name| world.settle(&[*name], Source::Alone));
    world
}

fn settled(left: Left, nodes: &[usize]) -> World {
    let mut world = World::blank(left);
    world.settle(nodes, Source::Founded);
    world
}

#[rustfmt::skip]
fn scenarios() -> Vec<Scenario> {
    let alike = |name, start, allowed| Scenario { name, start, lists: ALIKE, allowed };
    let lists = |name, lists| Scenario { name, start: blank(left(1, 0, 0)), lists, allowed: OTHER_TERMS };
    vec![
        alike("blank, a wipe", blank(left(1, 1, 1)), &[]),
        alike("blank, two wipes", blank(left(2, 1, 1)), GONE),
        alike("blank, three wipes", blank(left(3, 0, 0)), GONE),
        alike("blank, a disk put back", blank(swapped(left(0, 1, 1), 2)), GONE),
        alike("blank, a disk put back, a wipe", blank(swapped(left(1, 0, 1), 1)), GONE_OR_OTHER),
        alike("blank, bootstrap", blank(ordered(left(0, 0, 0))), GONE_OR_OTHER),
        alike("blank, bootstrap, a wipe", blank(ordered(left(1, 1, 0))), GONE_OR_OTHER),
        alike("blank, bootstrap, two wipes", blank(ordered(left(2, 0, 0))), GONE_OR_OTHER),
        lists("lists abc bc bc", [7, 6, 6]),
        lists("lists ab abc ac", [3, 7, 5]),
        lists("lists ab ab abc", [3, 3, 7]),
        lists("lists ac bc abc", [5, 6, 7]),
        alike("an old table, a wipe", old(left(1, 0, 1), &[2]), GONE),
        alike("an old table, two wipes", old(left(2, 1, 1), &[2]), GONE),
        alike("an old table, bootstrap", old(ordered(left(0, 0, 0)), &[2]), GONE_OR_OTHER),
        Scenario { name: "old tables, lists abc ab ac", start: old(left(0, 0, 0), &[1, 2]), lists: [7, 3, 5], allowed: &[Row::TermsDiffer, Row::SeveralOldTables] },
        alike("two old tables, a wipe", old(left(1, 0, 0), &[1, 2]), &[Row::SeveralOldTables, Row::MajorityGone]),
        alike("three old tables, bootstrap", old(ordered(left(0, 1, 0)), &[0, 1, 2]), &[Row::SeveralOldTables]),
        alike("three old tables, bootstrap, a wipe", old(ordered(left(1, 0, 0)), &[0, 1, 2]), &[Row::SeveralOldTables, Row::MajorityGone, Row::AnotherCluster]),
        alike("c alone", alone(left(0, 1, 0), &[2]), &[]),
        alike("a alone", alone(left(0, 1, 0), &[0]), &[]),
        alike("c alone, a wipe", alone(left(1, 0, 0), &[2]), &[]),
        alike("all alone", alone(left(0, 0, 0), &[0, 1, 2]), &[]),
        alike("c alone, bootstrap, a wipe", alone(ordered(left(1, 1, 0)), &[2]), GONE_OR_OTHER),
        alike("one", settled(left(0, 0, 2), &[0]), &[]),
        alike("one, a wipe", settled(left(1, 1, 1), &[0]), GONE),
        alike("one, two wipes", settled(left(2, 1, 1), &[0]), GONE),
        alike("two", settled(left(0, 0, 1), &[0, 1]), &[]),
        alike("two, a wipe", settled(left(1, 1, 1), &[0, 1]), GONE),
        alike("three, a wipe", settled(left(1, 1, 1), &[0, 1, 2]), &[]),
        alike("three, two wipes", settled(left(2, 1, 1), &[0, 1, 2]), GONE),
        alike("three, three wipes", settled(left(3, 1, 0), &[0, 1, 2]), GONE),
        alike("three, a disk put back", settled(swapped(left(0, 2, 1), 2), &[0, 1, 2]), GONE),
        alike("three, a disk put back, a wipe", settled(swapped(left(1, 1, 1), 2), &[0, 1, 2]), GONE),
        alike("three, two wipes, others abandoned", settled(Left { abandons: 1, ..left(2, 0, 0) }, &[0, 1, 2]), GONE_OR_OTHER),
        alike("blank, a wipe, others abandoned", blank(Left { abandons: 1, ..left(1, 0, 0) }), GONE_OR_OTHER),
    ]
}

fn run(scenario: &Scenario, mutation: Mutation, cap: usize) -> Report {
    let Scenario { lists, start, allowed, .. } = *scenario;
    let laws = Laws { names: names(), lists, terms: terms(lists), mutation };
    search(start, &laws, allowed, cap)
}

/// Prints each scenario, and gives the traces to what may not be.
fn run_all(cap: usize) -> String {
    let mut found = String::new();
    for scenario in scenarios() {
        let Report { worlds, depth, is_complete, endings, trace } = run(&scenario, Mutation::None, cap);
        let end = if is_complete { "all" } else { "cut" };
        println!("{}: {worlds} worlds ({end}), depth {depth}, {endings:?}", scenario.name);
        found.extend(trace.map(|trace| format!("{}: {trace}\n", scenario.name)));
    }
    found
}

#[test]
fn no_world_has_two_clusters_or_is_stuck() {
    let found = run_all(300);
    assert!(found.is_empty(), "{found}");
}

#[test]
#[ignore = "minutes to hours: POSTROAD_SEARCH_STATES is the number of worlds for each scenario"]
fn no_world_of_many_has_two_clusters_or_is_stuck() {
    let cap = std::env::var("POSTROAD_SEARCH_STATES").ok().and_then(|cap| cap.parse().ok());
    let found = run_all(cap.unwrap_or(100_000));
    assert!(found.is_empty(), "{found}");
}
