use super::*;

fn domain() -> Domain {
    Domain::parse("slow.example").unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_destination_has_a_share_of_the_sessions() {
    let (destinations, domain) = (Arc::new(Destinations::default()), domain());
    let first = destinations.enter(&domain, 2).unwrap();
    let _second = destinations.enter(&domain, 2).unwrap();
    assert_eq!(destinations.enter(&domain, 2).err(), Some(Closed::Busy));
    drop(first);
    assert!(destinations.enter(&domain, 2).is_ok());
}

#[tokio::test(start_paused = true)]
async fn five_timeouts_in_a_minute_close_a_destination_until_they_are_a_minute_old() {
    let (destinations, domain) = (Arc::new(Destinations::default()), domain());
    for _ in 0..MAX_TIMEOUTS {
        destinations.enter(&domain, 2).unwrap().timed_out();
        tokio::time::advance(Duration::from_secs(10)).await;
    }
    assert_eq!(destinations.enter(&domain, 2).err(), Some(Closed::TimingOut));
    tokio::time::advance(Duration::from_secs(11)).await;
    assert!(destinations.enter(&domain, 2).is_ok());
}

#[tokio::test(start_paused = true)]
async fn ipv6_rests_for_ten_minutes_after_a_timeout() {
    let (destinations, domain) = (Arc::new(Destinations::default()), domain());
    destinations.enter(&domain, 2).unwrap().ipv6_timed_out();
    assert!(!destinations.enter(&domain, 2).unwrap().takes_ipv6());
    tokio::time::advance(IPV6_PAUSE).await;
    assert!(destinations.enter(&domain, 2).unwrap().takes_ipv6());
}

#[tokio::test(start_paused = true)]
async fn a_destination_without_trouble_is_forgotten() {
    let (destinations, domain) = (Arc::new(Destinations::default()), domain());
    drop(destinations.enter(&domain, 2).unwrap());
    assert!(destinations.by_domain.lock().is_empty());
    destinations.enter(&domain, 2).unwrap().timed_out();
    tokio::time::advance(TIMEOUT_MEMORY).await;
    destinations.sweep();
    assert!(destinations.by_domain.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_kept_rcpt_waiting_is_not_asked_there_for_a_while() {
    let (destinations, domain) = (Arc::new(Destinations::default()), domain());
    destinations.enter(&domain, 2).unwrap().kept_rcpt_waiting();
    assert!(!destinations.enter(&domain, 2).unwrap().may_be_asked());
    tokio::time::advance(ASKING_PAUSE).await;
    assert!(destinations.enter(&domain, 2).unwrap().may_be_asked());
}
