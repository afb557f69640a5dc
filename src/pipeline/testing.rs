//! What the tests of several stages need.

use std::sync::Arc;

use super::chronicle::{Chronicle, Manner};
use crate::config::{AddressLog, LogAddresses};
use crate::journal::{Journal, Limits};
use crate::store::Store;
use crate::telemetry::Metrics;

/// A chronicle over a store of its own, whose folder is gone when the guard is dropped.
pub(crate) fn chronicle() -> (Chronicle, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let journal = Journal::open(&store, Limits::default()).unwrap();
    let manner = Manner {
        addresses: AddressLog::new(LogAddresses::Full, b"tops3cr3t"),
        postmaster_url: "https://relay.example/postmaster".to_owned(),
    };
    let chronicle =
        Chronicle::new(journal, Arc::new(Metrics::new().unwrap()), manner, directory.path().join("poison"));
    (chronicle, directory)
}
