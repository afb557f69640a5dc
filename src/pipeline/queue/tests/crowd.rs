//! A queue that has as many messages of a client as it takes.

use super::*;
use crate::pipeline::deferred::{Deferred, NotQueued};

impl World {
    /// Has the queue take a message of this client that has to go to one destination, and that another one refused.
    async fn take(&self, number: u64, client: &str) -> Result<(), NotQueued> {
        let client = Some(client.parse().unwrap());
        let queued = Queued { client, ..message(number, &[&format!("ana@d{number}.example")]) };
        let failed = message(number, &["refuse@dest.example"]).copies;
        let (answer, answered) = oneshot::channel();
        let message = Letter::from_octets(Bytes::from_static(b"Subject: one\r\n\r\nHello\r\n"));
        self.queue.inner.take(Deferred { queued, message, failed, relayed: Vec::new(), answer }).await;
        answered.await.unwrap()
    }

    /// How many messages there are: those that were taken and what their senders were told.
    async fn held(&self) -> usize {
        self.queue.inner.spool.list(None, 2 * MESSAGES).await.unwrap().len()
    }
}

/// Told twice would be a sender whose client heard that the message is not taken, and comes again with it.
#[actix_rt::test]
async fn a_message_whose_notification_takes_the_last_place_is_taken_too() {
    let world = World::new().await;
    let one = Queued { client: Some("192.0.2.1".parse().unwrap()), ..message(9, &["ana@dest.example"]) };
    world.put(one).await;
    for number in 1..=3 {
        world.take(number, "192.0.2.1").await.unwrap();
        assert_eq!(world.held().await, 1 + 2 * usize::try_from(number).unwrap());
    }
    world.take(4, "192.0.2.1").await.unwrap();
    assert_eq!(world.held().await, 9);
    assert_eq!(world.take(5, "192.0.2.1").await, Err(NotQueued::NoRoom));
}

#[actix_rt::test]
async fn what_one_network_has_too_much_of_is_not_taken_and_nobody_is_told() {
    let world = World::new().await;
    // Each comes with a notification, which counts for the same client.
    for number in 1..=4 {
        world.take(number, "192.0.2.1").await.unwrap();
        assert_eq!(world.held().await, 2 * usize::try_from(number).unwrap());
    }
    assert_eq!(world.take(5, "192.0.2.2").await, Err(NotQueued::NoRoom));
    assert_eq!(world.held().await, 8);
    world.take(5, "198.51.100.1").await.unwrap();
    assert_eq!(world.held().await, 10);
}
