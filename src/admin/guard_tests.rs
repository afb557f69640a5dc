//! The guard's pure parts; what it does to calls is in `tests.rs`.

use super::*;
use crate::cluster::alone;
use crate::mail::{Address, Domain};
use crate::routing::RoutingOptions;

#[test]
fn the_callers_deadline_is_honoured_up_to_ours() {
    let method = |name| access::METHODS.iter().find(|method| method.name == name).unwrap();
    let with = |timeout: &str| {
        let mut headers = http::HeaderMap::new();
        headers.insert("grpc-timeout", timeout.parse().unwrap());
        headers
    };
    let none = http::HeaderMap::new();
    assert_eq!(deadline(method("GetRule"), &none), Some(UNARY_DEADLINE));
    assert_eq!(deadline(method("GetRule"), &with("5S")), Some(Duration::from_secs(5)));
    assert_eq!(deadline(method("GetRule"), &with("2H")), Some(UNARY_DEADLINE));
    assert_eq!(deadline(method("GetRule"), &with("later")), Some(UNARY_DEADLINE));
    assert_eq!(deadline(method("ApplyRoutingDocument"), &none), Some(DOCUMENT_DEADLINE));
    assert_eq!(deadline(method("TailEvents"), &none), None);
    assert_eq!(deadline(method("TailEvents"), &with("100m")), Some(Duration::from_millis(100)));
}

#[test]
fn a_grpc_timeout_has_at_most_eight_digits_and_a_unit() {
    for (text, wanted) in [
        ("1H", Some(Duration::from_hours(1))),
        ("2M", Some(Duration::from_mins(2))),
        ("3u", Some(Duration::from_micros(3))),
        ("99999999n", Some(Duration::from_nanos(99_999_999))),
        ("100000000n", None),
        ("S", None),
        ("", None),
        ("-1S", None),
        ("1ü", None),
        ("1", None),
    ] {
        assert_eq!(parse_timeout(text), wanted, "{text}");
    }
}

/// A service that never answers.
#[derive(Clone)]
struct Silent;

impl Service<http::Request<Body>> for Silent {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = std::future::Pending<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        std::future::pending()
    }
}

fn layer() -> GuardLayer {
    let metrics = Arc::new(Metrics::new().unwrap());
    let config = crate::config::Admin {
        listen: "127.0.0.1:0".parse().unwrap(),
        token_file: None,
        tls: None,
        client_ca_file: None,
    };
    let terms = LiveTerms::new(&config, metrics.clone()).unwrap();
    let options = RoutingOptions {
        service_domain: Domain::parse("email.relay.example").unwrap(),
        mx_hosts: vec![],
        postmaster: Address::parse("ops@relay.example").unwrap(),
    };
    let office = Office::Alone(alone::Handle::of_nobody(options, metrics.clone()));
    GuardLayer::new(
        Way::Listener { terms, failures: Arc::new(Failures::new()), office, stop: CancellationToken::new() },
        metrics,
    )
}

fn list_domains() -> http::Request<Body> {
    http::Request::builder().uri("/postroad.admin.v1.DomainService/ListDomains").body(Body::empty()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_unary_call_ends_after_thirty_seconds() {
    let begin = tokio::time::Instant::now();
    let response = layer().layer(Silent).call(list_domains()).await.unwrap();
    assert_eq!(Status::from_header_map(response.headers()).unwrap().code(), Code::DeadlineExceeded);
    assert_eq!(begin.elapsed(), UNARY_DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn calls_past_the_bound_are_refused_and_ended_ones_make_room() {
    let mut guard = layer().layer(Silent);
    let mut open: Vec<_> =
        (0..super::super::permits::MAX_CALLS).map(|_| guard.call(list_domains())).collect();
    for call in &mut open {
        assert!(futures_util::poll!(call).is_pending());
    }
    let response = guard.call(list_domains()).await.unwrap();
    assert_eq!(Status::from_header_map(response.headers()).unwrap().code(), Code::ResourceExhausted);
    open.pop();
    assert!(futures_util::poll!(guard.call(list_domains())).is_pending());
}
