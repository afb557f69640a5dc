use std::fs;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Put(u64, usize),
    Update(u64, u64),
    Remove(u64),
    /// A notification, and what it tells of: a new state, or that the message has left.
    Notice(u64, u64, Option<u64>),
    Reopen,
    ReopenWithoutIndex,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = 1..20_u64;
    let octets = prop_oneof![8 => 0..4000_usize, 1 => 262_140..262_150_usize];
    let step = prop_oneof![
        4 => (number.clone(), octets).prop_map(|(number, octets)| Step::Put(number, octets)),
        4 => (number.clone(), 0..50_u64).prop_map(|(number, due)| Step::Update(number, due)),
        3 => number.clone().prop_map(Step::Remove),
        3 => (number.clone(), number, prop::option::of(0..50_u64))
            .prop_map(|(number, about, due)| Step::Notice(number, about, due)),
        1 => Just(Step::Reopen),
        1 => Just(Step::ReopenWithoutIndex),
    ];
    prop::collection::vec(step, 1..40)
}

/// What a queue does with a step, without any disk.
fn model(queue: &mut BTreeMap<TraceId, (Queued, Vec<u8>)>, step: &Step) {
    match step {
        Step::Put(number, body) => {
            queue.insert(id(*number), (message(*number), emitted(&octets(*number, *body))));
        }
        Step::Update(number, due) => {
            if let Some((queued, _)) = queue.get_mut(&id(*number)) {
                *queued = message_to(*number, "other@c.example", *due);
            }
        }
        Step::Remove(number) => {
            queue.remove(&id(*number));
        }
        Step::Notice(number, about, due) => {
            model(queue, &Step::Put(*number, 10));
            match due {
                Some(due) => model(queue, &Step::Update(*about, *due)),
                None => model(queue, &Step::Remove(*about)),
            }
        }
        Step::Reopen | Step::ReopenWithoutIndex => {}
    }
}

async fn run(mut steps: Vec<Step>) {
    // An id is used once.
    let mut used = std::collections::BTreeSet::new();
    steps.retain(|step| match step {
        // Nothing tells of itself.
        Step::Notice(number, about, _) => number != about && used.insert(*number),
        Step::Put(number, _) => used.insert(*number),
        Step::Update(..) | Step::Remove(_) | Step::Reopen | Step::ReopenWithoutIndex => true,
    });
    let mut place = Place::new();
    place.options.segment_octets = 10_000;
    let mut spool = Some(place.open().0);
    let mut queue = BTreeMap::new();
    for step in steps {
        model(&mut queue, &step);
        let open = spool.take().unwrap();
        spool = Some(match step {
            Step::Put(number, body) => {
                open.put(message(number), &octets(number, body)).await.unwrap();
                open
            }
            Step::Update(number, due) => {
                open.update(message_to(number, "other@c.example", due)).await.unwrap();
                open
            }
            Step::Remove(number) => {
                open.remove(id(number)).await.unwrap();
                open
            }
            Step::Notice(number, about, due) => {
                let gone = Queued { copies: Vec::new(), ..message(about) };
                let cause = due.map_or(gone, |due| message_to(about, "other@c.example", due));
                open.put_notice(message(number), &octets(number, 10), Some(&cause)).await.unwrap();
                open
            }
            Step::Reopen | Step::ReopenWithoutIndex => {
                drop(open);
                if matches!(step, Step::ReopenWithoutIndex) {
                    fs::remove_dir_all(place.path("index")).unwrap();
                }
                place.open().0
            }
        });
        let open = spool.as_ref().unwrap();
        assert_eq!(content(open).await, queue);
        assert_eq!(open.counts().messages(), queue.len() as u64);
        let octets: usize = queue.values().map(|(_, octets)| octets.len()).sum();
        assert_eq!(open.counts().octets, octets as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_spool_is_a_map_whatever_happens_in_between(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(steps));
    }
}
