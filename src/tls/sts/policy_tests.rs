use super::*;

fn parse(text: &str) -> Result<StsPolicy, StsPolicyError> {
    StsPolicy::parse(text.as_bytes())
}

#[test]
fn rfc8461_3_2_the_example_is_read_and_written() {
    let text = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\n\
                mx: backupmx.example.com\r\nmax_age: 604800\r\n";
    let policy = parse(text).unwrap();
    assert_eq!((policy.mode, policy.max_age), (StsMode::Enforce, Duration::from_secs(604_800)));
    assert_eq!(policy.to_string(), {
        let mut normal = text.replace('\r', "");
        normal.truncate(normal.len());
        normal
    });
    assert_eq!(parse(&policy.to_string()), Ok(policy));
}

#[test]
fn rfc8461_4_1_a_wildcard_is_one_left_most_label() {
    let policy = parse("version: STSv1\nmode: testing\nmx: *.Example.NET\nmx: a.b.c\nmax_age: 1").unwrap();
    for (host, named) in [
        ("mx.example.net", true),
        ("a.b.c", true),
        ("example.net", false),
        (".example.net", false),
        ("a.mx.example.net", false),
        ("x.b.c", false),
        ("mxexample.net", false),
    ] {
        assert_eq!(policy.names(host), named, "{host}");
    }
    for pattern in ["mx.*.example", "*", "*.", "m*.example", "[192.0.2.1]", ""] {
        let text = format!("version: STSv1\nmode: enforce\nmx: {pattern}\nmax_age: 1");
        assert_eq!(parse(&text), Err(StsPolicyError::Value("mx")), "{pattern}");
    }
}

#[test]
fn rfc8461_3_2_the_first_of_two_counts_and_unknown_keys_do_not() {
    let policy =
        parse("mode: none\nfuture: x: y\nmax_age: 5\nmode: enforce\nversion: STSv1\n\nversion: STSv2")
            .unwrap();
    assert_eq!((policy.mode, policy.max_age.as_secs()), (StsMode::None, 5));
}

#[test]
fn what_is_no_policy_says_what_is_wrong() {
    use StsPolicyError::{Missing, Syntax, TooLarge, Value};
    let fine = "version: STSv1\nmode: enforce\nmx: a.example\n";
    for (text, error) in [
        ("", Missing("version")),
        ("<html>", Syntax),
        ("version: STSv2\nmode: enforce\nmx: a.example\nmax_age: 1", Value("version")),
        ("version: STSv1\nmx: a.example\nmax_age: 1", Missing("mode")),
        ("version: STSv1\nmode: strict\nmx: a.example\nmax_age: 1", Value("mode")),
        ("version: STSv1\nmode: enforce\nmax_age: 1", Missing("mx")),
        (fine, Missing("max_age")),
        (&format!("{fine}max_age: -1"), Value("max_age")),
        (&format!("{fine}max_age: 12345678901"), Value("max_age")),
        (&format!("{fine}max_age: 1\n{}", "mx: a.example\n".repeat(100)), TooLarge),
        (&" ".repeat(MAX_POLICY_OCTETS + 1), TooLarge),
    ] {
        assert_eq!(parse(text), Err(error), "{text:.80}");
    }
    let long = parse(&format!("{fine}max_age: 9999999999")).unwrap();
    assert_eq!(long.max_age, MAX_AGE);
}

#[test]
fn rfc8461_3_1_exactly_one_record_announces() {
    let id = |records: &[&str]| {
        announced_id(&records.iter().map(|record| record.as_bytes().to_vec()).collect::<Vec<_>>())
    };
    assert_eq!(id(&["v=STSv1; id=20160831085700Z;"]).as_deref(), Some("20160831085700Z"));
    assert_eq!(id(&["v=spf1 -all", "v=STSv1 ; other=1; id=a"]).as_deref(), Some("a"));
    for records in [
        &[][..],
        &["v=STSv1; id=a;", "v=STSv1; id=b;"],
        &["v=STSv1;"],
        &["v=STSv10; id=a"],
        &["v=STSv1; id=a-b;"],
        &["v=STSv1; id=123456789012345678901234567890123"],
        &["id=a; v=STSv1"],
    ] {
        assert_eq!(id(records), None, "{records:?}");
    }
}
