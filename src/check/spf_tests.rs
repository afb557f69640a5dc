use super::*;
use crate::check::tests::dns_of;

async fn coverage(zone: &str, address: &str) -> Coverage {
    let (_server, dns) = dns_of(&[("spf.example", zone)]).await;
    Walk::new(&dns, address.parse().unwrap()).covers("spf.example").await
}

#[tokio::test]
async fn networks_includes_hosts_and_redirects_are_followed() {
    let zone = "@ TXT \"v=spf1 ip4:192.0.2.0/29 include:one.spf.example redirect=two.spf.example\"\n\
                one TXT \"v=spf1 ip6:2001:db8::/64 -all\"\n\
                two TXT \"v=spf1 A:host.spf.example/24 -ip4:203.0.113.1 +ip4:203.0.113.0/24 ~all exp=x\"\n\
                host A 198.51.100.7\n";
    for (address, expected) in [
        ("192.0.2.7", Coverage::Covered),
        ("192.0.2.8", Coverage::NotCovered),
        ("2001:db8::5", Coverage::Covered),
        ("2001:db8:1::5", Coverage::NotCovered),
        ("198.51.100.200", Coverage::Covered),
        ("203.0.113.1", Coverage::NotCovered),
        ("203.0.113.2", Coverage::Covered),
    ] {
        assert_eq!(coverage(zone, address).await, expected, "{address}");
    }
}

#[tokio::test]
async fn what_is_not_understood_is_named() {
    let zone = "@ TXT \"v=spf1 ip4:192.0.2.1 exists:%{i}.x.example -all\"\n";
    assert_eq!(coverage(zone, "192.0.2.1").await, Coverage::Covered);
    assert_eq!(coverage(zone, "192.0.2.2").await, Coverage::Unknown("exists:%{i}.x.example".to_owned()));
}

#[tokio::test]
async fn rfc7208_4_5_one_record_a_name_and_4_6_4_ten_lookups() {
    let twice = "@ TXT \"v=spf1 -all\"\n@ TXT \"v=spf1 +all\"\n";
    assert!(matches!(coverage(twice, "192.0.2.1").await, Coverage::Broken(_)));
    assert!(matches!(coverage("@ TXT \"v=spf10 +all\"\n", "192.0.2.1").await, Coverage::Broken(_)));
    let circle = "@ TXT \"v=spf1 include:spf.example\"\n";
    let Coverage::Broken(cause) = coverage(circle, "192.0.2.1").await else { panic!("not broken") };
    assert!(cause.contains("more than 10 look-ups"), "{cause}");
}
