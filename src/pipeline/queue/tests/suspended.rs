//! A suspension that ends while an operator changes it.

use super::*;

/// A queue whose suspension of `dest.example` was over an hour ago, and what it is over by.
async fn over() -> (World, Domain, SystemTime) {
    let (world, dest, now) = (World::new().await, domain("dest.example"), clock::now());
    world.queue.suspend(dest.clone(), Some(now - HOUR), "short".to_owned()).await.unwrap();
    assert_eq!(world.queue.inner.suspensions.over(now), std::slice::from_ref(&dest));
    (world, dest, now)
}

#[actix_rt::test]
async fn a_suspension_that_is_renewed_as_the_old_one_ends_stays() {
    let (world, dest, now) = over().await;
    world.queue.suspend(dest.clone(), Some(now + HOUR), "longer".to_owned()).await.unwrap();
    let suspensions = &world.queue.inner.suspensions;
    assert!(!suspensions.remove_if_over(&dest, now).await.unwrap());
    assert_eq!(world.queue.suspensions()[0].reason, "longer");
    assert!(suspensions.remove_if_over(&dest, now + HOUR).await.unwrap());
    assert_eq!(world.queue.suspensions(), []);
}

#[actix_rt::test]
async fn the_schedule_follows_the_suspension_that_stands_whoever_tells_it_last() {
    let (world, dest, now) = over().await;
    let inner = &world.queue.inner;
    assert!(inner.suspensions.remove_if_over(&dest, now).await.unwrap());
    world.queue.suspend(dest.clone(), None, "again".to_owned()).await.unwrap();
    // The end of the old one comes to the schedule after the new one.
    inner.follow_suspension(&dest);
    inner.schedule.lock().note(&dest, now);
    assert_eq!(inner.schedule.lock().next(clock::now()), None);
    world.queue.resume(&dest).await.unwrap();
    assert_eq!(inner.schedule.lock().next(clock::now()).map(|turn| turn.domain), Some(dest));
}
