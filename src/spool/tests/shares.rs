//! What the queue takes of one client's network, for one destination, and in all.

use std::net::IpAddr;

use super::*;

/// A queue of sixteen messages: two of a network, eight for a destination.
fn small() -> Place {
    let mut place = Place::new();
    place.options.max_messages = 16;
    place
}

fn from(client: &str, queued: Queued) -> Queued {
    let client = Some(client.parse::<IpAddr>().unwrap());
    Queued { client, ..queued }
}

/// A message to a destination of its own.
fn apart(number: u64) -> Queued {
    message_to(number, &format!("x@d{number}.example"), number)
}

/// Puts a message, and waits until it is counted; why it was not taken.
async fn put(spool: &Spool, queued: Queued) -> Option<Crowd> {
    let number = queued.received_at.duration_since(at(0)).unwrap().as_secs();
    let put = spool.put(queued, &octets(number, 10)).await;
    counted(spool).await;
    match put {
        Ok(()) => None,
        Err(SpoolError::Crowded(crowd)) => Some(crowd),
        Err(other) => panic!("{other}"),
    }
}

/// Waits until all that was written is counted.
async fn counted(spool: &Spool) {
    spool.oldest().await.unwrap();
}

fn network(text: &str) -> Option<Crowd> {
    Some(Crowd::Network(text.parse().unwrap()))
}

#[tokio::test]
async fn one_network_has_an_eighth_before_and_after_a_restart_and_gets_it_back() {
    let place = small();
    let (spool, _) = place.open();
    assert_eq!(put(&spool, from("192.0.2.1", apart(1))).await, None);
    assert_eq!(put(&spool, from("192.0.2.2", apart(2))).await, None);
    assert_eq!(put(&spool, from("192.0.2.3", apart(3))).await, network("192.0.2.0/24"));
    assert_eq!(put(&spool, from("198.51.100.1", apart(4))).await, None);
    drop(spool);

    let (spool, recovered) = place.open();
    assert_eq!(recovered.rebuilt, None);
    assert_eq!(put(&spool, from("192.0.2.3", apart(3))).await, network("192.0.2.0/24"));
    drop(spool);
    std::fs::remove_dir_all(place.path("index")).unwrap();

    let (spool, recovered) = place.open();
    assert!(recovered.rebuilt.is_some());
    assert_eq!(put(&spool, from("192.0.2.3", apart(3))).await, network("192.0.2.0/24"));
    spool.remove(id(1)).await.unwrap();
    counted(&spool).await;
    assert_eq!(put(&spool, from("192.0.2.3", apart(3))).await, None);
}

#[tokio::test]
async fn networks_of_ipv6_are_counted_together_too() {
    let (spool, _) = small().open();
    let of = |number: u64| from(&format!("2001:db8:0:{:x}::1", number << 8), apart(number));
    for number in 1..=4 {
        assert_eq!(put(&spool, of(number)).await, None);
    }
    assert_eq!(put(&spool, of(5)).await, network("2001:db8::/48"));
}

#[tokio::test]
async fn one_destination_has_a_half_and_gets_it_back() {
    let place = small();
    let (spool, _) = place.open();
    let of = |number: u64| from(&format!("10.0.{number}.1"), message_to(number, "x@d.example", number));
    for number in 1..=8 {
        assert_eq!(put(&spool, of(number)).await, None);
    }
    let full = Some(Crowd::Destination("d.example".to_owned()));
    assert_eq!(put(&spool, of(9)).await, full);
    drop(spool);

    let (spool, _) = place.open();
    assert_eq!(put(&spool, of(9)).await, full);
    assert_eq!(put(&spool, from("10.0.9.1", apart(9))).await, None);
    let mut elsewhere = of(1);
    elsewhere.copies = vec![copy("x@other.example", 1)];
    spool.update(elsewhere).await.unwrap();
    counted(&spool).await;
    assert_eq!(put(&spool, of(10)).await, None);
}

#[tokio::test]
async fn in_all_it_takes_so_many_and_as_many_notices_beside_them() {
    let (spool, _) = small().open();
    for number in 1..=16 {
        assert_eq!(put(&spool, from(&format!("10.0.{number}.1"), apart(number))).await, None);
    }
    assert_eq!(put(&spool, from("10.0.17.1", apart(17))).await, Some(Crowd::All));
    for number in 17..=32 {
        let told = from(&format!("10.0.{}.1", number - 16), apart(number));
        spool.put_notice(told, &octets(number, 10), None).await.unwrap();
        counted(&spool).await;
    }
    let refused = spool.put_notice(apart(33), &octets(33, 10), None).await;
    assert!(matches!(refused, Err(SpoolError::Crowded(Crowd::All))));
    assert_eq!(spool.list(None, 100).await.unwrap().len(), 32);
}
