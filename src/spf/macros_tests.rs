//! Most expectations are the examples of RFC 7208 §7.4.

use std::time::Duration;

use super::*;

fn sender(ip: &str) -> Sender {
    Sender {
        ip: ip.parse().unwrap(),
        helo: "mx.example.org".into(),
        local: "strong-bad".into(),
        domain: "email.example.com".into(),
    }
}

fn expand_for(sender: &Sender, text: &str) -> String {
    let parsed = MacroString::any(text.as_bytes(), b"").unwrap_or_else(|error| panic!("{text}: {error}"));
    let context = Context { sender, domain: b"email.example.com", validated: None, explained: None };
    String::from_utf8(parsed.name(&context)).unwrap()
}

fn expand(text: &str) -> String {
    expand_for(&sender("192.0.2.3"), text)
}

#[test]
fn rfc7208_7_4_examples() {
    for (text, expected) in [
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d3}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "strong-bad"),
        ("%{l-}", "strong.bad"),
        ("%{lr}", "strong-bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
        ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
    ] {
        assert_eq!(expand(text), expected, "{text}");
    }
    let ip6 = "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com";
    let found = expand_for(&sender("2001:db8::cb01"), "%{ir}.%{v}._spf.%{d2}");
    assert_eq!(found.to_ascii_lowercase(), ip6);
}

#[test]
fn rfc7208_7_3_transformers() {
    assert_eq!(expand("%{h}"), "mx.example.org");
    assert_eq!(expand("%{p}"), "unknown");
    assert_eq!(expand("%{d99999999999999999999999999}"), "email.example.com", "a number does not wrap");
    assert_eq!(expand("%{d02}"), "example.com");
    assert_eq!(expand("%{DR}"), "com.example.email");
    let odd = Sender { local: "a+b=c-d.e".into(), ..sender("192.0.2.3") };
    assert_eq!(expand_for(&odd, "%{l2r+-}"), "b=c.a", "of the parts d.e, b=c and a the last two");
    assert_eq!(expand_for(&odd, "%{lr+-=}"), "d.e.c.b.a");
}

#[test]
fn rfc7208_7_1_what_is_no_macro_is_an_error() {
    for text in [
        "%", "%x", "%(d)", "%{", "%{}", "%{d", "%{d0}", "%{d00}", "%{a}", "%{x}", "%{dd}", "%{d.r}",
        "%{dr2}", "%{d!}", "%{%{d}}", "%{ d}", "%{c}", "%{r}", "%{t}", "%{C}", "a b", "\t", "\u{E4}",
        "\u{7F}", "%{d-1}",
    ] {
        assert!(MacroString::any(text.as_bytes(), b"").is_err(), "{text:?} is taken");
    }
    assert_eq!(expand("%%-%_-%-"), "%- -%20");
}

#[test]
fn rfc7208_7_1_a_domain_ends_in_a_top_label_or_a_macro() {
    let is_domain = |text: &str| MacroString::domain(text.as_bytes(), b"").is_ok();
    for text in [
        "example.com",
        "example.com.",
        ".com",
        "a.b.xn--p1ai",
        "x.a1",
        "x.1-1",
        "%{d}",
        "x%{d}",
        "x.%%",
        "%{i}.x",
        "a:b/c.example.com",
        "!.com",
    ] {
        assert!(is_domain(text), "{text} is refused");
    }
    for text in [
        "",
        "com",
        "com.",
        ".",
        "example.com..",
        "example.123",
        "example.com:8080",
        "%{d}com",
        "%{d}.",
        "x.-a",
        "x.a-",
        "x.a_b",
        "example.com/",
    ] {
        assert!(!is_domain(text), "{text} is taken");
    }
}

#[test]
fn rfc7208_7_3_a_name_that_is_too_long_loses_labels_from_the_left() {
    let long = Sender { local: vec!["x".repeat(60); 4].join("."), ..sender("192.0.2.3") };
    let found = expand_for(&long, "%{l}.0123456789.%{d}");
    assert_eq!(found.len(), 61 * 3 + 11 + 17);
    assert!(found.starts_with("xx") && found.ends_with(".0123456789.email.example.com"), "{found}");
    let exact = Sender {
        local: [vec!["x".repeat(60); 3].join("."), "y".repeat(52)].join("."),
        ..sender("192.0.2.3")
    };
    assert_eq!(expand_for(&exact, "%{l}.%{d}").len(), MAX_NAME_OCTETS);
    assert_eq!(
        expand_for(&exact, "zz.%{l}.%{d}."),
        expand_for(&exact, "%{l}.%{d}"),
        "only what is too much is cut"
    );
    let one_label = Sender { local: "x".repeat(300), ..sender("192.0.2.3") };
    assert_eq!(expand_for(&one_label, "%{l}"), "", "nothing is left of a single label");
}

#[test]
fn rfc7208_7_3_large_letters_are_escaped_for_urls() {
    let odd = Sender { local: "~jack&jill=up-a_b3.c ä".into(), ..sender("192.0.2.3") };
    assert_eq!(expand_for(&odd, "%{L}"), "~jack%26jill%3Dup-a_b3.c%20%C3%A4");
    assert_eq!(expand_for(&odd, "%{l}"), "~jack&jill=up-a_b3.c ä");
}

#[test]
fn rfc7208_6_2_the_text_of_an_explanation() {
    let sender = sender("2001:db8::cb01");
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    let explained = Some(Explained { receiver: "mx.receiver.example", at });
    let context =
        Context { sender: &sender, domain: b"email.example.com", validated: Some(b"a.example"), explained };
    let text = MacroString::explanation(b"%{c} (%{p}) at %{r}, %{t}: see http://%{d}/why?s=%{S}").unwrap();
    assert_eq!(
        String::from_utf8(text.text(&context)).unwrap(),
        "2001:db8::cb01 (a.example) at mx.receiver.example, 1795000000: see \
         http://email.example.com/why?s=strong-bad%40email.example.com"
    );
    for wrong in [b"100% sure".as_slice(), b"a\tb", b"\xE4", b"%{x}", b"a\r\nb"] {
        assert_eq!(MacroString::explanation(wrong), None, "{}", String::from_utf8_lossy(wrong));
    }
}

/// A record of 8 KiB is a thousand macros, each of which stands for an address.
#[test]
fn a_name_costs_no_more_than_its_end_and_a_text_no_more_than_is_shown() {
    let many = Sender { helo: "a.".repeat(127), ..sender("192.0.2.3") };
    let name = expand_for(&many, &format!("{}.example.com", "%{h}".repeat(2000)));
    assert_eq!(name.len(), MAX_NAME_OCTETS - 1, "whole labels are cut");
    assert!(name.starts_with("a.a.a") && name.ends_with("a..example.com"), "{name}");
    let context = Context { sender: &many, domain: b"d.example", validated: None, explained: None };
    let text = MacroString::explanation("%{s} ".repeat(2000).as_bytes()).unwrap();
    assert_eq!(text.text(&context).len(), MAX_TEXT_OCTETS);
}
