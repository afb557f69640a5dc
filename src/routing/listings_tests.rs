use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;
use crate::routing::Access;

/// One without an end, or until this second of 1970.
fn listing(network: IpNet, until: Option<u64>) -> Arc<Listing> {
    let (since, until) = (UNIX_EPOCH, until.map(at));
    Arc::new(Listing { network, access: Access::Blocked, reason: String::new(), since, until, revision: 1 })
}

fn at(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second)
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// Addresses and networks of few different bits, so that they meet.
fn any_ip() -> impl Strategy<Value = IpAddr> {
    let v4 = (0..4_u32, 0..4_u32).prop_map(|(high, low)| IpAddr::from((high << 30 | low).to_be_bytes()));
    let v6 = (0..4_u128, 0..4_u128).prop_map(|(high, low)| IpAddr::from((high << 126 | low).to_be_bytes()));
    prop_oneof![v4, v6]
}

fn any_network() -> impl Strategy<Value = IpNet> {
    (any_ip(), 0..=128_u8).prop_map(|(ip, length)| {
        let host = IpNet::from(ip);
        canonical(IpNet::new(ip, length.min(host.max_prefix_len())).unwrap())
    })
}

proptest! {
    #[test]
    fn the_narrowest_network_is_found_whatever_was_added_and_removed(
        steps in proptest::collection::vec((any_network(), any::<bool>(), proptest::option::of(0..4_u64)), 0..60),
        now in 0..4_u64,
        sought in proptest::collection::vec(any_ip(), 1..20),
    ) {
        let (mut listings, mut expected) = (Listings::new(), BTreeMap::new());
        for (network, adds, until) in steps {
            if adds {
                listings.put(listing(network, until));
                expected.insert(network, until);
            } else {
                listings.remove(&network);
                expected.remove(&network);
            }
        }
        prop_assert!(listings.all().map(|listing| listing.network).eq(expected.keys().copied()));
        prop_assert_eq!(listings.len(), expected.len());
        for ip in sought {
            let lasting = expected.iter().filter(|(_, until)| until.is_none_or(|until| until > now));
            let holding = lasting.map(|(network, _)| *network).filter(|network| network.contains(&ip));
            let narrowest = holding.max_by_key(IpNet::prefix_len);
            prop_assert_eq!(listings.find(ip, at(now)).map(|found| found.network), narrowest);
        }
        let over: BTreeSet<(u64, IpNet)> =
            expected.iter().filter_map(|(network, until)| until.map(|until| (until, *network))).collect();
        let over = over.into_iter().filter(|(until, _)| *until <= now).map(|(_, network)| network);
        prop_assert!(listings.over(at(now)).eq(over));
        let lengths: BTreeSet<_> = expected.keys().map(lengths).collect();
        prop_assert!(listings.lengths.keys().eq(&lengths));
    }
}

#[test]
fn a_client_in_the_ipv6_form_of_its_ipv4_address_is_the_same_client() {
    let mut listings = Listings::new();
    listings.put(listing(net("192.0.2.0/24"), None));
    listings.put(listing(net("::/0"), None));
    for (ip, found) in [("192.0.2.7", "192.0.2.0/24"), ("::ffff:192.0.2.7", "192.0.2.0/24"), ("::7", "::/0")]
    {
        let ip: IpAddr = ip.parse().unwrap();
        assert_eq!(listings.find(ip, UNIX_EPOCH).map(|listing| listing.network), Some(net(found)), "{ip}");
    }
    assert_eq!(listings.find("192.0.3.7".parse().unwrap(), UNIX_EPOCH), None);
}

#[test]
fn a_listing_that_is_over_hides_neither_a_wider_nor_a_narrower_one() {
    let mut listings = Listings::new();
    listings.put(listing(net("192.0.2.0/24"), None));
    listings.put(listing(net("192.0.2.0/28"), Some(5)));
    listings.put(listing(net("192.0.2.7/32"), Some(7)));
    let found = |second| {
        listings.find("192.0.2.7".parse().unwrap(), at(second)).map(|listing| listing.network.prefix_len())
    };
    assert_eq!([4, 5, 6, 7].map(found), [32, 32, 32, 24].map(Some));
}

#[test]
fn a_network_has_one_form() {
    for (given, form) in [
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.7/24", "192.0.2.0/24"),
        ("2001:db8::7/32", "2001:db8::/32"),
        ("::ffff:192.0.2.7/120", "192.0.2.0/24"),
        ("::ffff:192.0.2.7/128", "192.0.2.7/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::ffff:0:0/95", "::fffe:0:0/95"),
    ] {
        assert_eq!(canonical(net(given)), net(form), "{given}");
    }
}
