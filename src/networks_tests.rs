use super::*;

fn shown(ip: &str) -> Vec<String> {
    Networks::of(ip.parse().unwrap()).iter().map(|network| network.to_string()).collect()
}

#[test]
fn an_ipv4_client_counts_by_its_24_also_where_it_is_mapped() {
    assert_eq!(shown("192.0.2.77"), ["192.0.2.0/24"]);
    assert_eq!(shown("::ffff:192.0.2.77"), ["192.0.2.0/24"]);
}

#[test]
fn rfc6177_2_an_ipv6_client_counts_by_customer_site_and_provider() {
    let networks = ["2001:db8:1:200::/56", "2001:db8:1::/48", "2001:db8::/32"];
    assert_eq!(shown("2001:db8:1:2ff::1"), networks);
}

#[test]
fn a_wider_network_may_have_more() {
    let networks = Networks::of("2001:db8::1".parse().unwrap());
    let bounds: Vec<usize> = networks.bounded(50, [1, 4, 16]).map(|(_, bound)| bound).collect();
    assert_eq!(bounds, [50, 200, 800]);
}
