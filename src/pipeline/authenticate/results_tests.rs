use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::arc::Chain;
use super::super::dkim::{Endurance, Signature};
use super::*;
use crate::mail::Address;
use crate::mail::token::{self, Kind};
use crate::pipeline::parcel::{EarlyVerdict, Protocol, Vouched};
use crate::spf::SpfVerdict;

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

fn client(helo: &str, ip: IpAddr) -> Client {
    Client { ip, helo: helo.to_owned(), protocol: Protocol::Esmtp, tls: None }
}

fn findings(mailbox: &str) -> Findings {
    Findings {
        reverse_path: ReversePath::Mailbox(Address::parse(mailbox).unwrap()),
        helo: None,
        early: EarlyVerdict {
            spf_helo: SpfVerdict::None,
            spf_explanation: None,
            spf_mail_from: SpfVerdict::Pass,
            confirmed_names: vec![domain("mx.sender.example")],
            iprev: IprevVerdict::Pass,
            sender_null_mx: false,
        },
        signatures: vec![Signature {
            outcome: Outcome::Fail("body hash did not verify"),
            domain: Some(domain("sender.example")),
            selector: Some("sel".into()),
            algorithm: Some("rsa-sha256"),
            b: Some("abc/+def1234".into()),
            signed: Vec::new(),
            endurance: Endurance::Lasting,
        }],
        signing: Signing::Signed,
        chain: Chain::without_word(ArcState::None, ChainResult::None),
        assessments: vec![Assessment {
            author: domain("sender.example"),
            result: Evaluation::Fail,
            policy: Policy::Quarantine,
        }],
        vouched: Vouched::Yes,
    }
}

#[test]
fn the_field_says_what_was_found() {
    let text =
        text(&findings("a@sender.example"), &client("mx.sender.example", Ipv4Addr::LOCALHOST.into()), &[]);
    assert_eq!(
        text.split(";\r\n\t").collect::<Vec<_>>(),
        [
            "spf=pass smtp.mailfrom=a@sender.example",
            "spf=none smtp.helo=mx.sender.example",
            "dkim=fail (body hash did not verify) header.d=sender.example\r\n\t header.s=sel header.a=rsa-sha256 header.b=\"abc/+def1234\"",
            "dmarc=fail (p=quarantine) header.from=sender.example policy.dmarc=quarantine",
            "arc=none",
            "iprev=pass (mx.sender.example) policy.iprev=127.0.0.1",
        ]
    );
}

#[test]
fn a_signature_that_cannot_be_read_has_its_reason_and_no_more() {
    let mut unreadable = findings("a@sender.example");
    let outcome = Outcome::Neutral("duplicate tag");
    unreadable.signatures = vec![Signature {
        outcome,
        domain: None,
        selector: None,
        algorithm: None,
        b: None,
        signed: Vec::new(),
        endurance: Endurance::Doubtful,
    }];
    let text = text(&unreadable, &client("mx.sender.example", Ipv4Addr::LOCALHOST.into()), &[]);
    assert!(text.contains(";\r\n\tdkim=neutral (duplicate tag);\r\n"), "{text}");
}

#[test]
fn nothing_that_a_peer_chose_adds_a_method() {
    let mut hostile = findings("\"x; dkim=pass\"@sender.example");
    hostile.signatures[0].selector = Some("x;dmarc=pass (\"\r\nX: y".into());
    let client = client("a\" ; dmarc=pass header.from=bank.example (", Ipv6Addr::LOCALHOST.into());
    let text = text(&hostile, &client, &[]);
    let tokens = token::tokens(text.as_bytes(), b";").unwrap();
    let methods = tokens.split(|token| token.kind == Kind::Special(b';'));
    let firsts: Vec<_> = methods.map(|method| method[0].kind.clone()).collect();
    let words = ["spf=pass", "spf=none", "dkim=fail", "dmarc=fail", "arc=none", "iprev=pass"];
    assert_eq!(firsts, words.map(|word| Kind::Word(word.to_owned())));
    assert!(text.lines().skip(1).all(|line| line.starts_with('\t')), "{text}");
}

#[test]
fn a_null_sender_has_the_helo_identity_only_and_an_override_has_its_reason() {
    let chain = Chain {
        state: ArcState::Pass(2),
        result: ChainResult::Pass,
        sealers: vec![domain("list.example")],
        first_says_pass: vec![domain("sender.example")],
    };
    let found =
        Findings { reverse_path: ReversePath::Null, chain, signatures: vec![], ..findings("a@b.example") };
    let text = text(&found, &client("x y", Ipv4Addr::LOCALHOST.into()), &[domain("list.example")]);
    assert!(
        text.starts_with("spf=none smtp.helo=\"x y\";\r\n\tdkim=neutral (no signature can be read);"),
        "{text}"
    );
    assert!(
        text.contains("dmarc=fail (p=quarantine) reason=\"local_policy: arc=pass\" header.from"),
        "{text}"
    );
    assert!(text.contains("arc=pass (i=2)"), "{text}");
}
