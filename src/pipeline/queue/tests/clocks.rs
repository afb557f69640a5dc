//! What a stop of days, or a clock that is set, does to what waits: by themselves, nothing.

use super::*;
use crate::telemetry::labels::DsnAction;

const DAY: Duration = Duration::from_secs(86_400);

/// A message of six days, and when it was tried last.
fn old(number: u64, destination: &str, tried_at: SystemTime) -> Queued {
    tried(aged(number, 6 * DAY, &[destination]), tried_at)
}

impl World {
    /// One look at ages.
    async fn give_up(&self) {
        self.queue.inner.give_up(&self.stop).await.unwrap();
    }

    /// How often a failure was told.
    fn failures_told(&self) -> u64 {
        self.queue.inner.metrics.dsn_sent_total.of(DsnAction::Failed).get()
    }
}

#[actix_rt::test]
async fn what_grew_too_old_while_the_node_was_down_is_tried_once_before_it_is_given_up() {
    let world = World::new().await;
    let id = world.put(old(1, "hang@dest.example", clock::now() - 6 * DAY)).await;
    world.give_up().await;
    assert_eq!(world.copies(id).await.len(), 1);
    let _running = world.run();
    world.offered(id, "dest.example").await;
    world.upstream.release();
    until(async || world.copies(id).await.is_empty()).await;
    assert_eq!(world.failures_told(), 1);
}

#[actix_rt::test]
async fn an_attempt_that_broke_off_is_one_before_a_message_is_given_up() {
    let world = World::new().await;
    let id = world.put(old(1, "break@dest.example", clock::now() - DAY)).await;
    let _running = world.run();
    until(async || world.copies(id).await[0].attempts > 1).await;
    world.stop.cancel();
    world.queue.idle().await;
    world.queue.inner.give_up(&CancellationToken::new()).await.unwrap();
    assert_eq!(world.copies(id).await.len(), 0);
}

#[actix_rt::test]
async fn an_attempt_that_the_disk_did_not_let_begin_is_none() {
    let world = World::new().await;
    let tried_at = SystemTime::UNIX_EPOCH + DAY;
    let id = world.put_unreadable(old(1, "ana@dest.example", tried_at)).await;
    let _running = world.run();
    until(async || world.copies(id).await[0].attempts > 1).await;
    assert_eq!(world.copies(id).await[0].last.as_ref().unwrap().at, tried_at);
}

#[actix_rt::test]
async fn what_was_tried_since_the_start_is_given_up_behind_what_was_not() {
    let world = World::new().await;
    let untried = world.put(old(1, "ana@dest.example", clock::now() - DAY)).await;
    let tried = world.put(old(2, "ana@dest.example", later().await)).await;
    world.give_up().await;
    assert_eq!((world.copies(untried).await.len(), world.copies(tried).await.len()), (1, 0));
}

#[actix_rt::test]
async fn what_a_clock_that_is_set_makes_too_old_is_tried_once_before_it_is_given_up() {
    let world = World::new().await;
    let id = world.put(old(1, "ana@dest.example", later().await)).await;
    later().await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11 * 60)).await;
    world.give_up().await;
    assert_eq!(world.copies(id).await.len(), 1);
}

#[actix_rt::test]
async fn a_pause_written_by_a_wrong_clock_is_cut_to_the_longest_one() {
    let world = World::new().await;
    let mut queued = message(1, &["ana@dest.example"]);
    queued.copies[0].due += 30 * DAY;
    let id = world.put(queued).await;
    let (_running, _watching) = (world.run(), world.watch());
    world.offered(id, "dest.example").await;
}

#[actix_rt::test]
async fn a_long_pause_of_a_message_in_hand_is_cut_when_it_is_not_in_hand_any_more() {
    let world = World::new().await;
    let mut queued = message(1, &["ana@dest.example"]);
    queued.copies[0].due += 30 * DAY;
    let id = world.put(queued).await;
    let hold = world.queue.inner.hands.try_take(id);
    let mut done = None;
    world.queue.inner.cut_pauses(&mut done, &world.stop).await.unwrap();
    assert!(world.copies(id).await[0].due > clock::now() + DAY);
    drop(hold);
    world.queue.inner.cut_pauses(&mut done, &world.stop).await.unwrap();
    assert!(world.copies(id).await[0].due <= clock::now() + BRISK.longest);
}
