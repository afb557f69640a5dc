//! Pages: the entries of messages whose ids are neighbours are one value of the database. An insert costs it
//! as much for a page as for an entry, and a batch of new messages, whose ids are neighbours, fills few pages.
//!
//! A page has the messages from its own id up to the next page's; its own is the id of the message that it was
//! begun for. Its value is a row of entries in the order of their ids: id (16 octets), octets of the entry
//! (u32), entry. One that is too long for the database is in parts.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::keys::{self, ID_OCTETS};
use crate::mail::TraceId;
use crate::spool::error::SpoolError;
use crate::store::{Batch, Pair, StoreError, Tree};

/// Octets past which a page is split: ten entries of messages with one copy. What a change of one of them
/// writes again.
const PAGE_OCTETS: usize = 4096;
/// Octets of a part of a page: below the store's bound of a value.
const PART_OCTETS: usize = 64_000;

/// Entries in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Page {
    entries: Vec<(TraceId, Bytes)>,
}

impl Page {
    fn decode(value: Vec<u8>) -> Result<Self, SpoolError> {
        let mut rest = Bytes::from(value);
        let mut entries = Vec::new();
        while !rest.is_empty() {
            let (id, entry, behind) = split_entry(&rest)
                .ok_or_else(|| SpoolError::Entry(format!("a page ends in {} octets", rest.len())))?;
            entries.push((id, entry));
            rest = behind;
        }
        Ok(Self { entries })
    }

    fn encode(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(self.octets());
        for (id, entry) in &self.entries {
            value.extend_from_slice(&id.to_bytes());
            // Bounded far below by the record that it is of.
            value.extend_from_slice(&u32::try_from(entry.len()).unwrap_or(u32::MAX).to_be_bytes());
            value.extend_from_slice(entry);
        }
        value
    }

    fn octets(&self) -> usize {
        self.entries.iter().map(|(_, entry)| ID_OCTETS + 4 + entry.len()).sum()
    }

    fn place(&self, id: TraceId) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&id, |(id, _)| *id)
    }

    fn get(&self, id: TraceId) -> Option<&Bytes> {
        self.place(id).ok().and_then(|at| self.entries.get(at)).map(|(_, entry)| entry)
    }

    /// Its entries, behind an id if there is one.
    pub(super) fn behind(self, after: Option<TraceId>) -> impl Iterator<Item = (TraceId, Bytes)> {
        self.entries.into_iter().filter(move |(id, _)| after.is_none_or(|after| *id > after))
    }

    /// Puts an entry, and splits the page if it is too long then; returns what is split off, the last first. Ids
    /// grow, so that an entry at the end gets a page of its own, and the page stays full. One that is too long by
    /// itself has no neighbours: it alone may be in parts, and is read by who has its message in hand.
    fn insert(&mut self, id: TraceId, entry: Bytes) -> Vec<Self> {
        let is_long = ID_OCTETS + 4 + entry.len() > PAGE_OCTETS;
        let at = match self.place(id) {
            Ok(at) => {
                if let Some((_, known)) = self.entries.get_mut(at) {
                    *known = entry;
                }
                at
            }
            Err(at) => {
                self.entries.insert(at, (id, entry));
                at
            }
        };
        let is_last = at + 1 == self.entries.len();
        let cuts = match (self.octets() > PAGE_OCTETS, is_long, is_last) {
            (false, ..) => [0, 0],
            (true, true, _) => [at + 1, at],
            (true, false, true) => [at, 0],
            (true, false, false) => [self.entries.len() / 2, 0],
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

fn split_entry(octets: &Bytes) -> Option<(TraceId, Bytes, Bytes)> {
    let (id, rest) = octets.split_first_chunk::<ID_OCTETS>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (entry, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    Some((TraceId::from_bytes(*id), octets.slice_ref(entry), octets.slice_ref(rest)))
}

/// What is kept of a message.
pub(super) fn find(tree: &Tree, id: TraceId) -> Result<Option<Bytes>, SpoolError> {
    Ok(read(tree, id)?.and_then(|(_, stored)| stored.page.get(id).cloned()))
}

/// The pages from that of an id on; with no id, all of them.
pub(super) fn pages(
    tree: &Tree,
    from: Option<TraceId>,
) -> Result<impl Iterator<Item = Result<Page, SpoolError>> + use<>, SpoolError> {
    let last = from.map(|id| last_part(tree, id)).transpose()?.flatten();
    let from =
        last.map(|(page, ..)| page).or(from).map_or_else(|| vec![keys::MESSAGE], |id| keys::part(id, 0));
    let parts = tree.range(Bound::Included(&from), Bound::Excluded(&[keys::MESSAGE + 1]));
    Ok(Assembled { parts, next: None })
}

/// Puts the parts of pages together.
struct Assembled<I> {
    parts: I,
    next: Option<(TraceId, Vec<u8>)>,
}

impl<I: Iterator<Item = Result<Pair, StoreError>>> Iterator for Assembled<I> {
    type Item = Result<Page, SpoolError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let part = match self.parts.next().transpose() {
                Ok(part) => part,
                Err(error) => return Some(Err(error.into())),
            };
            let part = part.and_then(|(key, value)| Some((keys::read_part(&key)?.0, value)));
            match (&mut self.next, part) {
                (Some((open, value)), Some((id, mut more))) if *open == id => value.append(&mut more),
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

/// A page as the database has it.
#[derive(Debug)]
struct Stored {
    page: Page,
    parts: u16,
}

/// The last part of the page that a message is in, or would be: the page's id, the part's number, the part.
fn last_part(tree: &Tree, id: TraceId) -> Result<Option<(TraceId, u16, Vec<u8>)>, SpoolError> {
    let to = keys::part(id, u16::MAX);
    let last = tree.range(Bound::Included(&[keys::MESSAGE]), Bound::Included(&to)).next_back();
    let Some((key, value)) = last.transpose()? else { return Ok(None) };
    let (page, number) = keys::read_part(&key)
        .ok_or_else(|| SpoolError::Entry(format!("a page's key has {} octets", key.len())))?;
    Ok(Some((page, number, value)))
}

fn read(tree: &Tree, id: TraceId) -> Result<Option<(TraceId, Stored)>, SpoolError> {
    let Some((first, number, last)) = last_part(tree, id)? else { return Ok(None) };
    let mut value = Vec::new();
    for part in 0..number {
        let part = tree.get(&keys::part(first, part))?;
        value.extend(part.ok_or_else(|| SpoolError::Entry("a part of a page is missing".to_owned()))?);
    }
    value.extend(last);
    Ok(Some((first, Stored { page: Page::decode(value)?, parts: number.saturating_add(1) })))
}

/// The pages that a batch looks into, as they are to be.
#[derive(Debug)]
pub(super) struct Change<'a> {
    tree: &'a Tree,
    open: BTreeMap<TraceId, Open>,
}

#[derive(Debug)]
struct Open {
    page: Page,
    /// Where the next one begins; `None`: it is the last.
    until: Option<TraceId>,
    /// Parts of it in the database.
    parts: u16,
    changed: bool,
}

impl<'a> Change<'a> {
    pub(super) fn new(tree: &'a Tree) -> Self {
        Self { tree, open: BTreeMap::new() }
    }

    /// What is kept of a message.
    pub(super) fn get(&mut self, id: TraceId) -> Result<Option<Bytes>, SpoolError> {
        Ok(self.open(id)?.page.get(id).cloned())
    }

    /// Keeps this of a message.
    pub(super) fn insert(&mut self, id: TraceId, entry: Vec<u8>) -> Result<(), SpoolError> {
        let open = self.open(id)?;
        open.changed = true;
        let mut made = Vec::new();
        for page in open.page.insert(id, entry.into()) {
            let Some((first, _)) = page.entries.first() else { continue };
            let first = *first;
            let until = open.until.replace(first);
            made.push((first, Open { page, until, parts: 0, changed: true }));
        }
        self.open.extend(made);
        Ok(())
    }

    /// Keeps nothing of a message.
    pub(super) fn remove(&mut self, id: TraceId) -> Result<(), SpoolError> {
        let open = self.open(id)?;
        if let Ok(at) = open.page.place(id) {
            open.page.entries.remove(at);
            open.changed = true;
        }
        Ok(())
    }

    /// The page that a message is in, or would be.
    fn open(&mut self, id: TraceId) -> Result<&mut Open, SpoolError> {
        let known = self.open.range(..=id).next_back();
        let known =
            known.filter(|(_, open)| open.until.is_none_or(|until| id < until)).map(|(first, _)| *first);
        let first = match known {
            Some(first) => first,
            None => self.load(id)?,
        };
        Ok(self.open.entry(first).or_insert_with(|| Open::empty(None)))
    }

    fn load(&mut self, id: TraceId) -> Result<TraceId, SpoolError> {
        let from = keys::part(id, u16::MAX);
        let next = self.tree.range(Bound::Excluded(&from), Bound::Excluded(&[keys::MESSAGE + 1])).next();
        let next = next.transpose()?.and_then(|(key, _)| keys::read_part(&key)).map(|(page, _)| page);
        let made = self.open.range(id..).next().map(|(first, _)| *first);
        let until = next.into_iter().chain(made).min();
        let (first, open) = match read(self.tree, id)? {
            Some((first, Stored { page, parts })) => (first, Open { page, until, parts, changed: false }),
            None => (id, Open::empty(until)),
        };
        self.open.insert(first, open);
        Ok(first)
    }

    /// Puts what has changed into a batch.
    pub(super) fn write(self, batch: &mut Batch) {
        for (first, open) in self.open.into_iter().filter(|(_, open)| open.changed) {
            let value = open.page.encode();
            let parts = value.chunks(PART_OCTETS);
            let there = u16::try_from(parts.len()).unwrap_or(u16::MAX);
            for (number, part) in (0..u16::MAX).zip(parts) {
                batch.insert(keys::part(first, number), part);
            }
            (there..open.parts).for_each(|number| batch.remove(keys::part(first, number)));
        }
    }
}

impl Open {
    fn empty(until: Option<TraceId>) -> Self {
        Self { page: Page::default(), until, parts: 0, changed: false }
    }
}

#[cfg(test)]
#[path = "pages_tests.rs"]
mod tests;
