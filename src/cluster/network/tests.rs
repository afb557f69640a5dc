use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::EntryPayload;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tonic::{Code, Status};

use super::test_world::*;
use super::*;
use crate::cluster::founding::{ClusterId, NodeId, NodeName, Standing};
use crate::cluster::log::look;
use crate::cluster::proposal::Proposal;
use crate::cluster::test_state::{create_domain, create_rule, domain, stamped};
use crate::cluster::types::{Entry, Member};
use crate::mail::Address;
use crate::proto::cluster::v1;
use crate::routing::{
    Author, Change, Changed, DeliveryKey, ErrorKind, Matcher, NewRule, RequestId, RollBack, RuleAction,
};
use crate::tls::LinkTls;
use crate::tls::test_authority::{Authority, link_identity};

/// A change of so many rules of one.example.
fn rules(count: usize) -> Change {
    let to = RuleAction::Forward(vec![Address::parse("to@dest.example").unwrap()]);
    let rule = |at| NewRule::new(domain("one.example"), Matcher::Local(format!("user{at}")), to.clone());
    Change::Batch((0..count).map(|at| Change::CreateRule(rule(at))).collect())
}

/// Changes the table, again while an election is under way.
async fn change(node: &Running, change: Change) -> Changed {
    let id = RequestId::draw();
    for _ in 0..20 {
        match node.routing.change_once(id.clone(), change.clone()).await {
            Ok(changed) => return changed,
            Err(error) => eprintln!("{error}"),
        }
        node.until("somebody leads", |now| now.current_leader.is_some()).await;
    }
    panic!("the change was not made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_ordered_on_a_follower_is_there_when_it_is_answered_and_then_everywhere() {
    let world = World::new().await;
    let follower = &world.nodes[world.follower().await];
    follower.routing.change(create_domain("one.example")).await.unwrap();
    assert!(follower.routing.snapshot().hosts(&domain("one.example")));
    let changed = follower.routing.change(create_rule("info")).await.unwrap();
    let Changed::Rule(rule) = changed else { panic!("{changed:?}") };
    assert!(follower.routing.snapshot().rule(&rule.id).is_some());
    for node in &world.nodes {
        node.until_rules(1).await;
    }
    let digests: BTreeSet<_> = world.nodes.iter().map(|node| node.routing.snapshot().digest()).collect();
    assert_eq!(digests.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_node_says_who_ordered_a_change_on_a_follower_and_where_it_came_from() {
    let world = World::new().await;
    let follower = &world.nodes[world.follower().await];
    let author = Author::new("ana", "192.0.2.7".parse().ok());
    let of_ana = follower.routing.by(author.clone());
    of_ana.change(create_domain("one.example")).await.unwrap();
    of_ana.change(create_domain("two.example")).await.unwrap();
    of_ana.change(Change::RollBack(RollBack::to(1, Some(2)))).await.unwrap();
    follower.routing.change(create_rule("info")).await.unwrap();
    for node in &world.nodes {
        node.until_rules(1).await;
        let table = node.routing.snapshot();
        let by: Vec<_> =
            table.history().map(|revision| (revision.what.clone(), revision.author.clone())).collect();
        assert_eq!(by[0].1, None);
        assert_eq!(by[1], ("history rollback 1".to_owned(), author.clone()));
        assert_eq!((&by[2].1, &by[3].1, table.domain_count()), (&author, &author, 1));
    }
    let histories: BTreeSet<Vec<_>> =
        world.nodes.iter().map(|node| node.routing.snapshot().history_records().collect()).collect();
    assert_eq!(histories.len(), 1);
    let late = follower.routing.change(Change::RollBack(RollBack::to(1, Some(2)))).await.unwrap_err();
    assert_eq!(late.reason(), "ETAG_MISMATCH");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_leader_refuses_the_follower_s_client_hears_as_it_is() {
    let world = World::new().await;
    let (leader, follower) = (world.leader().await, world.follower().await);
    let there = world.nodes[leader].routing.change(create_rule("info")).await.unwrap_err();
    let here = world.nodes[follower].routing.change(create_rule("info")).await.unwrap_err();
    assert_eq!((here.reason(), here.kind()), ("DOMAIN_NOT_FOUND", there.kind()));
    assert_eq!(here.to_string(), there.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_repeated_on_another_node_is_carried_out_once() {
    let world = World::new().await;
    let follower = world.follower().await;
    let id = RequestId::parse("once").unwrap();
    let mut answers = Vec::new();
    for node in [&world.nodes[follower], &world.nodes[(follower + 1) % 3], &world.nodes[(follower + 2) % 3]] {
        let ask = || node.routing.change_once(id.clone(), create_domain("one.example"));
        let (one, other) = tokio::join!(ask(), ask());
        answers.extend([one.unwrap(), other.unwrap()]);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(world.nodes[follower].routing.snapshot().revision(), 1);
}

/// Of one request each node may make another change, as of one that is for an hour from now on.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_known_on_every_node_by_what_was_asked() {
    let world = World::new().await;
    let first = world.follower().await;
    let id = RequestId::parse("once").unwrap().of(b"a domain");
    let mut answers = Vec::new();
    for (number, node) in [first, first + 1, first + 2].map(|at| &world.nodes[at % 3]).iter().enumerate() {
        let change = create_domain(&format!("d{number}.example"));
        answers.push(node.routing.change_once(id.clone(), change).await.unwrap());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let other = RequestId::parse("once").unwrap().of(b"another");
    let refused =
        world.nodes[first].routing.change_once(other, create_domain("d0.example")).await.unwrap_err();
    assert_eq!(refused.reason(), "REQUEST_ID_REUSED");
    assert_eq!(world.nodes[first].routing.snapshot().revision(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_on_a_follower_do_not_wait_for_each_other() {
    let world = World::new().await;
    let leader = &world.nodes[world.leader().await];
    let follower = &world.nodes[world.follower().await];
    let before = leader.raft.metrics().borrow().last_log_index.unwrap();
    let names: Vec<String> = (0..200).map(|at| format!("d{at}.example")).collect();
    let made = names.iter().map(|name| follower.routing.change(create_domain(name)));
    assert!(futures_util::future::join_all(made).await.iter().all(Result::is_ok));
    let entries = leader.raft.metrics().borrow().last_log_index.unwrap() - before;
    assert!(entries < 150, "{entries} entries: one by one");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_others_go_on_without_the_leader() {
    let mut world = World::new().await;
    let first = world.leader().await;
    change(&world.nodes[first], create_domain("one.example")).await;
    world.nodes[first].stop().await;
    until("another leads", || async {
        world.nodes.iter().enumerate().any(|(at, node)| {
            at != first && node.leader().is_some_and(|leader| leader != world.nodes[first].node.id)
        })
    })
    .await;
    let follower = world.follower().await;
    change(&world.nodes[follower], create_rule("info")).await;
    for (at, node) in world.nodes.iter().enumerate() {
        if at != first {
            node.until_rules(1).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_past_an_entry_and_then_a_snapshot_past_a_message_arrive() {
    let mut world = World::new().await;
    let follower = &world.nodes[world.follower().await];
    change(follower, create_domain("one.example")).await;
    let Changed::Batch(made) = follower.routing.change(rules(15_000)).await.unwrap() else { panic!() };
    assert_eq!(made.len(), 15_000);
    let leader = world.leader().await;
    let raft = world.nodes[leader].raft.clone();
    let applied = raft.metrics().borrow().last_applied.unwrap();
    raft.trigger().snapshot().await.unwrap();
    world.nodes[leader].until("a snapshot", |now| now.snapshot >= Some(applied)).await;
    raft.trigger().purge_log(applied.index).await.unwrap();
    world.nodes[leader].until("a purge", |now| now.purged >= Some(applied)).await;

    let new = Bound::new(&world.ca, "route4", 4).await;
    let (name, address) = new.address();
    world.addresses.insert(name.clone(), address);
    for node in &world.nodes {
        node.peers.swap_addresses(&world.addresses);
    }
    let new = new.run(Standing::Blank, &world.addresses).await;
    raft.add_learner(NodeId(4), Member::from(&name), true).await.unwrap();
    new.until_rules(15_000).await;
    // Raft says so a moment after the table is shown.
    new.until("the snapshot is its own", |now| now.snapshot.is_some()).await;
    assert!(matches!(&*new.node.standing.lock(), Standing::State(state) if state.cluster == CLUSTER));
    let digest = world.nodes[leader].routing.snapshot().digest();
    assert_eq!(new.routing.snapshot().digest(), digest);
    assert!(new.routing.snapshot().history().eq(world.nodes[leader].routing.snapshot().history()));
    change(&new, create_rule("info")).await;
    // What that takes back is past an entry, too.
    change(&new, Change::RollBack(RollBack::to(1, None))).await;
    assert_eq!((new.routing.snapshot().rules_count(), new.routing.snapshot().domain_count()), (0, 1));
    world.nodes[leader].until_rules(0).await;
    assert_eq!(world.nodes[leader].routing.snapshot().digest(), new.routing.snapshot().digest());
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_say_hello_and_what_was_seen_of_each_other() {
    let world = World::new().await;
    let (leader, follower) = (world.leader().await, world.follower().await);
    change(&world.nodes[leader], create_domain("one.example")).await;
    let (here, there) = (&world.nodes[leader], &world.nodes[follower]);
    let term = here.raft.metrics().borrow().current_term;
    until("what is agreed on is seen of the follower", || async {
        let greeting = there.peers.hello(&here.name).await.unwrap();
        assert_eq!((greeting.answer.disk.id, greeting.report.queue), (here.node.id, 3));
        let seen = greeting.answer.seen.unwrap();
        assert_eq!((seen.cluster, seen.vote), (CLUSTER, term));
        seen.last.term == term && seen.last.index >= 2
    })
    .await;
    let told = here.node.greeted.lock();
    let (name, greeting) = told.iter().rfind(|(name, _)| *name == there.name).unwrap();
    assert_eq!((name, greeting.answer.disk.id), (&there.name, there.node.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_and_join_are_asked_for_without_a_hello_before() {
    let (ca, other) = (Authority::new(), ClusterId(9));
    let (linda, amir) = (Bound::new(&ca, "linda", 1).await, Bound::new(&ca, "amir", 2).await);
    let addresses: Addresses = [linda.address(), amir.address()].into();
    let linda = linda.run(Standing::Blank, &addresses).await;
    let amir = amir.run(member_of(CLUSTER), &addresses).await;
    let to = (&amir.name, amir.node.id);
    assert_eq!(linda.peers.consent(to, other, &terms()).await.unwrap(), None);
    let differ = crate::cluster::founding::Terms { domain: [8; 32], ..terms() };
    let unwilling = linda.peers.consent(to, other, &differ).await.unwrap();
    assert_eq!(unwilling.as_deref(), Some("the files differ"));
    let joining = linda.peers.join(to, CLUSTER).await.unwrap();
    assert_eq!(joining, Joining::Refused(format!("linda is {}", NodeId(1))));
    let refused = linda.peers.join(to, other).await.unwrap_err();
    assert!(matches!(&refused, CallError::Refused { word, .. } if word == "OTHER_CLUSTER"), "{refused}");
    let refused = linda.peers.join((&amir.name, NodeId(7)), CLUSTER).await.unwrap_err();
    assert!(matches!(&refused, CallError::Refused { word, .. } if word == "NOT_HERE"), "{refused}");
}

/// What a call begins with that linda might make of the node with this id.
fn header(from: u64, to: u64) -> v1::Header {
    v1::Header {
        first_version: 1,
        last_version: 1,
        cluster: CLUSTER.0.to_be_bytes().to_vec(),
        from,
        name: "linda".to_owned(),
        to: Some(to),
    }
}

/// Says that it leads, without entries.
fn heartbeat(header: v1::Header) -> v1::AppendRequest {
    let vote = Some(v1::Vote { term: 0, node: header.from, committed: true });
    v1::AppendRequest { header: Some(header), vote, ..v1::AppendRequest::default() }
}

fn word(status: &Status) -> &str {
    status.metadata().get("postroad-refusal").map_or("", |word| word.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_not_for_this_node_and_cluster_are_refused_and_it_goes_on() {
    let world = World::new().await;
    let (linda, amir) = (&world.nodes[0], &world.nodes[1]);
    linda.peers.hello(&amir.name).await.unwrap();
    let mut client = amir.strange_client(&linda.tls);
    let other = || v1::Header { cluster: vec![9; 16], ..header(1, 2) };
    let later = || v1::Header { first_version: VERSIONS.1 + 1, last_version: VERSIONS.1 + 2, ..header(1, 2) };
    let as_another = || v1::Header { name: "isaac".to_owned(), ..header(3, 2) };
    let stranger = || v1::Header { name: "mallory".to_owned(), ..header(1, 2) };
    let odd = || v1::Header { name: "linda\n".to_owned(), ..header(1, 2) };
    let of_none = || v1::Header { cluster: Vec::new(), ..header(1, 2) };
    for (header, code, refusal) in [
        (other(), Code::FailedPrecondition, "OTHER_CLUSTER"),
        (header(1, 3), Code::FailedPrecondition, "NOT_HERE"),
        (header(8, 2), Code::FailedPrecondition, "OUTDATED"),
        (later(), Code::FailedPrecondition, "PROTOCOL"),
        (as_another(), Code::PermissionDenied, "OTHER_CERTIFICATE"),
        (stranger(), Code::PermissionDenied, "OTHER_CERTIFICATE"),
        (odd(), Code::InvalidArgument, "MALFORMED"),
        (of_none(), Code::InvalidArgument, "MALFORMED"),
    ] {
        let status = client.append(heartbeat(header)).await.unwrap_err();
        assert_eq!((status.code(), word(&status)), (code, refusal), "{status:?}");
    }
    // It is let pass, and Raft answers.
    client.append(heartbeat(header(1, 2))).await.unwrap();
    change(linda, create_domain("one.example")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_later_version_waits_until_every_member_is_known_to_know_it() {
    let world = World::new().await;
    let at = world.leader().await;
    let others = || world.nodes.iter().enumerate().filter(|(of, _)| *of != at).map(|(_, node)| node);
    let (leader, upgraded) = (&world.nodes[at], others().next().unwrap());
    let behind = others().next_back().unwrap();
    for other in others() {
        other.peers.hello(&leader.name).await.unwrap();
        leader.peers.hello(&other.name).await.unwrap();
    }
    leader.peers.acquaintances().speaks(&behind.name, 1);
    let key = || Change::AgreeOnDeliveryKey(DeliveryKey::new([7; DeliveryKey::OCTETS]));
    for ordered_on in [leader, upgraded] {
        let error = ordered_on.routing.change(key()).await.unwrap_err();
        assert_eq!((error.reason(), error.kind()), ("VERSIONS_DIFFER", ErrorKind::FailedPrecondition));
        assert!(error.to_string().ends_with(&format!("upgrade, start or remove {}", behind.name)), "{error}");
    }
    change(upgraded, create_domain("one.example")).await;
    // An earlier version that led would make of it what it knows.
    upgraded.peers.acquaintances().speaks(&leader.name, 1);
    let error = upgraded.routing.change(key()).await.unwrap_err();
    assert!(error.to_string().ends_with(&format!("remove {}", leader.name)), "{error}");
    // Each says in its next Hello that it has been upgraded.
    behind.peers.hello(&leader.name).await.unwrap();
    leader.peers.hello(&upgraded.name).await.unwrap();
    change(upgraded, key()).await;
    for node in &world.nodes {
        until("it has the key", || async { node.routing.snapshot().delivery_key().is_some() }).await;
    }
    // Who could not read the table is no member of those who have it.
    let joiner = world.nodes.iter().find(|node| node.node.id == NodeId(1)).unwrap();
    let asked = world.nodes.iter().find(|node| node.node.id == NodeId(2)).unwrap();
    joiner.peers.hello(&asked.name).await.unwrap();
    let mut client = asked.strange_client(&joiner.tls);
    for (last_version, why) in [(1, "its version of Postroad does not know"), (2, "linda is ")] {
        let header = Some(v1::Header { last_version, ..header(1, 2) });
        let answer = client.join(v1::JoinRequest { header }).await.unwrap().into_inner().answer.unwrap();
        let v1::join_response::Answer::Refused(said) = answer else { panic!("{answer:?}") };
        assert!(said.starts_with(why), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_later_version_adds_to_an_entry_stands_in_every_log_and_does_no_harm() {
    let mut world = World::new().await;
    let stamped = stamped(1, create_domain("one.example"));
    // Field 1023, behind those that are known.
    let octets = [stamped.encode().unwrap(), b"\xfa\x3f\x05hello".to_vec()].concat();
    let proposal = Proposal::changes(vec![octets]);
    // Another may lead by then.
    until("it is agreed on", || async {
        world.nodes[world.leader().await].raft.client_write(proposal.clone()).await.is_ok()
    })
    .await;
    for node in &mut world.nodes {
        until("it is made", || async { node.routing.snapshot().hosts(&domain("one.example")) }).await;
        node.stop().await;
        let entries = look(&node.log()).entries;
        let kept = |entry: &Entry| matches!(&entry.payload, EntryPayload::Normal(kept) if *kept == proposal);
        assert!(entries.iter().any(kept), "{}", node.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_id_of_a_name_ends_what_the_old_one_may_say() {
    let world = World::new().await;
    let (linda, amir) = (&world.nodes[0], &world.nodes[1]);
    linda.peers.hello(&amir.name).await.unwrap();
    let mut client = amir.strange_client(&linda.tls);
    client.append(heartbeat(header(1, 2))).await.unwrap();
    // Its disk was wiped, and it says so over another connection.
    let wiped = Bound::new(&world.ca, "linda", 11).await.run(Standing::Blank, &world.addresses).await;
    wiped.peers.hello(&amir.name).await.unwrap();
    let status = client.append(heartbeat(header(1, 2))).await.unwrap_err();
    assert_eq!(word(&status), "OUTDATED");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_break_the_rules_of_raft_are_refused_and_it_goes_on() {
    let world = World::new().await;
    let (linda, amir) = (&world.nodes[0], &world.nodes[1]);
    linda.peers.hello(&amir.name).await.unwrap();
    let mut client = amir.strange_client(&linda.tls);
    let entry = |term, index| v1::Entry {
        id: Some(v1::LogId { term, node: 1, index }),
        content: Some(v1::entry::Content::Blank(v1::Blank {})),
    };
    let sound = || v1::AppendRequest { entries: vec![entry(0, 0)], ..heartbeat(header(1, 2)) };
    let proposal = |octets| v1::entry::Content::Proposal(vec![0; octets]);
    let membership = |voter: u64| {
        v1::entry::Content::Membership(v1::Membership {
            voters: vec![v1::Voters { nodes: vec![voter] }],
            members: vec![v1::Member { node: 1, name: "linda".to_owned() }],
        })
    };
    let with = |content| v1::Entry { content: Some(content), ..entry(0, 0) };
    let vote = |term, node, committed| Some(v1::Vote { term, node, committed });
    for broken in [
        v1::AppendRequest { entries: vec![entry(0, 1)], ..sound() },
        v1::AppendRequest { entries: vec![entry(0, 0), entry(0, 0)], ..sound() },
        v1::AppendRequest { entries: vec![entry(0, 0), entry(0, 2)], ..sound() },
        v1::AppendRequest { entries: vec![entry(1, 0)], ..sound() },
        v1::AppendRequest { vote: vote(0, 3, true), ..sound() },
        v1::AppendRequest { vote: vote(0, 1, false), ..sound() },
        v1::AppendRequest { vote: None, ..sound() },
        v1::AppendRequest { entries: vec![v1::Entry { content: None, ..entry(0, 0) }], ..sound() },
        v1::AppendRequest { entries: vec![with(proposal((512 << 10) + 1))], ..sound() },
        v1::AppendRequest { entries: vec![with(membership(2))], ..sound() },
    ] {
        let status = client.append(broken).await.unwrap_err();
        assert_eq!((status.code(), word(&status)), (Code::InvalidArgument, "MALFORMED"), "{status:?}");
    }
    let large = v1::AppendRequest { entries: vec![with(proposal(MAX_MESSAGE_OCTETS))], ..sound() };
    assert_eq!(client.append(large).await.unwrap_err().code(), Code::OutOfRange);
    let candidate = v1::VoteRequest { header: Some(header(1, 2)), vote: vote(9, 3, false), last: None };
    assert_eq!(word(&client.vote(candidate).await.unwrap_err()), "MALFORMED");
    change(amir, create_domain("one.example")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_break_off_or_bring_too_much_change_nothing() {
    let world = World::new().await;
    let (linda, amir) = (&world.nodes[0], &world.nodes[1]);
    linda.peers.hello(&amir.name).await.unwrap();
    let mut client = amir.strange_client(&linda.tls);
    let encoded = create_domain("one.example").encode().unwrap();
    let head = |octets| {
        let head = v1::ChangeHead {
            header: Some(header(1, 2)),
            request_id: "a".to_owned(),
            octets,
            ..v1::ChangeHead::default()
        };
        v1::ChangePart { part: Some(v1::change_part::Part::Head(head)) }
    };
    let piece = |octets: &[u8]| v1::ChangePart { part: Some(v1::change_part::Part::Octets(octets.to_vec())) };
    let length = encoded.len() as u64;
    for (parts, refusal) in [
        (vec![], "MALFORMED"),
        (vec![piece(&encoded)], "MALFORMED"),
        (vec![head(length), piece(&encoded[1..])], "SIZE"),
        (vec![head(length - 1), piece(&encoded)], "SIZE"),
        (vec![head(length), head(length)], "SIZE"),
        (vec![head(length), piece(&[])], "SIZE"),
        (vec![head(u64::MAX), piece(&encoded)], "SIZE"),
        (vec![head(2), piece(&[0xff, 0xff])], "MALFORMED"),
    ] {
        let status = client.change(tokio_stream::iter(parts)).await.unwrap_err();
        assert_eq!((status.code(), word(&status)), (Code::InvalidArgument, refusal), "{status:?}");
    }
    let head = v1::SnapshotHead { header: Some(header(1, 2)), octets: u64::MAX, ..Default::default() };
    let part = v1::SnapshotPart { part: Some(v1::snapshot_part::Part::Head(head)) };
    let status = client.snapshot(tokio_stream::iter([part])).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert_eq!(amir.routing.snapshot().revision(), 0);
    change(amir, create_domain("one.example")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_not_connected() {
    let world = World::new().await;
    let amir = &world.nodes[1];
    let other = Authority::new();
    for identity in [
        link_identity(&other.issue(&["linda"]), &[&world.ca]),
        link_identity(&world.ca.issue_until(&["linda"], 2020), &[&world.ca]),
        link_identity(&world.ca.issue(&["mallory"]), &[&world.ca]),
    ] {
        let mut client = amir.strange_client(&LinkTls::new(identity));
        let status = client.append(heartbeat(header(1, 2))).await.unwrap_err();
        assert_eq!(word(&status), "", "{status:?}");
    }
    change(amir, create_domain("one.example")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_authorities_are_changed_while_nodes_talk() {
    let world = World::new().await;
    let new = Authority::new();
    change(&world.nodes[0], create_domain("one.example")).await;
    let both = [&world.ca, &new];
    for node in &world.nodes {
        node.tls.swap(link_identity(&world.ca.issue(&[&node.name.to_string()]), &both));
    }
    for node in &world.nodes {
        node.tls.swap(link_identity(&new.issue(&[&node.name.to_string()]), &both));
    }
    for node in &world.nodes {
        node.tls.swap(link_identity(&new.issue(&[&node.name.to_string()]), &[&new]));
    }
    let old = LinkTls::new(link_identity(&world.ca.issue(&["linda"]), &both));
    let mut client = world.nodes[1].strange_client(&old);
    assert!(client.append(heartbeat(header(1, 2))).await.is_err());
    // All connections anew.
    for node in &world.nodes {
        node.peers.swap_addresses(&Addresses::new());
        node.peers.swap_addresses(&world.addresses);
    }
    let follower = world.follower().await;
    change(&world.nodes[follower], create_rule("info")).await;
    for node in &world.nodes {
        node.until_rules(1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_accepts_and_says_nothing_is_no_peer() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let world = World::reached_by(async |mut addresses: Addresses| {
        addresses.insert(name("isaac"), address.clone());
        addresses
    });
    let (world, _held) = tokio::join!(world, async {
        let mut held = Vec::new();
        while held.len() < 2 {
            held.push(silent.accept().await.unwrap());
        }
        held
    });
    change(&world.nodes[0], create_domain("one.example")).await;
    let error = world.nodes[0].peers.hello(&name("isaac")).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
}

/// A world in which each node is reached by a proxy, and the proxies by name.
async fn proxied() -> (World, BTreeMap<NodeName, Proxy>) {
    let mut proxies = BTreeMap::new();
    let world = World::reached_by(async |addresses: Addresses| {
        for (name, address) in addresses {
            proxies.insert(name, Proxy::to(address).await);
        }
        proxies.iter().map(|(name, proxy)| (name.clone(), proxy.address.to_string())).collect()
    });
    (world.await, proxies)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_stood_still_catches_up() {
    let (world, proxies) = proxied().await;
    let (leader, follower) = (&world.nodes[world.leader().await], &world.nodes[world.follower().await]);
    change(leader, create_domain("one.example")).await;
    proxies[&follower.name].stand_still();
    // First what was sent is lost; once pings have not been answered either it is dialled, and cannot be reached.
    until("it cannot be reached", || async {
        let error = leader.peers.hello(&follower.name).await.unwrap_err();
        matches!(error, CallError::Unreachable { .. })
    })
    .await;
    proxies[&follower.name].go_on();
    change(leader, create_rule("info")).await;
    follower.until_rules(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_passed_on_to_a_leader_that_stands_still_is_unconfirmed_and_made_once() {
    let (world, proxies) = proxied().await;
    let (leader, follower) = (&world.nodes[world.leader().await], &world.nodes[world.follower().await]);
    change(follower, create_domain("one.example")).await;
    proxies[&leader.name].stand_still();
    let id = RequestId::parse("unsure").unwrap();
    let error = follower.routing.change_once(id.clone(), create_rule("info")).await.unwrap_err();
    assert!(error.to_string().ends_with("repeat it with its request id \"unsure\""), "{error}");
    assert_eq!(error.reason(), "UNCONFIRMED");
    proxies[&leader.name].go_on();
    until("it is made", || async {
        follower.routing.change_once(id.clone(), create_rule("info")).await.is_ok()
    })
    .await;
    for node in &world.nodes {
        node.until_rules(1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_holds_connections_that_are_not_needed() {
    let ca = Authority::new();
    let amir = Bound::new(&ca, "amir", 2).await;
    let addresses: Addresses = [amir.address(), (name("linda"), "127.0.0.1:9".to_owned())].into();
    let amir = amir.run(member_of(CLUSTER), &addresses).await;
    // Whoever says nothing has to go.
    let silent = TcpStream::connect(amir.address).await.unwrap();
    // The certificate says LINDA, and the file linda: DNS names have no case.
    let linda = LinkTls::new(link_identity(&ca.issue(&["LINDA"]), &[&ca]));
    let mut connected = Vec::new();
    for _ in 0..7 {
        let stream = TcpStream::connect(amir.address).await.unwrap();
        let mut stream = linda.connect("amir", stream).await.unwrap();
        // Once it is served, the listener says so first.
        stream.read_u8().await.unwrap();
        connected.push(stream);
    }
    let mut eldest = connected.remove(0);
    ended(&mut eldest).await;
    for stream in &mut connected {
        let mut rest = Vec::new();
        assert!(futures_util::poll!(std::pin::pin!(stream.read_to_end(&mut rest))).is_pending());
    }
    ended(&mut { silent }).await;
}

/// Waits until the other side has ended it.
async fn ended(stream: &mut (impl AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    // It may end in any way.
    let end = stream.read_to_end(&mut rest);
    let _how = timeout(Duration::from_secs(60), end).await.expect("it is still connected");
}
