use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;
use crate::routing::test_table::domain;

fn any_domain() -> impl Strategy<Value = Domain> {
    prop_oneof![
        "[a-z]{1,8}\\.example",
        Just("[192.0.2.1]".to_owned()),
        Just("xn--bcher-kva.example".to_owned())
    ]
    .prop_map(|name| domain(&name))
}

/// Local parts that are quoted on the wire too.
fn any_address() -> impl Strategy<Value = Address> {
    ("[a-zA-Zéß \"\\\\.@]{1,16}", any_domain())
        .prop_map(|(local, at)| Address::from_parts(&local, at).unwrap())
}

fn any_tempfail() -> impl Strategy<Value = Option<OnTempfail>> {
    proptest::option::of(prop_oneof![
        Just(OnTempfail::Relay),
        Just(OnTempfail::Queue),
        Just(OnTempfail::Verified)
    ])
}

fn any_matcher() -> impl Strategy<Value = Matcher> {
    prop_oneof![any::<String>().prop_map(Matcher::Local), Just(Matcher::CatchAll)]
}

fn any_action() -> impl Strategy<Value = RuleAction> {
    prop_oneof![
        proptest::collection::vec(any_address(), 0..4).prop_map(RuleAction::Forward),
        Just(RuleAction::Drop),
        any::<String>().prop_map(RuleAction::Reject),
    ]
}

fn any_id() -> impl Strategy<Value = Ulid> {
    any::<u128>().prop_map(Ulid)
}

fn of_domains() -> impl Strategy<Value = Change> {
    let etag = || any::<Option<u64>>();
    let create = (any_domain(), any::<bool>(), any_tempfail(), any::<bool>()).prop_map(
        |(name, enabled, on_tempfail, subaddressing)| {
            Change::CreateDomain(NewDomain { name, enabled, on_tempfail, subaddressing })
        },
    );
    let setting = proptest::option::of(any_tempfail().prop_map(TempfailSetting));
    let update = (any_domain(), any::<Option<bool>>(), setting, any::<Option<bool>>(), etag()).prop_map(
        |(name, enabled, on_tempfail, subaddressing, etag)| {
            let patch = DomainPatch { enabled, on_tempfail, subaddressing };
            Change::UpdateDomain { name, patch, etag }
        },
    );
    let rules = prop_oneof![Just(RulesOfDeleted::Keep), Just(RulesOfDeleted::Delete)];
    let delete = (any_domain(), rules, etag()).prop_map(|(name, rules, etag)| Change::DeleteDomain {
        name,
        rules,
        etag,
    });
    prop_oneof![create, update, delete]
}

fn of_rules() -> impl Strategy<Value = Change> {
    let create = (any_domain(), any_matcher(), any_action(), any::<i32>(), any::<String>(), any::<bool>())
        .prop_map(|(domain, matcher, action, priority, label, enabled)| {
            Change::CreateRule(NewRule { domain, matcher, action, priority, label, enabled })
        });
    let patch = (
        proptest::option::of(any_matcher()),
        proptest::option::of(any_action()),
        any::<(Option<i32>, Option<String>, Option<bool>)>(),
    )
        .prop_map(|(matcher, action, (priority, label, enabled))| RulePatch {
            matcher,
            action,
            priority,
            label,
            enabled,
        });
    let update = (any_id(), patch, any::<Option<u64>>()).prop_map(|(id, patch, etag)| Change::UpdateRule {
        id,
        patch,
        etag,
    });
    let delete = (any_id(), any::<Option<u64>>()).prop_map(|(id, etag)| Change::DeleteRule { id, etag });
    prop_oneof![create, update, delete]
}

fn of_destinations() -> impl Strategy<Value = Change> {
    (any_address(), any::<bool>(), any::<Option<u64>>()).prop_flat_map(|(address, verified, etag)| {
        prop_oneof![
            Just(Change::CreateDestination { address: address.clone(), verified }),
            Just(Change::UpdateDestination { address: address.clone(), verified, etag }),
            Just(Change::DeleteDestination { address, etag }),
        ]
    })
}

fn of_suspensions() -> impl Strategy<Value = Change> {
    let until = proptest::option::of((0..1_u64 << 48).prop_map(|at| UNIX_EPOCH + Duration::from_millis(at)));
    (any_domain(), until, any::<String>(), any::<Option<u64>>()).prop_flat_map(
        |(domain, until, reason, etag)| {
            let resume = Change::Resume { domain: domain.clone(), etag };
            prop_oneof![Just(Change::Suspend { domain, until, reason }), Just(resume)]
        },
    )
}

fn of_listings() -> impl Strategy<Value = Change> {
    let network =
        (any::<std::net::IpAddr>(), 0..=32_u8).prop_map(|(ip, length)| IpNet::new(ip, length).unwrap());
    let until = proptest::option::of((0..1_u64 << 48).prop_map(|ms| UNIX_EPOCH + Duration::from_millis(ms)));
    (network, until, any::<String>(), any::<Option<u64>>()).prop_flat_map(|(network, until, reason, etag)| {
        prop_oneof![
            Just(Change::Block { network, until, reason: reason.clone() }),
            Just(Change::Allow { network, until, reason }),
            Just(Change::Unlist { network, etag }),
        ]
    })
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        of_domains(),
        of_rules(),
        of_destinations(),
        of_suspensions(),
        of_listings(),
        Just(Change::EndSuspensions),
        "[a-z]{1,8}".prop_map(|name| Change::BarNode { name }),
        "[a-z]{1,8}".prop_map(|name| Change::AdmitNode { name }),
        Just(Change::DeclareLost),
        Just(Change::DeclareWhole)
    ]
    .prop_recursive(2, 8, 4, |change| proptest::collection::vec(change, 0..4).prop_map(Change::Batch))
}

proptest! {
    #[test]
    fn every_change_comes_back_as_it_was(
        at in 0..1_u64 << 48,
        first_id in any_id(),
        request_id in proptest::option::of(("[ -~]{1,64}", any::<Option<[u8; 4]>>())),
        author in proptest::option::of(("[ -~é\\n]{1,150}", any::<Option<std::net::IpAddr>>())),
        change in any_change(),
    ) {
        let request_id = request_id.map(|(text, asked)| {
            let id = RequestId::parse(&text).unwrap();
            asked.map_or_else(|| id.clone(), |asked| id.clone().of(&asked))
        });
        let author = author.and_then(|(name, address)| Author::new(&name, address));
        let stamped = Stamped { at: UNIX_EPOCH + Duration::from_millis(at), first_id, request_id, author, change };
        let octets = stamped.encode().unwrap();
        prop_assert_eq!(Stamped::decode(&octets).unwrap(), stamped.clone());
        // Fields of a later version, behind those that are known.
        let later = [octets, b"\xfa\x3f\x05hello\x88\x7f\x07".to_vec()].concat();
        prop_assert_eq!(Stamped::decode(&later).unwrap(), stamped);
    }

    #[test]
    fn octets_of_any_kind_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(stamped) = Stamped::decode(&octets) {
            prop_assert_eq!(Stamped::decode(&stamped.encode().unwrap()), Ok(stamped));
        }
    }
}

/// What a form says that no version of ours writes.
fn refused(change: v1::Change) -> String {
    let stamped = v1::Stamped {
        at_ms: 1,
        first_id: vec![0; 16],
        change: Some(change),
        request_id: None,
        ..v1::Stamped::default()
    };
    Stamped::decode(&stamped.encode_to_vec()).unwrap_err().to_string()
}

fn of(kind: Kind) -> v1::Change {
    v1::Change { kind: Some(kind) }
}

#[test]
fn a_change_says_since_when_there_is_one() {
    let stamped =
        |change| Stamped { at: UNIX_EPOCH, first_id: Ulid::nil(), request_id: None, author: None, change };
    let version = |change| v1::Stamped::decode(&*stamped(change).encode().unwrap()).unwrap().version;
    let agree = Change::AgreeOnDeliveryKey(DeliveryKey::new([7; DeliveryKey::OCTETS]));
    // The first is not said: what earlier versions have written stays as it is.
    assert_eq!(version(Change::DeclareWhole), 0);
    assert_eq!(version(agree.clone()), 2);
    assert_eq!(version(Change::Batch(vec![Change::DeclareWhole, agree.clone()])), 2);
    let later = v1::Stamped {
        version: CHANGES_VERSION + 1,
        ..v1::Stamped::decode(&*stamped(agree).encode().unwrap()).unwrap()
    };
    assert_eq!(
        Stamped::decode(&later.encode_to_vec()).unwrap_err().to_string(),
        "a change is of version 3, and this version of Postroad knows those up to 2"
    );
}

#[test]
fn what_a_later_version_asks_for_is_refused_wherever_it_stands() {
    // Field 99 of the change is no kind that is known.
    let change = [&[0x9a, 0x06, 0x00][..]].concat();
    let stamped = [&[0x08, 0x01, 0x12, 16][..], &[0; 16], &[0x1a, change.len() as u8], &change].concat();
    let error = Stamped::decode(&stamped).unwrap_err();
    assert_eq!(error, EncodingError::UnknownKind("a change"));
    let unknown = "a change is of a kind that this version does not know";
    assert_eq!(error.to_string(), unknown);
    let batch = v1::Batch { changes: vec![v1::Change { kind: None }] };
    assert_eq!(refused(of(Kind::Batch(batch))), unknown);
    let rule = v1::CreateRule { domain: "one.example".into(), ..v1::CreateRule::default() };
    let matcher = Some(v1::Matcher { kind: None });
    assert_eq!(
        refused(of(Kind::CreateRule(v1::CreateRule { matcher, ..rule.clone() }))),
        "the matcher of a rule is of a kind that this version does not know"
    );
    let matcher = Some(encode_matcher(&Matcher::CatchAll));
    let action = Some(v1::Action { kind: None });
    assert_eq!(
        refused(of(Kind::CreateRule(v1::CreateRule { matcher, action, ..rule }))),
        "the action of a rule is of a kind that this version does not know"
    );
    let domain = v1::CreateDomain { name: "one.example".into(), on_tempfail: 9, ..Default::default() };
    assert_eq!(
        refused(of(Kind::CreateDomain(domain))),
        "on_tempfail of a new domain cannot be read: 9 is not known"
    );
}

#[test]
fn what_cannot_be_read_is_named() {
    let rule = v1::DeleteRule { id: vec![1, 2, 3], etag: None };
    assert_eq!(
        refused(of(Kind::DeleteRule(rule))),
        "the id of the rule to delete cannot be read: a ULID has 16 octets, and this 3"
    );
    let destination = v1::CreateDestination { address: "nobody".into(), verified: true };
    assert_eq!(
        refused(of(Kind::CreateDestination(destination))),
        "the destination to create cannot be read: address \"nobody\" is not of the form local@domain"
    );
    let rule = v1::CreateRule { domain: "one.example".into(), ..v1::CreateRule::default() };
    assert_eq!(
        refused(of(Kind::CreateRule(rule))),
        "the matcher of a new rule cannot be read: it is missing"
    );
    let none = v1::Stamped {
        at_ms: 1,
        first_id: vec![0; 16],
        change: None,
        request_id: None,
        ..v1::Stamped::default()
    };
    let error = Stamped::decode(&none.encode_to_vec()).unwrap_err();
    assert_eq!(error.to_string(), "the change of a stamped change cannot be read: it is missing");
    let whole = Stamped {
        at: UNIX_EPOCH,
        first_id: Ulid(1),
        request_id: None,
        author: None,
        change: Change::DeclareWhole,
    }
    .encode()
    .unwrap();
    let error = Stamped::decode(&whole[..whole.len() - 1]).unwrap_err();
    assert!(matches!(error, EncodingError::Malformed { what: "a stamped change", .. }), "{error}");
}

#[test]
fn what_would_not_be_decoded_is_not_encoded() {
    let update = |octets| Stamped {
        author: None,
        at: UNIX_EPOCH,
        first_id: Ulid(1),
        request_id: None,
        change: Change::UpdateRule {
            id: Ulid(1),
            patch: RulePatch { label: Some("\0".repeat(octets)), ..RulePatch::default() },
            etag: None,
        },
    };
    assert!(update(1).encode().is_ok());
    let error = update(MAX_STAMPED_OCTETS).encode().unwrap_err();
    assert!(matches!(error, EncodingError::TooLong { what: "a stamped change", .. }), "{error}");
}
