use super::super::Signer;
use super::*;
use crate::mail::tags::Tags;

/// What the first signature of a section covers.
fn covered(section: &str) -> String {
    let section = Section::new(section.as_bytes());
    let own = *section.places("dkim-signature").last().unwrap();
    let signature = Signature::of_dkim(&Tags::parse(section.value(own)).unwrap()).unwrap();
    String::from_utf8(section.covered(own, &signature)).unwrap()
}

const REST: &str = "v=1;a=rsa-sha256;d=a.example;s=s;bh=QUJD;h=";

#[test]
fn rfc6376_5_4_2_fields_of_one_name_are_taken_from_the_bottom_up() {
    let text = format!(
        "DKIM-Signature: {REST}x:from:x:X:none;b=QUJD;c=relaxed\r\nX: 1\r\nFrom : a\r\nx:\t 2 \r\n  3\r\n\r\n"
    );
    assert_eq!(
        covered(&text),
        format!("x:2 3\r\nfrom:a\r\nx:1\r\ndkim-signature:{REST}x:from:x:X:none;b=;c=relaxed")
    );
}

#[test]
fn rfc6376_3_4_1_the_simple_form_is_as_written() {
    let text = format!(
        "DKIM-signature:\r\n {REST}From:x:x; b =\r\n\tQU\r\n JD \r\n ; z=\r\nFrom :  a \r\n b\r\nX:\r\n\r\n"
    );
    assert_eq!(
        covered(&text),
        format!("From :  a \r\n b\r\nX:\r\nDKIM-signature:\r\n {REST}From:x:x; b =; z=")
    );
    let last = format!("DKIM-Signature: {REST}from; b= QUJD \r\nFrom:a\r\n\r\n");
    assert_eq!(covered(&last), format!("From:a\r\nDKIM-Signature: {REST}from; b="));
}

#[test]
fn rfc5322_4_5_white_space_before_the_colon_makes_no_other_field() {
    let rest = format!("{REST}from:subject:subject;b=QUJD");
    let signed = format!("DKIM-Signature: {rest}\r\nFrom: a\r\nSubject: b\r\n\r\n");
    let shadowed = format!("Subject : c\r\n{signed}");
    assert_ne!(covered(&shadowed), covered(&signed));
}

#[test]
fn rfc6376_3_5_h_never_means_the_signature_that_it_stands_in() {
    let rest = format!("{REST}dkim-signature:dkim-signature:from;b=;c=relaxed");
    let own = rest.replace("b=", "b=QUJD");
    let text = format!("DKIM-Signature: {own}\r\nDKIM-Signature: older\r\nFrom: a\r\n\r\n");
    assert_eq!(covered(&text), format!("dkim-signature:older\r\nfrom:a\r\ndkim-signature:{rest}"));
}

#[test]
fn rfc6376_3_7_only_the_tag_b_is_left_out() {
    let text = format!("DKIM-Signature: B=x; {REST}from;b=QUJD; bb=y;c=relaxed\r\nFrom: a\r\n\r\n");
    assert_eq!(covered(&text), format!("from:a\r\ndkim-signature:B=x; {REST}from;b=; bb=y;c=relaxed"));
}

#[test]
fn a_name_that_is_asked_for_often_costs_no_more_than_once() {
    let names = "x:".repeat(500);
    let text = format!("DKIM-Signature: {REST}{names}from;b=QUJD\r\n{}\r\n", "X:1\r\n".repeat(50_000));
    assert_eq!(covered(&text).matches("X:1\r\n").count(), 500);
}

/// The worst that `h=` and a section can ask for together: names times the halvings of the fields, and each field once.
#[test]
fn what_a_signature_costs_is_bounded_by_names_and_fields() {
    let sorted: Vec<usize> = (0..header::MAX_FIELDS).map(|number| number / 100).collect();
    for wanted in 0..=10 {
        let mut comparisons = 0;
        let run = equal_run(&sorted, |item| {
            comparisons += 1;
            item.cmp(&wanted)
        });
        assert_eq!(run, wanted * 100..(wanted * 100 + 100).min(header::MAX_FIELDS));
        assert!(comparisons <= 2 * (header::MAX_FIELDS.ilog2() + 2), "{wanted}: {comparisons}");
    }
    let names: String = (0..511).map(|number| format!("X{}:", number % 20)).collect();
    let fields: String =
        (0..900).map(|number| format!("X{}: {}\r\n", number % 20, "x".repeat(200))).collect();
    let text = format!("DKIM-Signature: {REST}{names}from;b=QUJD\r\nFrom: a\r\n{fields}\r\n");
    let covered = covered(&text);
    assert_eq!(covered.matches("\r\nX").count() + usize::from(covered.starts_with('X')), 511);
    assert!(covered.len() <= text.len());
}

#[test]
fn places_that_are_none_hold_nothing() {
    let section = Section::default();
    assert!(section.places("from").is_empty() && section.value(7).is_empty());
    let signer = Signer {
        algorithm: crate::mail::dkim::Algorithm::RsaSha256,
        domain: crate::mail::Domain::parse("a.example").unwrap(),
        selector: crate::mail::Domain::parse("s").unwrap(),
        signature: Vec::new(),
        span: 0..9,
    };
    let mut out = Vec::new();
    section.push_relaxed(7, &mut out);
    section.push_own(7, Form::Simple, &signer.span, &mut out);
    assert!(out.is_empty());
}
