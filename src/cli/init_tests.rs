use std::fs;
use std::os::unix::fs::MetadataExt as _;

use tempfile::TempDir;

use crate::cli::tests::postroad;
use crate::config::{Config, files};
use crate::mail::dkim::{Algorithm, Key};

/// As an operator types it, into a folder of this name.
fn init(dir: &TempDir, folder: &str) -> (u8, String, String) {
    let folder = dir.path().join(folder);
    let names = ["--hostname", "Linda.mx.relay.example", "--domain", "email.relay.example"];
    let rest = ["--postmaster", "ops@relay.example", "--dir", folder.to_str().unwrap()];
    postroad(&[&["init"][..], &names, &rest].concat())
}

#[test]
fn what_init_makes_is_what_a_node_starts_with() {
    let dir = tempfile::tempdir().unwrap();
    let (status, out, err) = init(&dir, "made/here");
    assert_eq!(status, 0, "{err}");
    let folder = dir.path().canonicalize().unwrap().join("made/here");
    let config = Config::load(&folder.join("postroad.toml"), &[]).unwrap();
    assert_eq!(
        (config.node.name.as_str(), config.node.hostname.as_str()),
        ("linda", "linda.mx.relay.example")
    );
    for line in err.lines().filter(|line| line.starts_with("      postroad check")) {
        assert!(line.ends_with(folder.join("postroad.toml").to_str().unwrap()), "{line}");
    }
    for entry in fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600, "{:?}", entry.file_name());
    }
    let [token] = files::admin_tokens(&folder.join("admin-tokens")).unwrap().try_into().unwrap();
    assert_eq!(token.role, files::Role::Admin);
    assert_eq!(fs::read_to_string(folder.join("admin.token")).unwrap().trim(), token.secret.expose());
    // Every line is a record or a comment, and the key's is the key's.
    let published = out.lines().filter(|line| !line.starts_with(';'));
    let records: Vec<(&str, &str)> = published.map(|line| line.split_once(" 300 IN TXT ").unwrap()).collect();
    let (name, key) = records[0];
    let (selector, of) = name.split_once('.').unwrap();
    assert_eq!((selector.len(), of), (6, "_domainkey.email.relay.example."));
    let text = key.trim_matches('"').replace("\" \"", "");
    let published = Key::parse(text.as_bytes(), Algorithm::RsaSha256).unwrap();
    let private = files::dkim_key(&folder.join(format!("dkim-{selector}.pem"))).unwrap();
    let files::SigningKey::Rsa(pair) = private else { panic!("{private:?}") };
    let public: aws_lc_rs::encoding::PublicKeyX509Der<'_> =
        aws_lc_rs::encoding::AsDer::as_der(aws_lc_rs::signature::KeyPair::public_key(&*pair)).unwrap();
    assert_eq!(published.octets, public.as_ref());
    assert_eq!(records[1], ("_spf.email.relay.example.", "\"v=spf1 a:linda.mx.relay.example -all\""));
    assert_eq!(records.len(), 3);
}

#[test]
fn init_overwrites_nothing_and_makes_nothing_where_a_file_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("srs.secret");
    fs::write(&secret, "kept").unwrap();
    let (status, out, err) = init(&dir, ".");
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(err.contains("srs.secret is there already, and is not overwritten"), "{err}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(secret).unwrap(), "kept");
}

#[test]
fn keys_are_printed_or_made_and_never_both() {
    let dir = tempfile::tempdir().unwrap();
    for (kind, begins) in [("dkim", "-----BEGIN PRIVATE KEY-----"), ("srs", "")] {
        let (status, printed, told) = postroad(&["keygen", kind]);
        assert!(status == 0 && printed.starts_with(begins) && !told.contains("PRIVATE"), "{told}");
        let path = dir.path().join(kind);
        let (status, out, err) = postroad(&["keygen", kind, "--out", path.to_str().unwrap()]);
        let made = fs::read_to_string(&path).unwrap();
        assert!(status == 0 && made.starts_with(begins) && !out.contains(made.trim()), "{err}");
        let (status, _, err) = postroad(&["keygen", kind, "--out", path.to_str().unwrap()]);
        assert!(status == 1 && err.contains("is not overwritten"), "{err}");
        assert_eq!(fs::read_to_string(&path).unwrap(), made);
    }
    assert!(files::dkim_key(&dir.path().join("dkim")).is_ok());
    assert_eq!(files::srs_secrets(&dir.path().join("srs")).unwrap().len(), 1);
}

#[test]
fn what_is_no_name_or_address_is_wrong_usage() {
    let sound = ["init", "--hostname", "a.example", "--domain", "b.example", "--postmaster", "c@d.example"];
    for (at, bad, named) in [
        (2, "example", "no host name"),
        (2, "[192.0.2.1]", "no host name"),
        (4, "-", "host name"),
        (6, "ops", "local@domain"),
    ] {
        let mut arguments = sound;
        arguments[at] = bad;
        let (status, _, err) = postroad(&arguments);
        assert!(status == 2 && err.contains(named), "{bad}: {err}");
    }
}
