//! Pages: keys that are neighbours, and what is kept under them, are one value of the database. A change costs
//! it as much for a page as for a key, and operations that are applied together change few pages: new messages
//! have ids that are neighbours, and those for one domain are due at neighbouring times.
//!
//! A map is all pages of one kind. A page has the keys from its own up to the next page's; its own is the key
//! that it was begun for. Its value is a row of entries in the order of their keys: octets of the key (u16), of
//! what is kept under it (u32), key, entry. One that is too long for the database is in parts.
//!
//! No key, nor one that is asked for, is the beginning of another: the parts' numbers stand behind it.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::keys;
use crate::spool::error::SpoolError;
use crate::store::{Batch, Pair, StoreError, Tree};

/// Octets of a part of a page: below the store's bound of a value.
const PART_OCTETS: usize = 64_000;
/// Octets before a key: its length, and that of the entry.
const LENGTHS_OCTETS: usize = 6;

/// A key and what is kept under it.
type Entry = (Bytes, Bytes);

/// Entries in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Page {
    entries: Vec<Entry>,
}

impl Page {
    fn decode(value: Vec<u8>) -> Result<Self, SpoolError> {
        let mut rest = Bytes::from(value);
        let mut entries = Vec::new();
        while !rest.is_empty() {
            let (entry, behind) = split_entry(&rest)
                .ok_or_else(|| SpoolError::Entry(format!("a page ends in {} octets", rest.len())))?;
            entries.push(entry);
            rest = behind;
        }
        Ok(Self { entries })
    }

    fn encode(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(self.octets());
        for (key, entry) in &self.entries {
            // Both are bounded far below: by the longest domain, and by the record that the entry is of.
            value.extend_from_slice(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes());
            value.extend_from_slice(&u32::try_from(entry.len()).unwrap_or(u32::MAX).to_be_bytes());
            value.extend_from_slice(key);
            value.extend_from_slice(entry);
        }
        value
    }

    fn octets(&self) -> usize {
        self.entries.iter().map(|(key, entry)| octets(key, entry)).sum()
    }

    fn place(&self, key: &[u8]) -> Result<usize, usize> {
        self.entries.binary_search_by(|(known, _)| known.as_ref().cmp(key))
    }

    fn get(&self, key: &[u8]) -> Option<&Bytes> {
        self.place(key).ok().and_then(|at| self.entries.get(at)).map(|(_, entry)| entry)
    }

    /// Puts an entry, and splits the page if it is too long then; returns what is split off, the last first. Keys
    /// come in rows, each behind the one before: one at the end gets a page of its own, and the page stays full;
    /// one in the middle becomes the end. An entry that is too long by itself has no neighbours: it alone may be in
    /// parts, which are not read at once, and is hardly ever written while somebody does.
    fn insert(&mut self, key: Bytes, entry: Bytes, page_octets: usize) -> Vec<Self> {
        let is_long = octets(&key, &entry) > page_octets;
        let at = match self.place(&key) {
            Ok(at) => {
                if let Some((_, known)) = self.entries.get_mut(at) {
                    *known = entry;
                }
                at
            }
            Err(at) => {
                self.entries.insert(at, (key, entry));
                at
            }
        };
        let is_last = at + 1 == self.entries.len();
        let cuts = match (self.octets() > page_octets, is_long, is_last) {
            (false, ..) => [0, 0],
            (true, true, _) => [at + 1, at],
            (true, false, true) => [at, 0],
            (true, false, false) => [at + 1, 0],
        };
        let mut behind = Vec::new();
        for cut in cuts {
            if (1..self.entries.len()).contains(&cut) {
                behind.push(Self { entries: self.entries.split_off(cut) });
            }
        }
        behind
    }
}

fn octets(key: &[u8], entry: &[u8]) -> usize {
    LENGTHS_OCTETS + key.len() + entry.len()
}

fn split_entry(octets: &Bytes) -> Option<(Entry, Bytes)> {
    let (key, rest) = octets.split_first_chunk()?;
    let (entry, rest) = rest.split_first_chunk()?;
    let (key, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*key)))?;
    let (entry, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*entry)).ok()?)?;
    Some(((octets.slice_ref(key), octets.slice_ref(entry)), octets.slice_ref(rest)))
}

/// The pages of one kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pages<'a> {
    tree: &'a Tree,
    kind: u8,
    /// Past which a page is split: what a change of one entry writes again.
    page_octets: usize,
}

impl<'a> Pages<'a> {
    pub(super) fn new(tree: &'a Tree, kind: u8, page_octets: usize) -> Self {
        Self { tree, kind, page_octets }
    }

    /// What is kept under a key.
    pub(super) fn find(self, key: &[u8]) -> Result<Option<Bytes>, SpoolError> {
        Ok(self.read(key)?.and_then(|(_, stored)| stored.page.get(key).cloned()))
    }

    /// The entries from a key on, or behind it, or all, in the order of keys.
    pub(super) fn entries(
        self,
        from: Bound<&[u8]>,
    ) -> Result<impl Iterator<Item = Result<Entry, SpoolError>> + use<>, SpoolError> {
        let start = match from {
            Bound::Unbounded => vec![self.kind],
            Bound::Included(key) | Bound::Excluded(key) => match self.last_part(key)? {
                Some((first, ..)) => self.part(&first, 0),
                None => self.part(key, 0),
            },
        };
        let parts = self.tree.range(Bound::Included(&start), Bound::Excluded(&[self.kind + 1]));
        let pages = Assembled { parts, next: None };
        Ok(Entries { pages, page: Vec::new().into_iter(), from: from.map(Bytes::copy_from_slice) })
    }

    /// A batch of changes in the making.
    pub(super) fn change(self) -> Change<'a> {
        Change { pages: self, open: BTreeMap::new() }
    }

    fn part(self, first: &[u8], number: u16) -> Vec<u8> {
        keys::part(self.kind, first, number)
    }

    /// The last part of the page that a key is in, or would be: the page's key, the part's number, the part.
    fn last_part(self, key: &[u8]) -> Result<Option<(Bytes, u16, Vec<u8>)>, SpoolError> {
        let to = self.part(key, u16::MAX);
        let last = self.tree.range(Bound::Included(&[self.kind]), Bound::Included(&to)).next_back();
        let Some((key, value)) = last.transpose()? else { return Ok(None) };
        let (first, number) = keys::read_part(&key)
            .ok_or_else(|| SpoolError::Entry(format!("a page's key has {} octets", key.len())))?;
        Ok(Some((Bytes::copy_from_slice(first), number, value)))
    }

    /// The page that a key is in, or would be. One that is written between two of its parts is read again.
    fn read(self, key: &[u8]) -> Result<Option<(Bytes, Stored)>, SpoolError> {
        match self.read_parts(key) {
            Err(SpoolError::Entry(_)) => self.read_parts(key),
            read => read,
        }
    }

    fn read_parts(self, key: &[u8]) -> Result<Option<(Bytes, Stored)>, SpoolError> {
        let Some((first, number, last)) = self.last_part(key)? else { return Ok(None) };
        let mut value = Vec::new();
        for part in 0..number {
            let part = self.tree.get(&self.part(&first, part))?;
            value.extend(part.ok_or_else(|| SpoolError::Entry("a part of a page is missing".to_owned()))?);
        }
        value.extend(last);
        Ok(Some((first, Stored { page: Page::decode(value)?, parts: number.saturating_add(1) })))
    }
}

/// Puts the parts of pages together.
struct Assembled<I> {
    parts: I,
    next: Option<(Bytes, Vec<u8>)>,
}

impl<I: Iterator<Item = Result<Pair, StoreError>>> Iterator for Assembled<I> {
    type Item = Result<Page, SpoolError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let part = match self.parts.next().transpose() {
                Ok(part) => part,
                Err(error) => return Some(Err(error.into())),
            };
            let part = part.and_then(|(key, value)| {
                let (first, _) = keys::read_part(&key)?;
                Some((Bytes::copy_from_slice(first), value))
            });
            match (&mut self.next, part) {
                (Some((open, value)), Some((first, mut more))) if *open == first => value.append(&mut more),
                (next, part) => {
                    let ended = part.is_none();
                    match std::mem::replace(next, part) {
                        Some((_, value)) => return Some(Page::decode(value)),
                        None if ended => return None,
                        None => {}
                    }
                }
            }
        }
    }
}

/// Takes pages apart. A page that is split meanwhile may come whole, and its second half once more.
struct Entries<P> {
    pages: P,
    page: std::vec::IntoIter<Entry>,
    from: Bound<Bytes>,
}

impl<P: Iterator<Item = Result<Page, SpoolError>>> Iterator for Entries<P> {
    type Item = Result<Entry, SpoolError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            for (key, entry) in self.page.by_ref() {
                let is_wanted = match &self.from {
                    Bound::Unbounded => true,
                    Bound::Included(from) => key >= *from,
                    Bound::Excluded(from) => key > *from,
                };
                if is_wanted {
                    self.from = Bound::Excluded(key.clone());
                    return Some(Ok((key, entry)));
                }
            }
            match self.pages.next()? {
                Ok(page) => self.page = page.entries.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// A page as the database has it.
#[derive(Debug)]
struct Stored {
    page: Page,
    parts: u16,
}

/// The pages that a batch looks into, as they are to be.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pages: Pages<'a>,
    open: BTreeMap<Bytes, Open>,
}

#[derive(Debug)]
struct Open {
    page: Page,
    /// Where the next one begins; `None`: it is the last.
    until: Option<Bytes>,
    /// Parts of it in the database.
    parts: u16,
    changed: bool,
}

impl Change<'_> {
    /// Pages that were looked into.
    pub(super) fn pages(&self) -> usize {
        self.open.len()
    }

    /// What is kept under a key.
    pub(super) fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, SpoolError> {
        Ok(self.open(key)?.page.get(key).cloned())
    }

    /// Keeps this under a key.
    pub(super) fn insert(&mut self, key: Bytes, entry: Vec<u8>) -> Result<(), SpoolError> {
        let page_octets = self.pages.page_octets;
        let open = self.open(&key)?;
        open.changed = true;
        let mut made = Vec::new();
        for page in open.page.insert(key, entry.into(), page_octets) {
            let Some((first, _)) = page.entries.first() else { continue };
            let first = first.clone();
            let until = open.until.replace(first.clone());
            made.push((first, Open { page, until, parts: 0, changed: true }));
        }
        self.open.extend(made);
        Ok(())
    }

    /// Keeps nothing under a key.
    pub(super) fn remove(&mut self, key: &[u8]) -> Result<(), SpoolError> {
        let open = self.open(key)?;
        if let Ok(at) = open.page.place(key) {
            open.page.entries.remove(at);
            open.changed = true;
        }
        Ok(())
    }

    /// The page that a key is in, or would be.
    fn open(&mut self, key: &[u8]) -> Result<&mut Open, SpoolError> {
        let to_it = (Bound::Unbounded, Bound::Included(key));
        let known = self.open.range::<[u8], _>(to_it).next_back();
        let known = known.filter(|(_, open)| open.until.as_ref().is_none_or(|until| key < &until[..]));
        let first = match known {
            Some((first, _)) => first.clone(),
            None => self.load(key)?,
        };
        Ok(self.open.entry(first).or_insert_with(|| Open::empty(None)))
    }

    fn load(&mut self, key: &[u8]) -> Result<Bytes, SpoolError> {
        let Pages { tree, kind, .. } = self.pages;
        let from = self.pages.part(key, u16::MAX);
        let next = tree.range(Bound::Excluded(&from), Bound::Excluded(&[kind + 1])).next().transpose()?;
        let next = next.and_then(|(key, _)| Some(Bytes::copy_from_slice(keys::read_part(&key)?.0)));
        let from_it = (Bound::Included(key), Bound::Unbounded);
        let made = self.open.range::<[u8], _>(from_it).next().map(|(first, _)| first.clone());
        let until = next.into_iter().chain(made).min();
        let (first, open) = match self.pages.read(key)? {
            Some((first, Stored { page, parts })) => (first, Open { page, until, parts, changed: false }),
            None => (Bytes::copy_from_slice(key), Open::empty(until)),
        };
        self.open.insert(first.clone(), open);
        Ok(first)
    }

    /// Puts what has changed into a batch.
    pub(super) fn write(self, batch: &mut Batch) {
        for (first, open) in self.open.into_iter().filter(|(_, open)| open.changed) {
            let value = open.page.encode();
            let parts = value.chunks(PART_OCTETS);
            let there = u16::try_from(parts.len()).unwrap_or(u16::MAX);
            for (number, part) in (0..u16::MAX).zip(parts) {
                batch.insert(self.pages.part(&first, number), part);
            }
            (there..open.parts).for_each(|number| batch.remove(self.pages.part(&first, number)));
        }
    }
}

impl Open {
    fn empty(until: Option<Bytes>) -> Self {
        Self { page: Page::default(), until, parts: 0, changed: false }
    }
}

#[cfg(test)]
#[path = "pages_tests.rs"]
mod tests;
