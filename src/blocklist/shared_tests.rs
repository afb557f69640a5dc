use super::*;
use crate::mail::Domain;

fn id(zone: &str, listed: &[&str]) -> ZoneId {
    let listed = listed.iter().map(|net| net.parse().unwrap()).collect();
    let (name, zone) = (zone.to_owned(), Domain::parse(zone).unwrap());
    ZoneId::of(&config::Dnsbl { name, zone, key_file: None, listed })
}

#[test]
fn a_zone_is_the_same_where_its_domain_is_and_what_of_its_answers_counts() {
    let one = id("bl.example", &["127.0.0.2/32", "127.0.0.4/30"]);
    assert_eq!(one, id("BL.example", &["127.0.0.4/30", "127.0.0.2/32"]));
    assert_ne!(one, id("bl.example", &["127.0.0.2/32"]));
    assert_ne!(one, id("other.example", &["127.0.0.2/32", "127.0.0.4/30"]));
}

#[test]
fn what_is_told_counts_for_an_hour_at_most_and_is_bounded() {
    let code = [Ipv4Addr::new(127, 0, 0, 2)];
    let told = Finding::new(&code, Duration::MAX).unwrap();
    let left = told.remaining().unwrap();
    assert!(left <= VERDICT_TTL.1 && left > VERDICT_TTL.1 - Duration::from_secs(60), "{left:?}");
    assert!(Finding::new(&code, Duration::ZERO).is_none());
    assert!(Finding::new(&code.repeat(MAX_CODES + 1), Duration::from_secs(1)).is_none());
}
