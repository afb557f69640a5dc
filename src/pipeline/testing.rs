//! What the tests of several stages need.

use std::sync::Arc;

use actix::dev::channel::channel;
use actix::prelude::*;
use tokio_util::sync::CancellationToken;

use super::chronicle::{Chronicle, Manner};
use super::joint::Handoff;
use super::parcel::Parcel;
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

/// A way to an actor that is gone.
pub(crate) fn nowhere<P: Parcel>() -> Handoff<P> {
    Handoff::new(Addr::<Played<P>>::new(channel(0).0).recipient(), CancellationToken::new())
}

/// A way to a stage that the test plays. Needs a running actix system.
pub(crate) fn played<P: Parcel>(play: impl FnMut(P) + 'static) -> Handoff<P> {
    Handoff::new(Played(Box::new(play)).start().recipient(), CancellationToken::new())
}

struct Played<P>(Box<dyn FnMut(P)>);

impl<P: 'static> Actor for Played<P> {
    type Context = Context<Self>;
}

impl<P: Parcel> Handler<P> for Played<P> {
    type Result = ();

    fn handle(&mut self, parcel: P, _: &mut Self::Context) {
        (self.0)(parcel);
    }
}
