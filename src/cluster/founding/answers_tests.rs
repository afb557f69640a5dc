//! What a node answers founders, Raft's calls and its operator.

use super::test_nodes::{
    CLUSTER, Node, OTHER, consenting, disk, founding, lone, membership, names, state, terms,
};
use super::{
    Call, Disk, Inadmissible, NodeId, Origin, Reason, Reply, Request, Rest, Standing, Step, Table,
    Unaccepted, Unwilling, Write, abandon_others, admit, admit_call, answer_founder, bootstrap, start_alone,
};

const ABC: [(&str, u64); 3] = [("a", 1), ("b", 2), ("c", 3)];

fn settled() -> Standing {
    Standing::State(state(OTHER, &ABC))
}

fn asked(disk: &Disk) -> Reply {
    let request = Request { cluster: CLUSTER, founder: "a".into(), to: NodeId(2), terms: terms() };
    answer_founder(disk, &terms(), &request)
}

#[test]
fn a_blank_node_consents_and_says_so_when_it_is_durable() {
    let consent = Write::Consent { cluster: CLUSTER, founder: "a".into() };
    assert_eq!(asked(&disk(2, Standing::Blank)), Reply::First(consent));
    assert_eq!(asked(&disk(2, consenting("a"))), Reply::Consented);
}

#[test]
fn an_id_consents_once() {
    let spent = |cluster| asked(&Disk { spent: Some(cluster), ..disk(2, Standing::Blank) });
    assert_eq!(spent(OTHER), Reply::First(Write::DrawIdentity));
    assert!(matches!(spent(CLUSTER), Reply::First(Write::Consent { .. })));
}

#[test]
fn a_lone_cluster_is_set_aside_before_the_consent() {
    assert_eq!(asked(&disk(2, Standing::State(lone(2, "b")))), Reply::First(Write::SetLoneStateAside));
}

#[test]
fn nobody_consents_who_has_or_founds_or_follows_something_else() {
    let other = Standing::Consenting { cluster: OTHER, founder: "c".into() };
    let cases = [
        (disk(2, Standing::OldTable), Unwilling::OldTable),
        (disk(2, settled()), Unwilling::HasState(OTHER)),
        (disk(2, founding(&ABC)), Unwilling::Founding(CLUSTER)),
        (disk(2, other), Unwilling::OtherConsent(OTHER)),
        (disk(9, Standing::Blank), Unwilling::NotHere(NodeId(2))),
    ];
    for (disk, why) in cases {
        assert_eq!(asked(&disk), Reply::Unwilling(why));
    }
}

#[test]
fn nobody_consents_to_other_terms() {
    let mut other = terms();
    other.names.remove(&"c".into());
    let request = Request { cluster: CLUSTER, founder: "a".into(), to: NodeId(2), terms: other };
    let reply = answer_founder(&disk(2, Standing::Blank), &terms(), &request);
    assert_eq!(reply, Reply::Unwilling(Unwilling::TermsDiffer));
}

#[test]
fn a_call_of_raft_is_for_this_id_of_this_cluster_and_from_who_its_caller_is_now() {
    let call = Call { cluster: CLUSTER, from: NodeId(1), to: NodeId(2) };
    let answer = |standing| admit_call(&disk(2, standing), NodeId(1), call);
    assert_eq!(answer(Standing::Blank), Ok(()));
    assert_eq!(answer(consenting("a")), Ok(()));
    assert_eq!(answer(Standing::State(state(CLUSTER, &ABC))), Ok(()));
    assert_eq!(answer(settled()), Err(Unaccepted::OtherCluster(OTHER)));
    let other = Standing::Consenting { cluster: OTHER, founder: "c".into() };
    assert_eq!(answer(other), Err(Unaccepted::OtherConsent(OTHER)));
    assert_eq!(answer(founding(&ABC)), Err(Unaccepted::Founding(CLUSTER)));
    assert_eq!(answer(Standing::OldTable), Err(Unaccepted::OldTable));
    let blank = disk(2, Standing::Blank);
    assert_eq!(admit_call(&blank, NodeId(8), call), Err(Unaccepted::Outdated(NodeId(1))));
    let earlier = Call { to: NodeId(5), ..call };
    assert_eq!(admit_call(&blank, NodeId(1), earlier), Err(Unaccepted::NotHere(NodeId(5))));
}

#[test]
fn bootstrap_founds_a_cluster_of_one_where_there_is_none() {
    let found = |table| Ok(Write::FoundAlone { origin: Origin::Cluster, table });
    assert_eq!(bootstrap(&disk(2, Standing::Blank)), found(Table::Empty));
    assert_eq!(bootstrap(&disk(2, Standing::OldTable)), found(Table::Old));
    assert_eq!(bootstrap(&disk(2, founding(&ABC))), Ok(Write::ForgetFounding));
    assert_eq!(bootstrap(&disk(2, Standing::State(lone(2, "b")))), Ok(Write::SetLoneStateAside));
    assert_eq!(bootstrap(&disk(2, settled())), Err(Inadmissible::HasState(OTHER)));
    assert_eq!(bootstrap(&disk(2, consenting("a"))), Err(Inadmissible::Consenting("a".into())));
}

#[test]
fn abandoning_others_takes_a_consent_back() {
    assert_eq!(Node::new("b", disk(2, consenting("a"))).view(abandon_others), Ok(Write::FreeConsent));
}

#[test]
fn others_are_abandoned_only_without_their_majority_and_from_the_latest_table() {
    let alone = || Node::new("a", disk(1, settled()));
    assert_eq!(alone().view(abandon_others), Ok(Write::FoundAnew));
    let with_b = alone().hears("b", disk(2, settled()));
    assert_eq!(with_b.view(abandon_others), Err(Inadmissible::MajorityAnswers(names(&["a", "b"]))));
    let mut later = state(OTHER, &ABC);
    later.last.index = 6;
    // Its voter's place is taken by another id, so that it is no part of the majority.
    let with_later = alone().hears("b", disk(8, Standing::State(later)));
    assert_eq!(with_later.view(abandon_others), Err(Inadmissible::LaterTable("b".into())));
}

#[test]
fn only_a_barred_name_is_admitted_and_only_in_a_cluster() {
    let mut own = state(OTHER, &ABC);
    own.barred = names(&["d"]);
    let own = disk(1, Standing::State(own));
    assert_eq!(admit(&own, &"d".into()), Ok(()));
    assert_eq!(admit(&own, &"e".into()), Err(Inadmissible::NotBarred("e".into())));
    assert_eq!(admit(&disk(1, Standing::Blank), &"d".into()), Err(Inadmissible::NoState));
}

#[test]
fn a_node_without_the_section_is_alone_and_drops_no_tie() {
    let found = |table| Step::Write(Write::FoundAlone { origin: Origin::Alone, table });
    assert_eq!(start_alone(&disk(2, Standing::Blank)), found(Table::Empty));
    assert_eq!(start_alone(&disk(2, Standing::OldTable)), found(Table::Old));
    let only = state(OTHER, &[("b", 2)]);
    assert_eq!(start_alone(&disk(2, Standing::State(only.clone()))), Step::Rest(Rest::Serve));
    let refused = Step::Rest(Rest::Refuse(Reason::NoSection));
    let mut with_learner = only;
    with_learner.membership = membership(&[("b", 2)], &[("c", 3)]);
    for standing in [settled(), consenting("a"), founding(&ABC), Standing::State(with_learner)] {
        assert_eq!(start_alone(&disk(2, standing)), refused);
    }
}
