//! Reading what a node keeps: all of it, or what is left. Blocks on the disk.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::identity::Identity;
use super::super::log::{self, LogError, LogStore, Readable};
use super::super::machine::Machine;
use super::super::types::Entry;
use super::error::{AloneError, Damage};
use crate::routing::{RoutingOptions, Table, View};

/// What stands in the folder of a node.
pub(super) enum Found {
    /// All that it takes part with.
    Whole(Box<Whole>),
    /// What it can only forward by.
    Stopped(Box<Remains>),
}

/// What a node takes part with.
pub(super) struct Whole {
    pub(super) identity: Identity,
    pub(super) dir: PathBuf,
    pub(super) log: LogStore,
    pub(super) machine: Machine,
}

/// What a node that takes no part goes on with.
pub(super) struct Remains {
    pub(super) damage: Damage,
    /// By which mail is forwarded nevertheless.
    pub(super) table: Table,
    pub(super) again: Again,
}

/// Whether a node that takes no part tries to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
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
pub(super) fn read(
    dir: PathBuf,
    identity: Identity,
    view: &View,
    lock: Arc<File>,
) -> Result<Found, AloneError> {
    let lost = || Table::lost(view.snapshot().options().clone());
    let machine = match Machine::open(&dir, view) {
        Ok(machine) => machine.under(lock),
        Err(error) if error.is_damage() => {
            return Ok(Found::stopped(Damage::Snapshot(error), lost(), Again::Never));
        }
        Err(error) => return Err(error.into()),
    };
    if machine.applied().is_none() {
        return Ok(Found::stopped(Damage::NoSnapshot, lost(), Again::Never));
    }
    let log = dir.join("log");
    match LogStore::open(&log) {
        Ok(log) if log.purged() > machine.applied() => {
            Ok(Found::stopped(Damage::Gap, machine.table().clone().remains(), Again::Never))
        }
        Ok(log) => {
            let log = log.after_snapshots(machine.durable());
            Ok(Found::Whole(Box::new(Whole { identity, dir, log, machine })))
        }
        Err(error) => unopened(machine, log::look(&log), error),
    }
}

/// What is left when the log cannot be opened: it is damaged, or the disk does not let it be written anew.
fn unopened(machine: Machine, readable: Readable, error: LogError) -> Result<Found, AloneError> {
    let (damage, again) = match &readable.whole {
        Ok(()) => (Damage::Disk(error), Again::Later),
        Err(cause) if cause.is_damage() => (Damage::Log(cause.clone()), Again::Never),
        Err(cause) => return Err(cause.clone().into()),
    };
    Ok(Found::stopped(damage, brought_up(machine, readable), again))
}

/// The table that can be made of what is in the folder, all of it or not.
pub(super) fn left(dir: &Path, options: RoutingOptions) -> Table {
    match Machine::open(dir, &View::empty(options.clone())) {
        Ok(machine) if machine.applied().is_some() => brought_up(machine, log::look(&dir.join("log"))),
        Ok(_) | Err(_) => Table::lost(options),
    }
}

/// A snapshot's table with what the log holds beyond it, marked where that is not all.
fn brought_up(mut machine: Machine, readable: Readable) -> Table {
    if readable.purged > machine.applied() {
        return machine.table().clone().remains();
    }
    let is_whole = readable.whole.is_ok();
    let caught_up = machine.catch_up(agreed(&machine, readable));
    let table = machine.table().clone();
    if is_whole && caught_up.is_ok() { table } else { table.remains() }
}

/// Of the entries of a log those that are agreed on: all, where nobody else is asked.
fn agreed(machine: &Machine, readable: Readable) -> Vec<Entry> {
    let is_alone = machine.membership().voter_ids().count() == 1;
    let is_agreed = |entry: &Entry| {
        is_alone || readable.committed.is_some_and(|committed| entry.log_id.index <= committed.index)
    };
    readable.entries.into_iter().filter(is_agreed).collect()
}
