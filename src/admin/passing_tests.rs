//! Calls that are meant for another node, as far as one node has to do with them; three are in `tests/it/cluster.rs`.

use tonic::body::Body;
use tonic::codegen::http;
use tower::Layer as _;

use super::super::access::{self, METHODS, Scope};
use super::super::auth::Actor;
use super::super::passing::Passed;
use super::test_log::Log;
use super::*;

const RETRY: &str = "/postroad.admin.v1.QueueService/RetryMessages";

#[test]
fn a_matter_of_one_node_is_the_queue_but_for_suspensions_traces_and_events() {
    let of_node: Vec<&str> =
        METHODS.iter().filter(|method| method.scope == Scope::Node).map(|method| method.name).collect();
    let wanted = [
        "GetTrace",
        "SearchTraces",
        "TailEvents",
        "GetQueue",
        "GetMessage",
        "ListMessages",
        "RetryMessages",
        "CancelMessages",
    ];
    assert_eq!(of_node, wanted);
}

#[tokio::test]
async fn a_node_of_its_own_knows_its_own_name_alone() {
    let world = World::start().await;
    assert_eq!(world.json("--node solo queue status").await["node"], "solo");
    assert_eq!(world.json("queue status").await["node"], "solo");
    let (_, out, _) = world.ctl("queue status").await;
    assert!(!out.contains("NODE"), "{out}");
    for order in ["queue status", "trace --since 1h", "events", "queue cancel --all"] {
        let (status, _, err) = world.ctl(&format!("--node linda {order}")).await;
        let line = "there is no node \"linda\": the cluster and cluster.peers have solo (NODE_NOT_FOUND)";
        assert_eq!((status, err), (1, format!("postroadctl: {line}\n")), "{order}");
    }
}

#[tokio::test]
async fn what_is_no_matter_of_one_node_is_not_passed_on() {
    let world = World::start().await;
    for order in ["domain list", "queue suspensions", "cluster status", "resolve info@ours.example"] {
        let (status, _, err) = world.ctl(&format!("--node solo {order}")).await;
        assert_eq!((status, err.contains("--node is for")), (2, true), "{order}: {err}");
    }
    let mut client = DomainServiceClient::new(world.channel().await);
    let mut ask = async |node: &str| {
        let mut request = Request::new(ListDomainsRequest::default());
        request.metadata_mut().insert("postroad-node", node.parse().unwrap());
        client.list_domains(request).await
    };
    assert!(ask("solo").await.is_ok());
    let status = ask("linda").await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.get_details_error_info().unwrap().reason, "NOT_OF_ONE_NODE");
}

#[test]
fn the_token_stays_here_and_the_caller_goes_along() {
    let actor = Actor { address: "192.0.2.7".parse().ok(), ..Actor::known("Änne\r\nx", Role::Operator) };
    let passed = Passed { node: "linda".to_owned(), actor, method: access::find(RETRY).unwrap() };
    let request = http::Request::post(format!("http://node{RETRY}"))
        .header("authorization", "Bearer secret")
        .header("postroad-node", "linda")
        .header("postroad-role", "admin")
        .header("grpc-timeout", "5S");
    let (onward, _) = passed.onward(request.body(Body::empty()).unwrap()).into_parts();
    assert_eq!(onward.uri, RETRY);
    let mut headers: Vec<(&str, &[u8])> =
        onward.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    headers.sort_unstable();
    let wanted: [(&str, &[u8]); 4] = [
        ("grpc-timeout", b"5S"),
        ("postroad-actor", "Änne  x".as_bytes()),
        ("postroad-address", b"192.0.2.7"),
        ("postroad-role", b"operator"),
    ];
    assert_eq!(headers, wanted);
}

#[tokio::test]
async fn another_node_says_who_calls_and_the_caller_is_held_to_the_role() {
    let log = Log::default();
    let _logged = log.taken();
    let world = World::start().await;
    let dir = tempfile::tempdir().unwrap();
    let services = of_node(&world.services, queue(&dir, &world.services).1, &world.shutdown);
    let guard = GuardLayer::new(Way::Node, world.services.metrics.clone());
    let answer = passing::answer(guard.layer(services));
    let call = async |path: &str, role: Option<&str>| {
        let mut request = http::Request::post(path)
            .header("content-type", "application/grpc")
            .header("postroad-actor", "ana")
            .header("postroad-address", "192.0.2.7");
        if let Some(role) = role {
            request = request.header("postroad-role", role);
        }
        // A message without a field.
        let body = Body::new(http_body_util::Full::new(bytes::Bytes::from_static(&[0; 5])));
        let response = answer("isaac".into(), request.body(body).unwrap()).await;
        tonic::Status::from_header_map(response.headers()).unwrap().code()
    };
    assert_eq!(call(RETRY, None).await, Code::Unauthenticated);
    assert_eq!(call(RETRY, Some("root")).await, Code::Unauthenticated);
    assert_eq!(call(RETRY, Some("viewer")).await, Code::PermissionDenied);
    // It lacks a selection.
    assert_eq!(call(RETRY, Some("operator")).await, Code::InvalidArgument);
    let domains = "/postroad.admin.v1.DomainService/ListDomains";
    assert_eq!(call(domains, Some("admin")).await, Code::Unimplemented);
    let lines = log.lines("method=\"RetryMessages\"");
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (line, role) in lines.iter().zip(["viewer", "operator"]) {
        for word in ["actor=\"ana by isaac\"", "from=192.0.2.7", &format!("role=\"{role}\"")] {
            assert!(line.contains(word), "no {word} in {line}");
        }
    }
}
