use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use arc_swap::ArcSwap;
use futures_util::poll;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::blocklist::Blocklist;
use crate::config::Config;
use crate::config::test_files::Files;
use crate::connections::Drain;
use crate::dns::Dns;
use crate::pipeline::account::Account;
use crate::pipeline::inbound::{Admission, Guesses, Surroundings, Temporary};
use crate::pipeline::testing::{chronicle, nowhere};
use crate::routing::RoutingOptions;
use crate::routing::test_table::in_memory;
use crate::telemetry::Metrics;
use crate::tls::StartTls;

/// Two clients of one network.
const SILENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

/// A node's surroundings without its stages, and the folder that they are in.
fn surroundings() -> (Arc<Surroundings>, TempDir) {
    let files = Files::new();
    let config = Arc::new(Config::parse(&files.minimal(), &[]).unwrap());
    let metrics = Arc::new(Metrics::new().unwrap());
    let dns = Dns::new(&config.dns, metrics.clone()).unwrap();
    let (chronicle, folder) = chronicle();
    let options = RoutingOptions {
        service_domain: config.service.domain.clone(),
        mx_hosts: Vec::new(),
        postmaster: config.service.postmaster.clone(),
    };
    let around = Surroundings {
        admission: Admission::new(Drain::default()),
        guesses: Guesses::default(),
        certificate: StartTls::new(&config, metrics.clone()).unwrap(),
        routing: in_memory(options),
        blocklist: Arc::new(ArcSwap::new(Blocklist::new(&[], dns, metrics.clone()).unwrap())),
        memory: Account::new(config.limits.octets_in_flight),
        temporary: Arc::new(Temporary::new(folder.path().into())),
        chronicle,
        opened: nowhere(),
        addressed: nowhere(),
        admitted: nowhere(),
        accepted: nowhere(),
        draining: CancellationToken::new(),
        sessions: TaskTracker::new(),
        config: watch::channel(config).1,
        metrics,
    };
    (Arc::new(around), folder)
}

/// A session of the silent client, and the client's end of it.
async fn session(around: &Arc<Surroundings>) -> (Session, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let config = around.config.borrow().clone();
    (Session::new(stream, SILENT, around.clone(), config), client)
}

#[tokio::test]
async fn a_client_that_does_not_read_keeps_no_pause() {
    let (around, _folder) = surroundings();
    for client in [SILENT, OTHER] {
        while matches!(around.guesses.count(client, "x"), Answer::AtOnce) {}
    }
    let (mut session, _unread) = session(&around).await;
    // More than the buffers of both ends take.
    session.output = vec![b' '; 64 << 20];
    let address = Address::parse("SRS0=aaaa=2W=sender.example=alice@ours.example").unwrap();
    let mut answer = Box::pin(session.answer_guess(&address, TraceId::new(UNIX_EPOCH, 7)));
    assert!(poll!(&mut answer).is_pending());
    assert!(matches!(around.guesses.count(OTHER, "x"), Answer::AfterPause(_)));
}
