//! Owns the audit log: one line for each call that may change something, whether it did, was refused, or was given up. The
//! line has the target `postroad::audit`, and says who called and with which role, from where, which method, on what, what
//! came of it (`code`, and `reason` where it was refused), and the revision of the routing table that it made.
//!
//! - Nothing of a request is in it but the name of a resource, as far as it was found, and that of a destination by its id:
//!   mail addresses in the log are the affair of `log.addresses`.
//! - Who cannot say who they are leave none; those are counted ([`super::failures`]).

use std::sync::{Arc, OnceLock};

use super::access::Method;
use super::auth::Actor;

/// What the lines are filtered by.
const TARGET: &str = "postroad::audit";

/// What a service notes of the call that it serves. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes(Arc<Noted>);

#[derive(Debug, Default)]
struct Noted {
    /// The resource that the call is about.
    about: OnceLock<String>,
    done: OnceLock<Note>,
}

/// What was done.
#[derive(Debug)]
struct Note {
    name: String,
    /// Of the routing table.
    revision: Option<u64>,
    /// How many messages it was done to.
    count: Option<i64>,
}

impl Actor {
    /// Notes what is to be changed, for the case that it is not.
    pub(super) fn about(&self, name: &str) {
        let _told = self.notes.0.about.set(name.to_owned());
    }

    /// Notes what was done, by the revision of the routing table that has it.
    pub(super) fn did(&self, name: &str, revision: u64) {
        self.note(Note { name: name.to_owned(), revision: Some(revision), count: None });
    }

    /// Notes what would be done, and was not.
    pub(super) fn rehearsed(&self, name: &str) {
        self.note(Note { name: format!("{name} (dry run)"), revision: None, count: None });
    }

    /// Notes to how many of these it was done, which are no part of the routing table.
    pub(super) fn did_to(&self, name: &str, count: i64) {
        self.note(Note { name: name.to_owned(), revision: None, count: Some(count) });
    }

    fn note(&self, note: Note) {
        // A call does one thing.
        let _told = self.notes.0.done.set(note);
    }
}

/// A call as it ended.
pub(super) struct Ended<'a> {
    pub(super) method: &'a Method,
    /// As the metrics have it.
    pub(super) code: &'static str,
    /// The word for why it was refused.
    pub(super) reason: Option<&'a str>,
}

/// Leaves the line.
pub(super) fn tell(actor: &Actor, ended: &Ended<'_>) {
    let Ended { method, code, reason } = ended;
    let note = actor.notes.0.done.get();
    let name = note.map(|note| &note.name).or_else(|| actor.notes.0.about.get());
    tracing::info!(
        target: TARGET,
        actor = &*actor.name,
        role = actor.role.as_str(),
        from = actor.address.map(tracing::field::display),
        service = method.service,
        method = method.name,
        name = name.map(String::as_str),
        code,
        reason,
        revision = note.and_then(|note| note.revision),
        count = note.and_then(|note| note.count),
        "admin change"
    );
}
