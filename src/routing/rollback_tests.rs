use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::config::OnTempfail;
use crate::routing::test_table::{World, address, domain, rule, verified};
use crate::routing::{
    Coverage, Decoded, DomainPatch, NewDomain, Rebuilt, RuleAction, RulePatch, RulesOfDeleted,
    TempfailSetting,
};

/// A long time after every change of a [`World`].
const LATE: Duration = Duration::from_secs(4_000_000_000);

impl World {
    fn roll_back(&mut self, revision: u64) -> Result<(), RoutingError> {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let change = planned(Change::RollBack(RollBack::to(revision, None)), None, &self.table, at)?;
        self.try_applied(change).map(drop)
    }
}

/// All that a table holds, without etags and times of change, and with what destinations are verified by.
fn content(table: &Table, verified: &BTreeMap<Address, Option<SystemTime>>) -> Vec<Image> {
    let domains = table.domains().map(|entry| Image::Domain(entry.name.clone(), Some(entry.clone())));
    let rules = table.domains().flat_map(|entry| table.rules(&entry.name));
    let rules = rules.map(|rule| Image::Rule(rule.id, Some(rule.clone())));
    let destinations = table.destinations().map(|entry| {
        let folded = entry.address.folded();
        let verified_at = verified.get(&folded).copied().unwrap_or(entry.verified_at);
        Image::Destination(folded, Some(Arc::new(Destination { verified_at, ..(**entry).clone() })))
    });
    let suspensions =
        table.suspensions().map(|entry| Image::Suspension(entry.domain.clone(), Some(entry.clone())));
    let listings = table.listings().map(|entry| Image::Listing(entry.network, Some(entry.clone())));
    let coverage = std::iter::once(Image::Coverage(table.coverage()));
    let all = domains.chain(rules).chain(destinations).chain(suspensions).chain(listings).chain(coverage);
    all.map(|image| image.written(SystemTime::UNIX_EPOCH, 0)).collect()
}

fn bare(table: &Table) -> Vec<Image> {
    content(table, &BTreeMap::new())
}

/// Numbers that are the same in each run (Numerical Recipes, §7.1).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn one_of<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        let at = self.below(of.len().max(1) as u64);
        of.get(usize::try_from(at).unwrap()).cloned()
    }

    fn action(&mut self) -> RuleAction {
        match self.below(3) {
            0 => RuleAction::Drop,
            1 => RuleAction::Reject("Nobody is here".to_owned()),
            _ => {
                let to = (0..=self.below(2)).map(|_| address(&format!("{}@dest.example", self.below(4))));
                RuleAction::Forward(to.collect())
            }
        }
    }

    fn routes(&mut self, table: &Table) -> Option<Change> {
        let name = domain(&format!("{}.example", ["one", "two", "three"][self.below(3) as usize]));
        let rules: Vec<_> =
            table.domains().flat_map(|entry| table.rules(&entry.name)).map(|rule| rule.id).collect();
        let flag = self.below(2) == 0;
        Some(match self.below(7) {
            0 => Change::CreateDomain(NewDomain::new(name)),
            1 => {
                let on_tempfail = Some(TempfailSetting(flag.then_some(OnTempfail::Queue)));
                let patch = DomainPatch { enabled: Some(flag), on_tempfail, subaddressing: None };
                Change::UpdateDomain { name, patch, etag: None }
            }
            2 => Change::DeleteDomain { name, rules: RulesOfDeleted::Delete, etag: None },
            3 | 4 => Change::CreateRule(rule(&format!("{}@{name}", self.below(4)), self.action())),
            5 => {
                let patch = RulePatch {
                    action: Some(self.action()),
                    priority: Some(i32::try_from(self.below(5)).unwrap()),
                    enabled: Some(flag),
                    ..RulePatch::default()
                };
                Change::UpdateRule { id: self.one_of(&rules)?, patch, etag: None }
            }
            _ => Change::DeleteRule { id: self.one_of(&rules)?, etag: None },
        })
    }

    fn other(&mut self) -> Change {
        let to = address(&format!("{}@dest.example", self.below(5)));
        let flag = self.below(2) == 0;
        let (until, reason) = (Some(SystemTime::UNIX_EPOCH + LATE).filter(|_| flag), "why".to_owned());
        let name = domain(&format!("{}.dest.example", self.below(3)));
        let network = format!("192.0.2.{}/32", self.below(3)).parse().unwrap();
        match self.below(8) {
            0 => Change::CreateDestination { address: to, verified: flag },
            1 => Change::UpdateDestination { address: to, verified: flag, etag: None },
            2 => Change::DeleteDestination { address: to, etag: None },
            3 => Change::Suspend { domain: name, until, reason },
            4 => Change::Resume { domain: name, etag: None },
            5 => Change::Block { network, until, reason },
            6 => Change::Allow { network, until, reason },
            _ => Change::Unlist { network, etag: None },
        }
    }

    fn change(&mut self, table: &Table) -> Option<Change> {
        if self.below(2) == 0 { self.routes(table) } else { Some(self.other()) }
    }

    fn batch(&mut self, table: &Table) -> Change {
        Change::Batch((0..=self.below(4)).filter_map(|_| self.change(table)).collect())
    }
}

#[test]
fn any_table_comes_back_from_any_other_that_followed_it() {
    let mut rolled_back = 0;
    for seed in 0..40 {
        let (mut world, mut dice) = (World::empty(), Dice(seed));
        let mut tables = vec![world.table.clone()];
        let mut verified: BTreeMap<Address, Option<SystemTime>> = BTreeMap::new();
        for _ in 0..150 {
            let change = match dice.below(4) {
                0 => Some(dice.batch(&world.table)),
                _ => dice.change(&world.table),
            };
            if dice.below(12) == 0 {
                let revision = dice.below(tables.len() as u64);
                let ids = world.table.greatest_id();
                world.roll_back(revision).unwrap();
                assert_eq!(
                    content(&world.table, &BTreeMap::new()),
                    content(&tables[usize::try_from(revision).unwrap()], &verified),
                    "seed {seed}, revision {revision}"
                );
                assert_eq!(world.table.greatest_id(), ids);
                rolled_back += 1;
            } else if let Some(change) = change {
                // What is refused changes nothing.
                drop(world.try_applied(change));
            }
            let now = world.table.destinations().map(|entry| (entry.address.folded(), entry.verified_at));
            verified.extend(now);
            if world.table.revision() as usize == tables.len() {
                tables.push(world.table.clone());
            }
            // What a snapshot holds can be rolled back as well.
            let mut rebuilt = Rebuilt::new(world.table.options().clone());
            world.table.records().for_each(|record| rebuilt.add(Decoded::of(&record).unwrap()).unwrap());
            world.table.history_records().for_each(|record| rebuilt.add_revision(&record).unwrap());
            world.table = rebuilt.finish().unwrap();
        }
    }
    assert!(rolled_back > 200, "{rolled_back}");
}

#[test]
fn what_came_since_goes_and_what_went_comes_back_under_its_id() {
    let mut world = World::new();
    let id = world.rule("info@one.example", RuleAction::Forward(vec![address("real@dest.example")]));
    let then = world.table.clone();
    world.make(Change::DeleteDomain {
        name: domain("one.example"),
        rules: RulesOfDeleted::Delete,
        etag: None,
    });
    world.make(Change::CreateDomain(NewDomain::new(domain("one.example"))));
    world.rule("new@one.example", RuleAction::Forward(vec![address("new@dest.example")]));
    let latest = world.table.revision();
    world.roll_back(then.revision()).unwrap();
    assert_eq!(bare(&world.table), bare(&then));
    let (found, old) = (world.table.rule(&id).unwrap(), then.rule(&id).unwrap());
    assert_eq!((found.created_at, found.revision), (old.created_at, latest + 1));
    assert!(found.updated_at > old.updated_at);
    assert_eq!(world.table.domain(&domain("two.example")), then.domain(&domain("two.example")));
    assert_eq!(world.table.history().next().unwrap().what, format!("history rollback {}", then.revision()));
    // Which can be undone like any change.
    world.roll_back(latest).unwrap();
    assert!(world.table.rule(&id).is_none());
    assert!(world.table.destination(&address("new@dest.example")).is_some());
}

#[test]
fn what_is_verified_is_not_rolled_back() {
    let mut world = World::new();
    let [confirmed, revoked, gone] = ["a@dest.example", "b@dest.example", "c@dest.example"];
    world.make(Change::CreateDestination { address: address(confirmed), verified: false });
    world.make(verified(revoked));
    world.make(verified(gone));
    let then = world.table.revision();
    let update = |to, verified| Change::UpdateDestination { address: address(to), verified, etag: None };
    let delete = |to| Change::DeleteDestination { address: address(to), etag: None };
    world.make(update(confirmed, true));
    world.make(update(revoked, false));
    world.make(delete(gone));
    let is_verified = |table: &Table, to| table.destination(&address(to)).unwrap().verified_at.is_some();
    world.roll_back(then).unwrap();
    assert_eq!([confirmed, revoked, gone].map(|to| is_verified(&world.table, to)), [true, false, true]);
    // Taken back, and then removed.
    world.make(update(gone, false));
    world.make(delete(gone));
    world.roll_back(then).unwrap();
    assert!(!is_verified(&world.table, gone));
    // Removed, and added again without a word of its owner.
    world.make(delete("real@dest.example"));
    world.make(Change::CreateDestination { address: address("real@dest.example"), verified: false });
    world.roll_back(then).unwrap();
    assert!(!is_verified(&world.table, "real@dest.example"));
}

#[test]
fn an_empty_table_comes_back_as_one_that_says_of_nothing_that_it_does_not_exist() {
    let mut world = World::new();
    world.roll_back(0).unwrap();
    assert_eq!((world.table.domain_count(), world.table.coverage()), (0, Coverage::Empty));
    assert_eq!(world.table.revision(), 5);
}

#[test]
fn what_is_over_by_now_does_not_come_back() {
    let mut world = World::new();
    let until = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let (reason, network) = (String::new(), "192.0.2.0/24".parse().unwrap());
    world.make(Change::Suspend { domain: domain("dest.example"), until, reason: reason.clone() });
    world.make(Change::Block { network, until, reason });
    let then = world.table.revision();
    world.make(Change::Resume { domain: domain("dest.example"), etag: None });
    world.make(Change::Unlist { network, etag: None });
    let places = |at| world.table.undo(then, SystemTime::UNIX_EPOCH + Duration::from_secs(at)).unwrap().len();
    assert_eq!((places(1_700_000_000), places(1_800_000_000)), (2, 0));
}

#[test]
fn what_is_not_kept_and_what_is_not_there_yet_are_refused() {
    let mut world = World::new();
    let latest = world.table.revision();
    let said = world.roll_back(latest + 1).unwrap_err();
    assert_eq!(said.to_string(), "revision 5 is not there yet: the routing table is at 4");
    assert_eq!(said.reason(), "REVISION_NOT_FOUND");
    let mut rebuilt = Rebuilt::new(world.table.options().clone());
    world.table.records().for_each(|record| rebuilt.add(Decoded::of(&record).unwrap()).unwrap());
    world.table.history_records().skip(2).for_each(|record| rebuilt.add_revision(&record).unwrap());
    world.table = rebuilt.finish().unwrap();
    let said = world.roll_back(1).unwrap_err();
    assert_eq!(said.to_string(), "revision 1 is older than the oldest kept, 2");
    assert_eq!(said.reason(), "REVISION_TOO_OLD");
    world.roll_back(2).unwrap();
    assert_eq!(world.table.domain_count(), 2);
}

#[test]
fn a_table_that_moved_is_left_alone() {
    let mut world = World::new();
    let at = SystemTime::UNIX_EPOCH;
    let order = |etag| Change::RollBack(RollBack::to(2, etag));
    let plan = planned(order(None), None, &world.table, at).unwrap();
    assert_eq!(
        planned(order(Some(4)), None, &world.table, at).unwrap(),
        Change::RollBack(RollBack {
            etag: Some(4),
            ..match plan.clone() {
                Change::RollBack(plan) => plan,
                other => panic!("{other:?}"),
            }
        })
    );
    world.make(verified("new@dest.example"));
    let refused = planned(order(Some(4)), None, &world.table, at).unwrap_err();
    assert_eq!(refused.to_string(), "the routing table has changed: its etag is 5, not 4");
    assert_eq!(world.refused(plan), "ETAG_MISMATCH");
    // An order as a client sends it restores nothing by itself.
    assert_eq!(world.refused(order(None)), "ETAG_MISMATCH");
    assert_eq!(world.refused(Change::Batch(vec![order(None)])), "NESTED_BATCH");
}

#[test]
fn a_rollback_is_asked_what_every_change_is_asked() {
    let mut world = World::new();
    let then = world.table.revision();
    world.make(Change::DeleteDomain { name: domain("one.example"), rules: RulesOfDeleted::Keep, etag: None });
    let mut options = world.table.options().clone();
    options.mx_hosts.push(domain("one.example"));
    world.table.set_options(options);
    assert_eq!(world.roll_back(then).unwrap_err().reason(), "DOMAIN_IS_OURS");
    assert!(!world.table.hosts(&domain("one.example")));
}

#[test]
fn a_repeat_of_a_rollback_is_known_by_its_order() {
    let mut draft = crate::routing::Draft::new(&World::new().table);
    let id = crate::routing::RequestId::parse("back").unwrap();
    let order = Change::RollBack(RollBack::to(2, Some(4)));
    let (stamped, applied) = draft.make(order.clone(), Some(id.clone()), None).unwrap();
    assert_ne!(stamped.change, order);
    let again = crate::routing::Stamped::decode(&stamped.encode().unwrap()).unwrap();
    assert_eq!(again.change, stamped.change);
    assert!(applied.table.left_by(&id, &order, stamped.at).unwrap().is_some());
    assert_eq!(stamped.change.encode().unwrap(), order.encode().unwrap());
    let other = Change::RollBack(RollBack::to(3, None));
    assert!(applied.table.left_by(&id, &other, stamped.at).is_err());
    // Its etag is no more that of the table by then.
    let (_, repeated) = draft.make(order, Some(id), None).unwrap();
    assert_eq!(repeated.table.digest(), applied.table.digest());
}
