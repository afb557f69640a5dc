use std::path::Path;

use super::schema::{Form, KEYS, Kind, Presence, SECTIONS};
use super::test_files::Files;
use super::*;

fn errors(text: &str) -> String {
    Config::parse(text, &[]).unwrap_err().to_string()
}

fn set(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn the_contracts_file_loads() {
    let files = Files::new();
    let config = Config::parse(&files.contract(), &[]).unwrap();
    assert_eq!(config.service.mx.len(), 3);
    assert_eq!(config.dnsbl[0].name, "abusixip");
    assert_eq!(config.delivery.sources[0].hostname.as_str(), "a0-7.email.relay.example");
    assert_eq!(config.delivery.give_up_after, Duration::from_secs(5 * 86_400));
    assert!(config.public.is_some() && config.smtp.tls.is_some() && config.admin.tls.is_some());
    assert_eq!(config.files().len(), 12);
    let cluster = config.cluster.unwrap();
    assert_eq!((cluster.peers[0].address.as_str(), cluster.voters), ("amir.internal:50052", 3));
}

#[test]
fn mandatory_keys_are_enough() {
    let files = Files::new();
    let config = Config::parse(&files.minimal(), &[]).unwrap();
    assert_eq!(config.service.postmaster_url, "https://email.relay.example/postmaster");
    assert_eq!(config.service.max_message_octets, 26_214_400);
    assert_eq!(config.smtp.listen.len(), 2);
    assert_eq!(config.limits.sessions, 10_000);
    assert_eq!(config.limits.octets_in_flight, 268_435_456);
    assert_eq!(config.delivery.in_session_timeout, Duration::from_secs(45));
    assert_eq!(config.authentication.dmarc, DmarcMode::Enforce);
    assert_eq!(config.srs.max_age_days, 21);
    assert!(config.public.is_none() && config.dnsbl.is_empty() && config.arc.seal == Sealing::On);
}

#[test]
fn an_empty_file_lists_every_mandatory_key_at_once() {
    let text = errors("");
    for key in [
        "node.name",
        "node.hostname",
        "node.data_dir",
        "service.domain",
        "service.postmaster",
        "dkim.selector",
        "dkim.private_key_file",
        "srs.secret_file",
    ] {
        assert!(text.contains(&format!("{key}: is mandatory")), "{key} in {text}");
    }
    assert_eq!(text.lines().count(), 8, "{text}");
}

#[test]
fn every_wrong_value_is_named_by_its_path() {
    let files = Files::new();
    let table: &[(&str, &str)] = &[
        ("smtp.listn = []", "smtp.listn: unknown key, did you mean smtp.listen?"),
        ("stmp = {}", "stmp: unknown key, did you mean smtp?"),
        ("smtp.dmarc = 'monitor'", "smtp.dmarc: unknown key, did you mean authentication.dmarc?"),
        ("xyzzy = 1", "xyzzy: unknown key"),
        ("smtp = 5", "smtp: must be a table, not an integer"),
        ("smtp.listen = 'x'", "smtp.listen: must be an array of strings, not a string"),
        ("smtp.listen = []", "smtp.listen: needs at least one address"),
        (
            "smtp.listen = ['1.2.3.4:25', '1.2.3.4']",
            "smtp.listen[1]: \"1.2.3.4\" is not an address with a port, such as 127.0.0.1:25 or [::1]:25",
        ),
        ("smtp.listen = ['1.2.3.4:25', '1.2.3.4:25']", "smtp.listen: 1.2.3.4:25 is there twice"),
        ("smtp.listen = [25]", "smtp.listen[0]: must be a string, not an integer"),
        (
            "smtp.trusted_proxies = ['10/8']",
            "smtp.trusted_proxies[0]: \"10/8\" is not a network such as 192.0.2.0/24",
        ),
        (
            "smtp.certificate_file = '@chain.pem'",
            "smtp.certificate_file: goes together with private_key_file, which is not set",
        ),
        (
            "smtp.private_key_file = '@key.pem'",
            "smtp.private_key_file: goes together with certificate_file, which is not set",
        ),
        (
            "service.mx = [{ hostname = 'a.example', preference = 70000 }]",
            "service.mx[0].preference: 70000 is out of bounds (the lowest is tried first, 0 to 65535)",
        ),
        (
            "service.mx = [{ hostname = 'a.example' }]",
            "service.mx[0].preference: is mandatory: The preference customers publish it with; the lowest is tried first (RFC 5321 §5.1)",
        ),
        ("service.mx = ['a.example']", "service.mx[0]: must be a table, not a string"),
        ("limits.sessions = 0", "limits.sessions: 0 is out of bounds (sessions, 1 to 1000000)"),
        ("limits.sessions = -1", "limits.sessions: -1 is out of bounds (sessions, 1 to 1000000)"),
        ("limits.sessions = '5'", "limits.sessions: must be an integer, not a string"),
        (
            "limits.octets_in_flight = 1048576",
            "limits.octets_in_flight: 1048576 octets have no room for service.max_message_octets = 26214400",
        ),
        (
            "limits.command_timeout = 300",
            "limits.command_timeout: must be a string such as \"45s\" or \"5d\", not an integer",
        ),
        (
            "limits.command_timeout = 'soon'",
            "limits.command_timeout: \"soon\" is not a duration such as \"45s\" or \"5d\"",
        ),
        (
            "limits.command_timeout = '2h'",
            "limits.command_timeout: \"2h\" is out of bounds (a duration, \"1s\" to \"1h\")",
        ),
        (
            "authentication.dmarc = 'off'",
            "authentication.dmarc: \"off\" is none of enforce | rfc9989 | monitor",
        ),
        (
            "authentication.require_pass = 'yes'",
            "authentication.require_pass: must be true or false, not a string",
        ),
        (
            "authentication.trusted_arc_sealers = ['[192.0.2.1]']",
            "authentication.trusted_arc_sealers[0]: \"[192.0.2.1]\" is an address literal; a host name is needed",
        ),
        (
            "dnsbl = [{ name = 'a b', zone = 'bl.example' }]",
            "dnsbl[0].name: \"a b\" is not 1 to 32 letters, digits, dots, hyphens and underscores",
        ),
        (
            "dnsbl = [{ name = 'a', zone = 'bl.example', listed = ['10.0.0.0/8'] }]",
            "dnsbl[0].listed: 10.0.0.0/8 is not inside 127.0.0.0/8",
        ),
        (
            "dnsbl = [{ name = 'a', zone = 'bl.example', listed = ['::1'] }]",
            "dnsbl[0].listed[0]: \"::1\" is not an IPv4 network such as 127.0.0.0/24",
        ),
        (
            "dnsbl = [{ name = 'a', zone = 'b.example' }, { name = 'a', zone = 'c.example' }]",
            "dnsbl: the name a is there twice",
        ),
        (
            "dnsbl = [{ name = 'a', zone = 'b.example', lsted = [] }]",
            "dnsbl[0].lsted: unknown key, did you mean dnsbl.listed?",
        ),
        ("arc.seal = 1", "arc.seal: must be true | \"needed\" | false, not an integer"),
        ("arc.seal = 'true'", "arc.seal: \"true\" is none of true | \"needed\" | false"),
        (
            "delivery.on_tempfail = 'keep'",
            "delivery.on_tempfail: \"keep\" is none of relay | queue | verified",
        ),
        ("delivery.private_addresses = 'no'", "delivery.private_addresses: \"no\" is none of refuse | allow"),
        ("delivery.port = 0", "delivery.port: 0 is out of bounds (a port, 1 to 65535)"),
        (
            "delivery.source = [{ address = 'x', hostname = 'a.example' }]",
            "delivery.source[0].address: \"x\" is not an IPv4 or IPv6 address",
        ),
        (
            "delivery.source = [{ address = '::', hostname = 'a.example' }]",
            "delivery.source[0].address: :: is no address to connect from",
        ),
        (
            "dns.servers = ['::1']",
            "dns.servers[0]: \"::1\" is not an address with a port, such as 127.0.0.1:25 or [::1]:25",
        ),
        ("log.addresses = 'some'", "log.addresses: \"some\" is none of full | hash | none"),
        (
            "http.listen = '127.0.0.1:50051'",
            "admin.listen: 127.0.0.1:50051 is another listener's address already",
        ),
        (
            "public.listen = '127.0.0.1:8080'",
            "public.listen: 127.0.0.1:8080 is another listener's address already",
        ),
        ("admin.listen = '0.0.0.0:1'", "admin.listen: past loopback it needs token_file or client_ca_file"),
        (
            "admin = { listen = '0.0.0.0:1', token_file = '@tokens' }",
            "admin.listen: tokens past loopback need certificate_file and private_key_file",
        ),
        (
            "admin.client_ca_file = '@chain.pem'",
            "admin.client_ca_file: client certificates need certificate_file and private_key_file",
        ),
    ];
    for (line, expected) in table {
        let text = files.with(line);
        assert_eq!(errors(&text), *expected, "{line}");
    }
}

#[test]
fn wrong_identities_are_named() {
    let files = Files::new();
    for (line, expected) in [
        (
            "node.name = 'lin da'",
            "node.name: \"lin da\" is not 1 to 63 letters, digits, dots, hyphens and underscores",
        ),
        ("node.hostname = 'a_b c'", "node.hostname: domain \"a_b c\" is not a valid host name"),
        ("node.data_dir = '@rsa.pem'", "/rsa.pem: is not a directory"),
        ("service.domain = ''", "service.domain: domain \"\" is not a valid host name"),
        ("service.postmaster = 'ops'", "service.postmaster: address \"ops\" is not of the form local@domain"),
        (
            "service.postmaster_url = 'ftp://x'",
            "service.postmaster_url: \"ftp://x\" is not an http or https URL",
        ),
        (
            "service.postmaster_url = 'https://x/#y'",
            "service.postmaster_url: \"https://x/#y\" is not an http",
        ),
        ("log.level = 'a=b=c'", "log.level: \"a=b=c\" is not a filter"),
        ("srs.max_age_days = 513", "srs.max_age_days: 513 is out of bounds (days, 1 to 512)"),
        ("service.max_message_octets = 1000", "service.max_message_octets: 1000 is out of bounds"),
    ] {
        let text = errors(&files.with(line));
        assert!(text.contains(expected) && text.lines().count() == 1, "{line}: {text}");
    }
}

#[test]
fn files_are_read_and_their_content_is_never_shown() {
    let files = Files::new();
    files.write("short", "0123456789abcdef\nsesame\n");
    files.write("empty", "\n");
    files.write("label", "not a label");
    files.write("norole", "0123456789abcdef root\n");
    files.write("oneword", "0123456789abcdef\n");
    for (line, expected) in [
        ("srs.secret_file = '@none'", "is not there; `postroad keygen srs --out FILE` makes one"),
        ("admin.token_file = '@none'", "cannot be read: No such file or directory"),
        ("srs.secret_file = '@'", "is not a file"),
        ("srs.secret_file = '@short'", "line 2: a secret has 16 octets or more"),
        ("srs.secret_file = '@empty'", "holds no secret"),
        ("dkim.private_key_file = '@secrets'", "holds no private key in PEM"),
        ("dkim.private_key_file = '@key.pem'", "neither RSA of 2048 to 8192 bits nor Ed25519"),
        ("dkim.private_key_file = '@ed25519.pem'", "dkim.private_key_file: the first key must be RSA"),
        ("dkim.selector = 'a b'", "dkim.selector: \"a b\" is not a selector"),
        ("dnsbl = [{ name = 'a', zone = 'b.example', key_file = '@label' }]", "dnsbl[0].key_file: "),
        ("dnsbl = [{ name = 'a', zone = 'b.example', key_file = '@label' }]", "line 1: a key is one label"),
        ("smtp = { certificate_file = '@key.pem', private_key_file = '@key.pem' }", "holds no certificate"),
        (
            "smtp = { certificate_file = '@chain.pem', private_key_file = '@chain.pem' }",
            "holds no private key",
        ),
        ("admin.token_file = '@norole'", "line 1: the role is none of viewer, operator, admin"),
        ("admin.token_file = '@oneword'", "line 1: not of the form `TOKEN ROLE [NAME]`"),
    ] {
        let text = errors(&files.with(line));
        assert!(text.contains(expected) && text.lines().count() == 1, "{line}: {text}");
        for secret in ["0123456789abcdef", "sesame", "not a label"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn several_dkim_keys_stand_in_tables_with_or_without_the_single_one() {
    let files = Files::new();
    let ed = "dkim.key = [{ selector = 'ed', private_key_file = '@ed25519.pem' }]";
    let both = Config::parse(&files.with(ed), &[]).unwrap();
    let selectors: Vec<_> = both.dkim.keys.iter().map(|key| key.selector.as_str()).collect();
    assert_eq!(selectors, ["2022", "ed"]);

    let alone = files.minimal().replace("dkim = { ", "dkim.key = [{ ").replace("rsa.pem' }", "rsa.pem' }]");
    assert_eq!(Config::parse(&alone, &[]).unwrap().dkim.keys.len(), 1);

    let twice = "dkim.key = [{ selector = '2022', private_key_file = '@ed25519.pem' }]";
    assert_eq!(errors(&files.with(twice)), "dkim.selector: \"2022\" is there twice");
}

#[test]
fn syntax_errors_say_where() {
    assert_eq!(errors("[node]\nname = linda\n").split(": ").next(), Some("line 2, column 8"));
    assert!(errors("[node]\n[node]\n").starts_with("line 2, column"));
}

#[test]
fn an_unreadable_file_is_one_error() {
    let error = Config::load(Path::new("/nonexistent/postroad.toml"), &[]).unwrap_err();
    let expected = "/nonexistent/postroad.toml: cannot be read: No such file or directory (os error 2)";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn the_environment_beats_the_file() {
    let files = Files::new();
    let variables = [
        set("POSTROAD__NODE__NAME", "amir"),
        set("POSTROAD__SMTP__LISTEN", "[\"127.0.0.1:0\"]"),
        set("POSTROAD__LIMITS__SESSIONS", "7"),
        set("POSTROAD__LIMITS__COMMAND_TIMEOUT", "9s"),
        set("POSTROAD__DKIM__SELECTOR", "2026"),
        set("POSTROAD__ARC__SEAL", "false"),
        set("POSTROAD__DNSBL", "[{ name = \"test\", zone = \"bl.example\" }]"),
        set("POSTROAD__DELIVERY__SOURCE", "[{ address = \"192.0.2.1\", hostname = \"out.example\" }]"),
        set("POSTROAD_PORT", "tcp://10.0.0.1:25"),
    ];
    let config = Config::parse(&files.minimal(), &variables).unwrap();
    assert_eq!(config.node.name, "amir");
    assert_eq!(config.smtp.listen, ["127.0.0.1:0".parse().unwrap()]);
    assert_eq!(config.limits.sessions, 7);
    assert_eq!(config.limits.command_timeout, Duration::from_secs(9));
    assert_eq!(config.dkim.keys[0].selector, "2026");
    assert_eq!(config.arc.seal, Sealing::Off);
    assert_eq!(config.dnsbl[0].zone.as_str(), "bl.example");
    assert_eq!(config.delivery.sources[0].hostname.as_str(), "out.example");
}

#[test]
fn arc_seals_are_for_all_mail_for_what_needs_them_or_for_none() {
    let files = Files::new();
    let sealing = |line: &str, variables: &[(String, String)]| {
        Config::parse(&files.with(line), variables).unwrap().arc.seal
    };
    assert_eq!(sealing("arc.seal = true", &[]), Sealing::On);
    assert_eq!(sealing("arc.seal = 'needed'", &[]), Sealing::Needed);
    assert_eq!(sealing("arc.seal = false", &[]), Sealing::Off);
    assert_eq!(sealing("", &[set("POSTROAD__ARC__SEAL", "needed")]), Sealing::Needed);
    assert_eq!(sealing("", &[set("POSTROAD__ARC__SEAL", "\"needed\"")]), Sealing::Needed);
    assert_eq!(sealing("arc.seal = false", &[set("POSTROAD__ARC__SEAL", "true")]), Sealing::On);
}

#[test]
fn errors_of_the_environment_name_the_variable() {
    let files = Files::new();
    let table = [
        (
            set("POSTROAD__SMPT__LISTEN", "x"),
            "smpt.listen (from POSTROAD__SMPT__LISTEN): unknown key, did you mean POSTROAD__SMTP__LISTEN?",
        ),
        (
            set("POSTROAD__SMTP", "{}"),
            "smtp (from POSTROAD__SMTP): names a section; set its keys one by one, such as POSTROAD__SMTP__LISTEN",
        ),
        (
            set("POSTROAD__LIMITS__SESSIONS", "many"),
            "limits.sessions (from POSTROAD__LIMITS__SESSIONS): must be an integer, not a string",
        ),
        (
            set("POSTROAD__SMTP__LISTEN", "[\"x\"]"),
            "smtp.listen[0] (from POSTROAD__SMTP__LISTEN): \"x\" is not an address with a port, such as 127.0.0.1:25 or [::1]:25",
        ),
        (
            set("POSTROAD__DNSBL", "[{ name = \"a\" }]"),
            "dnsbl[0].zone (from POSTROAD__DNSBL): is mandatory: The zone, without a subscriber's key",
        ),
        (
            set("POSTROAD__CLUSTR__LISTEN", "x"),
            "clustr.listen (from POSTROAD__CLUSTR__LISTEN): unknown key, did you mean POSTROAD__SMTP__LISTEN?",
        ),
    ];
    for (variable, expected) in table {
        assert_eq!(Config::parse(&files.minimal(), &[variable]).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_name_alone_is_taken_from_the_environment_only() {
    let files = Files::new();
    let name = [set("POSTROAD__NODE__NAME", "2022")];
    assert_eq!(Config::parse(&files.minimal(), &name).unwrap().node.name, "2022");
    let text = files.with("node.name = 2022");
    assert_eq!(errors(&text), "node.name: must be a string, not an integer");
}

#[test]
fn every_default_and_example_is_toml_of_the_keys_type() {
    for key in KEYS {
        let (Presence::Mandatory(text) | Presence::Default(text) | Presence::Optional(text)) = key.presence;
        let value: toml::Value = text.parse().unwrap();
        let fits = match key.kind {
            Kind::Text(_) | Kind::File | Kind::Duration(..) => value.is_str(),
            Kind::Flag | Kind::FlagOr(_) => value.is_bool(),
            Kind::Number(..) | Kind::Choice(..) => value.is_integer(),
            Kind::List(_) | Kind::Tables => value.is_array(),
        };
        assert!(fits, "{}", key.path());
        assert!(
            SECTIONS.iter().any(|row| row.path == key.section) || key.section.is_empty(),
            "{}",
            key.path()
        );
    }
}

#[test]
fn every_word_of_the_schema_is_understood() {
    let files = Files::new();
    for key in KEYS {
        let Kind::Text(words) = key.kind else { continue };
        for word in words.split(" | ").filter(|_| words.contains(" | ")) {
            let line = format!("{}.{} = '{word}'", key.section, key.name);
            let text = if key.section == "cluster" { files.with_cluster(&line) } else { files.with(&line) };
            assert!(Config::parse(&text, &[]).is_ok(), "{line}");
        }
    }
}

#[test]
fn the_example_is_toml_and_has_its_defaults() {
    let files = Files::new();
    let text = example();
    let table: toml::Table = text.parse().unwrap();
    for key in KEYS.iter().filter(|key| matches!(key.presence, Presence::Default(_))) {
        let value = table.get(key.section).and_then(|section| section.get(key.name));
        let switched_off = SECTIONS.iter().any(|row| row.path == key.section && row.form != Form::Table);
        if !switched_off && !key.section.is_empty() && key.kind != Kind::Tables {
            let Presence::Default(default) = key.presence else { unreachable!() };
            assert_eq!(value, Some(&default.parse().unwrap()), "{}", key.path());
        }
    }
    let usable = text
        .replace("\"/etc/postroad/dkim-2022.pem\"", &format!("'{}'", files.path("rsa.pem").display()))
        .replace("\"/etc/postroad/srs-secrets\"", &format!("'{}'", files.path("secrets").display()));
    Config::parse(&usable, &[]).unwrap();
}

/// The file in the documentation is the printed one; `UPDATE_GOLDEN=1` rewrites it.
#[test]
fn the_documented_file_is_the_example() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/postroad.toml");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, example()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), example(), "UPDATE_GOLDEN=1 cargo test rewrites it");
}

#[test]
fn the_example_with_its_marks_taken_away_has_every_key_of_the_schema() {
    let bare: String =
        example().lines().map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or(line))).collect();
    // The header is prose, and `mx` stands there twice: its default and an example.
    let (_, bare) = bare.split_once("\n\n").unwrap();
    let table: toml::Table = bare.replace("\nmx = []\n", "\n").parse().unwrap();
    for key in KEYS {
        let mut at = Some(&toml::Value::Table(table.clone()));
        for step in key.path().split('.').map(str::to_owned) {
            at = at.and_then(|value| match value {
                toml::Value::Array(items) => items[0].get(step.trim_end_matches("[]")),
                other => other.get(step.trim_end_matches("[]")),
            });
            if at.is_none() {
                break;
            }
        }
        assert!(at.is_some(), "{} is not in the example", key.path());
    }
}
