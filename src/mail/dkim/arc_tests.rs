use super::*;

fn seal(instance: &str, cv: &str) -> String {
    format!("ARC-Seal: i={instance}; a=rsa-sha256; cv={cv}; d=list.example; s=s; b=QUJD\r\n")
}

fn message(instance: &str) -> String {
    format!(
        "ARC-Message-Signature: i={instance}; a=rsa-sha256; d=list.example; s=s; h=from; bh=QUJD; b=QUJD\r\n"
    )
}

fn results(instance: &str) -> String {
    format!("ARC-Authentication-Results: i={instance}; list.example; dmarc=pass\r\n")
}

fn set(instance: &str, cv: &str) -> String {
    [seal(instance, cv), message(instance), results(instance)].concat()
}

fn chain(fields: &str) -> Chain {
    Chain::read(&Section::new(format!("{fields}From: a@b.example\r\n\r\n").as_bytes()))
}

/// How many sets make a chain.
fn sets(fields: &str) -> Option<usize> {
    match chain(fields) {
        Chain::Whole(sets) => Some(sets.sets.len()),
        Chain::Absent | Chain::Unreadable | Chain::Broken(_) => None,
    }
}

#[test]
fn rfc8617_5_2_a_chain_is_gapless_and_each_set_is_whole() {
    assert_eq!(chain(""), Chain::Absent);
    let (one, two, three) = (set("1", "none"), set("2", "pass"), set("3", "pass"));
    assert_eq!(sets(&one), Some(1));
    assert_eq!(sets(&[&*three, &two, &one].concat()), Some(3));
    // In any order of fields (§4.2.1: the instance says it).
    assert_eq!(sets(&[&*one, &three, &two].concat()), Some(3));
    let broken = |fields: &[&str], newest| {
        assert_eq!(chain(&fields.concat()), Chain::Broken(Broken { newest, said: false }), "{fields:?}");
    };
    broken(&[&three, &one], 3);
    broken(&[&two], 2);
    broken(&[&one, &one], 1);
    broken(&[&one, &message("1")], 1);
    broken(&[&one, &results("2")], 2);
    broken(&[&message("1"), &results("1")], 1);
    broken(&[&seal("1", "none"), &results("1")], 1);
    broken(&[&seal("1", "none"), &message("1")], 1);
    broken(&[&seal("1", "none"), &message("2"), &results("1")], 2);
}

#[test]
fn rfc8617_5_2_the_first_seal_says_none_and_the_others_pass() {
    for (first, second, said) in
        [("pass", "pass", false), ("none", "none", false), ("none", "fail", true), ("fail", "pass", true)]
    {
        let fields = [set("2", second), set("1", first)].concat();
        assert_eq!(chain(&fields), Chain::Broken(Broken { newest: 2, said }), "{first} {second}");
    }
}

#[test]
fn rfc8617_4_2_1_instances_are_one_to_fifty() {
    for wrong in ["", "0", "00", "51", "100", "001", "-1", "+1", "1 0", "x", "257", "4294967297"] {
        assert_eq!(chain(&set(wrong, "none")), Chain::Unreadable, "{wrong:?}");
        for field in [seal(wrong, "none"), message(wrong), results(wrong)] {
            assert_eq!(chain(&[&*field, &set("1", "none")].concat()), Chain::Unreadable, "{field}");
        }
    }
    assert_eq!(sets(&set("01", "none")), Some(1));
    let fifty: String = (1..=50).map(|n| set(&n.to_string(), if n == 1 { "none" } else { "pass" })).collect();
    assert_eq!(sets(&fifty), Some(50));
}

#[test]
fn rfc8617_4_1_3_a_seal_is_a_tag_list_without_h() {
    let good = set("1", "none");
    let seal = seal("1", "none");
    for (from, to) in [
        ("s=s", "S=s"),
        ("s=s", "s=s; _=x"),
        ("s=s", "s=s; h=from"),
        ("s=s", "s=s; s=s"),
        ("s=s", "s=s; t="),
        ("s=s", "s=s; t=soon"),
        ("s=s", "s=s;"),
        ("s=s; ", ""),
        ("d=list.example; ", ""),
        ("d=list.example", "d=list"),
        ("a=rsa-sha256; ", ""),
        ("a=rsa-sha256", "a=rsa-sha512"),
        ("b=QUJD", "b="),
        ("cv=none; ", ""),
        ("cv=none", "cv="),
        ("cv=none", "cv=None"),
        ("cv=none", "cv=nonesuch"),
    ] {
        let changed = good.replacen(&seal, &seal.replacen(from, to, 1), 1);
        assert_ne!(changed, good, "{from}");
        assert_eq!(chain(&changed), Chain::Unreadable, "{to}");
    }
    assert_eq!(sets(&good.replacen(&seal, &seal.replacen("s=s", "s=s; t=1; H=x; w=flarp", 1), 1)), Some(1));
    let sha1 = good.replacen(&seal, &seal.replace("sha256", "sha1"), 1);
    assert_eq!(chain(&sha1), Chain::Broken(Broken { newest: 1, said: false }));
}

#[test]
fn rfc8617_5_2_only_the_newest_message_signature_must_be_one() {
    let without = |instance: &str| message(instance).replace("a=rsa-sha256; ", "");
    let (one, two) = (set("1", "none"), set("2", "pass"));
    let older = [&*two, &one.replace(&message("1"), &without("1"))].concat();
    assert_eq!(sets(&older), Some(2));
    let newest = [&*two.replace(&message("2"), &without("2")), &one].concat();
    assert_eq!(chain(&newest), Chain::Unreadable);
    let sha1 = [&*two.replace(&message("2"), &message("2").replace("sha256", "sha1")), &one].concat();
    assert_eq!(chain(&sha1), Chain::Broken(Broken { newest: 2, said: false }));
}

#[test]
fn rfc8617_4_1_1_results_begin_with_their_instance() {
    let of = |value: &str| instance_of_results(value.as_bytes());
    assert_eq!(of(" i=1; list.example; spf=pass"), Some(1));
    assert_eq!(of("\r\n\t(a) i (b) = (c) 50 (d)\r\n ; x (\" ;"), Some(50));
    for wrong in [
        "",
        "i=1",
        "i=1 list.example; spf=pass",
        "list.example; i=1;",
        "I=1;",
        "i=1=2;",
        "i==1;",
        "(i=1;",
        "\"i\"=1;",
    ] {
        assert_eq!(of(wrong), None, "{wrong:?}");
    }
}
