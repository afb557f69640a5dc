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
    let none = Idling::default();
    let (places, few) =
        (Arc::<Places>::default(), Options { connections: 6, connections_per_address: 4, ..options() });
    let (one, two) = (ip("192.0.2.1"), ip("192.0.2.2"));
    let mut kept = vec![places.take(one, &few).unwrap()];
    assert_eq!(places.are_plenty(one, &few, none), Ok(()));
    kept.push(places.take(one, &few).unwrap());
    assert_eq!(places.are_plenty(one, &few, none), Err(Full::Address));
    assert_eq!(places.are_plenty(two, &few, none), Ok(()));
    kept.push(places.take(one, &few).unwrap());
    assert_eq!(places.are_plenty(two, &few, none), Err(Full::All));
    let idle = Idling { in_all: 1, at_address: 1 };
    assert_eq!(places.are_plenty(two, &few, idle), Ok(()), "an idle one makes room");
    assert_eq!(places.are_plenty(one, &few, idle), Err(Full::Address));
    assert_eq!(places.are_plenty(one, &few, Idling { in_all: 2, at_address: 2 }), Ok(()));
    assert!(places.take(one, &few).is_ok(), "a message that is here");
}

#[tokio::test]
async fn who_owes_most_late_replies_makes_room_for_others() {
    let places = Arc::<Places>::default();
    let few = Options { connections: 8, connections_per_address: 6, ..options() };
    let (silent, honest) = (ip("2001:db8::1"), ip("192.0.2.1"));
    let first = places.take_late(honest, &few).unwrap();
    // A host may have all addresses of a network.
    let mut owed: Vec<_> = ["2001:db8::2", "2001:db8::3", "2001:db8::4"]
        .map(|address| places.take_late(ip(address), &few).unwrap())
        .into();
    assert!(places.take_late(silent, &few).is_none(), "half of an address's");
    let second = places.take_late(honest, &few).unwrap();
    assert_eq!(places.taken.lock().late.len(), 4);
    owed.remove(0).is_gone().await;
    for mut place in [first, second].into_iter().chain(owed) {
        assert!(place.gone.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
    }
    assert!(places.taken.lock().late.is_empty());
}

#[test]
fn of_peers_that_owe_as_many_late_replies_the_eldest_makes_room() {
    let (places, few) = (Arc::<Places>::default(), Options { connections: 4, ..options() });
    let mut owed =
        ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|address| places.take_late(ip(address), &few).unwrap());
    let is_gone = |place: &mut LatePlace| place.gone.try_recv() == Err(oneshot::error::TryRecvError::Closed);
    assert_eq!(owed.each_mut().map(is_gone), [true, false, false]);
}
