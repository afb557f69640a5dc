use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::store::Store;

fn id(number: u64) -> TraceId {
    TraceId::from_bytes(u128::from(number).to_be_bytes())
}

/// An entry that says whose it is.
fn entry(number: u64, octets: usize) -> Vec<u8> {
    number.to_be_bytes().into_iter().cycle().take(octets).collect()
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u64, usize),
    Remove(u64),
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let octets = prop_oneof![20 => 0..600_usize, 1 => 63_900..64_100_usize, 1 => 130_000..200_000_usize];
    let step = prop_oneof![
        3 => (0..200_u64, octets).prop_map(|(number, octets)| Step::Insert(number, octets)),
        2 => (0..200_u64).prop_map(Step::Remove),
    ];
    prop::collection::vec(prop::collection::vec(step, 1..60), 1..12)
}

fn all(tree: &Tree, after: Option<TraceId>) -> Vec<(TraceId, Bytes)> {
    pages(tree, after).unwrap().flat_map(|page| page.unwrap().behind(after)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 500, ..ProptestConfig::default() })]

    #[test]
    fn pages_are_a_map_in_the_order_of_ids(batches in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let tree = Store::open(dir.path()).unwrap().tree("pages").unwrap();
        let mut map = BTreeMap::new();
        for steps in batches {
            let mut change = Change::new(&tree);
            for step in steps {
                match step {
                    Step::Insert(number, octets) => {
                        map.insert(id(number), Bytes::from(entry(number, octets)));
                        change.insert(id(number), entry(number, octets)).unwrap();
                    }
                    Step::Remove(number) => {
                        map.remove(&id(number));
                        change.remove(id(number)).unwrap();
                    }
                }
            }
            for number in 0..200 {
                prop_assert_eq!(change.get(id(number)).unwrap(), map.get(&id(number)).cloned());
            }
            let mut batch = Batch::default();
            change.write(&mut batch);
            tree.apply_batch(batch).unwrap();
            for number in 0..200 {
                prop_assert_eq!(find(&tree, id(number)).unwrap(), map.get(&id(number)).cloned());
                let behind: Vec<_> = map.range(id(number + 1)..).map(|(id, entry)| (*id, entry.clone())).collect();
                prop_assert_eq!(all(&tree, Some(id(number))), behind);
            }
            let keys: Vec<_> = tree.scan(&[]).map(|pair| pair.unwrap().0).collect();
            prop_assert!(!map.is_empty() || keys.is_empty(), "what is left of nothing: {keys:?}");
        }
    }
}

#[test]
fn messages_that_come_one_after_another_share_full_pages() {
    let dir = tempfile::tempdir().unwrap();
    let tree = Store::open(dir.path()).unwrap().tree("pages").unwrap();
    for batch in 0..20 {
        let mut change = Change::new(&tree);
        (0..50).for_each(|number| change.insert(id(batch * 50 + number), entry(number, 300)).unwrap());
        let mut batch = Batch::default();
        change.write(&mut batch);
        tree.apply_batch(batch).unwrap();
    }
    // A page has room for 12 entries of 320 octets, and is split when the thirteenth comes.
    assert_eq!(tree.scan(&[]).count(), 1000_usize.div_ceil(12));
}

/// Who reads one of several parts must not meet the write of a neighbour.
#[test]
fn an_entry_in_several_parts_has_a_page_of_its_own_wherever_it_comes() {
    for long in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let tree = Store::open(dir.path()).unwrap().tree("pages").unwrap();
        for octets in [100, 70_000] {
            let mut change = Change::new(&tree);
            (0..5).for_each(|number| change.insert(id(number), entry(number, 100)).unwrap());
            change.insert(id(long), entry(long, octets)).unwrap();
            let mut batch = Batch::default();
            change.write(&mut batch);
            tree.apply_batch(batch).unwrap();
        }
        let pages = pages(&tree, None).unwrap().map(|page| page.unwrap().behind(None).count());
        let pages: Vec<_> = pages.collect();
        let before = usize::try_from(long).unwrap();
        let expected: Vec<_> = [before, 1, 4 - before].into_iter().filter(|count| *count > 0).collect();
        assert_eq!(pages, expected, "{long}");
        let read: Vec<_> = all(&tree, None).into_iter().map(|(id, _)| id).collect();
        assert_eq!(read, (0..5).map(id).collect::<Vec<_>>());
    }
}

#[test]
fn a_page_that_is_cut_short_is_told() {
    let mut page = Page::default();
    page.insert(id(1), Bytes::from_static(b"entry"));
    let value = page.encode();
    for octets in 1..value.len() {
        let cut = Page::decode(value.get(..octets).unwrap().to_vec());
        assert!(matches!(cut, Err(SpoolError::Entry(_))), "{octets}");
    }
    assert_eq!(Page::decode(value).unwrap(), page);
}
