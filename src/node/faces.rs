//! The node's HTTP and gRPC faces, bound together and served together.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::{NodeError, part};
use super::state::State;
use crate::admin::{AdminServer, LiveTerms, Services};
use crate::blocklist::Blocklist;
use crate::config::{Config, Parts};
use crate::http::{HttpServer, Readiness, operator_pages, public_pages};
use crate::pipeline::queue::Queue;
use crate::telemetry::{Addresses, Metrics};
use crate::tls::{Ending, Endings, ServerUse, StartTls};

/// What of the node's network its faces show.
pub(super) struct Shown {
    /// The certificate of SMTP.
    pub(super) certificate: StartTls,
    /// The DNS blocklists in force.
    pub(super) blocklist: Arc<ArcSwap<Blocklist>>,
}

/// What is bound.
pub(super) struct Faces {
    http: HttpServer,
    public: Option<HttpServer>,
    admin: AdminServer,
    endings: Endings,
}

impl Faces {
    /// Binds all of them.
    pub(super) async fn bind(
        config: &watch::Receiver<Arc<Config>>,
        state: &State,
        metrics: &Arc<Metrics>,
        readiness: &Readiness,
        shown: Shown,
    ) -> Result<Self, NodeError> {
        let first = config.borrow().clone();
        let services = Services {
            routing: state.routing.clone(),
            office: state.agreeing.office(),
            blocklist: shown.blocklist,
            journal: state.journal.clone(),
            metrics: metrics.clone(),
        };
        let admin = AdminServer::bind(&first.admin, services).await.map_err(|error| part(&error))?;
        let endings = endings(shown.certificate, admin.terms());
        let (routing, data_dir) = (state.routing.clone(), first.node.data_dir.clone());
        let pages = operator_pages(metrics.clone(), readiness.clone(), routing, endings.clone(), data_dir);
        let http = HttpServer::bind(first.http.listen, pages).await.map_err(named(first.http.listen))?;
        let public = match &first.public {
            Some(public) => {
                let pages = public_pages(config.clone());
                Some(HttpServer::bind(public.listen, pages).await.map_err(named(public.listen))?)
            }
            None => None,
        };
        Ok(Self { http, public, admin, endings })
    }

    /// Tells of the certificates at their end.
    pub(super) fn endings(&self) -> Endings {
        self.endings.clone()
    }

    /// Where they listen, beside these SMTP listeners.
    pub(super) fn addresses(&self, smtp: Vec<SocketAddr>, cluster: Option<SocketAddr>) -> Addresses {
        Addresses {
            smtp,
            http: self.http.address(),
            public: self.public.as_ref().map(HttpServer::address),
            admin: self.admin.address(),
            cluster,
        }
    }

    /// What of them follows the configuration.
    pub(super) fn following(&self, following: Parts) -> Parts {
        following.with(self.admin.terms())
    }

    /// Serves until told to stop.
    pub(super) fn serve(self, queue: Queue, tasks: &TaskTracker, stop: &CancellationToken) {
        tasks.spawn(self.http.serve(stop.clone()));
        if let Some(public) = self.public {
            tasks.spawn(public.serve(stop.clone()));
        }
        let admin = self.admin.serve(queue, stop.clone());
        tasks.spawn(async {
            if let Err(error) = admin.await {
                tracing::error!(%error, "the admin service ended");
            }
        });
    }
}

/// The certificates at their end that either listener shows when asked.
fn endings(smtp: StartTls, admin: LiveTerms) -> Endings {
    Arc::new(move |now| {
        let shown = [(smtp.identity(), ServerUse::Smtp), (admin.identity(), ServerUse::Admin)];
        shown.into_iter().filter_map(|(identity, purpose)| Ending::of(&*identity?, purpose, now)).collect()
    })
}

fn named(address: SocketAddr) -> impl Fn(std::io::Error) -> NodeError {
    move |error| NodeError::Part(format!("cannot listen on {address}: {error}"))
}
