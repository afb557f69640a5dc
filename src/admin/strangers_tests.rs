//! What becomes of those who do not say who they are, and of those who may no longer be here.

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::*;
use crate::admin::listener::PROOF_TIME;
use crate::config::{Config, Live};

/// A world that knows the tokens of a file, and the file.
async fn with_tokens() -> (World, Files) {
    let files = Files::new();
    let admin = config::Admin { token_file: Some(files.path("tokens")), ..config() };
    (World::with(tempfile::tempdir().unwrap(), admin).await, files)
}

fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_ends() {
    let world = World::start().await;
    let begin = tokio::time::Instant::now();
    let mut silent = TcpStream::connect(world.address).await.unwrap();
    let mut heard = Vec::new();
    // A server says its HTTP/2 settings first, whoever is there; how it hangs up does not matter.
    let _ = silent.read_to_end(&mut heard).await;
    assert!(begin.elapsed() >= PROOF_TIME);
    assert_eq!(world.ctl("domain list").await.0, 0);
}

#[tokio::test]
async fn a_token_that_is_gone_ends_its_streams() {
    let (world, files) = with_tokens().await;
    let mut events = wire::event_service_client::EventServiceClient::new(world.channel().await);
    let request = wire::TailEventsRequest { follow: true, ..Default::default() };
    let request = with_token(request, "fedcba9876543210");
    let mut stream = events.tail_events(request).await.unwrap().into_inner();
    world.services.journal.record(entry(1, Outcome::Forwarded));
    assert!(stream.message().await.unwrap().is_some());

    files.write("tokens", "0123456789abcdef admin\n");
    let config = Arc::new(Config::parse(&files.with("admin.token_file = '@tokens'"), &[]).unwrap());
    world.terms.swap(world.terms.prepare(&config).unwrap());
    world.services.journal.record(entry(2, Outcome::Forwarded));
    assert_eq!(stream.message().await.unwrap_err().code(), Code::Unauthenticated);
    let mut domains = DomainServiceClient::new(world.channel().await);
    let refused = domains.list_domains(with_token(ListDomainsRequest::default(), "fedcba9876543210")).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    let taken = domains.list_domains(with_token(ListDomainsRequest::default(), "0123456789abcdef")).await;
    assert!(taken.is_ok());
}

#[tokio::test]
async fn a_right_token_is_taken_however_many_wrong_ones_came_from_there() {
    let (world, _files) = with_tokens().await;
    for _ in 0..30 {
        let mut domains = DomainServiceClient::new(world.channel().await);
        let wrong = with_token(ListDomainsRequest::default(), "wrong-9876543210");
        assert_eq!(domains.list_domains(wrong).await.unwrap_err().code(), Code::Unauthenticated);
    }
    let mut domains = DomainServiceClient::new(world.channel().await);
    let right = with_token(ListDomainsRequest::default(), "0123456789abcdef");
    assert!(domains.list_domains(right).await.is_ok());
}
