use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::mail::TraceId;
use crate::store::Store;

const KIND: u8 = b'm';

fn key(number: u64) -> Bytes {
    Bytes::copy_from_slice(&u128::from(number).to_be_bytes())
}

/// A tree of another kind's pages, before and behind, which nobody is to meet.
fn tree(dir: &tempfile::TempDir) -> Tree {
    let tree = Store::open(dir.path()).unwrap().tree("pages").unwrap();
    tree.insert(&keys::part(KIND - 1, &key(7), 0), b"before").unwrap();
    tree.insert(&keys::part(KIND + 1, &key(7), 0), b"behind").unwrap();
    tree
}

fn apply(tree: &Tree, change: Change<'_>) {
    let mut batch = Batch::default();
    change.write(&mut batch);
    tree.apply_batch(batch).unwrap();
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

fn steps(octets: impl Strategy<Value = usize> + 'static) -> impl Strategy<Value = Vec<Vec<Step>>> {
    let step = prop_oneof![
        3 => (0..200_u64, octets).prop_map(|(number, octets)| Step::Insert(number, octets)),
        2 => (0..200_u64).prop_map(Step::Remove),
    ];
    prop::collection::vec(prop::collection::vec(step, 1..60), 1..12)
}

/// As of messages: mostly short, some longer than a page, a few longer than a value may be.
fn message_octets() -> impl Strategy<Value = usize> {
    prop_oneof![20 => 0..600_usize, 1 => 63_900..64_100_usize, 1 => 130_000..200_000_usize]
}

/// Due times of domains whose names begin alike.
fn due_key(number: u64) -> Bytes {
    let domain = ["a", "a-b", "a.b", "ab"].into_iter().cycle().nth(usize::try_from(number).unwrap());
    let id = TraceId::from_bytes(u128::from(number).to_be_bytes());
    keys::due(domain.unwrap(), number * 7 % 40, id).into()
}

fn all(pages: Pages<'_>, from: Bound<&[u8]>) -> Vec<Entry> {
    pages.entries(from).unwrap().map(Result::unwrap).collect()
}

/// Whether pages are a map in the order of keys, and each is as long as it may be at most.
fn assert_map(
    key: fn(u64) -> Bytes,
    page_octets: usize,
    batches: Vec<Vec<Step>>,
) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().unwrap();
    let tree = tree(&dir);
    let pages = Pages::new(&tree, KIND, page_octets);
    let mut map = BTreeMap::new();
    for steps in batches {
        let mut change = pages.change();
        for step in steps {
            match step {
                Step::Insert(number, octets) => {
                    map.insert(key(number), Bytes::from(entry(number, octets)));
                    change.insert(key(number), entry(number, octets)).unwrap();
                }
                Step::Remove(number) => {
                    map.remove(&key(number));
                    change.remove(&key(number)).unwrap();
                }
            }
        }
        for number in 0..200 {
            prop_assert_eq!(change.get(&key(number)).unwrap(), map.get(&key(number)).cloned());
        }
        apply(&tree, change);
        for number in 0..200 {
            let key = key(number);
            prop_assert_eq!(pages.find(&key).unwrap(), map.get(&key).cloned());
            for from in [Bound::Included(&key[..]), Bound::Excluded(&key)] {
                let expected = map.range::<[u8], _>((from, Bound::Unbounded));
                let expected: Vec<_> = expected.map(|(key, entry)| (key.clone(), entry.clone())).collect();
                prop_assert_eq!(all(pages, from), expected);
            }
        }
        prop_assert_eq!(all(pages, Bound::Unbounded), map.clone().into_iter().collect::<Vec<_>>());
        let parts: Vec<_> = tree.scan(&[KIND]).map(|pair| pair.unwrap()).collect();
        prop_assert!(!map.is_empty() || parts.is_empty(), "what is left of nothing: {parts:?}");
        for (key, value) in parts.iter().filter(|(_, value)| value.len() > 2 * page_octets) {
            let entries = pages.read(keys::read_part(key).unwrap().0).unwrap().unwrap().1.page.entries;
            prop_assert_eq!(entries.len(), 1, "a page of {} octets", value.len());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 500, ..ProptestConfig::default() })]

    #[test]
    fn pages_of_messages_are_a_map(batches in steps(message_octets())) {
        assert_map(key, 2048, batches)?;
    }

    #[test]
    fn pages_of_due_times_are_a_map(batches in steps(Just(0))) {
        assert_map(due_key, 512, batches)?;
    }
}

/// Pages of a tree to which rows of a thousand entries of 300 octets were added in turn, 50 of each at once. Their
/// keys are those from 0 on, from 1,000,000 on, and so on.
fn pages_of_rows(rows: u64) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let tree = tree(&dir);
    let pages = Pages::new(&tree, KIND, 4096);
    for batch in 0..20 {
        let mut change = pages.change();
        for number in
            (0..rows).flat_map(|row| (0..50).map(move |number| row * 1_000_000 + batch * 50 + number))
        {
            change.insert(key(number), entry(number, 300)).unwrap();
        }
        apply(&tree, change);
    }
    tree.scan(&[KIND]).count()
}

#[test]
fn entries_that_come_one_behind_another_share_full_pages() {
    // A page has room for 12 entries of 322 octets, and is split when the thirteenth comes.
    let full = 1000_usize.div_ceil(12);
    assert_eq!(pages_of_rows(1), full);
    // A row's first page ends where the next row begins, and it is split there once.
    let several = pages_of_rows(10);
    assert!(several <= 10 * (full + 1), "{several}");
}

/// Who reads one of several parts must not meet the write of a neighbour.
#[test]
fn an_entry_in_several_parts_has_a_page_of_its_own_wherever_it_comes() {
    for long in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let tree = tree(&dir);
        let pages = Pages::new(&tree, KIND, 4096);
        for octets in [100, 70_000] {
            let mut change = pages.change();
            (0..5).for_each(|number| change.insert(key(number), entry(number, 100)).unwrap());
            change.insert(key(long), entry(long, octets)).unwrap();
            apply(&tree, change);
        }
        let first_parts = tree.scan(&[KIND]).map(|pair| pair.unwrap().0);
        let first_parts: Vec<_> = first_parts.filter(|key| key.ends_with(&[0, 0])).collect();
        let mut firsts: Vec<_> = [0, long, long + 1].into_iter().filter(|first| *first < 5).collect();
        firsts.dedup();
        let expected: Vec<_> = firsts.into_iter().map(|first| keys::part(KIND, &key(first), 0)).collect();
        assert_eq!(first_parts, expected, "{long}");
        let read: Vec<_> = all(pages, Bound::Unbounded).into_iter().map(|(key, _)| key).collect();
        assert_eq!(read, (0..5).map(key).collect::<Vec<_>>());
    }
}

/// A reader has a page in hand when it is split, and meets its second half again.
#[test]
fn an_entry_that_is_met_twice_is_read_once() {
    let page = |numbers: std::ops::Range<u64>| {
        let entries = numbers.map(|number| (key(number), Bytes::from(entry(number, 10)))).collect();
        Ok(Page { entries })
    };
    for (from, expected) in
        [(Bound::Unbounded, 0..12), (Bound::Included(key(2)), 2..12), (Bound::Excluded(key(5)), 6..12)]
    {
        let pages = [page(0..10), page(3..10), page(10..12)].into_iter();
        let read = Entries { pages, page: Vec::new().into_iter(), from }.map(|pair| pair.unwrap().0);
        assert_eq!(read.collect::<Vec<_>>(), expected.map(key).collect::<Vec<_>>());
    }
}

#[test]
fn a_page_that_is_cut_short_is_told() {
    let mut page = Page::default();
    page.insert(key(1), Bytes::from_static(b"entry"), 4096);
    let value = page.encode();
    for octets in 1..value.len() {
        let cut = Page::decode(value.get(..octets).unwrap().to_vec());
        assert!(matches!(cut, Err(SpoolError::Entry(_))), "{octets}");
    }
    assert_eq!(Page::decode(value).unwrap(), page);
}
