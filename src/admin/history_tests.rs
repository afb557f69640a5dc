//! The history of the table and the way back, through the client's own code.

use super::*;

/// The revisions by their numbers, and what made them.
fn listed(history: &Value) -> Vec<(&str, &str)> {
    let revisions = history["revisions"].as_array().unwrap().iter();
    revisions.map(|one| (one["revision"].as_str().unwrap(), one["description"].as_str().unwrap())).collect()
}

async fn refused(world: &World, arguments: &str) -> String {
    let (status, out, err) = world.ctl(arguments).await;
    assert_eq!((status, &*out), (1, ""), "{arguments}: {err}");
    err.strip_prefix("postroadctl: ").unwrap().trim_end().to_owned()
}

#[tokio::test]
async fn history_lists_the_newest_first_and_who_made_each_from_where() {
    let world = World::start().await;
    assert_eq!(world.json("history").await, json!({"revisions": []}));
    world.json("domain add example.com").await;
    world.json("rule add example.com --to info --forward ana@dest.example").await;
    world.json("queue suspend dest.example").await;
    let history = world.json("history").await;
    assert_eq!(
        listed(&history),
        [
            ("3", "queue suspend dest.example"),
            ("2", "rule add example.com info -> ana@dest.example"),
            ("1", "domain add example.com"),
        ]
    );
    let first = &history["revisions"][2];
    assert_eq!((&first["name"], &first["actor"]), (&json!("revisions/1"), &json!("loopback")));
    assert_eq!(first["address"], "127.0.0.1");
    assert!(first["createTime"].as_str().unwrap().ends_with('Z'));
    assert_eq!(listed(&world.json("history --limit 1").await), [("3", "queue suspend dest.example")]);
    let (_, out, _) = world.ctl("history").await;
    let heads: Vec<&str> = out.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heads, ["REVISION", "TIME", "BY", "FROM", "CHANGE"]);
}

#[tokio::test]
async fn history_follows_its_pages() {
    let world = World::start().await;
    for number in 0..1203 {
        let name = Domain::parse(&format!("d{number}.example")).unwrap();
        world.services.routing.change(Change::CreateDomain(NewDomain::new(name))).await.unwrap();
    }
    let history = world.json("history").await;
    let numbers: Vec<u64> = listed(&history).iter().map(|(number, _)| number.parse().unwrap()).collect();
    assert_eq!(numbers, (1..=1203).rev().collect::<Vec<_>>());
    assert_eq!(history["revisions"][0]["actor"], "");
    assert_eq!(world.json("history --limit 1100").await["revisions"].as_array().unwrap().len(), 1100);
}

#[tokio::test]
async fn a_rollback_says_what_it_does_and_brings_back_the_same_rule() {
    let world = World::start().await;
    world.json("domain add example.com").await;
    let rule = world.json("rule add example.com --to info --drop").await;
    world.json("domain remove example.com").await;
    world.json("domain add new.example").await;
    let (status, out, err) = world.ctl("history rollback 2 --dry-run").await;
    let wanted = "+ domains/example.com\n- domains/new.example\n+ info@example.com: drop\n";
    assert_eq!((status, out.as_str()), (0, wanted), "{err}");
    let said = "2 added, 0 changed, 1 removed (dry run: nothing was done)\n\
                the routing table is at revision 4\n";
    assert_eq!(err, said);
    let (status, out, err) = world.ctl("history rollback 2 --etag 4").await;
    assert_eq!((status, out.as_str()), (0, wanted), "{err}");
    assert_eq!(err, "2 added, 0 changed, 1 removed\nthe routing table is at revision 5\n");
    let restored = world.json(&format!("rule show {}", rule["id"].as_str().unwrap())).await;
    assert_eq!((&restored["createTime"], &restored["etag"]), (&rule["createTime"], &json!("5")));
    assert_eq!(listed(&world.json("history --limit 1").await), [("5", "history rollback 2")]);
    // Where it is there already, there is nothing to do, and no revision of that.
    let nothing = json!({"changes": [], "revision": "5", "dryRun": false, "repeated": false});
    assert_eq!(world.json("history rollback 2").await, nothing);
    // And back again.
    let back = world.json("history rollback 4").await;
    assert_eq!((&back["revision"], back["changes"].as_array().unwrap().len()), (&json!("6"), 3));
    assert_eq!(world.json("domain list").await["domains"][0]["name"], "domains/new.example");
}

#[tokio::test]
async fn a_rollback_is_refused_where_the_table_moved_and_beyond_what_there_is() {
    let world = World::start().await;
    world.json("domain add example.com").await;
    world.json("domain add new.example").await;
    for dry in ["", " --dry-run"] {
        assert_eq!(
            refused(&world, &format!("history rollback 1 --etag 1{dry}")).await,
            "the routing table has changed: its etag is 2, not 1 (ETAG_MISMATCH)"
        );
        let said = refused(&world, &format!("history rollback 3{dry}")).await;
        assert_eq!(said, "revision 3 is not there yet: the routing table is at 2 (REVISION_NOT_FOUND)");
    }
    assert_eq!(world.json("history").await["revisions"].as_array().unwrap().len(), 2);
    assert_eq!(world.ctl("history rollback").await.0, 2);
    assert_eq!(world.ctl("history rollback first").await.0, 2);
    assert_eq!(world.ctl("history --limit 1 rollback 1").await.0, 2);
}

#[tokio::test]
async fn a_viewer_reads_the_history_and_an_admin_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let tokens = file(
        "tokens",
        "v-token-0123456789 viewer\no-token-0123456789 operator\na-token-0123456789 admin ana\n",
    );
    let [viewer, operator, admin] =
        ["v", "o", "a"].map(|name| file(name, &format!("{name}-token-0123456789")));
    let admin_listener = config::Admin { token_file: Some(tokens), ..config() };
    let world = World::with(tempfile::tempdir().unwrap(), admin_listener).await;
    let run = async |token: &Path, arguments: &str| {
        world.ctl(&format!("--token-file {} --output json {arguments}", token.display())).await
    };
    assert_eq!(run(&admin, "domain add example.com").await.0, 0);
    assert_eq!(run(&operator, "destination add ana@dest.example").await.0, 0);
    let (status, out, _) = run(&viewer, "history").await;
    assert_eq!(status, 0);
    let history: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(history["revisions"][1]["actor"], "ana");
    assert!(history["revisions"][0]["actor"].as_str().unwrap().starts_with("token:"));
    let (status, _, err) = run(&operator, "history rollback 1").await;
    assert!(status == 1 && err.contains("needs the role admin"), "{err}");
    assert_eq!(run(&admin, "history rollback 1").await.0, 0);
}
