use super::*;

fn read(records: &[[u8; 4]], listed: &[&str]) -> Verdict {
    let records: Vec<Ipv4Addr> = records.iter().map(|octets| Ipv4Addr::from(*octets)).collect();
    let listed: Vec<Ipv4Net> = listed.iter().map(|net| net.parse().unwrap()).collect();
    Verdict::read(&records, &listed)
}

#[test]
fn rfc5782_2_1_ipv4_octets_are_reversed() {
    assert_eq!(reversed("192.0.2.99".parse().unwrap()), "99.2.0.192.");
}

#[test]
fn rfc5782_2_4_ipv6_nibbles_are_reversed() {
    let name = reversed("2001:db8:1:2:3:4:567:89ab".parse().unwrap());
    assert_eq!(name, "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.");
    assert_eq!(name.len(), REVERSED_OCTETS);
}

#[test]
fn rfc5782_5_test_points_are_those_of_the_family() {
    let (listed, not_listed) = Family::Ipv4.test_points();
    assert_eq!((reversed(listed), reversed(not_listed)), ("2.0.0.127.".into(), "1.0.0.127.".into()));
    let (listed, not_listed) = Family::Ipv6.test_points();
    assert_eq!(listed, "::ffff:7f00:2".parse::<IpAddr>().unwrap());
    assert!(reversed(listed).starts_with("2.0.0.0.0.0.f.7.f.f.f.f.0."));
    assert!(reversed(not_listed).starts_with("1.0.0.0.0.0.f.7.f.f.f.f.0."));
}

#[test]
fn rfc5782_2_3_only_the_answers_of_the_mask_are_listings() {
    assert_eq!(read(&[[127, 0, 0, 2]], &["127.0.0.0/8"]), Verdict::Listed);
    assert_eq!(read(&[[127, 0, 0, 10]], &["127.0.0.2/32", "127.0.0.4/30"]), Verdict::NotListed);
    assert_eq!(read(&[[127, 0, 0, 10], [127, 0, 0, 5]], &["127.0.0.4/30"]), Verdict::Listed);
}

#[test]
fn refusals_are_errors_whatever_the_mask() {
    for refusal in [[127, 0, 0, 1], [127, 255, 255, 252], [127, 255, 255, 254], [127, 255, 255, 0]] {
        for mask in ["127.0.0.0/8", "0.0.0.0/0", "127.255.255.0/24", "127.0.0.1/32"] {
            assert_eq!(read(&[refusal], &[mask]), Verdict::Nonsense, "{refusal:?} {mask}");
        }
        assert_eq!(read(&[refusal, [127, 0, 0, 2]], &["127.0.0.2/32"]), Verdict::Listed);
    }
}

#[test]
fn an_answer_outside_of_127_is_an_error_whatever_the_mask() {
    assert_eq!(read(&[[203, 0, 113, 7]], &["0.0.0.0/0"]), Verdict::Nonsense);
}
