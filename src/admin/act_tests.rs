use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::*;
use crate::admin::access::Role;
use crate::spool::SpoolError;

/// What is logged, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn an_order_that_fails_in_part_is_logged_and_says_how_far_it_came() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    let actor = Actor { name: "loopback".into(), role: Role::Operator };
    let ids: Vec<TraceId> = (1..=3).map(|number| TraceId::new(SystemTime::UNIX_EPOCH, number)).collect();
    let broken = ids[1];
    let order = |id| std::future::ready(if id == broken { Err(SpoolError::Failed.into()) } else { Ok(()) });
    let failure = act((&actor, "CancelMessages"), ids, order).await.unwrap_err();
    assert_eq!(failure.code(), Code::Unavailable);
    assert!(failure.message().contains("2 messages"), "{}", failure.message());
    let log = String::from_utf8(log.0.lock().clone()).unwrap();
    assert!(log.contains("method=\"CancelMessages\"") && log.contains("count=2"), "{log}");
}
