//! What the tests of several stages need.

use std::marker::PhantomData;
use std::sync::Arc;

use actix::dev::channel::channel;
use actix::prelude::*;

use super::chronicle::{Chronicle, Manner};
use super::handoff::Handoff;
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
pub(crate) fn nowhere<P>() -> Handoff<P>
where
    P: Message<Result = ()> + Send + Unpin + 'static,
{
    Handoff::new(Addr::<Nobody<P>>::new(channel(0).0).recipient())
}

struct Nobody<P>(PhantomData<P>);

impl<P: Unpin + 'static> Actor for Nobody<P> {
    type Context = Context<Self>;
}

impl<P: Message<Result = ()> + Unpin + 'static> Handler<P> for Nobody<P> {
    type Result = ();

    fn handle(&mut self, _: P, _: &mut Self::Context) {}
}
