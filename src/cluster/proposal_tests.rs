use proptest::prelude::*;
use ulid::Ulid;

use super::*;
use crate::cluster::test_state::{changes, stamped};
use crate::routing::Change;

fn part(octets: usize) -> Part {
    let request_id = RequestId::parse(&"x".repeat(64)).unwrap();
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::from(u32::MAX) << 10);
    Part { request_id, at, offset: usize::MAX, octets: vec![b'x'; octets].into() }
}

#[test]
fn what_was_proposed_is_what_is_read() {
    let proposal = Proposal::changes(changes().iter().map(|change| change.encode().unwrap()).collect());
    assert!(matches!(proposal.content().unwrap(), Content::Changes(found) if found == changes()));
    let part = part(3);
    assert!(matches!(Proposal::part(&part).content().unwrap(), Content::Part(found) if found == part));
    let finish = Finish { request_id: part.request_id, at: part.at, octets: 7 };
    assert!(
        matches!(Proposal::finish(&finish).content().unwrap(), Content::Finish(found) if found == finish)
    );
}

#[test]
fn the_largest_part_is_a_proposal() {
    let octets = Proposal::part(&part(MAX_PART_OCTETS)).0.len();
    assert!((MAX_PART_OCTETS..=MAX_PROPOSAL_OCTETS).contains(&octets), "{octets}");
}

#[test]
fn a_change_takes_no_more_than_is_reckoned_with() {
    for (count, octets) in [(1, MAX_PROPOSAL_OCTETS - CHANGE_OVERHEAD_OCTETS), (64, 4000), (64, 20)] {
        let proposal = Proposal::changes(vec![vec![b'x'; octets]; count]);
        let most = count * (octets + CHANGE_OVERHEAD_OCTETS);
        assert!(proposal.0.len() <= most, "{} of {most}", proposal.0.len());
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let said = |proposal: Proposal| proposal.content().unwrap_err().to_string();
    assert_eq!(said(Proposal(Bytes::new())), "a proposal is of a kind that this version does not know");
    let good = Stamped { first_id: Ulid(1), ..stamped(1, Change::DeclareWhole) }.encode().unwrap();
    assert_eq!(
        said(Proposal::changes(vec![good, Vec::new()])),
        "change 1 of a proposal: the first id of a stamped change cannot be read: a ULID has 16 octets, and this 0"
    );
    let finish = v1::Finish { request_id: String::new(), at_ms: 1, octets: 1 };
    assert_eq!(
        said(Proposal::of(Kind::Finish(finish))),
        "the request of a proposal: a request id is 1 to 64 octets of printable ASCII"
    );
}

proptest! {
    #[test]
    fn octets_of_any_kind_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(Content::Part(part)) = Proposal(octets.into()).content() {
            prop_assert!(matches!(Proposal::part(&part).content(), Ok(Content::Part(again)) if again == part));
        }
    }
}
