use futures_util::poll;

use super::*;

#[tokio::test]
async fn more_octets_are_there_at_once() {
    let octets = Octets::new(10);
    let permits = octets.permits();
    let _all = permits.acquire_many(10).await.unwrap();
    octets.resize(12);
    assert_eq!(permits.available_permits(), 2);
}

#[tokio::test]
async fn fewer_octets_are_given_up_as_they_come_back() {
    let octets = Octets::new(10);
    let permits = octets.permits();
    let first = permits.acquire_many(4).await.unwrap();
    let second = permits.acquire_many(4).await.unwrap();
    octets.resize(5);
    // Eight are in use and five may be: three of them must come back before anybody gets one.
    let mut third = std::pin::pin!(permits.acquire_many(1));
    tokio::task::yield_now().await;
    assert!(poll!(&mut third).is_pending());
    drop(first);
    tokio::task::yield_now().await;
    let _third = third.await.unwrap();
    assert_eq!(permits.available_permits(), 0);
    drop(second);
    tokio::task::yield_now().await;
    assert_eq!(permits.available_permits(), 4);
}

#[tokio::test]
async fn the_last_change_counts() {
    let octets = Octets::new(10);
    let permits = octets.permits();
    let all = permits.acquire_many(10).await.unwrap();
    octets.resize(2);
    tokio::task::yield_now().await;
    octets.resize(20);
    tokio::task::yield_now().await;
    assert_eq!(permits.available_permits(), 10);
    octets.resize(6);
    drop(all);
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
    assert_eq!(permits.available_permits(), 6);
}
