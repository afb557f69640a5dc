use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::greeting::{decode_greeting, encode_greeting};
use super::*;
use crate::cluster::founding::{
    Answer, Disk, LogId, Membership, Origin, Seen, Stage, Standing, State, Table, Terms,
};
use crate::cluster::network::{Greeting, Report, TableDigest};

fn members(names: &[(&str, u64)]) -> Members {
    names.iter().map(|(name, id)| ((*name).into(), NodeId(*id))).collect()
}

fn state() -> State {
    State {
        cluster: ClusterId(u128::MAX - 3),
        origin: Origin::Cluster,
        last: LogId { term: 4, index: 9 },
        membership: Membership {
            voters: members(&[("amir", 2), ("linda", 1)]),
            learners: members(&[("route-1.mx", 8)]),
            stage: Stage::Proposed { over: members(&[("linda", 1)]) },
        },
        barred: ["isaac".into()].into(),
        revision: 12,
    }
}

fn greeting(standing: Standing) -> Greeting {
    let cluster = ClusterId(5);
    Greeting {
        answer: Answer {
            disk: Disk { id: NodeId(1), vote: 3, spent: Some(cluster), standing },
            terms: Terms { names: ["amir".into(), "linda".into()].into(), domain: [1; 32] },
            incarnation: 77,
            seen: Some(Seen { cluster, last: LogId { term: 1, index: 2 }, vote: 3 }),
        },
        report: Report {
            software: "0.2.0".to_owned(),
            digests: [("srs.secret_file".to_owned(), [2; 32])].into(),
            queue: 4,
            certificate_ends: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000)),
            table: Some(TableDigest { revision: 12, digest: [3; 32] }),
            leads: true,
            sessions: 5,
            drained: true,
        },
    }
}

#[test]
fn what_a_node_says_of_itself_arrives_as_it_was() {
    let cluster = ClusterId(0);
    for standing in [
        Standing::Blank,
        Standing::OldTable,
        Standing::Consenting { cluster, founder: "amir".into() },
        Standing::Founding { cluster, list: members(&[("amir", 2), ("linda", 1)]), table: Table::Old },
        Standing::Founding { cluster, list: BTreeMap::new(), table: Table::Empty },
        Standing::State(state()),
        Standing::State(State { origin: Origin::Alone, ..state() }),
    ] {
        let told = greeting(standing);
        assert_eq!(decode_greeting(Some(encode_greeting(&told))), Ok(told));
    }
    let silent = Greeting { report: Report::default(), ..greeting(Standing::Blank) };
    assert_eq!(decode_greeting(Some(encode_greeting(&silent))), Ok(silent));
}

#[test]
fn what_is_past_its_bound_is_no_greeting() {
    let sound = || encode_greeting(&greeting(Standing::State(state())));
    let breaks: [fn(&mut v1::Greeting); 8] = [
        |greeting| greeting.disk = None,
        |greeting| greeting.disk.as_mut().unwrap().standing = None,
        |greeting| greeting.terms.as_mut().unwrap().domain.push(0),
        |greeting| greeting.terms.as_mut().unwrap().names = vec!["linda".to_owned(); MAX_NAMES + 1],
        |greeting| greeting.terms.as_mut().unwrap().names.push("a".repeat(64)),
        |greeting| greeting.seen.as_mut().unwrap().cluster.clear(),
        |greeting| greeting.report.as_mut().unwrap().software = "\n".to_owned(),
        |greeting| {
            let report = greeting.report.as_mut().unwrap();
            report.digests = (0..=MAX_NAMES).map(|at| (at.to_string(), vec![0; 32])).collect();
        },
    ];
    assert!(decode_greeting(Some(sound())).is_ok());
    for break_it in breaks {
        let mut broken = sound();
        break_it(&mut broken);
        assert!(decode_greeting(Some(broken)).is_err());
    }
}

#[test]
fn a_name_has_one_id_in_a_list() {
    let twice = [("linda", 1), ("linda", 2)];
    let listed = twice.map(|(name, node)| v1::Member { node, name: name.to_owned() });
    assert!(decode_members(&listed).is_err());
}
