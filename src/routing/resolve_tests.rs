use super::*;
use crate::routing::test_table::{World, address, domain, forward, options, rule};
use crate::routing::{Change, DomainPatch, NewRule, RulePatch, RulesOfDeleted};

/// Where mail to an address goes: destinations separated by spaces behind how it matched, or the outcome.
fn outcome(world: &World, to: &str) -> String {
    let explained = world.table.explain(&address(to));
    assert_eq!(explained.resolution, world.table.resolve(&address(to)));
    let resolution = explained.resolution;
    match resolution {
        Resolution::Forward { matcher, destinations, .. } => {
            let to: Vec<String> = destinations.iter().map(ToString::to_string).collect();
            format!("{matcher:?} {}", to.join(" "))
        }
        Resolution::Waiting { .. } => "waiting".to_owned(),
        Resolution::Reject { text, .. } => format!("reject {text}"),
        Resolution::Drop { matcher, .. } => format!("{matcher:?} drop"),
        Resolution::Cycle { chain } => format!("cycle {}", chain.join(" ")),
        Resolution::UnknownDomain
        | Resolution::UnknownRecipient
        | Resolution::TooMany
        | Resolution::NoPostmaster
        | Resolution::NotKnown => format!("{resolution:?}"),
    }
}

fn check(world: &World, table: &[(&str, &str)]) {
    for (to, expected) in table {
        assert_eq!(outcome(world, to), *expected, "{to}");
    }
}

#[test]
fn exact_beats_subaddress_beats_role_beats_catch_all() {
    let mut world = World::new();
    world.rule("user@one.example", forward("user@dest.example"));
    world.rule("user+bills@one.example", forward("bills@dest.example"));
    world.rule("*@one.example", forward("rest@dest.example"));
    world.rule("abuse@two.example", RuleAction::Drop);
    check(
        &world,
        &[
            ("user@one.example", "Exact user@dest.example"),
            ("USER@ONE.example", "Exact user@dest.example"),
            ("user+bills@one.example", "Exact bills@dest.example"),
            ("user+Bills@one.example", "Exact bills@dest.example"),
            ("user+any+more@one.example", "Subaddress user@dest.example"),
            ("+user@one.example", "CatchAll rest@dest.example"),
            ("other@one.example", "CatchAll rest@dest.example"),
            ("PostMaster@one.example", "Role ops@relay.example"),
            ("abuse@one.example", "Role ops@relay.example"),
            ("abuse+x@one.example", "CatchAll rest@dest.example"),
            ("abuse@two.example", "Exact drop"),
            ("nobody@two.example", "UnknownRecipient"),
            ("user@off.example", "UnknownDomain"),
            ("user@elsewhere.example", "UnknownDomain"),
            ("postmaster@elsewhere.example", "UnknownDomain"),
            ("postmaster@linda.mx.relay.example", "Role ops@relay.example"),
            ("abuse@email.relay.example", "Role ops@relay.example"),
            ("user@email.relay.example", "UnknownDomain"),
        ],
    );
}

#[test]
fn local_parts_are_compared_in_unicode_lower_case() {
    let mut world = World::new();
    world.rule("ÉLAN@one.example", forward("real@dest.example"));
    world.rule("ΟΔΟΣ@one.example", RuleAction::Drop);
    check(&world, &[("élan@one.example", "Exact real@dest.example"), ("οδος@one.example", "Exact drop")]);
}

#[test]
fn a_domain_without_subaddressing_takes_the_tag_for_a_part_of_the_name() {
    let mut world = World::new();
    world.rule("user@one.example", forward("real@dest.example"));
    let patch = DomainPatch { subaddressing: Some(false), ..DomainPatch::default() };
    world.make(Change::UpdateDomain { name: domain("one.example"), patch, etag: None });
    check(
        &world,
        &[("user+tag@one.example", "UnknownRecipient"), ("user@one.example", "Exact real@dest.example")],
    );
}

#[test]
fn the_lower_priority_number_wins_then_the_older_rule_and_the_catch_all_comes_last() {
    let mut world = World::new();
    let of = |action, priority| NewRule { priority, ..rule("user@one.example", action) };
    world.add(of(RuleAction::Reject("third".to_owned()), 5));
    world.add(of(RuleAction::Reject("first".to_owned()), -1));
    let second = world.add(of(RuleAction::Reject("second".to_owned()), 5));
    world.add(NewRule { priority: -100, ..rule("*@one.example", RuleAction::Drop) });
    check(&world, &[("user@one.example", "reject first"), ("other@one.example", "CatchAll drop")]);
    let first = world.table.rules(&domain("one.example")).next().unwrap().id;
    world.make(Change::DeleteRule { id: first, etag: None });
    check(&world, &[("user@one.example", "reject third")]);
    let sooner = RulePatch { priority: Some(4), ..RulePatch::default() };
    world.make(Change::UpdateRule { id: second, patch: sooner, etag: None });
    check(&world, &[("user@one.example", "reject second")]);
    let labels: Vec<_> =
        world.table.rules(&domain("one.example")).map(|rule| (rule.alias(), rule.priority)).collect();
    let user = "user@one.example".to_owned();
    assert_eq!(labels, [(user.clone(), 4), (user, 5), ("*@one.example".to_owned(), -100)]);
}

#[test]
fn a_disabled_rule_matches_nothing() {
    let mut world = World::new();
    world.add(NewRule { enabled: false, ..rule("user@one.example", RuleAction::Drop) });
    check(&world, &[("user@one.example", "UnknownRecipient")]);
    world.rule("*@one.example", forward("real@dest.example"));
    check(&world, &[("user@one.example", "CatchAll real@dest.example")]);
}

#[test]
fn a_rule_with_one_unverified_destination_waits_and_never_falls_to_the_catch_all() {
    let mut world = World::new();
    world.rule("*@one.example", forward("real@dest.example"));
    world.add(rule("user@one.example", forward("real@dest.example new@dest.example")));
    check(&world, &[("user@one.example", "waiting"), ("user+tag@one.example", "waiting")]);
    let steps = world.table.explain(&address("user@one.example")).steps;
    let told: Vec<_> = steps.iter().map(|step| (step.address.as_str(), step.text.as_str())).collect();
    assert_eq!(
        told,
        [
            ("user@one.example", "has a rule: forward to real@dest.example, new@dest.example"),
            ("new@dest.example", "not verified: the rule waits"),
        ]
    );
    let address = address("New@dest.example");
    world.make(Change::UpdateDestination { address, verified: true, etag: None });
    check(&world, &[("user@one.example", "Exact real@dest.example new@dest.example")]);
}

#[test]
fn destinations_that_we_host_are_resolved_in_their_turn() {
    let mut world = World::new();
    world.rule("team@one.example", forward("a@two.example x@dest.example B+tag@two.example"));
    world.rule("a@two.example", forward("real@dest.example X@dest.example"));
    world.rule("b@two.example", forward("c@two.example"));
    world.rule("c@two.example", forward("b@dest.example"));
    world.rule("help@one.example", forward("postmaster@two.example"));
    check(
        &world,
        &[
            ("team@one.example", "Exact real@dest.example X@dest.example b@dest.example"),
            ("help@one.example", "Exact ops@relay.example"),
        ],
    );
    let depths: Vec<_> =
        world.table.explain(&address("team@one.example")).steps.iter().map(|step| step.depth).collect();
    assert_eq!(depths, [0, 1, 2, 2, 1, 1, 2, 3]);
}

#[test]
fn a_nested_drop_adds_nothing_and_a_nested_refusal_refuses_all() {
    let mut world = World::new();
    world.rule("drop@two.example", RuleAction::Drop);
    world.rule("reject@two.example", RuleAction::Reject("Gone away".to_owned()));
    world.add(rule("wait@two.example", forward("new@dest.example")));
    world.rule("some@one.example", forward("drop@two.example real@dest.example"));
    world.rule("none@one.example", forward("drop@two.example"));
    world.rule("gone@one.example", forward("real@dest.example reject@two.example none@two.example"));
    world.rule("lost@one.example", forward("none@two.example reject@two.example"));
    world.rule("late@one.example", forward("reject@two.example wait@two.example"));
    world.rule("off@one.example", forward("user@off.example"));
    check(
        &world,
        &[
            ("some@one.example", "Exact real@dest.example"),
            ("none@one.example", "Exact drop"),
            ("gone@one.example", "reject Gone away"),
            ("lost@one.example", "UnknownRecipient"),
            ("late@one.example", "waiting"),
            ("off@one.example", "UnknownDomain"),
        ],
    );
}

#[test]
fn the_rule_behind_a_deleted_one_may_close_a_cycle() {
    let mut world = World::new();
    let shield = world.rule("b@two.example", forward("real@dest.example"));
    world.rule("a@one.example", forward("b@two.example"));
    world.rule("*@two.example", forward("a@one.example"));
    check(&world, &[("any@two.example", "CatchAll real@dest.example")]);
    world.make(Change::DeleteRule { id: shield, etag: None });
    check(
        &world,
        &[
            ("a@one.example", "cycle a@one.example b@two.example a@one.example"),
            ("any@two.example", "cycle any@two.example a@one.example b@two.example"),
        ],
    );
}

#[test]
fn ten_rules_may_follow_each_other_and_no_more() {
    let mut world = World::new();
    world.rule("u10@one.example", forward("real@dest.example"));
    for at in (1..10).rev() {
        world.rule(&format!("u{at}@one.example"), forward(&format!("u{}@one.example", at + 1)));
    }
    check(&world, &[("u1@one.example", "Exact real@dest.example")]);
    let change = Change::CreateRule(rule("u0@one.example", forward("u1@one.example")));
    assert_eq!(world.refused(change), "RULES_TOO_DEEP");
}

#[test]
fn twenty_final_destinations_are_the_most() {
    let mut world = World::new();
    let list = |from: usize, to: usize| {
        (from..to).map(|at| format!("d{at}@dest.example")).collect::<Vec<_>>().join(" ")
    };
    world.rule("a@two.example", forward(&list(0, 15)));
    world.rule("b@two.example", forward(&list(10, 20)));
    world.rule("all@one.example", forward("a@two.example b@two.example"));
    let Resolution::Forward { destinations, .. } = world.table.resolve(&address("all@one.example")) else {
        panic!()
    };
    assert_eq!(destinations.len(), 20);
    world.rule("b2@two.example", forward("b@two.example d20@dest.example"));
    let b = world.table.exact(&domain("two.example"), "b").unwrap().id;
    world.make(crate::routing::test_table::verified("d21@dest.example"));
    let patch = RulePatch {
        action: Some(forward(&format!("{} d21@dest.example", list(10, 20)))),
        ..RulePatch::default()
    };
    world.make(Change::UpdateRule { id: b, patch, etag: None });
    check(&world, &[("all@one.example", "TooMany")]);
    let change = Change::CreateRule(rule("more@one.example", forward("a@two.example b@two.example")));
    assert_eq!(world.refused(change), "TOO_MANY_FINAL_DESTINATIONS");
}

#[test]
fn branches_that_meet_again_do_not_multiply() {
    let mut world = World::new();
    world.rule("l9x0@two.example", forward("real@dest.example"));
    for level in (1..9).rev() {
        let next = level + 1;
        let all: Vec<String> = (0..20).map(|at| format!("l{next}x{at}@two.example")).collect();
        let all = if next == 9 { "l9x0@two.example".to_owned() } else { all.join(" ") };
        for at in 0..20 {
            world.rule(&format!("l{level}x{at}@two.example"), forward(&all));
        }
    }
    check(&world, &[("l1x0@two.example", "Exact real@dest.example")]);
}

#[test]
fn the_postmaster_is_looked_up_among_our_own_rules_too() {
    let mut world = World::new();
    let at_service =
        crate::routing::RoutingOptions { postmaster: address("postmaster@email.relay.example"), ..options() };
    world.table.set_options(at_service);
    check(&world, &[("postmaster@email.relay.example", "Role postmaster@email.relay.example")]);
    let hosted = |to: &str| crate::routing::RoutingOptions { postmaster: address(to), ..options() };
    world.table.set_options(hosted("ops@two.example"));
    check(&world, &[("abuse@one.example", "NoPostmaster")]);
    assert_eq!(world.table.resolve_postmaster(), Resolution::NoPostmaster);
    world.rule("ops@two.example", forward("real@dest.example"));
    check(&world, &[("abuse@one.example", "Role real@dest.example")]);
    world.make(crate::routing::test_table::verified("postmaster@one.example"));
    assert_eq!(
        world.refused(Change::CreateRule(NewRule {
            priority: -1,
            ..rule("ops@two.example", forward("postmaster@one.example"))
        })),
        "RULE_CYCLE"
    );
    world.table.set_options(hosted("postmaster@two.example"));
    check(&world, &[("abuse@one.example", "NoPostmaster")]);
    world.rule("postmaster@two.example", forward("real@dest.example"));
    check(&world, &[("abuse@one.example", "Role real@dest.example")]);
    let delete =
        Change::DeleteDomain { name: domain("two.example"), rules: RulesOfDeleted::Delete, etag: None };
    world.make(delete);
    check(&world, &[("abuse@one.example", "Role postmaster@two.example")]);
}
