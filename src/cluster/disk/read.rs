//! Reading what a node keeps: all of it, or what is left. Blocks on the disk.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::EntryPayload;

use super::super::log::{self, LogError, LogStore, Readable};
use super::super::machine::Machine;
use super::super::types::{Entry, LogId};
use super::error::{Damage, DiskError};
use super::identity::Identity;
use crate::routing::{RoutingOptions, Table, View};

/// What stands in the folder of a node.
pub(crate) enum Found {
    /// All that it takes part with.
    Whole(Box<Whole>),
    /// What it can only forward by.
    Stopped(Box<Remains>),
}

/// What a node takes part with.
pub(crate) struct Whole {
    pub(crate) identity: Identity,
    pub(crate) dir: PathBuf,
    pub(crate) log: LogStore,
    pub(crate) machine: Machine,
}

/// What a node that takes no part goes on with.
pub(crate) struct Remains {
    pub(crate) damage: Damage,
    /// By which mail is forwarded nevertheless.
    pub(crate) table: Table,
    pub(crate) again: Again,
}

/// Whether a node that takes no part tries to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// The disk refuses, perhaps not for ever.
    Later,
    /// What is there does not mend itself.
    Never,
}

impl Found {
    fn stopped(damage: Damage, table: Table, again: Again) -> Self {
        Self::Stopped(Box::new(Remains { damage, table, again }))
    }
}

/// Opens log and snapshot.
///
/// # Errors
/// When the disk does not let them be read, or a later version wrote them.
pub(crate) fn read(
    dir: PathBuf,
    identity: Identity,
    view: &View,
    lock: Arc<File>,
) -> Result<Found, DiskError> {
    let lost = || Table::lost(view.snapshot().options().clone());
    let machine = match Machine::open(&dir, view) {
        Ok(machine) => machine.under(lock),
        Err(error) if error.is_damage() => {
            return Ok(Found::stopped(Damage::Snapshot(error), lost(), Again::Never));
        }
        Err(error) => return Err(error.into()),
    };
    let log = dir.join("log");
    match LogStore::open(&log) {
        Ok(log) if log.purged() > machine.applied() => {
            let damage = Damage::of_gap(machine.applied());
            Ok(Found::stopped(damage, machine.table().clone().remains(), Again::Never))
        }
        Ok(log) => {
            let log = log.after_snapshots(machine.durable());
            Ok(Found::Whole(Box::new(Whole { identity, dir, log, machine })))
        }
        Err(error) => unopened(machine, log::look(&log), error),
    }
}

/// What is left when the log cannot be opened: it is damaged, or the disk does not let it be written anew.
fn unopened(machine: Machine, readable: Readable, error: LogError) -> Result<Found, DiskError> {
    let (damage, again) = match &readable.whole {
        Ok(()) => (Damage::Disk(error), Again::Later),
        Err(cause) if cause.is_damage() => (Damage::Log(cause.clone()), Again::Never),
        Err(cause) => return Err(cause.clone().into()),
    };
    Ok(Found::stopped(damage, brought_up(machine, readable), again))
}

/// The table that can be made of what is in the folder, all of it or not.
pub(crate) fn left(dir: &Path, options: RoutingOptions) -> Table {
    made_of(dir, options, |readable| readable)
}

/// As [`left`], with the entries of which it is not known whether they were agreed on: for a node that goes on without those
/// who could say. A client may have heard of them that they are made.
pub(crate) fn inherited(dir: &Path, options: RoutingOptions) -> Table {
    made_of(dir, options, |readable| {
        let committed = readable.entries.last().map(|entry| entry.log_id);
        Readable { committed, ..readable }
    })
}

/// The table that a folder's snapshot and log make, the log `taken_as` this.
fn made_of(dir: &Path, options: RoutingOptions, taken_as: impl FnOnce(Readable) -> Readable) -> Table {
    match Machine::open(dir, &View::empty(options.clone())) {
        Ok(machine) => brought_up(machine, taken_as(log::look(&dir.join("log")))),
        Err(_) => Table::lost(options),
    }
}

/// A snapshot's table with what the log holds beyond it, marked where that may not be all.
fn brought_up(mut machine: Machine, readable: Readable) -> Table {
    if readable.purged > machine.applied() {
        return machine.table().clone().remains();
    }
    let (entries, are_all) = agreed(&machine, readable.entries, readable.committed);
    let caught_up = machine.catch_up(entries);
    let table = machine.table().clone();
    if are_all && readable.whole.is_ok() && caught_up.is_ok() { table } else { table.remains() }
}

/// Of the entries of a log those that are known to be agreed on, and whether that is all of them. Where nobody else was ever
/// asked, it is.
fn agreed(machine: &Machine, entries: Vec<Entry>, committed: Option<LogId>) -> (Vec<Entry>, bool) {
    let later = entries.iter().filter_map(|entry| match &entry.payload {
        EntryPayload::Membership(membership) => Some(membership.voter_ids().count()),
        EntryPayload::Blank | EntryPayload::Normal(_) => None,
    });
    let voters = later.chain([machine.membership().voter_ids().count()]);
    if voters.max() == Some(1) {
        return (entries, true);
    }
    let is_agreed = |entry: &Entry| committed.is_some_and(|committed| entry.log_id.index <= committed.index);
    let count = entries.len();
    let agreed: Vec<_> = entries.into_iter().filter(is_agreed).collect();
    let are_all = agreed.len() == count;
    (agreed, are_all)
}
