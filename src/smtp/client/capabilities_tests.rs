use super::*;
use crate::smtp::reply::UPSTREAM_REASON;

fn parse(lines: &[&str]) -> Capabilities {
    let lines = lines.iter().map(|line| (*line).to_owned()).collect();
    Capabilities::parse(&Reply { code: 250, enhanced: None, reason: UPSTREAM_REASON, lines })
}

#[test]
fn keywords_are_case_insensitive_and_unknown_ones_passed_over() {
    let found = parse(&["mx.example", "8bitmime", "XYZ 3", "Pipelining", "STARTTLS", "DSN", "smtputf8"]);
    for extension in [
        Extension::EightBitMime,
        Extension::Pipelining,
        Extension::StartTls,
        Extension::Dsn,
        Extension::SmtpUtf8,
    ] {
        assert!(found.offers(extension), "{extension:?} was not seen");
    }
    assert!(!found.offers(Extension::Chunking));
}

#[test]
fn the_first_line_is_a_name_and_no_keyword() {
    assert_eq!(parse(&["STARTTLS"]), Capabilities::default());
}

#[test]
fn rfc1870_4_size_may_have_a_limit() {
    assert_eq!(parse(&["a", "SIZE 1000"]).size_limit(), Some(1000));
    for line in ["SIZE", "SIZE 0", "SIZE x", "SIZE 99999999999999999999999"] {
        let found = parse(&["a", line]);
        assert_eq!((found.size_limit(), found.offers(Extension::Size)), (None, true), "{line}");
    }
}

#[test]
fn rfc9422_limits_are_read() {
    let found = parse(&["a", "LIMITS MAILMAX=3 rcptmax=20 RCPTDOMAINMAX=1 X"]);
    assert_eq!((found.mails_max(), found.recipients_max()), (Some(3), Some(20)));
    assert_eq!(parse(&["a", "LIMITS RCPTMAX=0"]).recipients_max(), None);
}
