use super::*;
use crate::config::test_files::Files;

/// Status, standard output and standard error of a command line.
pub(super) fn postroad(arguments: &[&str]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments = std::iter::once(&"postroad").chain(arguments).map(OsString::from);
    let status = run(arguments, &mut out, &mut err);
    (status, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn the_command_line_is_consistent() {
    Command::command().debug_assert();
}

#[test]
fn help_and_version_are_data() {
    for argument in ["--help", "--version"] {
        let (status, out, err) = postroad(&[argument]);
        assert_eq!((status, err.as_str()), (0, ""));
        assert!(out.contains("postroad") || out.contains("Usage"), "{out}");
    }
    assert!(postroad(&["--version"]).1.contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_is_status_2_and_names_what_is_wrong() {
    for (arguments, named) in [
        (&["sevre"][..], "sevre"),
        (&["serve", "--confg", "x"], "--confg"),
        (&["dev", "--nodes", "0"], "--nodes"),
        (&["completions", "cmd.exe"], "cmd.exe"),
        (&["config"], "example"),
        (&["cluster"], "certificates"),
        (&["cluster", "certificates", "--dir", "x"], "<NAME>"),
        (&["cluster", "certificates", "amir"], "--dir"),
        (&["cluster", "certificates", "--dir", "x", "Amir"], "lower-case"),
    ] {
        let (status, out, err) = postroad(arguments);
        assert_eq!((status, out.as_str()), (2, ""), "{arguments:?}");
        assert!(err.contains(named), "{err}");
    }
}

#[test]
fn the_example_and_completions_are_printed() {
    let (status, out, _) = postroad(&["config", "example"]);
    assert_eq!((status, out), (0, config::example()));
    let (status, out, _) = postroad(&["completions", "bash"]);
    assert!(status == 0 && out.contains("_postroad"));
}

#[test]
fn serve_and_check_print_every_error_of_the_file() {
    let files = Files::new();
    files.write("bad.toml", &files.with("smtp.listn = []\nlimits.sessions = 0"));
    let path = files.path("bad.toml");
    for verb in ["serve", "check"] {
        let (status, out, err) = postroad(&[verb, "--config", path.to_str().unwrap()]);
        assert_eq!((status, out.as_str()), (1, ""));
        assert_eq!(
            err,
            "postroad: smtp.listn: unknown key, did you mean smtp.listen?\n\
             postroad: limits.sessions: 0 is out of bounds (sessions, 1 to 1000000)\n"
        );
    }
    let (status, _, err) = postroad(&["serve", "--config", "/nonexistent.toml"]);
    assert_eq!((status, err.lines().count()), (1, 1));
    assert!(err.starts_with("postroad: /nonexistent.toml: "), "{err}");
}

#[test]
fn certificates_come_with_a_section_that_can_be_pasted() {
    let files = Files::new();
    let dir = files.path("cluster");
    let (status, _, err) = postroad(&["cluster", "certificates", "--dir", dir.to_str().unwrap(), "amir"]);
    assert_eq!((status, err.as_str()), (0, ""));
    let (_, out, _) = postroad(&["cluster", "certificates", "--dir", dir.to_str().unwrap(), "linda", "amir"]);
    let shown = dir.display();
    for line in [
        format!("# kept  {shown}/ca.pem and {shown}/ca.key: the authority, good until "),
        format!("# made  {shown}/linda: node linda, good until "),
        format!("# kept  {shown}/amir: node amir, good until "),
        format!("# {shown}/ca.key goes to no node: "),
    ] {
        assert!(out.contains(&line), "{line} in {out}");
    }
    let section = out.replace("/etc/postroad/cluster", &format!("{shown}/linda"));
    let config = Config::parse(&format!("{}\n{section}", files.minimal()), &[]).unwrap();
    let cluster = config.cluster.unwrap();
    let peers: Vec<_> =
        cluster.peers.iter().map(|peer| (peer.name.as_str(), peer.address.as_str())).collect();
    assert_eq!(peers, [("amir", "amir:50052"), ("linda", "linda:50052")]);
    assert_eq!(crate::tls::cluster_faults((&cluster).into(), "linda", crate::clock::now()), []);
}

#[test]
fn a_folder_of_no_use_is_one_line_that_names_it() {
    let files = Files::new();
    let file = files.path("secrets");
    let (status, out, err) = postroad(&["cluster", "certificates", "--dir", file.to_str().unwrap(), "amir"]);
    assert_eq!((status, out.as_str(), err.lines().count()), (1, "", 1));
    assert!(err.starts_with(&format!("postroad: {}: ", file.display())), "{err}");
}

#[test]
fn check_looks_outside_and_fails_with_one_line() {
    let files = Files::new();
    // Nobody listens on port 1 of loopback: every look-up fails at once.
    let lines = "dns.servers = ['127.0.0.1:1']\nlimits.min_free_octets = 0\nsmtp.listen = ['127.0.0.1:0']\n\
                 http.listen = '127.0.0.1:0'\nadmin.listen = '127.0.0.1:0'";
    files.write("good.toml", &files.with(lines));
    let (status, out, err) = postroad(&["check", "--config", files.path("good.toml").to_str().unwrap()]);
    assert_eq!(status, 1, "{out}{err}");
    assert!(out.starts_with("ok    config "), "{out}");
    for line in ["ok    files  ", "ok    data   ", "ok    listen smtp.listen 127.0.0.1:0 can be listened on"]
    {
        assert!(out.contains(line), "{out}");
    }
    assert!(
        out.contains("FAIL  dns    service.domain: ") && out.contains("FAIL  dkim   2022._domainkey"),
        "{out}"
    );
    assert!(err.starts_with("postroad: ") && err.ends_with(" checks failed\n") && err.lines().count() == 1);
}
