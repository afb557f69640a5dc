use std::net::Ipv4Addr;

use futures_util::FutureExt;

use super::*;

const LIMIT: Duration = Duration::from_secs(10);

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn places(total: usize, per_peer: usize) -> Places {
    Places::new(Bounds { total, per_peer })
}

fn is_over(place: &Place) -> bool {
    place.standing().over(LIMIT).now_or_never().is_some()
}

#[tokio::test]
async fn the_eldest_of_the_peer_makes_room() {
    let places = places(10, 2);
    let other = places.admit(address(2)).unwrap();
    let first = places.admit(address(1)).unwrap();
    let second = places.admit(address(1)).unwrap();
    let third = places.admit(address(1)).unwrap();
    assert_eq!([&other, &first, &second, &third].map(is_over), [false, true, false, false]);
}

#[tokio::test]
async fn the_peer_with_most_of_them_makes_room() {
    let places = places(4, 3);
    let alone = places.admit(address(1)).unwrap();
    let crowd: Vec<Place> = (0..3).map(|_| places.admit(address(2)).unwrap()).collect();
    let newcomer = places.admit(address(3)).unwrap();
    assert_eq!([&alone, &crowd[0], &crowd[1], &newcomer].map(is_over), [false, true, false, false]);
}

#[tokio::test]
async fn who_has_proven_itself_stays_and_full_is_full() {
    let places = places(2, 2);
    let mut held: Vec<Place> = (0..2).map(|_| places.admit(address(1)).unwrap()).collect();
    held.iter().for_each(|place| place.standing().prove());
    assert!(places.admit(address(1)).is_none() && places.admit(address(2)).is_none());
    held.pop();
    assert!(places.admit(address(2)).is_some());
}

#[tokio::test]
async fn who_holds_something_stays_until_it_is_over() {
    let places = places(1, 1);
    let watcher = places.admit(address(1)).unwrap();
    let hold = watcher.standing().hold();
    assert!(places.admit(address(1)).is_none());
    drop(hold);
    assert!(places.admit(address(1)).is_some());
    assert!(is_over(&watcher));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_prove_itself_in_time_goes() {
    let places = places(9, 9);
    let [silent, proven, watching] = [(); 3].map(|()| places.admit(address(1)).unwrap());
    proven.standing().prove();
    let hold = watching.standing().hold();
    let watching_over = tokio::spawn(watching.standing().over(LIMIT));
    silent.standing().over(LIMIT).await;
    tokio::time::advance(10 * LIMIT).await;
    assert!(is_over(&silent) && !is_over(&proven) && !watching_over.is_finished());
    drop(hold);
    watching_over.await.unwrap();
    assert!(is_over(&watching));
}

#[test]
fn an_ipv6_peer_is_a_64_and_a_mapped_address_is_ipv4() {
    let peer = |text: &str| peer(text.parse().unwrap());
    assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1"));
    assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
    assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
    assert_ne!(peer("192.0.2.2"), peer("192.0.2.1"));
}
