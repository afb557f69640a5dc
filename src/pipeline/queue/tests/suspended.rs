//! The suspensions of the routing table, which the queue obeys, and their end while an operator changes them.

use super::*;
use crate::pipeline::deferred::Suspended;
use crate::routing::{Asker, Changed};

/// A queue whose suspension of `dest.example` was over an hour ago, and what it is over by.
async fn over() -> (World, Domain, SystemTime) {
    let (world, dest, now) = (World::new().await, domain("dest.example"), clock::now());
    world.queue.suspend(Asker::default(), dest.clone(), Some(now - HOUR), "short".to_owned()).await.unwrap();
    (world, dest, now)
}

fn told(world: &World) -> Suspended {
    world.suspended.clone()
}

/// Whether the schedule would try it.
fn is_tried(world: &World, domain: &Domain) -> bool {
    let mut schedule = world.queue.inner.schedule.lock();
    schedule.note(domain, clock::now() - HOUR);
    schedule.next(clock::now()).is_some_and(|turn| turn.domain == *domain)
}

#[actix_rt::test]
async fn a_suspension_that_is_renewed_as_the_old_one_ends_stays() {
    let (world, dest, now) = over().await;
    let end = world.queue.inner.end_what_is_over(now);
    // The old one is found over before the renewal, and ended behind it.
    let renew = world.queue.suspend(Asker::default(), dest.clone(), Some(now + HOUR), "longer".to_owned());
    let (renewed, ended) = tokio::join!(biased; renew, end);
    renewed.unwrap();
    ended.unwrap();
    assert_eq!(world.queue.suspensions()[0].reason, "longer");
    assert!(told(&world).has(&dest));
}

#[actix_rt::test]
async fn a_clock_that_is_ahead_ends_no_suspension() {
    let (world, dest, now) = (World::new().await, domain("dest.example"), clock::now());
    world.queue.suspend(Asker::default(), dest, Some(now + HOUR), String::new()).await.unwrap();
    world.queue.inner.end_what_is_over(now + 2 * HOUR).await.unwrap();
    assert_eq!(world.queue.suspensions().len(), 1);
}

#[actix_rt::test]
async fn more_suspensions_than_one_change_ends_leave_the_table_all_the_same() {
    let (world, now) = (World::new().await, clock::now());
    let suspend = |at| {
        let domain = domain(&format!("d{at}.example"));
        Change::Suspend { domain, until: Some(now - HOUR), reason: String::new() }
    };
    let routing = &world.queue.inner.routing;
    routing.change(Change::Batch((0..2500).map(suspend).collect())).await.unwrap();
    let before = routing.snapshot().revision();
    let _ending = tokio::spawn(world.queue.clone().end_suspensions(world.stop.clone()));
    until(async || world.queue.suspensions().is_empty()).await;
    assert_eq!(routing.snapshot().revision(), before + 3);
}

#[actix_rt::test]
async fn one_whose_time_is_over_is_not_obeyed_though_it_stands() {
    let (world, dest, _) = over().await;
    assert_eq!(world.queue.suspensions().len(), 1);
    assert!(!told(&world).has(&dest));
    assert!(is_tried(&world, &dest));
}

#[actix_rt::test]
async fn the_schedule_obeys_what_stands_whoever_follows_it_last() {
    let (world, dest, now) = over().await;
    let inner = &world.queue.inner;
    inner.end_what_is_over(now).await.unwrap();
    world.queue.suspend(Asker::default(), dest.clone(), None, "again".to_owned()).await.unwrap();
    // The end of the old one is followed after the new one.
    inner.follow_suspensions();
    assert!(!is_tried(&world, &dest));
    world.queue.resume(Asker::default(), &dest).await.unwrap();
    assert!(is_tried(&world, &dest));
}

#[actix_rt::test]
async fn what_another_node_orders_is_obeyed_at_once() {
    let (world, dest) = (World::new().await, domain("dest.example"));
    let routing = world.queue.inner.routing.clone();
    let _watching = tokio::spawn(world.queue.clone().watch_suspensions(world.stop.clone()));
    let suspend = Change::Suspend { domain: dest.clone(), until: None, reason: String::new() };
    routing.change(suspend).await.unwrap();
    until(async || told(&world).has(&dest)).await;
    let waiting = world.put(waiting(1, "ana@dest.example")).await;
    let mut queued = world.queue.show(waiting).await.unwrap().unwrap().queued;
    queued.copies[0].due = clock::now();
    world.queue.inner.write(&queued).await.unwrap();
    let _running = world.run();
    let other = world.put(message(2, &["ana@other.example"])).await;
    world.offered(other, "other.example").await;
    assert!(!world.upstream.has_heard(waiting, "dest.example"));
    routing.change(Change::Resume { domain: dest, etag: None }).await.unwrap();
    world.offered(waiting, "dest.example").await;
}

#[actix_rt::test]
async fn a_suspension_ends_by_itself_with_its_time_and_leaves_the_table() {
    let (world, dest) = (World::new().await, domain("dest.example"));
    let _watching = tokio::spawn(world.queue.clone().watch_suspensions(world.stop.clone()));
    let _ending = tokio::spawn(world.queue.clone().end_suspensions(world.stop.clone()));
    let end = Some(clock::now() + Duration::from_secs(1));
    let changed = world.queue.suspend(Asker::default(), dest.clone(), end, "short".to_owned()).await.unwrap();
    let Changed::Suspension(suspended) = changed else { panic!("{changed:?}") };
    until(async || world.queue.suspensions().is_empty()).await;
    assert!(suspended.is_over(clock::now()));
    until(async || !told(&world).has(&dest)).await;
    assert!(is_tried(&world, &dest));
}

#[actix_rt::test]
async fn told_to_stop_nobody_follows_or_ends_the_suspensions() {
    let world = World::new().await;
    let watching = tokio::spawn(world.queue.clone().watch_suspensions(world.stop.clone()));
    let ending = tokio::spawn(world.queue.clone().end_suspensions(world.stop.clone()));
    world.stop.cancel();
    until(async || watching.is_finished() && ending.is_finished()).await;
}
