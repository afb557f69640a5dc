use std::time::UNIX_EPOCH;

use super::*;
use crate::clock;
use crate::routing::test_table::{World, address, domain, forward, options, rule, verified};
use crate::routing::{Change, DomainPatch, NewRule, RuleAction, TempfailSetting};

/// A table with a resource of every kind in every form.
fn world() -> World {
    let mut world = World::new();
    let on_tempfail = Some(TempfailSetting(Some(crate::config::OnTempfail::Queue)));
    let patch = DomainPatch { on_tempfail, subaddressing: Some(false), ..DomainPatch::default() };
    world.make(Change::UpdateDomain { name: domain("two.example"), patch, etag: None });
    world.add(NewRule {
        priority: -5,
        label: "desk".to_owned(),
        ..rule("info@one.example", forward("Real@dest.example \"a\\\"b\"@dest.example"))
    });
    world.add(NewRule { enabled: false, ..rule("*@one.example", RuleAction::Reject("No".to_owned())) });
    world.add(rule("é@two.example", RuleAction::Drop));
    let gone = world.add(rule("gone@two.example", RuleAction::Drop));
    world.make(Change::DeleteRule { id: gone, etag: None });
    for (name, until) in [("a.example", None), ("b.example", Some(clock::now()))] {
        world.make(Change::Suspend { domain: domain(name), until, reason: "it is down".to_owned() });
    }
    let network = |text: &str| text.parse().unwrap();
    world.make(Change::Block { network: network("192.0.2.0/24"), until: None, reason: "spam".to_owned() });
    world.make(Change::Allow { network: network("2001:db8::/32"), until: None, reason: String::new() });
    let until = Some(clock::now());
    world.make(Change::Allow { network: network("192.0.2.7/32"), until, reason: String::new() });
    world.make(Change::BarNode { name: "linda".to_owned() });
    world
}

fn rebuilt(records: impl IntoIterator<Item = Vec<u8>>) -> Result<Table, EncodingError> {
    let mut rebuilt = Rebuilt::new(options());
    records.into_iter().try_for_each(|record| rebuilt.add(Decoded::of(&record)?))?;
    rebuilt.finish()
}

fn refused(records: impl IntoIterator<Item = Vec<u8>>) -> String {
    rebuilt(records).unwrap_err().to_string()
}

fn encoded(kind: Kind) -> Vec<u8> {
    v1::Record { kind: Some(kind) }.encode_to_vec()
}

#[test]
fn a_table_comes_back_from_its_records_and_works() {
    let mut world = world();
    let again = rebuilt(world.table.records()).unwrap();
    assert!(again.records().eq(world.table.records()));
    assert_eq!(again.digest(), world.table.digest());
    assert_eq!((again.revision(), again.coverage()), (world.table.revision(), Coverage::Whole));
    assert_eq!(again.greatest_id(), world.table.greatest_id());
    for at in ["info@one.example", "any@one.example", "É@two.example", "é+tag@two.example", "no@off.example"]
    {
        assert_eq!(again.resolve(&address(at)), world.table.resolve(&address(at)), "{at}");
    }
    assert!(again.suspensions().eq(world.table.suspensions()));
    assert!(again.listings().eq(world.table.listings()));
    assert!(again.is_barred("linda"));
    let client = "192.0.2.7".parse().unwrap();
    for now in [UNIX_EPOCH, clock::now()] {
        assert_eq!(again.listing(client, now), world.table.listing(client, now));
    }
    assert_eq!(again.user_count(&address("REAL@dest.example")), 1);
    // What the table keeps beside its resources is there too: the same changes make the same table.
    let before = std::mem::replace(&mut world.table, again);
    world.add(rule("new@one.example", forward("new@dest.example")));
    assert_ne!(world.table.digest(), before.digest());
}

#[test]
fn an_empty_and_a_lost_table_stay_what_they_are() {
    let mut table = World::empty().table;
    for coverage in [Coverage::Empty, Coverage::Lost] {
        table.set_coverage(coverage);
        assert_eq!(rebuilt(table.records()).unwrap().coverage(), coverage);
    }
}

#[test]
fn fields_of_a_later_version_are_skipped() {
    let table = world().table;
    let later = table.records().map(|record| [record, b"\xfa\x3f\x05hello".to_vec()].concat());
    assert_eq!(rebuilt(later).unwrap().digest(), table.digest());
}

#[test]
fn each_record_that_has_gone_is_missed() {
    let table = world().table;
    let records: Vec<_> = table.records().collect();
    assert_eq!(records.len(), 1 + 2 + 3 + 3 + 2 + 3);
    for at in 0..records.len() {
        let mut left = records.clone();
        left.remove(at);
        assert!(rebuilt(left).is_err(), "{at}");
    }
    let without = |at| {
        let mut left = records.clone();
        left.remove(at);
        refused(left)
    };
    assert_eq!(without(0), "the first record is not the table's head");
    assert_eq!(without(3), "the table should hold 3 domains, and holds 2");
    assert_eq!(without(13), "the table should hold 3 listings, and holds 2");
    assert_eq!(without(9), "the table should hold 2 suspensions, and holds 1");
    assert_eq!(without(8), "the table should hold 3 rules, and holds 2");
    assert!(without(4).ends_with("needs domain one.example, of which there is no record before it"));
    assert_eq!(refused([]), "the first record is not the table's head");
    let twice = [records[0].clone(), records[0].clone()];
    assert_eq!(refused(twice), "the table has a second head");
}

#[test]
fn what_is_damaged_or_of_a_later_version_is_refused_and_named() {
    let table = world().table;
    let said = |change: &dyn Fn(&mut v1::Head)| {
        let mut changed = head(&table);
        change(&mut changed);
        refused(std::iter::once(encoded(Kind::Head(changed))).chain(table.records().skip(1)))
    };
    assert_eq!(said(&|head| head.format = 2), "the table's format is 2, this version reads 1");
    assert_eq!(said(&|head| head.coverage = 9), "the coverage of the table cannot be read: 9 is not known");
    assert_eq!(said(&|head| head.rules = 4), "the table should hold 4 rules, and holds 3");
    let smaller = said(&|head| head.greatest_id = vec![0; 16]);
    assert!(smaller.starts_with("the greatest id of the table cannot be read: record "), "{smaller}");
    let behind_head = |record: Vec<u8>| refused(table.records().take(1).chain([record]));
    assert_eq!(
        behind_head(b"\xfa\x3f\x00".to_vec()),
        "a record of the table is of a kind that this version does not know"
    );
    let long = behind_head(vec![0; MAX_RECORD_OCTETS + 1]);
    assert_eq!(long, "a record of the table of 16385 octets is past the limit of 16384");
    let cut = table.records().nth(1).unwrap();
    let cut = behind_head(cut[..cut.len() - 1].to_vec());
    assert!(cut.starts_with("a record of the table cannot be decoded: "), "{cut}");
}

#[test]
fn the_largest_rule_is_a_record() {
    let mut world = World::new();
    let name = format!("{}.{}.{}.{}", "d".repeat(63), "d".repeat(63), "d".repeat(63), "d".repeat(61));
    let name = domain(&name);
    world.make(Change::CreateDomain(crate::routing::NewDomain::new(name.clone())));
    let to = (0..20).map(|at| {
        let local = format!("{at:02}{}", "\"".repeat(62));
        crate::mail::Address::from_parts(&local, name.clone()).unwrap()
    });
    let matcher = crate::routing::Matcher::Local("m".repeat(64));
    let action = RuleAction::Forward(to.collect());
    let label = "l".repeat(crate::routing::MAX_LABEL_OCTETS);
    // Not asked of `admit`: mail that comes back to us is none of the encoding's affair.
    world.make(Change::CreateRule(NewRule { label, ..NewRule::new(name, matcher, action) }));
    assert!(world.table.records().map(|record| record.len()).max().unwrap() > 6 << 10);
    assert_eq!(rebuilt(world.table.records()).unwrap().digest(), world.table.digest());
}

#[test]
fn the_digest_tells_tables_apart_and_leaves_out_what_a_node_is_told() {
    let mut world = world();
    let digest = world.table.digest();
    world.table.set_options(RoutingOptions { postmaster: address("new@ops.example"), ..options() });
    assert_eq!(world.table.digest(), digest);
    let mut other = world.table.clone();
    other.set_revision(99);
    assert_ne!(other.digest(), digest);
    let mut other = world.table.clone();
    other.set_coverage(Coverage::Lost);
    assert_ne!(other.digest(), digest);
    world.make(verified("other@dest.example"));
    let added = world.table.digest();
    assert_ne!(added, digest);
    world.make(Change::UpdateDestination {
        address: address("other@dest.example"),
        verified: false,
        etag: None,
    });
    assert_ne!(world.table.digest(), added);
}
