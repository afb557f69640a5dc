use super::*;
use crate::config::Config;
use crate::config::test_files::Files;

const PER_NETWORK: usize = 2;

/// Places of these clients, of those that got one, out of so many.
fn places(admission: &Admission, sessions: usize, clients: impl IntoIterator<Item = String>) -> Vec<Place> {
    let files = Files::new();
    let limits = format!("limits = {{ sessions = {sessions}, sessions_per_network = {PER_NETWORK} }}");
    let limits = Config::parse(&files.with(&limits), &[]).unwrap().limits;
    clients.into_iter().filter_map(|ip| admission.admit(ip.parse().unwrap(), &limits).ok()).collect()
}

/// So many clients of one IPv6 site, each in a network of its own.
fn of_site(site: &str, clients: usize) -> impl Iterator<Item = String> {
    (0..clients).map(move |n| format!("{site}:{:x}::1", n << 8))
}

/// Clients of networks that have nothing to do with each other.
fn of_everywhere(clients: usize) -> impl Iterator<Item = String> {
    (0..clients).map(|n| format!("192.0.{n}.1"))
}

#[test]
fn an_ipv4_network_has_its_bound_and_so_has_its_neighbour() {
    for sessions in [41, 10_000] {
        let admission = Admission::new(Drain::default());
        let places = places(&admission, sessions, (0..60).map(|n| format!("192.0.{}.{n}", n % 20)));
        assert_eq!(places.len(), 40, "of {sessions}");
    }
}

#[test]
fn an_ipv6_network_has_its_bound_on_an_idle_node_too() {
    let admission = Admission::new(Drain::default());
    let places = places(&admission, 10_000, (0..60).map(|n| format!("2001:db8:1:{n:x}::1")));
    assert_eq!(places.len(), PER_NETWORK);
}

#[test]
fn while_half_of_all_is_free_nobody_is_shut_out_for_a_neighbour() {
    let admission = Admission::new(Drain::default());
    assert_eq!(places(&admission, 512, of_site("2001:db8:1", 256)).len(), 256);
}

#[test]
fn past_half_a_site_with_256_networks_has_four_times_the_bound_of_one() {
    let admission = Admission::new(Drain::default());
    let sessions = 200;
    let _others = places(&admission, sessions, of_everywhere(101));
    let site = places(&admission, sessions, of_site("2001:db8:1", 256));
    assert_eq!(site.len(), 4 * PER_NETWORK);
    assert_eq!(places(&admission, sessions, of_site("2001:db8:2", 1)).len(), 1, "another site");
    drop(site);
    assert_eq!(places(&admission, sessions, of_site("2001:db8:1", 1)).len(), 1);
}

#[test]
fn past_half_a_provider_with_65536_sites_has_sixteen_times_the_bound_of_one() {
    let admission = Admission::new(Drain::default());
    let sessions = 200;
    let _others = places(&admission, sessions, of_everywhere(101));
    let provider = places(&admission, sessions, (0..300).map(|n| format!("2001:db8:{n:x}::1")));
    assert_eq!(provider.len(), 16 * PER_NETWORK);
    assert_eq!(places(&admission, sessions, ["2001:db9::1".to_owned()]).len(), 1, "another provider");
}

#[test]
fn what_has_ended_is_forgotten() {
    let admission = Admission::new(Drain::default());
    drop(places(&admission, 200, of_site("2001:db8:1", 256)));
    assert!(admission.inner.by_network.lock().is_empty());
    assert_eq!(admission.inner.total.load(Ordering::Relaxed), 0);
}
