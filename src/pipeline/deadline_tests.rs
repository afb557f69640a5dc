use tokio::time::advance;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_share_is_of_the_time_that_is_left() {
    let deadline = Deadline::after(10 * SECOND);
    advance(4 * SECOND).await;
    assert_eq!(deadline.half(), Deadline::after(3 * SECOND));
    advance(8 * SECOND).await;
    assert_eq!(deadline.half().at(), Instant::now());
}

#[tokio::test(start_paused = true)]
async fn nobody_is_tried_in_less_than_a_round_trip() {
    let deadline = Deadline::after(LEAST_TO_TRY);
    assert!(deadline.is_enough_to_try());
    advance(Duration::from_millis(1)).await;
    assert!(!deadline.is_enough_to_try());
}

#[tokio::test(start_paused = true)]
async fn nobody_is_blamed_for_a_message_that_came_late() {
    let deadline = Deadline::after(10 * SECOND);
    advance(8 * SECOND).await;
    let asked_at = Instant::now();
    advance(2 * SECOND).await;
    assert!(!deadline.is_enough_to_blame(asked_at));
}

#[tokio::test(start_paused = true)]
async fn who_had_the_time_to_answer_is_blamed() {
    let deadline = Deadline::after(10 * SECOND);
    advance(7 * SECOND).await;
    let asked_at = Instant::now();
    advance(3 * SECOND).await;
    assert!(deadline.is_enough_to_blame(asked_at));
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_its_own_is_long_enough_for_anybody() {
    let deadline = Deadline::after(10 * SECOND);
    let asked_at = Instant::now();
    advance(SECOND).await;
    assert!(deadline.is_enough_to_blame(asked_at));
}
