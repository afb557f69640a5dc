use super::*;

#[tokio::test]
async fn after_a_try_in_doubt_a_node_that_did_not_try_proves_nothing() {
    let told = RoutingError::NotLeader { leader: 7 };
    let behind = RoutingError::VersionsDiffer { nodes: vec!["amir".to_owned()] };
    let refused = RoutingError::TooManyDomains;
    for (error, reason) in [(told, "UNCONFIRMED"), (behind, "UNCONFIRMED"), (refused, "TOO_MANY_DOMAINS")] {
        let (sender, answered) = oneshot::channel();
        let answer = Answer { sender, doubt: None }.in_doubt(None);
        answer.give(Err(error));
        assert_eq!(answered.await.unwrap().unwrap_err().reason(), reason);
    }
}
