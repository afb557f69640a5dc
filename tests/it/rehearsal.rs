//! `postroad check` finds what `serve` would refuse, and takes a node that runs for no fault.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::binary::{postroad, serve};
use crate::support::World;

/// A world with a node file whose secrets are its user's alone.
struct Rig {
    world: World,
    text: String,
}

impl Rig {
    async fn new() -> Self {
        let world = World::start().await;
        for secret in ["dkim.pem", "srs", "key.pem"] {
            fs::set_permissions(world.file(secret), Permissions::from_mode(0o600)).unwrap();
        }
        let text = fs::read_to_string(world.node_file()).unwrap();
        Self { world, text }
    }

    /// The node file with one thing changed.
    fn file(&self, from: &str, to: &str) -> PathBuf {
        assert!(self.text.contains(from), "no {from} in {}", self.text);
        self.world.write("changed.toml", &self.text.replacen(from, to, 1))
    }

    fn path(&self, name: &str) -> String {
        self.world.file(name).display().to_string()
    }
}

/// The status of a command line about a file, and all that it says.
fn said(verb: &str, file: &Path) -> (Option<i32>, String) {
    let output = postroad(&[verb, "--config", file.to_str().unwrap()]).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// `serve` refuses the file, and `check` finds it, in a line that has all of these.
fn refused(file: &Path, parts: &[&str]) {
    let (status, text) = said("serve", file);
    assert_eq!(status, Some(1), "serve: {text}");
    found(file, parts);
}

fn found(file: &Path, parts: &[&str]) {
    let (status, text) = said("check", file);
    let line =
        text.lines().find(|line| line.starts_with("FAIL") && parts.iter().all(|part| line.contains(part)));
    assert!(status == Some(1) && line.is_some(), "no line with {parts:?}, status {status:?}:\n{text}");
}

#[tokio::test]
async fn a_pair_that_does_not_fit_is_found_with_its_keys_and_files() {
    let rig = Rig::new().await;
    let other = rcgen::generate_simple_self_signed(vec!["other.example".into()]).unwrap();
    let other = rig.world.write("other.pem", &other.cert.pem()).display().to_string();
    let (fits, key) = (rig.path("cert.pem"), rig.path("key.pem"));
    let smtp = rig.file(&fits, &other);
    refused(&smtp, &["smtp.certificate_file", &other, "smtp.private_key_file", &key, "are no pair"]);
    let pair = format!("[admin]\ncertificate_file = \"{other}\"\nprivate_key_file = \"{key}\"");
    refused(&rig.file("[admin]", &pair), &["admin.certificate_file", &other, "admin.private_key_file"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_cluster_is_found_all_at_once() {
    let rig = Rig::new().await;
    let dir = rig.path("cluster");
    let made = postroad(&["cluster", "certificates", "--dir", &dir, "linda", "amir"]).output().unwrap();
    assert!(made.status.success() && made.stderr.is_empty(), "{made:?}");
    let section = String::from_utf8(made.stdout).unwrap();
    let section = section
        .replace("/etc/postroad/cluster", &format!("{dir}/linda"))
        .replace("0.0.0.0:50052", "127.0.0.1:0");
    let file = |section: &str| rig.world.write("changed.toml", &format!("{}\n{section}", rig.text));

    let good = file(&section);
    let (_, text) = said("check", &good);
    let of_the_cluster: Vec<&str> = text.lines().filter(|line| line.contains("cluster")).collect();
    assert!(!text.contains("FAIL  member"), "{text}");
    assert!(
        of_the_cluster.iter().any(|line| line.starts_with("ok    tls    cluster certificate is good until "))
    );
    assert!(of_the_cluster.iter().any(|line| line.starts_with("ok    listen cluster.listen 127.0.0.1:0 ")));

    let certificate = format!("{dir}/amir/node.pem");
    let bad = file(&section.replace(&format!("{dir}/linda/node.pem"), &certificate));
    let expected = [
        format!("cluster.private_key_file {dir}/linda/node.key: is not the key of cluster.certificate_file"),
        format!(
            "cluster.certificate_file {certificate}: is not for linda, which is node.name; its DNS names: amir"
        ),
    ];
    let lines = expected.iter().map(|line| format!("postroad: {line}\n")).collect::<String>();
    assert_eq!(said("serve", &bad), (Some(1), lines));
    for line in &expected {
        found(&bad, &[&format!("FAIL  member {line}")]);
    }
}

#[tokio::test]
async fn a_data_dir_that_cannot_be_used_is_found() {
    let rig = Rig::new().await;
    let data = rig.path("data-of-binary");
    let file = rig.file(&data, &rig.path("srs/data"));
    refused(&file, &["node.data_dir", &rig.path("srs")]);
    assert!(!rig.world.file("data-of-binary").exists(), "check leaves something behind");

    fs::create_dir(&data).unwrap();
    rig.world.write("data-of-binary/store.lock", "postroad store 9\n");
    let same = rig.file("\"linda\"", "\"linda\"");
    refused(&same, &["node.data_dir", "store.lock names a format that this version does not know"]);

    fs::remove_file(rig.world.file("data-of-binary/store.lock")).unwrap();
    fs::create_dir(rig.world.file("data-of-binary/raft")).unwrap();
    let later = b"\x8fPRI\r\n\x1a\n\0\0\0\x02what comes after this one";
    fs::write(rig.world.file("data-of-binary/raft/identity"), later).unwrap();
    refused(&same, &["node.data_dir", "identity is of a format that this version of Postroad does not know"]);
}

#[tokio::test]
async fn a_listener_that_another_program_has_is_found() {
    let rig = Rig::new().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for section in ["smtp", "http", "admin"] {
        let (from, to) = if section == "smtp" {
            ("listen = [\"127.0.0.1:0\"]".to_owned(), format!("listen = [\"{taken}\"]"))
        } else {
            (format!("[{section}]\nlisten = \"127.0.0.1:0\""), format!("[{section}]\nlisten = \"{taken}\""))
        };
        refused(&rig.file(&from, &to), &[&format!("{section}.listen"), &taken, "in use"]);
    }
}

#[tokio::test]
async fn a_secret_that_the_world_may_read_is_found() {
    let rig = Rig::new().await;
    let same = rig.file("\"linda\"", "\"linda\"");
    let (_, text) = said("check", &same);
    assert!(text.contains("ok    files"), "{text}");
    fs::set_permissions(rig.world.file("srs"), Permissions::from_mode(0o644)).unwrap();
    found(&same, &["srs.secret_file", &rig.path("srs"), "0644"]);
}

#[tokio::test]
async fn a_folder_that_others_may_look_into_is_a_warning() {
    let rig = Rig::new().await;
    let same = rig.file("\"linda\"", "\"linda\"");
    let spool = rig.path("data-of-binary/spool");
    fs::create_dir_all(&spool).unwrap();
    fs::set_permissions(&spool, Permissions::from_mode(0o700)).unwrap();
    let warned = |path: &str, mode: &str| {
        let (_, text) = said("check", &same);
        text.lines()
            .any(|line| line.starts_with("warn  data") && line.contains(&format!("{path} (mode {mode}")))
    };
    for (folder, closed, open, mode) in
        [(rig.path("data-of-binary"), 0o750, 0o755, "0755"), (spool, 0o700, 0o710, "0710")]
    {
        fs::set_permissions(&folder, Permissions::from_mode(closed)).unwrap();
        assert!(!warned(&folder, ""), "{folder} is closed");
        fs::set_permissions(&folder, Permissions::from_mode(open)).unwrap();
        assert!(warned(&folder, mode), "{folder} is open");
        fs::set_permissions(&folder, Permissions::from_mode(closed)).unwrap();
    }
}

#[tokio::test]
async fn a_node_that_runs_is_no_fault() {
    let rig = Rig::new().await;
    let (_served, ready) = serve(rig.world.node_file());
    let mut text = rig.text.clone();
    for address in [&ready["smtp"][0], &ready["http"], &ready["admin"]] {
        text = text.replacen("127.0.0.1:0", address.as_str().unwrap(), 1);
    }
    let (_, said) = said("check", &rig.world.write("running.toml", &text));
    assert!(said.contains("warn  data") && said.contains("is locked by a node that runs"), "{said}");
    assert_eq!(said.matches("is in use, as it is by a node that runs").count(), 3, "{said}");
    assert!(!said.contains("FAIL  listen") && !said.contains("FAIL  data"), "{said}");
}
