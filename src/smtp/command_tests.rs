use super::*;

fn code(line: &str) -> u16 {
    parse(line.as_bytes()).map_or_else(|reply| reply.code, |_| 250)
}

fn recipient(line: &str) -> Option<Address> {
    match parse(line.as_bytes()) {
        Ok(Command::Rcpt(rcpt)) => rcpt.recipient,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn rfc5321_2_4_verbs_are_case_insensitive() {
    assert_eq!(parse(b"quit"), Ok(Command::Quit));
    assert_eq!(parse(b"eHlO client.example "), Ok(Command::Ehlo("client.example".into())));
}

#[test]
fn rfc5321_4_1_1_2_mail_with_parameters() {
    let Ok(Command::Mail(mail)) = parse(b"MAIL FROM:<a@b.example> SIZE=1000 body=8bitmime SMTPUTF8") else {
        panic!()
    };
    assert_eq!(mail.reverse_path, ReversePath::Mailbox(Address::parse("a@b.example").unwrap()));
    assert_eq!(mail.size_octets, Some(1000));
    assert_eq!(mail.body_type, BodyType::EightBitMime);
    assert_eq!(mail.smtp_utf8, SmtpUtf8::Requested);
}

#[test]
fn rfc5321_4_5_5_the_null_reverse_path() {
    let Ok(Command::Mail(mail)) = parse(b"MAIL FROM:<>") else { panic!() };
    assert_eq!(mail.reverse_path, ReversePath::Null);
}

#[test]
fn rfc5321_4_1_1_3_postmaster_needs_no_domain_and_nothing_else_may_lack_one() {
    assert_eq!(recipient("RCPT TO:<pOstmaster>"), None);
    assert_eq!(code("RCPT TO:<root>"), 501);
    assert_eq!(code("RCPT TO:<>"), 501);
}

#[test]
fn rfc5321_c_source_routes_are_dropped() {
    assert_eq!(recipient("RCPT TO:<@x.example,@y.example:a@b.example>"), Address::parse("a@b.example").ok());
}

#[test]
fn rfc5321_4_1_2_quoted_local_parts_may_hold_brackets_and_spaces() {
    assert_eq!(recipient(r#"RCPT TO:<"a> b\""@c.example>"#).unwrap().local(), r#"a> b""#);
}

#[test]
fn malformed_commands_name_their_syntax() {
    for line in
        ["MAIL", "MAIL FROM", "MAIL FROM:a@b", "MAIL FROM:<a@b", "MAIL FROM:<a@b>SIZE=1", "MAIL TO:<a@b>"]
    {
        assert_eq!(code(line), 501, "{line}");
    }
    for line in [
        "EHLO",
        "HELO a b",
        "DATA x",
        "QUIT now",
        "BDAT",
        "BDAT -1",
        "BDAT 1 FIRST",
        "BDAT 99999999999999999999",
    ] {
        assert_eq!(code(line), 501, "{line}");
    }
    for line in ["MAIL FROM:<a@b> SIZE=", "MAIL FROM:<a@b> SIZE=1 SIZE=1", "MAIL FROM:<a@b> BODY=BINARYMIME"]
    {
        assert_eq!(code(line), 501, "{line}");
    }
}

#[test]
fn rfc3030_2_what_a_refused_bdat_announces_is_known_where_its_size_is() {
    for (line, size) in [
        (&b"BDAT 6 FIRST"[..], 6),
        (b"BDAT 6 LAST x", 6),
        (b"bdat  6", 6),
        (b"BDAT\t6", 6),
        (b"BDAT 6 \xff", 6),
        (b"BDAT 6\tLAST", 6),
        (b"BDAT 9223372036854775807 FIRST", i64::MAX as u64),
    ] {
        assert!(parse(line).is_err() || line == b"bdat  6", "{line:?}");
        assert_eq!(following(line), Following::Chunk(size), "{line:?}");
    }
    for line in [
        "BDAT",
        "BDAT ",
        "BDAT many",
        "BDAT -6",
        "BDAT +6",
        "BDAT 6LAST",
        "BDAT:6",
        "BDAT 99999999999999999999",
    ] {
        assert!(parse(line.as_bytes()).is_err(), "{line}");
        assert_eq!(following(line.as_bytes()), Following::UnknownChunk, "{line}");
    }
    for line in ["", "BDA", "BDATA 6", "NOOP BDAT 6", "MAIL FROM:<a@b> X=6"] {
        assert_eq!(following(line.as_bytes()), Following::Command, "{line}");
    }
}

#[test]
fn rfc8689_2_requiretls_has_no_value() {
    let Ok(Command::Mail(mail)) = parse(b"MAIL FROM:<a@b.example> requiretls") else { panic!() };
    assert_eq!(mail.request.require_tls, RequireTls::Yes);
    assert_eq!(code("MAIL FROM:<a@b> REQUIRETLS=1"), 501);
    assert_eq!(code("MAIL FROM:<a@b> REQUIRETLS REQUIRETLS"), 501);
}

#[test]
fn rfc5321_4_1_1_11_unknown_parameters_are_555() {
    assert_eq!(code("MAIL FROM:<a@b> FOO=1"), 555);
    assert_eq!(code("RCPT TO:<a@b> FOO"), 555);
}

#[test]
fn rfc6531_3_5_utf8_addresses_need_smtputf8() {
    assert_eq!(code("MAIL FROM:<ä@b.example>"), 553);
    assert_eq!(code("MAIL FROM:<a@bücher.example>"), 553);
    assert_eq!(code("MAIL FROM:<ä@b.example> SMTPUTF8"), 250);
    let Ok(Command::Rcpt(rcpt)) = parse("RCPT TO:<a@bücher.example>".as_bytes()) else { panic!() };
    assert_eq!(rcpt.charset, Charset::Utf8);
}

#[test]
fn control_octets_and_non_utf8_are_refused() {
    for line in [&b"NOOP \x00"[..], b"NOOP \xff", b"MAIL FROM:<a\rb@c>", b"EHLO a\nb"] {
        assert_eq!(parse(line).unwrap_err().code, 500);
    }
}

#[test]
fn paths_past_256_octets_are_refused() {
    let domain = ["a".repeat(60), "b".repeat(60), "c".repeat(60), "d".repeat(12)].join(".");
    assert_eq!(code(&format!("MAIL FROM:<{}@{domain}>", "l".repeat(64))), 501);
}

#[test]
fn verbs_for_metrics_are_a_closed_set() {
    assert_eq!(verb(b"mail FROM:<x@y>"), "MAIL");
    assert_eq!(verb(b"EVIL\xff stuff"), "OTHER");
    assert_eq!(verb(b""), "OTHER");
}

fn request(parameters: &str) -> Result<RecipientRequest, u16> {
    match parse(format!("RCPT TO:<a@b.example> {parameters}").as_bytes()) {
        Ok(Command::Rcpt(rcpt)) => Ok(rcpt.request),
        Ok(other) => panic!("{other:?}"),
        Err(reply) => Err(reply.code),
    }
}

#[test]
fn rfc3461_4_1_notify_is_never_or_a_list() {
    let on = |success, failure, delay| Ok(Notify::On { success, failure, delay });
    for (text, wanted) in [
        ("NOTIFY=NEVER", Ok(Notify::Never)),
        ("notify=success,Delay", on(true, false, true)),
        ("NOTIFY=FAILURE,FAILURE", on(false, true, false)),
        ("", Ok(Notify::Unsaid)),
        ("NOTIFY=", Err(501)),
        ("NOTIFY", Err(501)),
        ("NOTIFY=NEVER,FAILURE", Err(501)),
        ("NOTIFY=SUCCESS,", Err(501)),
        ("NOTIFY=ALWAYS", Err(501)),
        ("NOTIFY=NEVER NOTIFY=NEVER", Err(501)),
    ] {
        assert_eq!(request(text).map(|request| request.notify), wanted, "{text}");
    }
}

#[test]
fn rfc3461_4_2_orcpt_is_a_type_and_xtext() {
    let long = format!("ORCPT=rfc822;{}", "a".repeat(494));
    for (text, taken) in [
        ("ORCPT=rfc822;bob+2Btag@s.example", true),
        ("ORCPT=x400;+2FC=de", false),
        ("ORCPT=rfc822;", false),
        ("ORCPT=;bob@s.example", false),
        ("ORCPT=bob@s.example", false),
        ("ORCPT=rfc 822;bob@s.example", false),
        ("ORCPT=rfc822;bob+0D+0A@s.example", false),
        ("ORCPT=rfc822;jürgen@s.example", false),
        ("ORCPT=utf-8;jürgen@s.example", true),
        ("ORCPT=rfc822;a ORCPT=rfc822;a", false),
        (&long, false),
    ] {
        assert_eq!(request(text).is_ok(), taken, "{text}");
    }
    let Ok(Command::Rcpt(rcpt)) = parse("RCPT TO:<a@b.example> ORCPT=utf-8;ü@s.example".as_bytes()) else {
        panic!()
    };
    assert_eq!(rcpt.charset, Charset::Utf8);
}

#[test]
fn rfc3461_4_3_and_4_4_ret_and_envid() {
    let Ok(Command::Mail(mail)) = parse(b"MAIL FROM:<a@b.example> ret=hdrs ENVID=QQ314159+2B") else {
        panic!()
    };
    assert_eq!(mail.request.ret, Some(Return::Headers));
    assert_eq!(mail.request.envelope_id.as_deref(), Some("QQ314159+2B"));
    let long = format!("ENVID={}", "a".repeat(101));
    for parameter in [
        "RET=ALL",
        "RET",
        "RET=FULL RET=FULL",
        "ENVID=",
        "ENVID",
        "ENVID=a=b",
        "ENVID=a+0A",
        "ENVID=ü",
        &long,
    ] {
        assert_eq!(code(&format!("MAIL FROM:<a@b.example> {parameter} SMTPUTF8")), 501, "{parameter}");
    }
}
