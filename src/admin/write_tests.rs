//! Writes that are repeated under their ids (AIP-155), through the client's own code, and over connections that are lost.

use tokio::io::{copy, copy_bidirectional, sink};
use tokio::net::TcpStream;

use super::*;

fn revision(world: &World) -> u64 {
    world.services.routing.snapshot().revision()
}

/// Each is still answered when what it was about has gone.
#[tokio::test]
async fn a_repeat_is_answered_as_the_first_and_changes_nothing() {
    let world = World::start().await;
    let commands = [
        "domain add example.com",
        "domain set example.com --on-tempfail queue",
        "destination add ana@dest.example",
        "destination add ana@dest.example --verified",
        "destination add bob@dest.example",
        "destination remove bob@dest.example",
        "rule add example.com --to info --drop",
        "dnsbl block 192.0.2.0/24 --for 1h --reason spam",
        "dnsbl allow 192.0.2.0/24 --for 1h",
        "dnsbl remove 192.0.2.0/24",
        "queue suspend dest.example --for 1h",
        "queue resume dest.example",
        "domain remove example.com",
    ];
    let mut answers = Vec::new();
    for (number, command) in commands.iter().enumerate() {
        answers.push(world.json(&format!("{command} --request-id r{number}")).await);
    }
    let made = revision(&world);
    assert_eq!(made, commands.len() as u64);
    for (number, command) in commands.iter().enumerate() {
        let repeated = world.json(&format!("{command} --request-id r{number}")).await;
        // Whether a rule is used is said of now.
        let state =
            if command.starts_with("rule") { json!("DISABLED") } else { answers[number]["state"].clone() };
        if state != Value::Null {
            answers[number]["state"] = state;
        }
        assert_eq!(repeated, answers[number], "{command}");
    }
    assert_eq!(revision(&world), made);
}

#[tokio::test]
async fn rules_by_their_ids_rollbacks_and_documents_are_repeated_too() {
    let world = World::start().await;
    world.json("domain add example.com").await;
    let rule = world.json("rule add example.com --to info --drop").await["id"].as_str().unwrap().to_owned();
    let file = world.dir.path().join("routing.yaml");
    std::fs::write(&file, "domains:\n  - name: new.example\n").unwrap();
    let commands = [
        format!("rule set {rule} --priority 3"),
        format!("rule remove {rule}"),
        "history rollback 2".to_owned(),
        format!("apply --file {}", file.display()),
    ];
    for (number, command) in commands.iter().enumerate() {
        let first = world.json(&format!("{command} --request-id r{number}")).await;
        assert_ne!(first.get("repeated"), Some(&json!(true)), "{first}");
    }
    assert_eq!(revision(&world), 6);
    for (number, command) in commands.iter().enumerate() {
        let repeated = world.json(&format!("{command} --request-id r{number}")).await;
        assert_eq!(repeated.get("repeated"), (number >= 2).then_some(&json!(true)), "{repeated}");
    }
    let (status, out, err) = world.ctl("history rollback 2 --request-id r2").await;
    let said = "it was done when it was asked first, and is not done again\n";
    assert_eq!((status, &*out, &*err), (0, "", said));
    assert_eq!(revision(&world), 6);
}

#[tokio::test]
async fn an_id_is_for_one_request() {
    let world = World::start().await;
    world.json("dnsbl block 192.0.2.0/24 --for 1h --request-id r").await;
    for other in [
        "dnsbl block 192.0.2.0/24 --for 2h",
        "dnsbl allow 192.0.2.0/24 --for 1h",
        "dnsbl remove 192.0.2.0/24",
        "domain remove gone.example",
        "queue resume dest.example",
    ] {
        let (status, out, err) = world.ctl(&format!("{other} --request-id r")).await;
        assert_eq!((status, &*out), (1, ""), "{other}");
        let said =
            "postroadctl: request id \"r\" was given to another change within the hour (REQUEST_ID_REUSED)\n";
        assert_eq!(err, said);
    }
    assert_eq!(revision(&world), 1);
}

#[tokio::test]
async fn an_id_is_short_and_printable() {
    let world = World::start().await;
    let mut client = DomainServiceClient::new(world.channel().await);
    let create = |id: &str| CreateDomainRequest {
        domain: Some(wire::Domain { name: "domains/example.com".to_owned(), ..wire::Domain::default() }),
        request_id: id.to_owned(),
    };
    let status = client.create_domain(create(&"x".repeat(65))).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.get_details_error_info().unwrap().reason, "REQUEST_ID_INVALID");
    let long = format!("domain add example.com --request-id {}", "x".repeat(65));
    let (status, _, err) = world.ctl(&long).await;
    assert_eq!(status, 2, "{err}");
    client.create_domain(create(&"x".repeat(64))).await.unwrap();
}

/// Or it would fill the history: postroadctl gives each write an id.
#[tokio::test]
async fn what_is_refused_or_changes_nothing_leaves_nothing_and_its_id_may_be_used() {
    let world = World::start().await;
    world.json("domain add example.com").await;
    world.json("domain enable example.com --request-id r").await;
    assert_eq!(world.ctl("domain enable none.example --request-id r").await.0, 1);
    assert_eq!(world.ctl("domain add example.com --request-id r").await.0, 1);
    assert_eq!(world.json("history").await["revisions"].as_array().unwrap().len(), 1);
    world.json("domain disable example.com --request-id r").await;
    assert_eq!(revision(&world), 2);
}

/// Stands before a node, and loses the first connections when the table is at revision 1, with all that the node says on them.
async fn lossy(world: &World, lost: usize) -> String {
    let (routing, node) = (world.services.routing.clone(), world.address);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = TcpStream::connect(node).await.unwrap();
            let routing = routing.clone();
            tokio::spawn(async move {
                if number >= lost {
                    return drop(copy_bidirectional(&mut client, &mut server).await);
                }
                let (mut asked, _) = client.split();
                let (mut told, mut node) = server.split();
                let done = async {
                    while routing.snapshot().revision() == 0 {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                };
                let mut nowhere = sink();
                tokio::select! {
                    _ = copy(&mut asked, &mut node) => {}
                    _ = copy(&mut told, &mut nowhere) => {}
                    () = done => {}
                }
            });
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn a_write_whose_connection_is_lost_is_made_once() {
    let world = World::start().await;
    let server = lossy(&world, 1).await;
    let (status, out, err) = world.ctl_at(&server, ["domain", "add", "example.com"]).await;
    assert_eq!((status, out.contains("example.com")), (0, true), "{err}");
    assert_eq!(revision(&world), 1);
}

#[tokio::test]
async fn a_write_that_was_not_answered_says_how_to_repeat_it() {
    let world = World::start().await;
    let server = lossy(&world, usize::MAX).await;
    let (status, out, err) = world.ctl_at(&server, ["domain", "add", "example.com"]).await;
    assert_eq!((status, &*out), (1, ""));
    let (_, option) = err.trim_end().split_once("; it may have been done: repeat the command with ").unwrap();
    let repeated = world.json(&format!("domain add example.com {option}")).await;
    assert_eq!(repeated["name"], "domains/example.com");
    assert_eq!(revision(&world), 1);
    // What is no change of the table leaves nothing to be repeated.
    for other in ["queue retry --all", "history rollback 0 --dry-run"] {
        let (status, _, err) = world.ctl_at(&server, other.split(' ')).await;
        assert_eq!((status, err.contains("--request-id")), (1, false), "{err}");
    }
}

#[tokio::test]
async fn a_write_that_reached_nobody_is_in_no_doubt() {
    let world = World::start().await;
    let (status, _, err) = world.ctl_at("http://127.0.0.1:1", ["domain", "add", "example.com"]).await;
    assert_eq!((status, err.contains("--request-id")), (1, false), "{err}");
}
