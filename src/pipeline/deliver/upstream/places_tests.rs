use super::*;
use crate::pipeline::deliver::tests::options;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn places_are_few_in_all_and_for_each_address_and_come_back() {
    let (places, few) =
        (Arc::<Places>::default(), Options { connections: 3, connections_per_address: 2, ..options() });
    let (one, two, three) = (ip("192.0.2.1"), ip("192.0.2.2"), ip("2001:db8::3"));
    let mut kept = vec![places.take(one, &few).unwrap(), places.take(one, &few).unwrap()];
    assert_eq!(places.take(one, &few).unwrap_err(), Full::Address);
    kept.push(places.take(two, &few).unwrap());
    assert_eq!(places.take(three, &few).unwrap_err(), Full::All);
    kept.clear();
    assert!(places.taken.lock().by_address.is_empty());
    assert!(places.take(three, &few).is_ok());
}

#[test]
fn what_is_asked_ahead_leaves_half_of_the_places() {
    let (places, few) =
        (Arc::<Places>::default(), Options { connections: 6, connections_per_address: 4, ..options() });
    let (one, two) = (ip("192.0.2.1"), ip("192.0.2.2"));
    let mut kept = vec![places.take(one, &few).unwrap()];
    assert_eq!(places.are_plenty(one, &few), Ok(()));
    kept.push(places.take(one, &few).unwrap());
    assert_eq!(places.are_plenty(one, &few), Err(Full::Address));
    assert_eq!(places.are_plenty(two, &few), Ok(()));
    kept.push(places.take(one, &few).unwrap());
    assert_eq!(places.are_plenty(two, &few), Err(Full::All));
    assert!(places.take(one, &few).is_ok(), "a message that is here");
}
