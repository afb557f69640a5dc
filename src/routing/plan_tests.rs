use proptest::prelude::*;

use super::*;
use crate::routing::document::{DestinationDocument, RuleDocument};
use crate::routing::model::RuleAction;
use crate::routing::test_table::{World, address, domain, forward, verified};

fn errors(text: &str) -> Vec<String> {
    let document = Document::parse(text).unwrap();
    let errors = plan(&document, &World::empty().table, Prune::No).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let text = "
domains:
- name: one.example
  rules:
  - {to: a, catchAll: true, drop: true}
  - {to: a}
  - {to: a, drop: true, reject: no}
  - {to: SRS0=x, drop: true}
  - {to: a, reject: \"\"}
- name: ONE.example
destinations:
- address: a@b.example
- address: A@b.example
";
    assert_eq!(
        errors(text),
        [
            "domains[0].rules[0]: give one of to and catchAll",
            "domains[0].rules[1]: give one of forward, drop and reject",
            "domains[0].rules[2]: give one of forward, drop and reject",
            "domains[0].rules[3]: local part \"SRS0=x\" is of the form of return addresses (SRS), which are \
             read before any rule",
            "domains[0].rules[4]: the text of a rule that rejects is 1 to 200 octets of printable ASCII",
            "domains[1]: one.example stands there already",
            "destinations[1]: A@b.example stands there already",
        ]
    );
}

/// A world with two rules, and the plan for a document about one.example.
fn planned(rules: &str, prune: Prune) -> (World, Vec<Change>) {
    let mut world = World::empty();
    world.make(Change::CreateDomain(NewDomain::new(domain("one.example"))));
    world.rule("a@one.example", forward("x@dest.example"));
    world.rule("b@one.example", RuleAction::Drop);
    let text = format!("domains:\n- name: one.example\n  rules: [{rules}]\n");
    let changes = plan(&Document::parse(&text).unwrap(), &world.table, prune).unwrap();
    (world, changes)
}

#[test]
fn without_pruning_what_the_document_does_not_hold_stays() {
    assert_eq!(planned("{to: B, drop: true}", Prune::No).1, []);
    let (world, changes) = planned("{to: B, drop: true}", Prune::Yes);
    let a = world.table.exact(&domain("one.example"), "a").unwrap().id;
    assert_eq!(
        changes,
        [
            Change::DeleteRule { id: a, etag: None },
            Change::DeleteDestination { address: address("x@dest.example"), etag: None }
        ]
    );
}

#[test]
fn a_rule_for_the_same_is_changed_in_its_place() {
    let (world, changes) = planned("{to: a, forward: [y@dest.example], priority: 7}", Prune::No);
    let id = world.table.exact(&domain("one.example"), "a").unwrap().id;
    let patch =
        RulePatch { action: Some(forward("y@dest.example")), priority: Some(7), ..RulePatch::default() };
    assert_eq!(changes, [Change::UpdateRule { id, patch, etag: None }]);
}

#[test]
fn a_destination_without_a_word_keeps_its_confirmation() {
    let mut world = World::new();
    world.make(Change::CreateDestination { address: address("new@dest.example"), verified: false });
    let changes = |text: &str| plan(&Document::parse(text).unwrap(), &world.table, Prune::No).unwrap();
    assert_eq!(changes("destinations: [{address: real@dest.example}, {address: New@dest.example}]"), []);
    let update =
        |to: &str, verified| Change::UpdateDestination { address: address(to), verified, etag: None };
    assert_eq!(
        changes(
            "destinations: [{address: real@dest.example, verified: false}, \
             {address: new@dest.example, verified: true}]"
        ),
        [update("real@dest.example", false), update("new@dest.example", true)]
    );
    assert_eq!(
        changes("destinations: [{address: more@dest.example, verified: true}]"),
        [verified("more@dest.example")]
    );
}

#[test]
fn pruning_takes_domains_with_their_rules_and_then_their_destinations() {
    let mut world = World::new();
    world.rule("a@one.example", forward("x@dest.example"));
    let document = Document::parse("domains: [{name: two.example}]").unwrap();
    let changes = plan(&document, &world.table, Prune::Yes).unwrap();
    world.make(Change::Batch(changes));
    let left = Document::of(&world.table);
    assert_eq!(left.domains.len(), 1);
    assert!(left.destinations.is_empty());
}

fn rule_document() -> impl Strategy<Value = RuleDocument> {
    let action =
        prop_oneof![proptest::collection::vec(0..4_usize, 1..3).prop_map(Some), Just(None::<Vec<usize>>),];
    (0..4_usize, action, 0..2_i32, any::<bool>(), 0..2_usize).prop_map(
        |(matcher, action, priority, enabled, label)| RuleDocument {
            to: (matcher > 0).then(|| format!("u{matcher}")),
            catch_all: matcher == 0,
            drop: action.is_none(),
            forward: action.map(|to| {
                let mut to: Vec<_> =
                    to.into_iter().map(|at| address(&format!("d{at}@dest.example"))).collect();
                to.sort();
                to.dedup();
                to
            }),
            reject: None,
            priority,
            name: ["", "x"][label].to_owned(),
            enabled,
        },
    )
}

/// Documents that hold every destination their rules name.
fn document() -> impl Strategy<Value = Document> {
    let domains = proptest::collection::btree_map(
        0..3_usize,
        (proptest::collection::vec(rule_document(), 0..8), any::<bool>(), any::<bool>()),
        0..3,
    );
    (domains, proptest::collection::vec(any::<bool>(), 4)).prop_map(|(domains, verified)| Document {
        domains: domains
            .into_iter()
            .map(|(at, (rules, enabled, subaddressing))| DomainDocument {
                name: domain(&format!("n{at}.example")),
                on_tempfail: None,
                subaddressing,
                enabled,
                rules,
            })
            .collect(),
        destinations: verified
            .into_iter()
            .enumerate()
            .map(|(at, verified)| DestinationDocument {
                address: address(&format!("d{at}@dest.example")),
                verified: Some(verified),
            })
            .collect(),
    })
}

/// With the rules in the order that a table lists them but for ties among different aliases, which do not
/// matter to any mail.
fn normal(mut document: Document) -> Document {
    for domain in &mut document.domains {
        domain.rules.sort_by_key(|rule| (rule.catch_all, rule.to.clone(), rule.priority));
    }
    document
}

proptest! {
    #[test]
    fn planning_and_applying_gives_the_document_and_then_nothing_is_left_to_plan(
        first in document(),
        second in document(),
    ) {
        let mut world = World::empty();
        for document in [first, second] {
            let changes = plan(&document, &world.table, Prune::Yes).unwrap();
            world.make(Change::Batch(changes));
            prop_assert_eq!(normal(Document::of(&world.table)), normal(document.clone()));
            prop_assert_eq!(plan(&document, &world.table, Prune::Yes).unwrap(), []);
            let exported = Document::of(&world.table);
            prop_assert_eq!(plan(&exported, &world.table, Prune::Yes).unwrap(), []);
            prop_assert_eq!(Document::parse(&exported.to_yaml().unwrap()).unwrap(), exported);
        }
    }

    #[test]
    fn without_pruning_a_second_application_plans_nothing_either(first in document(), second in document()) {
        let mut world = World::empty();
        for document in [first, second] {
            world.make(Change::Batch(plan(&document, &world.table, Prune::No).unwrap()));
            prop_assert_eq!(plan(&document, &world.table, Prune::No).unwrap(), []);
        }
    }
}
