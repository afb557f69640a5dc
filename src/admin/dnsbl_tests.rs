//! Networks that operators block and allow, through the client's own code.

use std::time::{Duration, SystemTime};

use super::*;
use crate::dev::dns::DnsServer;
use crate::proto::admin::v1::dnsbl_service_client::DnsblServiceClient;
use crate::proto::admin::v1::{BlockNetworkRequest, ListListingsRequest, RemoveListingRequest};

/// Blocks without a reason, until then.
fn block(network: &str, until: Option<SystemTime>) -> Change {
    Change::Block { network: network.parse().unwrap(), until, reason: String::new() }
}

fn networks(list: &Value) -> Vec<&str> {
    list["listings"].as_array().unwrap().iter().map(|one| one["network"].as_str().unwrap()).collect()
}

async fn refused(world: &World, arguments: &str) -> String {
    let (status, out, err) = world.ctl(arguments).await;
    assert_eq!((status, &*out), (1, ""), "{arguments}: {err}");
    err.strip_prefix("postroadctl: ").unwrap().trim_end().to_owned()
}

#[tokio::test]
async fn a_network_is_blocked_listed_and_taken_back() {
    let world = World::start().await;
    let server = format!("http://{}", world.address);
    let words =
        ["--output", "json", "dnsbl", "block", "192.0.2.0/24", "--for", "1h", "--reason", "sends spam"];
    let (status, out, _) = world.ctl_at(&server, words).await;
    let blocked: Value = serde_json::from_str(&out).unwrap();
    let wanted = json!({
        "name": "listings/192.0.2.0-24", "network": "192.0.2.0/24", "access": "BLOCKED", "reason": "sends spam",
        "createTime": "CREATETIME", "expireTime": blocked["expireTime"], "etag": "ETAG",
    });
    assert_eq!((status, stable(blocked.clone())), (0, wanted));
    let time = |key: &str| humantime::parse_rfc3339(blocked[key].as_str().unwrap()).unwrap();
    let length = time("expireTime").duration_since(time("createTime")).unwrap();
    assert!((3599..=3600).contains(&length.as_secs()), "{length:?}");

    let allowed = world.json("dnsbl allow 192.0.2.7").await;
    assert_eq!((&allowed["access"], &allowed["expireTime"]), (&json!("ALLOWED"), &Value::Null));
    let list = world.json("dnsbl list").await;
    assert_eq!(list, json!({"listings": [blocked, allowed]}));
    let (_, out, _) = world.ctl("dnsbl list").await;
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NETWORK", "ACCESS", "SINCE", "UNTIL", "REASON"]);
    assert_eq!((lines[1][..2].concat(), lines[2][0]), ("192.0.2.0/24blocked".to_owned(), "192.0.2.7/32"));

    let (status, out, err) = world.ctl("dnsbl remove 192.0.2.7").await;
    assert_eq!((status, &*out, &*err), (0, "", "listings/192.0.2.7 removed\n"));
    assert_eq!(world.json("dnsbl remove listings/192.0.2.0-24").await, json!({}));
    assert_eq!(world.json("dnsbl list").await, json!({"listings": []}));
    let line = "network 192.0.2.0/24 is neither blocked nor allowed (LISTING_NOT_FOUND)";
    assert_eq!(refused(&world, "dnsbl remove 192.0.2.0/24").await, line);
}

#[tokio::test]
async fn every_network_is_known_by_its_name_and_as_it_is_written() {
    let world = World::start().await;
    for (written, network, name) in [
        ("192.0.2.7", "192.0.2.7/32", "listings/192.0.2.7-32"),
        ("::ffff:192.0.2.8", "192.0.2.8/32", "listings/192.0.2.8-32"),
        ("0.0.0.0/0", "0.0.0.0/0", "listings/0.0.0.0-0"),
        ("2001:DB8::/32", "2001:db8::/32", "listings/2001-db8---32"),
        ("2001:db8::1", "2001:db8::1/128", "listings/2001-db8--1-128"),
        ("::/0", "::/0", "listings/---0"),
        ("::1", "::1/128", "listings/--1-128"),
        ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8/128", "listings/1-2-3-4-5-6-7-8-128"),
    ] {
        for given in [written, network, name] {
            let listing = world.json(&format!("dnsbl block {written}")).await;
            assert_eq!((&listing["network"], &listing["name"]), (&json!(network), &json!(name)));
            assert_eq!(world.json(&format!("dnsbl remove {given}")).await, json!({}), "{given}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_blocked_is_refused_with_what_is_wrong() {
    let world = World::start().await;
    let for_times = "duration: is not between nothing and 10 years (INVALID_FIELD)";
    let not_a_network =
        "network: \"mx.example\" is neither an IP address nor a network such as 192.0.2.0/24 (INVALID_FIELD)";
    for (arguments, line) in [
        ("dnsbl block 192.0.2.7/24", "network 192.0.2.7/24 is written 192.0.2.0/24 (NETWORK_INVALID)"),
        (
            "dnsbl allow ::ffff:192.0.2.0/120",
            "network ::ffff:192.0.2.0/120 is written 192.0.2.0/24 (NETWORK_INVALID)",
        ),
        ("dnsbl remove 192.0.2.7/24", "network 192.0.2.7/24 is written 192.0.2.0/24 (NETWORK_INVALID)"),
        ("dnsbl block mx.example", not_a_network),
        ("dnsbl block 192.0.2.7 --for 10years1s", for_times),
        ("dnsbl block 192.0.2.7 --for 0s", for_times),
        ("dnsbl remove x", "name: \"listings/x\" is not of the form listings/NETWORK (INVALID_FIELD)"),
        ("dnsbl check mx.example", "address: is not an IP address (INVALID_FIELD)"),
    ] {
        assert_eq!(refused(&world, arguments).await, line, "{arguments}");
    }
    let reason = format!("dnsbl block 192.0.2.7 --reason {}", "x".repeat(201));
    assert!(refused(&world, &reason).await.ends_with("(REASON_INVALID)"));
    for arguments in ["dnsbl block", "dnsbl block 192.0.2.7 --for ever", "dnsbl check", "dnsbl"] {
        assert_eq!(world.ctl(arguments).await.0, 2, "{arguments}");
    }
    assert_eq!(world.json("dnsbl list").await, json!({"listings": []}));
    world.json("dnsbl block 192.0.2.7 --for 10years").await;
    let mut client = DnsblServiceClient::new(world.channel().await);
    let duration = Some(pbjson_types::Duration { seconds: i64::MAX, nanos: -1 });
    let request = BlockNetworkRequest { network: "192.0.2.8".to_owned(), duration, ..Default::default() };
    assert_eq!(client.block_network(request).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn listings_are_paged_by_network_without_those_that_are_over() {
    let world = World::start().await;
    let over = crate::clock::now() - Duration::from_secs(60);
    let many = (0..1100_u32).map(|at| block(&format!("{}/32", std::net::Ipv4Addr::from(at)), None));
    let others = ["2001:db8::/32", "10.0.0.1/32"].map(|network| block(network, None));
    world.services.routing.change(Change::Batch(many.chain(others).collect())).await.unwrap();
    // The last: another change would take away what is over.
    world.services.routing.change(block("10.0.0.0/8", Some(over))).await.unwrap();
    assert_eq!(world.services.routing.snapshot().listing_count(), 1103);
    let list = world.json("dnsbl list").await;
    let listed = networks(&list);
    assert_eq!(listed.len(), 1102);
    assert_eq!(listed[..2], ["0.0.0.0/32", "0.0.0.1/32"]);
    assert_eq!(listed[1100..], ["10.0.0.1/32", "2001:db8::/32"]);

    let mut client = DnsblServiceClient::new(world.channel().await);
    let request = |page_token: &str| ListListingsRequest { page_size: 1, page_token: page_token.to_owned() };
    let page = client.list_listings(request("")).await.unwrap().into_inner();
    world.json("dnsbl remove 0.0.0.0").await;
    let page = client.list_listings(request(&page.next_page_token)).await.unwrap().into_inner();
    assert_eq!(page.listings[0].network, "0.0.0.1/32");
    assert_eq!(client.list_listings(request("00")).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_listing_that_somebody_wrote_anew_is_not_removed_by_the_etag_of_before() {
    let world = World::start().await;
    let before = world.json("dnsbl block 192.0.2.0/24").await["etag"].as_str().unwrap().to_owned();
    let now = world.json("dnsbl allow 192.0.2.0/24").await["etag"].as_str().unwrap().to_owned();
    let mut client = DnsblServiceClient::new(world.channel().await);
    let remove = |etag: &str| RemoveListingRequest {
        name: "listings/192.0.2.0-24".to_owned(),
        etag: etag.to_owned(),
        ..Default::default()
    };
    let status = client.remove_listing(remove(&before)).await.unwrap_err();
    assert_eq!(
        (status.code(), &*status.get_details_error_info().unwrap().reason),
        (Code::Aborted, "ETAG_MISMATCH")
    );
    client.remove_listing(remove(&now)).await.unwrap();
}

#[tokio::test]
async fn a_check_says_what_the_operator_and_each_zone_say() {
    let world = World::start().await;
    let good = "2.0.0.127 60 A 127.0.0.2\n66.2.0.192 60 A 127.0.0.4\n66.2.0.192 60 TXT \"sends spam\"\n";
    let zones = [("good.example", good), ("dead.example", "")];
    let server = DnsServer::start(&zones).await.unwrap();
    let blocklist = blocklist(server.addr(), &["good", "dead"], &world.services.metrics);
    world.services.blocklist.store(blocklist.clone());
    let watching = tokio::spawn(blocklist.watch(world.shutdown.clone()));

    let mut found = world.json("dnsbl check ::ffff:192.0.2.66").await;
    let kept = found["zones"][0]["cacheDuration"].take();
    let seconds: u64 = kept.as_str().and_then(|text| text.strip_suffix('s')).unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{kept}");
    let dead = json!({
        "name": "dead", "verdict": "SWITCHED_OFF", "returnCodes": [], "texts": [],
        "detail": "the test point that must be listed is not",
    });
    let listed = json!({
        "name": "good", "verdict": "LISTED", "returnCodes": ["127.0.0.4"], "texts": ["sends spam"],
        "cacheDuration": null, "detail": "",
    });
    assert_eq!(found, json!({"address": "192.0.2.66", "zones": [listed, dead]}));

    world.json("dnsbl block 192.0.2.0/24 --reason spam").await;
    let allowed = world.json("dnsbl allow 192.0.2.66").await;
    assert_eq!(world.json("dnsbl check 192.0.2.66").await["listing"], allowed);
    let (_, out, _) = world.ctl("dnsbl check 192.0.2.67").await;
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(out.starts_with("192.0.2.67: blocked by 192.0.2.0/24: spam\n"), "{out}");
    assert_eq!(lines[1], ["ZONE", "VERDICT", "CODES", "KEPT", "TEXT"]);
    assert_eq!(lines[2][..4], ["good", "not", "listed", "-"]);
    assert!(out.contains("switched off") && out.contains("the test point that must be listed"), "{out}");
    world.json("dnsbl remove 192.0.2.0/24").await;
    let (_, out, _) = world.ctl("dnsbl check 192.0.2.67").await;
    assert!(out.starts_with("192.0.2.67: neither blocked nor allowed by an operator\n"), "{out}");
    world.shutdown.cancel();
    watching.await.unwrap();
}

#[tokio::test]
async fn a_viewer_lists_and_checks_and_an_operator_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let tokens = file("tokens", "v-token-0123456789 viewer\no-token-0123456789 operator\n");
    let (viewer, operator) = (file("v", "v-token-0123456789"), file("o", "o-token-0123456789"));
    let admin = config::Admin { token_file: Some(tokens), ..config() };
    let world = World::with(tempfile::tempdir().unwrap(), admin).await;
    let run = async |token: &Path, arguments: &str| {
        world.ctl(&format!("--token-file {} {arguments}", token.display())).await
    };
    for arguments in ["dnsbl block 192.0.2.7", "dnsbl allow 192.0.2.7", "dnsbl remove 192.0.2.7"] {
        let (status, _, err) = run(&viewer, arguments).await;
        assert!(status == 1 && err.contains("needs the role operator"), "{err}");
        assert_eq!(run(&operator, arguments).await.0, 0, "{arguments}");
    }
    for arguments in ["dnsbl list", "dnsbl check 192.0.2.7"] {
        assert_eq!(run(&viewer, arguments).await.0, 0, "{arguments}");
    }
}
