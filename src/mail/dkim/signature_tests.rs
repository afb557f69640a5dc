use super::*;

const GOOD: &str =
    "v=1; a=rsa-sha256; c=relaxed/relaxed; d=sender.example; s=s1; h=From:Subject; bh=QUJD; b=QUJD";

fn read(text: &str) -> Result<Signature, SignatureError> {
    Tags::parse(text.as_bytes()).map_err(SignatureError::from).and_then(|tags| Signature::of_dkim(&tags))
}

/// The good one with something put in place of something.
fn with(from: &str, to: &str) -> Result<Signature, SignatureError> {
    let changed = GOOD.replacen(from, to, 1);
    assert_ne!(changed, GOOD, "{from}");
    read(&changed)
}

/// The good one and one tag more.
fn and(tag: &str) -> Result<Signature, SignatureError> {
    read(&format!("{GOOD}; {tag}"))
}

#[test]
fn rfc6376_3_5_a_signature_is_read() {
    let signature = read(GOOD).unwrap();
    let Signer { algorithm, domain, selector, signature: octets, span } = &signature.signer;
    assert_eq!(*algorithm, Algorithm::RsaSha256);
    assert_eq!(
        (domain.as_str(), selector.as_str(), octets.as_slice()),
        ("sender.example", "s1", &b"ABC"[..])
    );
    assert_eq!(GOOD.get(span.clone()), Some("QUJD"));
    assert_eq!((signature.fields, signature.body), (Form::Relaxed, Form::Relaxed));
    assert_eq!(signature.names, ["from", "subject"]);
    assert_eq!(signature.body_hash, b"ABC");
    assert_eq!((signature.identity, signature.expires, signature.extent), (None, None, Extent::Whole));
}

#[test]
fn rfc6376_3_5_required_tags_are_required() {
    for name in ["v", "a", "b", "bh", "d", "h", "s"] {
        assert_eq!(
            with(&format!("{name}="), &format!("x{name}=")),
            Err(SignatureError::Incomplete),
            "{name}"
        );
    }
    // RFC 6376 §3.2: names are case-sensitive.
    assert_eq!(with("d=", "D="), Err(SignatureError::Incomplete));
    assert_eq!(and("D=attacker.example").unwrap().signer.domain.as_str(), "sender.example");
    assert_eq!(and("d=attacker.example"), Err(SignatureError::Tags(TagError::Duplicate)));
}

#[test]
fn rfc6376_6_1_1_what_no_verifier_can_process_is_ignored() {
    for (from, to, error) in [
        ("v=1", "v=2", SignatureError::Version),
        ("v=1", "v=01", SignatureError::Version),
        ("a=rsa-sha256", "a=", SignatureError::Algorithm),
        ("a=rsa-sha256", "a=rsa-sha512", SignatureError::Algorithm),
        ("a=rsa-sha256", "a=RSA-SHA256", SignatureError::Algorithm),
        ("c=relaxed/relaxed", "c=", SignatureError::Canonicalization),
        ("c=relaxed/relaxed", "c=relaxed/", SignatureError::Canonicalization),
        ("c=relaxed/relaxed", "c=relaxed/relaxed/simple", SignatureError::Canonicalization),
        ("c=relaxed/relaxed", "c=nowsp", SignatureError::Canonicalization),
        ("d=sender.example", "d=", SignatureError::Domain),
        ("d=sender.example", "d=example", SignatureError::Domain),
        ("d=sender.example", "d=sender.example.", SignatureError::Domain),
        ("d=sender.example", "d=a/b.example", SignatureError::Domain),
        ("d=sender.example", "d=sender. example", SignatureError::Domain),
        ("d=sender.example", "d=[192.0.2.1]", SignatureError::Domain),
        ("s=s1", "s=", SignatureError::Selector),
        ("s=s1", "s=a..b", SignatureError::Selector),
        ("s=s1", "s=a b", SignatureError::Selector),
        ("h=From:Subject", "h=", SignatureError::Fields),
        ("h=From:Subject", "h=From:Sub ject", SignatureError::Fields),
        ("h=From:Subject", "h=Subject", SignatureError::FromNotSigned),
        ("b=QUJD", "b=", SignatureError::Encoding),
        ("b=QUJD", "b=QU*D", SignatureError::Encoding),
        ("bh=QUJD", "bh=", SignatureError::Encoding),
    ] {
        assert_eq!(with(from, to), Err(error), "{to}");
    }
}

#[test]
fn rfc6376_3_5_forms_are_simple_unless_said() {
    let forms = |c: &str| with("c=relaxed/relaxed; ", c).map(|signature| (signature.fields, signature.body));
    assert_eq!(forms(""), Ok((Form::Simple, Form::Simple)));
    assert_eq!(forms("c=relaxed; "), Ok((Form::Relaxed, Form::Simple)));
    assert_eq!(forms("c=simple/relaxed; "), Ok((Form::Simple, Form::Relaxed)));
}

#[test]
fn rfc6376_3_5_numbers_are_numbers_and_expiry_follows_signing() {
    for wrong in ["t=", "t=x", "x=-1", "l=1k", "l="] {
        assert_eq!(and(wrong), Err(SignatureError::Number), "{wrong}");
    }
    assert_eq!(and("t=100; x=101").unwrap().expires, Some(101));
    assert_eq!(and("t=100; x=100"), Err(SignatureError::Expiry));
    assert_eq!(and("t=100; x=18446744073709551617").unwrap().expires, Some(u64::MAX));
    assert_eq!(and("l=0").unwrap().extent, Extent::Beginning);
    let signature = and("x=101").unwrap();
    assert!(
        signature.has_expired(102) && !signature.has_expired(101) && !read(GOOD).unwrap().has_expired(102)
    );
}

#[test]
fn rfc6376_3_5_one_query_method_must_be_known() {
    assert!(and("q=dns/txt").is_ok() && and("q=http/well-known : dns/txt").is_ok());
    for unknown in ["q=", "q=dns", "q=http/well-known", "q=DNS/TXT"] {
        assert_eq!(and(unknown), Err(SignatureError::Query), "{unknown}");
    }
}

#[test]
fn rfc6376_3_5_an_identity_is_in_the_domain_or_below_it() {
    let identity = |tag: &str| and(tag).map(|signature| signature.identity.unwrap().to_string());
    assert_eq!(identity("i=@sender.example").as_deref(), Ok("sender.example"));
    // Octets of the local part need not be text.
    assert_eq!(identity("i==E4@sender.example").as_deref(), Ok("sender.example"));
    assert_eq!(identity("i=joe=40x@Mail.Sender.Example").as_deref(), Ok("mail.sender.example"));
    for outside in ["i=@example", "i=@other.example", "i=@notsender.example", "i=@sender.example.net"] {
        let error = if outside == "i=@example" {
            SignatureError::UnreadableIdentity
        } else {
            SignatureError::Identity
        };
        assert_eq!(and(outside), Err(error), "{outside}");
    }
    for unreadable in ["i=", "i=sender.example", "i=@", "i=@=4.example"] {
        assert_eq!(and(unreadable), Err(SignatureError::UnreadableIdentity), "{unreadable}");
    }
}

#[test]
fn rfc8616_5_domains_are_compared_in_a_labels() {
    for (d, i) in [
        ("b\u{fc}cher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "mail.b\u{fc}cher.example"),
        ("B\u{dc}CHER.example", "b=C3=BCcher.example"),
    ] {
        let signature = read(&format!("{}; i=@{i}", GOOD.replace("sender.example", d))).unwrap();
        assert_eq!(signature.signer.domain.as_str(), "xn--bcher-kva.example", "{d}");
    }
    assert_eq!(with("s=s1", "s=schl\u{fc}ssel").unwrap().signer.selector.as_str(), "xn--schlssel-95a");
}

#[test]
fn rfc8617_4_1_2_a_message_signature_of_arc_has_no_version_and_covers_no_seal() {
    let read = |text: &str| Signature::of_arc(&Tags::parse(text.as_bytes()).unwrap());
    let good = GOOD.replace("v=1", "i=1");
    assert!(read(&good).is_ok() && read(&format!("{good}; v=7")).is_ok());
    assert_eq!(read(&good.replace("a=rsa", "A=rsa")), Err(SignatureError::Incomplete));
    assert_eq!(read(&good.replace("Subject", "ARC-Seal")), Err(SignatureError::Fields));
}

#[test]
fn a_signature_names_at_most_512_fields() {
    let names = |count: usize| with("h=From:Subject", &format!("h=from{}", ":x".repeat(count - 1)));
    assert!(names(MAX_NAMES).is_ok());
    assert_eq!(names(MAX_NAMES + 1), Err(SignatureError::TooManyFields));
}
