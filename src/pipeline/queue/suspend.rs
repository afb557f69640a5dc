//! Destinations that an operator has suspended. Owns the tree `suspensions` of the store: the domain, and
//! JSON `{"since":…,"until":…,"reason":…}` with times in seconds since 1970.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::mail::Domain;
use crate::pipeline::deferred::Suspended;
use crate::store::{Store, StoreError, Tree, off_runtime};

/// A destination to which nothing is delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// The destination domain.
    pub domain: Domain,
    /// Since when.
    pub since: SystemTime,
    /// Until when; `None`: until it is resumed.
    pub until: Option<SystemTime>,
    /// The operator's words.
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    since: u64,
    until: Option<u64>,
    reason: String,
}

impl Suspension {
    fn is_over(&self, now: SystemTime) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// All suspensions of this node.
#[derive(Debug)]
pub(super) struct Suspensions {
    tree: Tree,
    /// What deliver sees of it.
    told: Suspended,
    by_domain: Mutex<BTreeMap<Domain, Suspension>>,
    /// Held from the change on the disk to the one in memory, so that both end alike.
    changing: tokio::sync::Mutex<()>,
}

impl Suspensions {
    pub(super) fn open(store: &Store, told: Suspended) -> Result<Self, StoreError> {
        let tree = store.tree("suspensions")?;
        let mut by_domain = BTreeMap::new();
        for pair in tree.scan(&[]) {
            let (name, value) = pair?;
            let domain = String::from_utf8(name).ok().and_then(|name| Domain::parse(&name).ok());
            match (domain, serde_json::from_slice::<Stored>(&value)) {
                (Some(domain), Ok(stored)) => {
                    by_domain.insert(domain.clone(), stored.suspension(domain));
                }
                (domain, _) => tracing::error!(?domain, "a suspension cannot be read and is ignored"),
            }
        }
        let (by_domain, changing) = (Mutex::new(by_domain), tokio::sync::Mutex::default());
        let suspensions = Self { tree, told, by_domain, changing };
        suspensions.tell();
        Ok(suspensions)
    }

    pub(super) async fn put(&self, suspension: Suspension) -> Result<(), StoreError> {
        let stored = Stored {
            since: seconds(suspension.since),
            until: suspension.until.map(seconds),
            reason: suspension.reason.clone(),
        };
        let value = serde_json::to_vec(&stored).unwrap_or_default();
        let (tree, domain) = (self.tree.clone(), suspension.domain.clone());
        let _changing = self.changing.lock().await;
        off_runtime(move || tree.insert(domain.as_str().as_bytes(), &value)).await?;
        self.by_domain.lock().insert(suspension.domain.clone(), suspension);
        self.tell();
        Ok(())
    }

    fn tell(&self) {
        self.told.set(self.by_domain.lock().keys().cloned().collect());
    }

    /// Whether there was one.
    pub(super) async fn remove(&self, domain: &Domain) -> Result<bool, StoreError> {
        let _changing = self.changing.lock().await;
        self.forget(domain).await
    }

    /// Whether there was one whose time is over. One that an operator has renewed since [`Self::over`] stays.
    pub(super) async fn remove_if_over(&self, domain: &Domain, now: SystemTime) -> Result<bool, StoreError> {
        let _changing = self.changing.lock().await;
        let is_over = self.by_domain.lock().get(domain).is_some_and(|suspension| suspension.is_over(now));
        if is_over { self.forget(domain).await } else { Ok(false) }
    }

    /// For who holds `changing`.
    async fn forget(&self, domain: &Domain) -> Result<bool, StoreError> {
        let (tree, name) = (self.tree.clone(), domain.clone());
        off_runtime(move || tree.remove(name.as_str().as_bytes())).await?;
        let removed = self.by_domain.lock().remove(domain).is_some();
        self.tell();
        Ok(removed)
    }

    pub(super) fn all(&self) -> Vec<Suspension> {
        self.by_domain.lock().values().cloned().collect()
    }

    /// Whether this destination is suspended.
    pub(super) fn has(&self, domain: &Domain) -> bool {
        self.by_domain.lock().contains_key(domain)
    }

    /// Those whose time is over.
    pub(super) fn over(&self, now: SystemTime) -> Vec<Domain> {
        let by_domain = self.by_domain.lock();
        let over = by_domain.values().filter(|suspension| suspension.is_over(now));
        over.map(|suspension| suspension.domain.clone()).collect()
    }
}

impl Stored {
    fn suspension(self, domain: Domain) -> Suspension {
        let time = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        Suspension { domain, since: time(self.since), until: self.until.map(time), reason: self.reason }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
