//! What is known of a client's address before it brings anything: what an operator says of it, and what blocklists do. They
//! are not asked of a client while an operator's word stands in their place.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::surroundings::Surroundings;
use crate::blocklist::Listing;
use crate::clock;
use crate::routing;

/// The DNSBL verdict, asked for at connect: its answer is there when RCPT needs it.
pub(super) enum PendingListing {
    /// An operator's word has counted until now.
    Unasked,
    Asked(JoinHandle<Listing>),
    Known(Listing),
}

impl Drop for PendingListing {
    fn drop(&mut self) {
        if let Self::Asked(task) = self {
            task.abort();
        }
    }
}

impl PendingListing {
    /// Has the zones asked, once.
    pub(super) fn ask(&mut self, around: &Surroundings, ip: IpAddr) {
        if matches!(self, Self::Unasked) {
            let blocklist = around.blocklist.load_full();
            *self = Self::Asked(tokio::spawn(async move { blocklist.check(ip).await }));
        }
    }

    /// The verdict; fails open when its task did, and when nobody has asked.
    pub(super) async fn verdict(&mut self) -> Listing {
        if let Self::Asked(task) = self {
            *self = Self::Known(task.await.unwrap_or_default());
        }
        match self {
            Self::Known(listing) => listing.clone(),
            Self::Unasked | Self::Asked(_) => Listing::default(),
        }
    }
}

impl Surroundings {
    /// What an operator says of a client, as of now.
    pub(super) fn operators_listing(&self, ip: IpAddr) -> Option<Arc<routing::Listing>> {
        let table = self.routing.snapshot();
        // Where nobody is listed, this asks not even for the time.
        if table.listing_count() == 0 { None } else { table.listing(ip, clock::now()).cloned() }
    }
}
