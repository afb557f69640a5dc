use proptest::prelude::*;

use super::*;
use crate::smtp::reply::LEFT_OUT;

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// What is told of a reply in which the destination of info@example.com is named.
fn told_of(private: &str, lines: &[&str]) -> Vec<String> {
    let lines: Vec<String> = lines.iter().map(|line| reply::clean(line)).collect();
    mask(&lines, &address("info@example.com"), &address(private))
}

fn told(line: &str) -> String {
    told_of("ana@dest.example", &[line]).concat()
}

#[test]
fn the_alias_stands_where_the_destination_stood() {
    for (said, expected) in [
        ("<ana@dest.example>: unknown", "<info@example.com>: unknown"),
        ("ANA@Dest.Example", "info@example.com"),
        ("ana%40dest.example", "info@example.com"),
        ("user ana. \"ana\" banana ana-x", "user info. \"info\" banana ana-x"),
        ("ana@mx.example", "info@mx.example"),
        ("no mailbox here by that name", "no mailbox here by that name"),
        (
            "dest.example takes no mail from mx.dest.example",
            "dest.example takes no mail from mx.dest.example",
        ),
        (
            "ask the manager of bananas: 5%40 = 2, a=b&c; \\o/",
            "ask the manager of bananas: 5%40 = 2, a=b&c; \\o/",
        ),
    ] {
        assert_eq!(told(said), expected);
    }
}

#[test]
fn a_line_that_names_the_destination_in_disguise_is_left_out() {
    for said in [
        "an%61@dest.example",
        "bounce-ana%2540dest.example",
        "%61%6e%61%40%64est.example",
        "%61na is unknown",
        "a\\na@dest.example",
        "an\\a is unknown",
        "&#97;na&#64;dest.example",
        "x-ana&#64;dest.example",
        "x-ana&#x40;dest.example",
        "x-ana&commat;dest.example",
        "x-ana&amp;#64;dest.example",
        "x-ana=40dest.example",
        "x-ana+40dest.example",
        "x-ana\\x{40}dest.example",
        "x-ana\\u0040dest.example",
        "SRS0=aaaa=2W=dest.example=an%61@fwd.example",
        "bounces+7-ana=dest.example@list.example",
        "x-ana @ dest.example",
        "x-ana(at)dest.example",
        "x-ana at dest.example",
        "x-ana [at] dest [dot] example",
        "x-an%61@DEST.example",
        "%EF%BD%81na@dest.example",
    ] {
        assert_eq!(told(said), LEFT_OUT, "{said}");
    }
}

#[test]
fn whatever_stands_for_the_at_sign_is_looked_through() {
    for said in [
        "x-ana at dest.example.",
        "x-ana AT dest DOT example is unknown",
        "x-ana_at_dest.example",
        "x-ana-at-dest.example",
        "x-anaATdest.example",
        "x-ana<at>dest.example",
        "x-ana {at} dest.example",
        "x-ana%dest.example@relay.example",
        "x-ana!dest.example",
        "x-ana#dest.example",
        "x-ana+dest.example",
        "x-ana\u{ff20}dest.example",
        "x-ana_dest.example#EXT#@tenant.example",
        "dest.example!ana-x",
    ] {
        assert_eq!(told(said), LEFT_OUT, "{said}");
    }
}

#[test]
fn a_host_is_named_that_begins_with_the_local_part() {
    for (private, said) in [
        ("mail@example.org", "550 5.7.1 mail.example.org: blocked"),
        ("mail@example.org", "mail.example.org and mail.at.example.org"),
        ("mail@example.org", "https://mail.example.org/?why"),
        ("mail@example.org", "x-mail-example.org, x-mail.[example.org], x-mail (example.org)"),
        ("smtp@example.org", "connect to smtp.example.org[192.0.2.1]:25: smtp.example.org is full"),
        ("smtp@example.org", "smtp-out.example.org, smtp1.example.org, out-smtp.example.org"),
        ("mx@eu.example.org", "mx-eu.example.org and mx.eu.example.org are closed"),
        ("m.x@example.org", "m.x.example.org is closed"),
        ("form@mail.example", "unknown format mail.example, format: mail.example"),
        ("x@mail.example", "x.mail.example!y and x.mail.example=y"),
        ("post@mail.example", "postmail.example is no postatmail.examples"),
    ] {
        assert_eq!(told_of(private, &[said]), [said], "{private}");
    }
}

#[test]
fn words_that_have_the_letters_of_a_name_by_chance_are_no_name() {
    for (private, said, expected) in [
        ("no@mail.de", "no mail delivered", "info mail delivered"),
        ("no@mail.de", "no mail, dear sender", "info mail, dear sender"),
        ("no@mail.de", "no-mail=delivered", "no-mail=delivered"),
        ("mail@example.org", "mail: example.org is blocked", "info: example.org is blocked"),
        ("mail@example.org", "example.org: mail refused", "example.org: info refused"),
    ] {
        assert_eq!(told_of(private, &[said]), [expected], "{private}");
    }
    let said = ["no mail delivered".to_owned()];
    assert_eq!(mask(&said, &address("no@example.com"), &address("no@mail.de")), said);
}

#[test]
fn the_other_lines_stay() {
    assert_eq!(told_of("ana@dest.example", &["one", "an%61", "%61na", "two"]), ["one", LEFT_OUT, "two"]);
}

#[test]
fn a_destination_that_goes_over_the_end_of_a_line_is_found() {
    for lines in [
        &["unknown: x-ana@", "dest.example"][..],
        &["a", "na@dest.ex", "ample is unknown"],
        &["x-ana", "at", "dest.example"],
    ] {
        assert_eq!(told_of("ana@dest.example", lines), [LEFT_OUT], "{lines:?}");
    }
}

#[test]
fn a_local_part_that_the_sender_wrote_himself_is_no_secret() {
    let told = |line: &str| {
        mask(&[line.to_owned()], &address("Ana@example.com"), &address("ana@dest.example")).concat()
    };
    assert_eq!(told("user ana is unknown"), "user ana is unknown");
    assert_eq!(told("<ana@dest.example> unknown"), "<Ana@example.com> unknown");
    assert_eq!(told("ana.dest.example: ana (dest.example)"), "ana.dest.example: ana (dest.example)");
    for said in ["ana at dest.example", "dest.example!ana", "SRS0=aaaa=2W=dest.example=ana@fwd.example"] {
        assert_eq!(told(said), LEFT_OUT, "{said}");
    }
}

#[test]
fn dots_and_a_subaddress_that_a_host_takes_off_do_not_show_the_mailbox() {
    assert_eq!(
        told_of("ana+news@dest.example", &["<ana@dest.example> is full"]),
        ["<info@example.com> is full"]
    );
    assert_eq!(told_of("a.na@dest.example", &["x/ana@dest.example is full"]), [LEFT_OUT]);
}

#[test]
fn quoted_local_parts_and_those_with_signs_of_encodings_are_found() {
    assert_eq!(told_of("\"ana b\"@dest.example", &["<\"ana b\"@dest.example>"]), ["<\"info\"@dest.example>"]);
    assert_eq!(told_of("a+2Bb@dest.example", &["<a+2Bb@dest.example>"]), ["<info@example.com>"]);
    assert_eq!(told_of("a+2Bb@dest.example", &["x-a+2Bb%2540dest.example"]), [LEFT_OUT]);
}

/// RFC 5321 §4.2: what is not ASCII in a reply becomes a question mark.
#[test]
fn a_local_part_outside_ascii_is_found_as_a_reply_has_it() {
    for said in ["<jürgen@dest.example>", "user jürgen", "j%C3%BCrgen@dest.example", "j\\x{FC}rgen"] {
        assert_eq!(told_of("jürgen@dest.example", &[said]), [LEFT_OUT], "{said}");
    }
}

#[test]
fn a_destination_that_is_the_alias_is_not_masked() {
    assert_eq!(told_of("info@example.com", &["<info@example.com>"]), ["<info@example.com>"]);
}

#[test]
fn each_copys_destination_is_masked_in_a_reply_to_all() {
    let (info, sales) = (address("info@example.com"), address("sales@example.com"));
    let (ana, bob) = (address("ana@dest.example"), address("bob@dest.example"));
    let lines = vec!["ana and bob".to_owned(), "b%6fb".to_owned()];
    let reply = Reply { code: 550, enhanced: None, reason: reply::UPSTREAM_REASON, lines };
    let masked = mask_all(reply, [(&info, &ana), (&sales, &bob)]);
    assert_eq!(masked.lines, ["info and sales", LEFT_OUT]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_is_too_odd(lines in prop::collection::vec("([ -~]|%[0-9A-F]{2}|&#[0-9]{1,9};?|\\\\[xu]\\{?[0-9a-f]{0,9}\\}?|é){0,20}", 0..4)) {
        let told = mask(&lines, &address("info@example.com"), &address("ana@dest.example"));
        prop_assert!(told.len() <= lines.len().max(1));
        prop_assert!(!told.iter().any(|line| line.contains("ana@dest.example")));
    }
}
