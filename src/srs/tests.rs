use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn now() -> SystemTime {
    at(1_577_836_860)
}

fn days_later(days: u64) -> SystemTime {
    at(1_577_836_860 + days * SECONDS_A_DAY)
}

fn srs() -> Srs {
    Srs::new(vec![Secret::new(b"tops3cr3t")], 21)
}

fn other() -> Srs {
    Srs::new(vec![Secret::new(b"another forwarder")], 21)
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn encode(srs: &Srs, original: &str, forwarding: &str) -> Address {
    srs.encode(&address(original), &domain(forwarding), now()).unwrap()
}

#[test]
fn srs0_is_that_of_postsrsd() {
    let encoded = encode(&srs(), "test@otherdomain.com", "example.com");
    assert_eq!(encoded.to_string(), "SRS0=vmyz=2W=otherdomain.com=test@example.com");
    assert_eq!(srs().decode(&encoded, now()), Ok(Some(address("test@otherdomain.com"))));
}

#[test]
fn srs1_keeps_the_first_host_and_never_grows_deeper() {
    let first = encode(&other(), "test@otherdomain.com", "first.example");
    let rest = first.local().strip_prefix("SRS0").unwrap();
    let second = encode(&srs(), &first.to_string(), "second.example");
    assert!(second.local().starts_with("SRS1="));
    assert!(second.local().ends_with(&format!("=first.example={rest}")), "{second}");

    let third_srs = Srs::new(vec![Secret::new(b"third")], 21);
    let third = encode(&third_srs, &second.to_string(), "third.example");
    assert_eq!(third.local().len(), second.local().len());
    assert_eq!(third_srs.decode(&third, now()), Ok(Some(first.clone())));
    assert_eq!(srs().decode(&second, now()), Ok(Some(first)));
}

#[test]
fn srs1_keeps_the_first_hosts_separator() {
    let second = encode(&srs(), "SRS0+xxxx+yy=a.example=b+c@first.example", "second.example");
    assert!(second.local().ends_with("=first.example=+xxxx+yy=a.example=b+c"), "{second}");
    let back = srs().decode(&second, now()).unwrap().unwrap();
    assert_eq!(back, address("SRS0+xxxx+yy=a.example=b+c@first.example"));
}

#[test]
fn srs1_has_no_age() {
    let second = encode(&srs(), "SRS0=xxxx=yy=a.example=b@first.example", "second.example");
    assert!(srs().decode(&second, days_later(500)).unwrap().is_some());
}

#[test]
fn own_address_is_unwrapped_and_not_nested() {
    let once = encode(&srs(), "test@otherdomain.com", "example.com");
    let again = encode(&srs(), &once.to_string(), "example.net");
    assert_eq!(again, encode(&srs(), "test@otherdomain.com", "example.net"));
}

#[test]
fn own_address_guarded_by_another_host_is_unwrapped_too() {
    let once = encode(&srs(), "t@o.example", "example.com");
    let guarded = encode(&other(), &once.to_string(), "other.example");
    let back = encode(&srs(), &guarded.to_string(), "example.com");
    assert_eq!(back, once);
}

#[test]
fn all_three_separators_are_read() {
    for separator in ["=", "+", "-"] {
        let text = format!("SRS0{separator}vmyz=2W=otherdomain.com=test@example.com");
        assert_eq!(srs().decode(&address(&text), now()), Ok(Some(address("test@otherdomain.com"))));
    }
}

#[test]
fn hash_is_compared_without_case_and_in_both_alphabets() {
    let secret = Secret::new(b"tops3cr3t");
    let special = (0..)
        .map(|n: u32| n.to_string())
        .find(|text| secret.hash(Purpose::Address, text).contains(['-', '_']))
        .unwrap();
    let hash = secret.hash(Purpose::Address, &special);
    for spelling in [hash.to_uppercase(), hash.to_lowercase(), hash.replace('-', "+").replace('_', "/")] {
        assert!(secret.verify(Purpose::Address, &spelling, &special), "{spelling}");
    }
    assert!(!secret.verify(Purpose::Address, hash.get(..3).unwrap(), &special));
    assert!(!secret.verify(Purpose::Address, "", &special));
}

#[test]
fn an_address_is_good_for_its_age_and_not_a_day_longer() {
    let encoded = encode(&srs(), "test@otherdomain.com", "example.com");
    assert!(srs().decode(&encoded, days_later(21)).is_ok());
    assert_eq!(srs().decode(&encoded, days_later(22)), Err(SrsError::Expired));
    assert_eq!(srs().decode(&encoded, days_later(1000)), Err(SrsError::Expired));
}

#[test]
fn the_age_is_counted_across_the_wrap() {
    let last_day = at(1023 * SECONDS_A_DAY);
    let encoded = srs().encode(&address("a@b.example"), &domain("example.com"), last_day).unwrap();
    assert!(srs().decode(&encoded, at((1023 + 21) * SECONDS_A_DAY)).is_ok());
    assert_eq!(srs().decode(&encoded, at((1023 + 22) * SECONDS_A_DAY)), Err(SrsError::Expired));
}

#[test]
fn a_node_whose_clock_is_a_day_ahead_is_believed() {
    let encoded = srs().encode(&address("a@b.example"), &domain("example.com"), days_later(1)).unwrap();
    assert!(srs().decode(&encoded, now()).is_ok());
    let encoded = srs().encode(&address("a@b.example"), &domain("example.com"), days_later(2)).unwrap();
    assert_eq!(srs().decode(&encoded, now()), Err(SrsError::Expired));
}

#[test]
fn the_first_secret_signs_and_all_verify() {
    let old = srs();
    let rotated = Srs::new(Secret::from_lines("new secret\n\n tops3cr3t \n"), 21);
    let by_old = encode(&old, "test@otherdomain.com", "example.com");
    let by_new = encode(&rotated, "test@otherdomain.com", "example.com");
    assert_ne!(by_old, by_new);
    assert!(rotated.decode(&by_old, now()).is_ok());
    assert!(rotated.decode(&by_new, now()).is_ok());
    assert_eq!(old.decode(&by_new, now()), Err(SrsError::Forged));
}

fn with(secrets: &str) -> Srs {
    Srs::new(Secret::from_lines(secrets), 21)
}

#[test]
fn a_secret_out_of_use_is_known_again_while_its_addresses_would_be_good() {
    let old = encode(&srs(), "test@otherdomain.com", "example.com");
    let later = with("newer").after(&with("new").after(&srs(), now()), now());
    assert_eq!(later.decode(&old, now()), Err(SrsError::Retired));
    assert_eq!(
        later.decode(&encode(&with("new"), "a@b.example", "c.example"), now()),
        Err(SrsError::Retired)
    );
    assert!(later.decode(&encode(&with("newer"), "a@b.example", "c.example"), now()).is_ok());
    assert_eq!(later.decode(&encode(&other(), "a@b.example", "c.example"), now()), Err(SrsError::Forged));
    assert_eq!(later.decode(&old, days_later(22)), Err(SrsError::Forged));
}

#[test]
fn a_secret_that_comes_back_is_in_use_again() {
    let old = encode(&srs(), "test@otherdomain.com", "example.com");
    let back = with("tops3cr3t").after(&with("new").after(&srs(), now()), now());
    assert!(back.decode(&old, now()).is_ok());
    assert_eq!(back.retired.len(), 1);
}

#[test]
fn an_alias_of_a_secret_out_of_use_is_known_again() {
    let long = address(&format!("{}@b.example", "a".repeat(64)));
    let (alias, _) = srs().alias(&long, &domain("example.com"), now()).unwrap();
    assert_eq!(with("new").after(&srs(), now()).decode_alias(&alias, now()), Err(SrsError::Retired));
}

#[test]
fn secrets_out_of_use_are_remembered_up_to_a_number() {
    let turn = |srs: Srs, number: usize| with(&format!("secret {number}")).after(&srs, now());
    let turned = (0..MAX_RETIRED + 5).fold(srs(), turn);
    assert_eq!(turned.retired.len(), MAX_RETIRED);
}

#[test]
fn a_claim_is_the_same_in_all_guesses_at_one_original() {
    let claim = |local: &str| claim(&Address::from_parts(local, domain("example.com")).unwrap());
    let alice = Some("b.example=alice".to_owned());
    for local in [
        "SRS0=aaaa=2W=b.example=alice",
        "srs0+bbbb=2X=B.example=ALICE",
        "SRS1=aaaa=first.example==cccc=2W=b.example=alice",
        "SRS1=bbbb=first.example==dddd=2X=b.example=alice",
    ] {
        assert_eq!(claim(local), alice, "{local}");
    }
    assert_ne!(claim("SRS0=aaaa=2W=b.example=bob"), alice);
    assert_eq!(claim("SRS1=aaaa=first.example==opaque"), Some("first.example=opaque".into()));
    assert_eq!(claim("SRSA=aaaa=2W=AAAAAAAAAAAAAAAA"), claim("SRSA=bbbb=2X=aaaaaaaaaaaaaaaa"));
    assert_eq!((claim("SRS0=nonsense"), claim("alice")), (None, None));
}

#[test]
fn without_a_secret_nothing_verifies() {
    let none = Srs::new(Vec::new(), 21);
    let encoded = encode(&none, "test@otherdomain.com", "example.com");
    assert_eq!(none.decode(&encoded, now()), Err(SrsError::Forged));
    assert_eq!(none.alias(&address("a@b.example"), &domain("example.com"), now()), None);
}

#[test]
fn quoted_local_part_stays_quoted() {
    let encoded = encode(&srs(), r#""a test\"user"@test.example"#, "example.com");
    assert!(encoded.to_string().starts_with("\"SRS0="), "{encoded}");
    let wire = address(&encoded.to_string());
    assert_eq!(srs().decode(&wire, now()), Ok(Some(address(r#""a test\"user"@test.example"#))));
}

#[test]
fn separators_in_the_original_local_part_survive() {
    for original in ["bounce+x=y.example=3D@lists.example", "-=+@a.example", "a=b=c=d@e.example"] {
        let encoded = encode(&srs(), original, "example.com");
        assert_eq!(srs().decode(&encoded, now()), Ok(Some(address(original))));
    }
}

#[test]
fn case_of_the_original_is_kept() {
    let encoded = encode(&srs(), "John.DOE@Other.Example", "example.com");
    assert!(encoded.local().ends_with("=other.example=John.DOE"), "{encoded}");
}

#[test]
fn other_addresses_are_no_srs() {
    for text in
        ["srs@example.com", "SRS0@example.com", "SRS0x=a@example.com", "SRS2=a@example.com", "é@example.com"]
    {
        assert_eq!(srs().decode(&address(text), now()), Ok(None), "{text}");
        assert_eq!(srs().decode_alias(&address(text), now()), Ok(None), "{text}");
    }
}

#[test]
fn malformed_srs_addresses_are_refused() {
    for local in [
        "SRS0=",
        "SRS0=vmyz",
        "SRS0=vmyz=2W",
        "SRS0=vmyz=2W=a.example",
        "SRS0=vmyz=2W=a.example=",
        "SRS1=a",
        "SRS1=abcd=b.example",
        "SRS1=abcd=b.example=x",
        "SRS1=abcd=-=x",
        "SRS1=abcd=b.example==",
    ] {
        let address = Address::from_parts(local, domain("example.com")).unwrap();
        assert_eq!(srs().decode(&address, now()), Err(SrsError::Malformed), "{local}");
    }
    for local in ["SRSA=", "SRSA=abcd=2W=short", "SRSA=abcd=2W=0000000000000000"] {
        let address = Address::from_parts(local, domain("example.com")).unwrap();
        assert_eq!(srs().decode_alias(&address, now()), Err(SrsError::Malformed), "{local}");
    }
}

#[test]
fn a_malformed_srs1_sender_is_an_ordinary_address() {
    let encoded = encode(&srs(), "SRS1=nonsense@a.example", "example.com");
    assert_eq!(srs().decode(&encoded, now()), Ok(Some(address("SRS1=nonsense@a.example"))));
}

#[test]
fn rfc5321_4_5_3_1_1_too_long_an_original_gets_an_alias_of_fixed_length() {
    let long = address(&format!("{}@b.example", "A".repeat(64)));
    let too_long = srs().encode(&long, &domain("example.com"), now()).unwrap_err();
    assert_eq!(too_long.original, long);

    let (alias, token) = srs().alias(&long, &domain("example.com"), now()).unwrap();
    assert_eq!(alias.local().len(), 29);
    assert_eq!(srs().decode_alias(&alias, now()), Ok(Some(token.clone())));
    assert_eq!(srs().decode_alias(&alias.folded(), now()), Ok(Some(token.clone())));
    assert_eq!(srs().decode(&alias, now()), Err(SrsError::Stored));
    assert_eq!(srs().decode_alias(&alias, days_later(22)), Err(SrsError::Expired));
    assert_eq!(other().decode_alias(&alias, now()), Err(SrsError::Forged));
    assert_eq!(srs().alias(&long, &domain("example.net"), days_later(9)).unwrap().1, token);
    assert_ne!(srs().alias(&long.folded(), &domain("example.com"), now()).unwrap().1, token);
}

#[test]
fn own_alias_as_sender_moves_to_the_forwarding_domain_unchanged() {
    let long = address(&format!("{}@b.example", "a".repeat(64)));
    let (alias, _) = srs().alias(&long, &domain("example.com"), now()).unwrap();
    let moved = srs().encode(&alias, &domain("example.net"), days_later(3)).unwrap();
    assert_eq!((moved.local(), moved.domain().as_str()), (alias.local(), "example.net"));
    assert!(encode(&other(), &alias.to_string(), "example.net").local().starts_with("SRS0="));
}

#[test]
fn secrets_are_not_shown() {
    assert!(!format!("{:?}", srs()).contains("tops3cr3t"));
}

/// Local parts of every kind: atoms with separators, quoted ones, UTF-8.
fn any_address() -> impl Strategy<Value = Address> {
    let local = prop_oneof![
        "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,20}",
        "[ -~]{1,20}",
        "[a-zA-Z=+ßÉσΣ日本]{1,6}",
        "[Ss][Rr][Ss][01Aa][=+-][A-Za-z0-9]{1,4}",
    ];
    let domain = prop_oneof![
        "[a-z0-9]{1,10}\\.[a-z]{2,6}",
        Just("[192.0.2.1]".to_owned()),
        Just("[IPv6:2001:db8::1]".to_owned())
    ];
    (local, domain)
        .prop_map(|(local, domain)| Address::from_parts(&local, Domain::parse(&domain).unwrap()).unwrap())
}

/// SRS0 of another host is opaque but for its tag, which is written in upper case.
fn with_upper_case_tag(address: &Address) -> Address {
    let Some(Tagged::Zero(rest)) = Tagged::of(address.local()) else { return address.clone() };
    Address::from_parts(&format!("SRS0{rest}"), address.domain().clone()).unwrap()
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

    #[test]
    fn decoding_what_was_encoded_gives_the_original(original in any_address(), day in 0_u64..4096) {
        let time = at(day * SECONDS_A_DAY);
        let encoded = srs().encode(&original, &domain("example.com"), time).unwrap();
        let wire = address(&encoded.to_string());
        prop_assert_eq!(srs().decode(&wire, time), Ok(Some(with_upper_case_tag(&original))));
    }

    #[test]
    fn a_relay_that_folds_case_does_no_harm(original in any_address()) {
        let encoded = srs().encode(&original, &domain("example.com"), now()).unwrap();
        let back = srs().decode(&encoded.folded(), now()).unwrap().unwrap();
        prop_assert_eq!(back.folded(), original.folded());
    }

    #[test]
    fn no_input_is_too_odd(local in "(SRS[01A][=+-])?[ -~é]{1,60}") {
        let Ok(address) = Address::from_parts(&local, domain("example.com")) else { return Ok(()) };
        let _ = srs().decode(&address, now());
        let _ = srs().decode_alias(&address, now());
        let _ = srs().encode(&address, &domain("example.net"), now());
    }
}

/// From a fixed seed: one change in about a million guesses the hash.
#[test]
fn any_change_of_hash_timestamp_domain_or_local_part_is_found() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::with_cases(2000), rng);
    let strategy = (any_address(), any::<prop::sample::Index>(), "[a-zA-Z0-9=._-]");
    runner
        .run(&strategy, |(original, at, replacement)| {
            let encoded = srs().encode(&original, &domain("example.com"), now()).unwrap();
            let mut characters: Vec<char> = encoded.local().chars().collect();
            let place = 5 + at.index(characters.len() - 5);
            let old = std::mem::replace(&mut characters[place], replacement.chars().next().unwrap());
            let changed: String = characters.iter().collect();
            // A separator moved across equal letters, or a change of case, is no change.
            prop_assume!(old.to_lowercase().ne(characters[place].to_lowercase()));
            let changed = Address::from_parts(&changed, domain("example.com")).unwrap();
            prop_assert!(srs().decode(&changed, now()).is_err(), "{} taken for {}", changed, encoded);
            Ok(())
        })
        .unwrap();
}
