use super::*;

#[test]
fn a_helo_that_is_no_domain_means_nothing_else() {
    let client = |helo: &str| Client {
        ip: IpAddr::from([192, 0, 2, 1]),
        helo: helo.to_owned(),
        protocol: Protocol::Smtp,
        tls: None,
    };
    assert_eq!(helo(&client("MX.Sender.example")), "mx.sender.example");
    assert_eq!(helo(&client("[192.0.2.1]")), "[192.0.2.1]");
    assert_eq!(helo(&client("a b); for <x@y>\r\n")), "a?b???for??x?y???");
    assert_eq!(helo(&client("")), "unknown");
}

#[test]
fn rfc5321_4_1_3_addresses_are_literals() {
    assert_eq!(address_literal("2001:db8::1".parse().unwrap()), "[IPv6:2001:db8::1]");
    assert_eq!(address_literal("::ffff:192.0.2.1".parse().unwrap()), "[192.0.2.1]");
}

#[test]
fn rfc6531_4_3_internationalised_transfers_have_words_of_their_own() {
    assert_eq!(protocol(Protocol::Smtp, SmtpUtf8::NotRequested), "SMTP");
    assert_eq!(protocol(Protocol::Esmtp, SmtpUtf8::NotRequested), "ESMTP");
    assert_eq!(protocol(Protocol::Esmtps, SmtpUtf8::NotRequested), "ESMTPS");
    assert_eq!(protocol(Protocol::Esmtp, SmtpUtf8::Requested), "UTF8SMTP");
    assert_eq!(protocol(Protocol::Esmtps, SmtpUtf8::Requested), "UTF8SMTPS");
}

#[test]
fn without_results_the_field_says_none() {
    let service = Domain::parse("email.relay.example").unwrap();
    assert_eq!(
        authentication_results(&service, ""),
        "Authentication-Results: email.relay.example;\r\n\tnone\r\n"
    );
}
