use std::time::SystemTime;

use super::*;
use crate::admin::access::{self, Role};
use crate::admin::audit::{Ended, tell};
use crate::admin::test_log::Log;
use crate::spool::SpoolError;

#[tokio::test]
async fn an_order_that_fails_in_part_is_logged_and_says_how_far_it_came() {
    let log = Log::default();
    let _logged = log.taken();
    let actor = Actor::known("loopback", Role::Operator);
    let ids: Vec<TraceId> = (1..=3).map(|number| TraceId::new(SystemTime::UNIX_EPOCH, number)).collect();
    let broken = ids[1];
    let order = |id| std::future::ready(if id == broken { Err(SpoolError::Failed.into()) } else { Ok(()) });
    let failure = act(&actor, ids, order).await.unwrap_err();
    assert_eq!(failure.code(), Code::Unavailable);
    assert!(failure.message().contains("2 messages"), "{}", failure.message());
    let method = access::find("/postroad.admin.v1.QueueService/CancelMessages").unwrap();
    tell(&actor, &Ended { method, code: "Unavailable", reason: None });
    let lines = log.lines("method=\"CancelMessages\"");
    assert!(lines.len() == 1 && lines[0].contains("count=2"), "{lines:?}");
}
