use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

fn domain() -> Domain {
    Domain::parse("example.com").unwrap()
}

fn select_from(records: &[(u16, &str)], seed: u64) -> Result<MailHosts, DnsError> {
    let records =
        records.iter().map(|(preference, name)| Exchange { preference: *preference, name: (*name).into() });
    select(&domain(), records.collect(), &mut StdRng::seed_from_u64(seed))
}

fn names(hosts: &MailHosts) -> Vec<&str> {
    match hosts {
        MailHosts::Hosts(hosts) => hosts.iter().map(|host| host.name.as_str()).collect(),
        MailHosts::Null | MailHosts::Implicit(_) => panic!("no hosts: {hosts:?}"),
    }
}

#[test]
fn rfc5321_5_1_lower_preferences_come_first() {
    let hosts = select_from(&[(30, "c.example"), (10, "a.example"), (20, "b.example")], 1).unwrap();
    assert_eq!(names(&hosts), ["a.example", "b.example", "c.example"]);
}

#[test]
fn rfc5321_5_1_equal_preferences_come_in_random_order() {
    let set = [(10, "a.example"), (10, "b.example"), (10, "c.example"), (5, "first.example")];
    let mut orders = HashSet::new();
    for seed in 0..64 {
        let hosts = select_from(&set, seed).unwrap();
        let names = names(&hosts).iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(names[0], "first.example");
        orders.insert(names);
    }
    assert_eq!(orders.len(), 6, "all orders of three equals occur");
}

#[test]
fn rfc7505_3_a_single_root_is_a_null_mx() {
    assert_eq!(select_from(&[(0, "")], 1).unwrap(), MailHosts::Null);
}

#[test]
fn rfc7505_3_a_root_in_company_is_no_host() {
    let hosts = select_from(&[(0, ""), (10, "mx.example")], 1).unwrap();
    assert_eq!(names(&hosts), ["mx.example"]);
}

#[test]
fn rfc1035_3_3_9_an_address_is_no_host() {
    let hosts = select_from(&[(0, "192.0.2.1"), (1, "[192.0.2.1]"), (10, "mx.example")], 1).unwrap();
    assert_eq!(names(&hosts), ["mx.example"]);
}

#[test]
fn rfc5321_5_1_a_set_without_usable_host_is_an_error_and_permanent() {
    let error = select_from(&[(0, "192.0.2.1"), (0, "")], 1).unwrap_err();
    assert!(matches!(&error, DnsError::NoUsableMx { name } if name == "example.com"), "{error}");
    assert!(!error.is_temporary());
}

#[test]
fn at_most_twenty_hosts_are_kept_the_best_ones() {
    let texts: Vec<String> = (0..40).map(|n| format!("mx{n}.example")).collect();
    let set: Vec<(u16, &str)> = texts.iter().map(String::as_str).zip(0..).map(|(t, n)| (n, t)).collect();
    let hosts = select_from(&set, 1).unwrap();
    assert_eq!(names(&hosts), texts[..MAX_MAIL_HOSTS]);
}

#[test]
fn a_host_named_twice_is_tried_at_its_best_preference() {
    let hosts = select_from(&[(20, "a.example"), (10, "a.example"), (15, "b.example")], 1).unwrap();
    assert_eq!(names(&hosts), ["a.example", "b.example"]);
}
