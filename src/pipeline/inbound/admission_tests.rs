use super::*;
use crate::config::Config;
use crate::config::test_files::Files;

fn limits() -> Limits {
    let files = Files::new();
    Config::parse(&files.with("limits.sessions_per_network = 2"), &[]).unwrap().limits
}

/// Places of these clients, of those that got one.
fn places(admission: &Admission, clients: impl IntoIterator<Item = String>) -> Vec<Place> {
    let limits = limits();
    clients.into_iter().filter_map(|ip| admission.admit(ip.parse().unwrap(), &limits).ok()).collect()
}

#[test]
fn an_ipv4_network_has_its_bound_and_so_has_its_neighbour() {
    let admission = Admission::default();
    let places = places(&admission, (0..60).map(|n| format!("192.0.{}.{n}", n % 20)));
    assert_eq!(places.len(), 40);
}

#[test]
fn a_site_with_256_networks_has_four_times_the_bound_of_one() {
    let admission = Admission::default();
    let site = places(&admission, (0..256).map(|n| format!("2001:db8:1:{:x}::1", n << 8)));
    assert_eq!(site.len(), 8);
    assert_eq!(places(&admission, ["2001:db8:2::1".to_owned()]).len(), 1, "another site");
    drop(site);
    assert_eq!(places(&admission, ["2001:db8:1::1".to_owned()]).len(), 1);
    assert!(admission.inner.by_network.lock().is_empty(), "what has ended is forgotten");
}

#[test]
fn a_provider_with_65536_sites_has_sixteen_times_the_bound_of_one() {
    let admission = Admission::default();
    let provider = places(&admission, (0..300).map(|n| format!("2001:db8:{n:x}::1")));
    assert_eq!(provider.len(), 32);
    assert_eq!(places(&admission, ["2001:db9::1".to_owned()]).len(), 1, "another provider");
}
