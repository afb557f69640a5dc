use super::*;
use crate::config::Config;
use crate::config::test_files::Files;

fn errors(text: &str) -> String {
    Config::parse(text, &[]).unwrap_err().to_string()
}

fn peers(list: &str) -> String {
    format!("cluster.peers = [{list}]")
}

/// The lines of the errors, with these beside the mandatory ones.
fn with(files: &Files, lines: &str) -> String {
    let base: toml::Table = files.cluster().parse().unwrap();
    let mut section = base["cluster"].as_table().unwrap().clone();
    let more: toml::Table = files.fill(lines).parse().unwrap();
    section.extend(more["cluster"].as_table().unwrap().clone());
    files.with(&toml::Table::from_iter([("cluster".to_owned(), toml::Value::Table(section))]).to_string())
}

#[test]
fn no_section_is_a_cluster_of_one_and_its_mandatory_keys_are_enough_for_more() {
    let files = Files::new();
    assert_eq!(Config::parse(&files.minimal(), &[]).unwrap().cluster, None);
    let config = Config::parse(&files.with_cluster(""), &[]).unwrap();
    let expected = Cluster {
        listen: "0.0.0.0:50052".parse().unwrap(),
        tls: KeyPairFiles {
            certificate_file: files.path("node.pem"),
            private_key_file: files.path("node.key"),
        },
        ca_file: files.path("ca.pem"),
        peers: vec![Peer { name: "amir".to_owned(), address: PeerAddress("amir.internal:50052".to_owned()) }],
        voters: 3,
        timing: Timing::Lan,
    };
    assert_eq!(config.cluster, Some(expected));
}

#[test]
fn an_empty_section_lists_every_mandatory_key_at_once() {
    let text = errors(&Files::new().with("cluster = {}"));
    let keys: Vec<&str> = text.lines().map(|line| line.split_once(": is mandatory").unwrap().0).collect();
    assert_eq!(
        keys,
        ["cluster.certificate_file", "cluster.private_key_file", "cluster.ca_file", "cluster.peers"]
    );
}

#[test]
fn every_wrong_value_is_named_by_its_path() {
    let files = Files::new();
    let label = "1 to 63 lower-case letters, digits and hyphens, no hyphen first or last, and no number";
    for (lines, expected) in [
        (peers(""), "cluster.peers: names no node; without the section a node is a cluster of its own".to_owned()),
        (
            peers("{ name = 'a', address = 'a:1' }, { name = 'a', address = 'b:1' }"),
            "cluster.peers: the name a is there twice".to_owned(),
        ),
        (
            peers("{ name = 'a', address = 'a:1' }, { name = 'b', address = 'A:1' }"),
            "cluster.peers: the address a:1 is there twice".to_owned(),
        ),
        (
            peers("{ name = 'a.b', address = 'a:1' }, { name = 'Amir', address = 'b:1' }"),
            format!("cluster.peers[0].name: \"a.b\" is not {label}\ncluster.peers[1].name: \"Amir\" is not {label}"),
        ),
        (peers("'amir:1'"), "cluster.peers[0]: must be a table, not a string".to_owned()),
        (
            peers("{ name = 'a' }"),
            "cluster.peers[0].address: is mandatory: Where this node reaches it; a name is resolved at every dial"
                .to_owned(),
        ),
        (
            "cluster.voters = 4".to_owned(),
            "cluster.voters: 4 cannot be (voters, 3 | 5)".to_owned(),
        ),
        ("cluster.voters = '3'".to_owned(), "cluster.voters: must be an integer, not a string".to_owned()),
        ("cluster.timing = 'van'".to_owned(), "cluster.timing: \"van\" is none of lan | wan".to_owned()),
        (
            "cluster.listen = ':1'".to_owned(),
            "cluster.listen: \":1\" is not an address with a port, such as 127.0.0.1:25 or [::1]:25".to_owned(),
        ),
        (
            "cluster.listen = '127.0.0.1:8080'".to_owned(),
            "cluster.listen: 127.0.0.1:8080 is another listener's address already".to_owned(),
        ),
        ("cluster.lsten = 'x'".to_owned(), "cluster.lsten: unknown key, did you mean cluster.listen?".to_owned()),
    ] {
        assert_eq!(errors(&with(&files, &lines)), expected, "{lines}");
    }
}

#[test]
fn files_that_are_not_there_or_of_another_kind_are_told_all_at_once() {
    let files = Files::new();
    let text = errors(&with(
        &files,
        "cluster = { certificate_file = '@node.key', private_key_file = '@node.pem', ca_file = '@none' }",
    ));
    for (line, (key, cause)) in text.lines().zip([
        ("certificate_file", "holds no certificate in PEM"),
        ("private_key_file", "holds no private key in PEM"),
        ("ca_file", "cannot be read: No such file or directory"),
    ]) {
        assert!(line.starts_with(&format!("cluster.{key}: ")) && line.contains(cause), "{line}");
    }
    assert_eq!(text.lines().count(), 3);
}

#[test]
fn more_peers_than_nine_are_refused() {
    let files = Files::new();
    let list = |count: usize| {
        let peers = (0..count).map(|at| format!("{{ name = 'n{at}', address = 'n{at}:1' }}"));
        peers.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(Config::parse(&with(&files, &peers(&list(9))), &[]).unwrap().cluster.unwrap().peers.len(), 9);
    assert_eq!(
        errors(&with(&files, &peers(&list(10)))),
        "cluster.peers: 10 nodes are more than 9: each keeps a link to all others"
    );
}

/// Without a section an older node's name stays good.
#[test]
fn rfc1123_2_1_in_a_cluster_a_nodes_name_is_a_label() {
    let files = Files::new();
    let named = |name: &str, text: String| text.replace("name = \"linda\"", &format!("name = \"{name}\""));
    for name in ["lin_da", "lin.da", "Linda", "-linda", "linda-", "7"] {
        assert!(Config::parse(&named(name, files.with("")), &[]).is_ok(), "{name}");
        let text = errors(&named(name, files.with_cluster("")));
        assert!(text.starts_with(&format!("node.name: \"{name}\" is, in a cluster, not 1 to 63 ")), "{text}");
    }
    for name in ["linda", "a", "7a", "a-7", &"a".repeat(63)] {
        assert!(Config::parse(&named(name, files.with_cluster("")), &[]).is_ok(), "{name}");
    }
}

#[test]
fn this_node_may_be_among_its_peers() {
    let files = Files::new();
    let own = "{ name = 'linda', address = 'linda:50052' }, { name = 'amir', address = 'amir:50052' }";
    assert_eq!(Config::parse(&with(&files, &peers(own)), &[]).unwrap().cluster.unwrap().peers.len(), 2);
}

#[test]
fn addresses_have_one_form() {
    for (text, form) in [
        ("amir.internal:50052", "amir.internal:50052"),
        ("Amir.Internal.:50052", "amir.internal.:50052"),
        ("192.0.2.1:1", "192.0.2.1:1"),
        ("[2001:DB8:0::1]:65535", "[2001:db8::1]:65535"),
    ] {
        assert_eq!(PeerAddress::from_text(text).unwrap().to_string(), form);
    }
    for text in [
        "amir",
        "amir:",
        "amir:0",
        "amir:65536",
        "amir:+1",
        ":1",
        "2001:db8::1",
        "2001:db8::1:50052",
        "[2001:db8::1]",
        "[192.0.2.1]:1",
        "192.0.2:1",
        "0.0.0.0:1",
        "[::]:1",
        "224.0.0.1:1",
        "a b:1",
        "http://amir:1",
        "amir:1/",
        "",
    ] {
        let error = PeerAddress::from_text(text).unwrap_err();
        assert!(error.starts_with(&format!("\"{text}\" is not HOST:PORT, such as ")), "{error}");
    }
}

#[test]
fn a_key_that_everybody_may_read_is_told_and_certificates_are_not() {
    let files = Files::new();
    for name in ["node.key", "node.pem", "ca.pem"] {
        files.permit(name, 0o644);
    }
    let exposed = Config::parse(&files.with_cluster(""), &[]).unwrap().exposed_secrets();
    let keys: Vec<&str> = exposed.iter().map(|exposed| exposed.key.as_str()).collect();
    assert_eq!(keys, ["cluster.private_key_file"]);
}
