use super::*;

fn mx(name: &str, preference: u16) -> MailHost {
    MailHost { name: Domain::parse(name).unwrap(), preference }
}

#[test]
fn rfc5321_5_1_our_own_hosts_go_with_all_that_are_no_better() {
    let ours = [Domain::parse("amir.example").unwrap()];
    let hosts = vec![mx("a.example", 5), mx("amir.example", 10), mx("b.example", 10), mx("c.example", 20)];
    assert_eq!(before_ours(hosts.clone(), &ours), [mx("a.example", 5)]);
    assert_eq!(before_ours(hosts.clone(), &[]), hosts);
    assert_eq!(before_ours(vec![mx("amir.example", 0)], &ours), []);
}

#[test]
fn rfc5321_4_1_3_address_literals_are_addresses() {
    let of = |text: &str| literal(&Domain::parse(text).unwrap());
    assert_eq!(of("[192.0.2.1]"), Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))));
    assert_eq!(of("[ipv6:::1]"), Some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
    assert_eq!(of("example.com"), None);
}
