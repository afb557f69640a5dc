use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use tokio::time::timeout;

use super::super::test_world::*;
use super::*;
use crate::cluster::founding::Standing;

/// More than a connection takes that nobody reads from.
const LARGE: usize = 4 << 20;

fn call(method: &str) -> http::Request<Body> {
    let request = http::Request::post(format!("/postroad.admin.v1.QueueService/{method}"));
    request.version(http::Version::HTTP_2).header("te", "trailers").body(Body::empty()).unwrap()
}

/// Says who passed it on, and to what; `Large` has a large answer.
fn answer() -> Answer {
    Box::new(|by, request| {
        let text = format!("{by} {}", request.uri().path());
        let octets = if text.ends_with("Large") { vec![0; LARGE] } else { text.into_bytes() };
        ready(http::Response::new(Body::new(Full::new(Bytes::from(octets))))).boxed()
    })
}

fn word(refused: Result<http::Response<Body>, CallError>) -> String {
    match refused {
        Err(CallError::Refused { word, .. }) => word,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_passed_on_once_somebody_answers_and_for_nobody_who_is_removed() {
    let world = World::new().await;
    let [linda, amir] = [&world.nodes[0], &world.nodes[1]];
    let to_amir = name("amir");
    assert_eq!(word(linda.peers.pass_call(&to_amir, call("GetQueue")).await), "BEGINNING");
    amir.passed.answer_with(answer());
    let response = linda.peers.pass_call(&to_amir, call("GetQueue")).await.unwrap();
    let said = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(said, "linda /postroad.admin.v1.QueueService/GetQueue");
    linda.peers.hello(&to_amir).await.unwrap();

    let mut standing = member_of(CLUSTER);
    if let Standing::State(state) = &mut standing {
        state.barred.insert(name("linda"));
    }
    *amir.node.standing.lock() = standing;
    assert_eq!(word(linda.peers.pass_call(&to_amir, call("GetQueue")).await), "REMOVED");
    let unknown = linda.peers.pass_call(&name("nobody"), call("GetQueue")).await;
    assert!(matches!(unknown, Err(CallError::Unreachable { .. })), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_read_an_answer_holds_up_nobody() {
    let world = World::new().await;
    let [linda, amir] = [&world.nodes[0], &world.nodes[1]];
    amir.passed.answer_with(answer());
    let mut unread = Vec::new();
    for _ in 0..64 {
        unread.push(linda.peers.pass_call(&name("amir"), call("Large")).await.unwrap());
    }
    let read = async {
        let response = linda.peers.pass_call(&name("amir"), call("GetQueue")).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    };
    let said = timeout(Duration::from_secs(20), read).await.unwrap();
    assert!(said.starts_with(b"linda "), "{said:?}");
    let whole = unread.remove(0).into_body().collect().await.unwrap().to_bytes();
    assert_eq!(whole.len(), LARGE);
}
