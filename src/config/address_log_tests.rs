use super::*;

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

#[test]
fn full_shows_the_address_and_none_shows_nothing_of_it() {
    let ana = address("Ana@dest.example");
    assert_eq!(AddressLog::new(LogAddresses::Full, b"k").show(&ana), "Ana@dest.example");
    assert_eq!(AddressLog::new(LogAddresses::None, b"k").show(&ana), "-");
}

#[test]
fn hash_keeps_the_domain_ignores_case_and_depends_on_the_secret() {
    let log = AddressLog::new(LogAddresses::Hash, b"one");
    let shown = log.show(&address("ana@dest.example"));
    assert!(shown.ends_with("@dest.example") && !shown.contains("ana"), "{shown}");
    assert_eq!(shown.len(), 12 + "@dest.example".len());
    assert_eq!(shown, log.show(&address("ANA@dest.example")));
    assert_ne!(shown, log.show(&address("bob@dest.example")));
    assert_ne!(shown, AddressLog::new(LogAddresses::Hash, b"two").show(&address("ana@dest.example")));
}

#[test]
fn null_reverse_path_is_shown_in_every_form() {
    for form in [LogAddresses::Full, LogAddresses::Hash, LogAddresses::None] {
        assert_eq!(AddressLog::new(form, b"k").show_path(&ReversePath::Null), "<>");
    }
}
