//! Each row of the rules, and what its operator reads.

use super::super::test_nodes::{
    CLUSTER, Node, OTHER, consenting, disk, founding, lone, members, names, state,
};
use super::super::{Asked, LogId, Message, Reason, Seen, Stage, Standing, Step, Table, Write};

const ABC: [(&str, u64); 3] = [("a", 1), ("b", 2), ("c", 3)];

fn blank(id: u64) -> super::Disk {
    disk(id, Standing::Blank)
}

fn settled(id: u64) -> super::Disk {
    disk(id, Standing::State(state(CLUSTER, &ABC)))
}

fn all_blank(name: &str, own: super::Disk) -> Node {
    let peers = ABC.into_iter().filter(|(other, _)| *other != name);
    peers.fold(Node::new(name, own), |node, (other, id)| node.hears(other, blank(id)))
}

#[test]
fn the_lowest_name_founds_when_all_are_blank() {
    let draw = Write::DrawFounding { list: members(&ABC), table: Table::Empty };
    assert_eq!(all_blank("a", blank(1)).next(), Step::Write(draw));
    assert_eq!(all_blank("b", blank(2)).says(), "waiting for a to found the cluster");
}

#[test]
fn a_silent_peer_may_have_a_cluster() {
    let node = Node::new("a", blank(1)).hears("b", blank(2));
    let expected = "waiting for c: a cluster is founded only when every name in cluster.peers answers";
    assert_eq!(node.says(), expected);
}

#[test]
fn an_answer_from_before_my_last_write_is_none() {
    let node = all_blank("a", blank(1)).with("c", |heard| heard.asked = Asked::Before);
    assert!(matches!(node.next(), Step::Rest(_)), "{:?}", node.next());
}

#[test]
fn a_lone_cluster_is_set_aside_before_its_node_founds() {
    let node = all_blank("a", disk(1, Standing::State(lone(1, "a"))));
    assert_eq!(node.next(), Step::Write(Write::SetLoneStateAside));
}

#[test]
fn a_lone_cluster_with_a_table_is_not_blank() {
    let mut own = lone(1, "a");
    own.revision = 1;
    assert_eq!(all_blank("a", disk(1, Standing::State(own))).says(), "serves");
}

#[test]
fn a_founder_asks_whoever_has_not_consented_and_says_whose_file_differs() {
    let node = all_blank("a", disk(1, founding(&ABC)));
    let of = members(&ABC[1..]);
    let ask = Message::AskConsent { cluster: CLUSTER, of };
    assert_eq!(node.next(), Step::Send(ask, Reason::Consents(names(&["b", "c"]))));
    let node = node.with("c", |heard| heard.answer.terms.domain = [1; 32]);
    assert_eq!(
        node.says(),
        "c cannot consent: make cluster.peers and service.domain the same there and here"
    );
}

#[test]
fn a_founding_is_given_up_when_a_peer_has_a_table_of_its_own() {
    let node = all_blank("a", disk(1, founding(&ABC))).hears("c", disk(3, Standing::OldTable));
    assert_eq!(node.next(), Step::Write(Write::ForgetFounding));
}

#[test]
fn a_consent_stands_while_one_is_silent_or_holds_an_entry_or_was_asked_before() {
    let free = Step::Write(Write::FreeConsent);
    let all = || all_blank("b", disk(2, consenting("a")));
    assert_eq!(all().next(), free);
    let mut silent = all();
    silent.heard.remove(&"c".into());
    assert_eq!(
        silent.says(),
        "waiting for a, to whose founding this node has consented: if a is gone for good, start a blank node under its \
         name, or take the consent back with `cluster bootstrap --abandon-others`; silent: c"
    );
    assert_ne!(all().with("a", |heard| heard.asked = Asked::Before).next(), free);
    assert_ne!(all().hears("c", settled(3)).next(), free);
    assert_ne!(all().hears("a", disk(1, founding(&ABC))).next(), free);
}

#[test]
fn an_old_table_founds_if_it_is_the_only_one() {
    let old = || disk(3, Standing::OldTable);
    let draw = Write::DrawFounding { list: members(&ABC), table: Table::Old };
    assert_eq!(all_blank("c", old()).next(), Step::Write(draw));
    assert_eq!(all_blank("a", blank(1)).hears("c", old()).says(), "waiting for c to found the cluster");
    assert_eq!(
        all_blank("c", old()).hears("b", disk(2, Standing::OldTable)).says(),
        "alarm: b, c have a table each: run `cluster bootstrap` on the node whose table shall count; the others then \
         join it"
    );
}

#[test]
fn whatever_gives_way_is_set_aside_before_the_join() {
    let joins = |own| Node::new("b", own).hears("a", disk(1, Standing::State(state(CLUSTER, &[("a", 1)]))));
    assert_eq!(joins(disk(2, Standing::OldTable)).next(), Step::Write(Write::SetOldTableAside));
    assert_eq!(joins(disk(2, Standing::State(lone(2, "b")))).next(), Step::Write(Write::SetLoneStateAside));
    let ask = Message::AskToJoin { cluster: CLUSTER, of: "a".into() };
    let said = Reason::Joining { cluster: CLUSTER, of: "a".into() };
    assert_eq!(joins(blank(2)).next(), Step::Send(ask, said));
}

#[test]
fn a_table_does_not_give_way_to_one_that_nobody_chose() {
    let mut alone = lone(1, "a");
    alone.revision = 1;
    let node = Node::new("b", disk(2, Standing::OldTable)).hears("a", disk(1, Standing::State(alone)));
    let expected = "alarm: this node has a table, and so has the cluster of a, which founded itself: move store/ aside \
                    here, or move raft/ aside there and run `cluster bootstrap` here";
    assert_eq!(node.says(), expected);
}

#[test]
fn a_member_does_not_ask_to_join() {
    let node = Node::new("b", blank(2)).hears("a", settled(1));
    assert!(node.says().starts_with("waiting for the leader of cluster 0000"), "{}", node.says());
}

#[test]
fn a_blank_node_joins_none_of_two_clusters() {
    let other = disk(3, Standing::State(state(OTHER, &[("c", 3)])));
    let node = Node::new("b", blank(9)).hears("a", settled(1)).hears("c", other);
    let expected = "alarm: a, c are in different clusters: move the folder raft/ aside on those that are in the \
                    wrong one";
    assert_eq!(node.says(), expected);
}

#[test]
fn a_file_that_names_nobody_waits_for_the_operator() {
    let mut node = Node::new("a", blank(1));
    node.terms.names = names(&["a"]);
    assert_eq!(node.next(), Step::Rest(super::Rest::Wait(Reason::NoPeers)));
}

#[test]
fn two_clusters_are_alarmed_on_both_sides() {
    let other = disk(9, Standing::State(state(OTHER, &[("c", 9)])));
    let node = Node::new("a", settled(1)).hears("b", settled(2)).hears("c", other.clone());
    assert!(
        node.says().starts_with("alarm: c are in another cluster than this node: move"),
        "{}",
        node.says()
    );
    let node = Node::new("c", other).hears("a", settled(1)).hears("b", settled(2));
    assert!(node.says().starts_with("alarm: a, b are in another"), "{}", node.says());
}

#[test]
fn a_disk_put_back_is_not_told_to_abandon_peers_that_founded_anew() {
    let anew = |id| disk(id, Standing::State(state(OTHER, &[("a", 7), ("b", 8), ("c", 9)])));
    let node = Node::new("a", settled(1)).hears("b", anew(8)).hears("c", anew(9));
    assert!(node.says().starts_with("alarm: b, c are in another cluster"), "{}", node.says());
}

#[test]
fn two_machines_under_one_name_are_refused() {
    let node = all_blank("a", blank(1)).hears("a", blank(7));
    let expected = "refuses: another machine answers under this node's name, with the id 0000000000000007: stop one \
                    of them";
    assert_eq!(node.says(), expected);
}

#[test]
fn an_id_seen_twice_is_refused_whatever_name_it_has() {
    let copy = |peer| Node::new("a", settled(1)).hears(peer, settled(1));
    assert!(copy("b").says().starts_with("refuses: b answers under this node's id"));
    assert!(copy("a").says().starts_with("refuses: a answers under this node's id"));
    let myself = copy("a").with("a", |heard| heard.answer.incarnation = 0);
    assert!(!myself.says().starts_with("refuses"), "{}", myself.says());
}

#[test]
fn a_disk_that_peers_saw_further_is_refused() {
    let node = |seen| {
        let node = Node::new("a", settled(1)).hears("b", settled(2)).hears("c", settled(3));
        node.with("b", |heard| heard.answer.seen = Some(seen)).says()
    };
    let same = Seen { cluster: CLUSTER, last: LogId { term: 1, index: 5 }, vote: 0 };
    assert_eq!(node(same), "serves");
    assert!(
        node(Seen { last: LogId { term: 1, index: 6 }, ..same })
            .starts_with("refuses: b has seen a later log")
    );
    assert!(node(Seen { vote: 1, ..same }).starts_with("refuses: b has seen a later log or vote"));
    assert_eq!(node(Seen { cluster: OTHER, vote: 1, ..same }), "serves");
}

#[test]
fn a_replaced_id_sets_itself_aside_when_the_replacement_is_committed() {
    let replaced = state(CLUSTER, &[("a", 1), ("b", 8), ("c", 3)]);
    let node = |peer| Node::new("b", settled(2)).hears("a", disk(1, Standing::State(peer))).next();
    let aside = Step::Write(Write::SetRaftAside);
    assert_eq!(node(replaced.clone()), aside);
    let mut behind = replaced.clone();
    behind.last.index = 4;
    assert_ne!(node(behind), aside);
    let mut proposed = replaced;
    proposed.membership.stage = Stage::Proposed { over: members(&ABC) };
    assert_ne!(node(proposed), aside);
}

#[test]
fn a_removed_name_comes_back_only_when_it_is_admitted() {
    let mut without = state(CLUSTER, &[("a", 1), ("c", 3)]);
    without.barred = names(&["b"]);
    let node =
        |own, peer: &super::State| Node::new("b", own).hears("a", disk(1, Standing::State(peer.clone())));
    let expected = "alarm: this node was removed from cluster 00000000000000000000000000000001: admit its name with \
                    `cluster bootstrap --admit` on a member";
    assert_eq!(node(settled(2), &without).says(), expected);
    assert_eq!(node(blank(9), &without).says(), expected);
    without.barred.clear();
    assert_eq!(node(settled(2), &without).next(), Step::Write(Write::SetRaftAside));
}

#[test]
fn a_silent_majority_is_waited_for_and_a_lost_one_is_alarmed() {
    let alone = Node::new("a", settled(1));
    assert_eq!(alone.says(), "waiting for b, c: without one more of the voters no write is taken");
    let wiped = Node::new("a", settled(1)).hears("b", blank(8));
    assert_eq!(wiped.says(), "waiting for c: without one more of the voters no write is taken");
    let gone = wiped.hears("c", blank(9));
    assert_eq!(
        gone.says(),
        "alarm: the disks of b, c are gone, and with them the majority: run `cluster bootstrap --abandon-others` on \
         the node whose table shall count"
    );
}

#[test]
fn a_table_that_nobody_chose_is_joined_only_when_all_answer() {
    let of_lone = |id, name: &str| disk(id, Standing::State(super::State { revision: 1, ..lone(id, name) }));
    let node = Node::new("c", blank(3)).hears("a", of_lone(1, "a"));
    let expected = "waiting for b, who may have a table, as a has: start them, or take the names out of cluster.peers; \
                    then this node joins a";
    assert_eq!(node.says(), expected);
    let ask = Message::AskToJoin { cluster: OTHER, of: "a".into() };
    let asks = |node: &Node| matches!(node.next(), Step::Send(message, _) if message == ask);
    assert!(asks(&node.hears("b", blank(2))));
    // Somebody joined it: it is a cluster like any other.
    let mut joined = super::State { revision: 1, ..lone(1, "a") };
    joined.membership.learners = members(&[("b", 2)]);
    assert!(asks(&Node::new("c", blank(3)).hears("a", disk(1, Standing::State(joined)))));
}

#[test]
fn who_does_not_know_the_members_yet_misses_no_majority() {
    let unread =
        super::State { membership: super::super::test_nodes::membership(&[], &[]), ..state(CLUSTER, &[]) };
    assert_eq!(Node::new("a", disk(1, Standing::State(unread))).says(), "serves");
}
