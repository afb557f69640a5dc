use super::*;

#[test]
fn rfc8617_4_2_1_instances_end_at_fifty() {
    assert_eq!(next(ArcState::None), Some((1, "none")));
    assert_eq!(next(ArcState::Pass(49)), Some((50, "pass")));
    assert_eq!(next(ArcState::Fail(3)), Some((4, "fail")));
    for state in [ArcState::Pass(50), ArcState::Fail(50), ArcState::Ended] {
        assert_eq!(next(state), None);
    }
}

#[test]
fn a_set_is_wanted_by_the_mode_the_need_and_the_chain() {
    use ArcState::{Ended, Fail, None, Pass};
    use ReceiverHelp::{Needed, NotNeeded};
    for state in [None, Pass(1), Fail(1), Ended] {
        for help in [Needed, NotNeeded] {
            assert!(is_wanted(Sealing::On, state, help));
            assert!(!is_wanted(Sealing::Off, state, help));
        }
        assert!(is_wanted(Sealing::Needed, state, Needed));
        assert_eq!(is_wanted(Sealing::Needed, state, NotNeeded), state != None, "{state:?}");
    }
}

#[test]
fn the_instance_is_a_tag_of_its_own() {
    let of_results = |value: &[u8]| instance_of(b"arc-authentication-results", value);
    let of_seal = |value: &[u8]| instance_of(b"ARC-Seal", value);
    assert_eq!(of_results(b" i=1; mx.example; spf=pass"), Some(1));
    assert_eq!(of_results(b" (a chain) i = 1 (its first); mx.example"), Some(1));
    assert_eq!(of_seal(b" a=rsa-sha256; b=i=3;\r\n\ti = 12; x=y"), Some(12));
    assert_eq!(of_seal(b" i=1; i=1"), None);
    for value in [b" a=rsa-sha256".as_slice(), b" i=", b" i=x;", b" i=1 2", b""] {
        assert_eq!((of_results(value), of_seal(value)), (None, None), "{}", String::from_utf8_lossy(value));
    }
}

#[test]
fn earlier_sets_are_covered_when_each_field_is_there_once() {
    let part = |name: &'static str, value: &'static str| (name.as_bytes(), value.as_bytes());
    let set = [
        part("ARC-Seal", " i=1; b=x"),
        part("arc-message-signature", " i=1; b=y"),
        part("ARC-Authentication-Results", " i=1; z"),
    ];
    let found = sets_below(&set, 2).unwrap();
    assert_eq!(
        String::from_utf8(found).unwrap(),
        "arc-authentication-results:i=1; z\r\narc-message-signature:i=1; b=y\r\narc-seal:i=1; b=x\r\n"
    );
    assert_eq!(sets_below(&set[..2], 2), None);
    assert_eq!(sets_below(&[&set[..], &set[..1]].concat(), 2), None);
    assert_eq!(sets_below(&set, 3), None);
}
