//! Who votes, by how many there are, answer and have caught up.

use std::collections::BTreeSet;

use super::super::test_nodes::{members, membership, names};
use super::super::{Membership, NodeId, Stage};
use super::{Allowed, Change, Electorate, next_change};

const FIVE: [(&str, u64); 5] = [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5)];

struct Case {
    membership: Membership,
    present: Vec<(&'static str, u64)>,
    caught_up: Vec<u64>,
    names: usize,
    allowed: Allowed,
}

/// All answer and have caught up; whoever is no member asked to join.
fn case(voters: &[(&str, u64)], learners: &[(&str, u64)], names: usize) -> Case {
    let membership = membership(voters, learners);
    Case {
        membership,
        present: FIVE[..names].to_vec(),
        caught_up: vec![1, 2, 3, 4, 5],
        names,
        allowed: Allowed::Three,
    }
}

impl Case {
    fn next(&self) -> Option<Change> {
        self.next_without(&[])
    }

    fn next_without(&self, barred: &[&str]) -> Option<Change> {
        let present = members(&self.present);
        next_change(&Electorate {
            membership: &self.membership,
            barred: &names(barred),
            present: &present,
            caught_up: &self.caught_up.iter().map(|id| NodeId(*id)).collect(),
            joining: &present.values().copied().collect::<BTreeSet<_>>(),
            names: self.names,
            allowed: self.allowed,
        })
    }
}

fn voters(ids: &[(&str, u64)]) -> Option<Change> {
    Some(Change::SetVoters(members(ids)))
}

fn learner(name: &str, id: u64) -> Option<Change> {
    Some(Change::AddLearner { name: name.into(), id: NodeId(id) })
}

#[test]
fn whoever_asks_becomes_a_learner_one_at_a_time() {
    assert_eq!(case(&FIVE[..1], &[], 3).next(), learner("b", 2));
    assert_eq!(case(&FIVE[..1], &FIVE[1..2], 3).next(), learner("c", 3));
}

#[test]
fn nothing_changes_over_a_change_that_may_be_lost() {
    let mut case = case(&FIVE[..1], &FIVE[1..3], 3);
    case.membership.stage = Stage::Proposed { over: members(&FIVE[..1]) };
    assert_eq!(case.next(), None);
}

#[test]
fn a_barred_name_is_not_taken_in() {
    assert_eq!(case(&FIVE[..1], &[], 3).next_without(&["b"]), learner("c", 3));
}

#[test]
fn a_barred_member_leaves_if_the_others_can_decide_without_it() {
    let three = case(&FIVE[..3], &[], 3);
    assert_eq!(three.next_without(&["b"]), voters(&[("a", 1), ("c", 3)]));
    let mut one_silent = case(&FIVE[..3], &[], 3);
    one_silent.present.remove(2);
    assert_eq!(one_silent.next_without(&["b"]), None);
    // The silent one may go: those who answer are all who stay.
    assert_eq!(one_silent.next_without(&["c"]), voters(&FIVE[..2]));
    assert_eq!(case(&FIVE[..1], &[], 1).next_without(&["a"]), None);
    let learner = Some(Change::RemoveLearner { name: "d".into(), id: NodeId(4) });
    assert_eq!(case(&FIVE[..3], &FIVE[3..4], 4).next_without(&["d"]), learner);
}

#[test]
fn one_becomes_three_at_once() {
    assert_eq!(case(&FIVE[..1], &FIVE[1..3], 3).next(), voters(&FIVE[..3]));
}

#[test]
fn a_learner_that_lags_or_answers_under_another_id_does_not_vote() {
    let mut lagging = case(&FIVE[..1], &FIVE[1..3], 3);
    lagging.caught_up = vec![1, 2];
    assert_eq!(lagging.next(), None);
    let mut wiped = case(&FIVE[..1], &FIVE[1..3], 3);
    wiped.present[2].1 = 9;
    assert_eq!(wiped.next(), learner("c", 9));
}

#[test]
fn two_become_three() {
    assert_eq!(case(&FIVE[..2], &FIVE[2..3], 3).next(), voters(&FIVE[..3]));
}

#[test]
fn with_two_in_the_file_one_becomes_two() {
    assert_eq!(case(&FIVE[..1], &FIVE[1..2], 2).next(), voters(&FIVE[..2]));
}

#[test]
fn a_fourth_and_a_fifth_stay_learners_unless_five_may_vote() {
    let mut case = case(&FIVE[..3], &FIVE[3..], 5);
    assert_eq!(case.next(), None);
    case.allowed = Allowed::Five;
    assert_eq!(case.next(), voters(&FIVE));
}

#[test]
fn four_are_never_made_but_become_five() {
    let mut three = case(&FIVE[..3], &FIVE[3..4], 4);
    three.allowed = Allowed::Five;
    assert_eq!(three.next(), None);
    let mut four = case(&FIVE[..4], &FIVE[4..], 5);
    four.allowed = Allowed::Five;
    assert_eq!(four.next(), voters(&FIVE));
}

#[test]
fn a_replacement_is_one_change_in_the_place_of_its_name() {
    let mut case = case(&FIVE[..3], &[("b", 9)], 3);
    case.present[1].1 = 9;
    case.caught_up.push(9);
    assert_eq!(case.next(), voters(&[("a", 1), ("b", 9), ("c", 3)]));
}
