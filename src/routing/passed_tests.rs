use super::*;
use crate::routing::change::{Change, NewDomain};
use crate::routing::test_table::*;

#[test]
fn every_reason_is_known_when_another_node_tells_it() {
    let source = include_str!("error.rs");
    let given =
        source.split("=> (\"").skip(1).filter_map(|rest| rest.split_once("\",")).map(|(word, _)| word);
    let given: Vec<&str> = given.collect();
    assert!(given.len() > 40, "{given:?}");
    for reason in given {
        let told = Told::new(ErrorKind::NotFound, reason, "text".to_owned());
        assert_eq!(RoutingError::from(told).reason(), reason);
    }
}

#[test]
fn an_error_of_a_later_version_keeps_its_kind_and_its_text_within_bounds() {
    let told = Told::new(ErrorKind::Aborted, "TOO_CLEVER", "ä".repeat(MAX_TOLD_OCTETS));
    let error = RoutingError::from(told);
    assert_eq!((error.reason(), error.kind()), ("REFUSED_ELSEWHERE", ErrorKind::Aborted));
    assert_eq!(error.to_string().len(), MAX_TOLD_OCTETS);
}

#[test]
fn what_a_change_left_behind_arrives_as_it_was() {
    let mut world = World::new();
    let mut changed = vec![Changed::Removed, Changed::Whole];
    changed
        .push(world.make(Change::CreateRule(rule("info@one.example", forward("real@dest.example")))).changed);
    changed.push(world.make(verified("other@dest.example")).changed);
    let suspend = Change::Suspend { domain: domain("dest.example"), until: None, reason: "down".to_owned() };
    changed.push(world.make(suspend).changed);
    let block =
        Change::Block { network: "192.0.2.0/24".parse().unwrap(), until: None, reason: String::new() };
    changed.push(world.make(block).changed);
    changed.push(world.make(Change::CreateDomain(NewDomain::new(domain("three.example")))).changed);
    let batch = Changed::Batch(changed);
    assert_eq!(Changed::decode(&batch.encode().unwrap()).unwrap(), batch);
    assert!(Changed::decode(b"\xff").is_err());
}
