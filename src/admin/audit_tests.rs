//! The audit log: a line for each call that may change something.

use super::test_log::Log;
use super::*;

/// The audit lines, once there are so many: a call leaves its own when its answer is sent.
async fn audited(log: &Log, count: usize) -> Vec<String> {
    for _ in 0..500 {
        let lines = log.lines("postroad::audit");
        if lines.len() >= count {
            return lines;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", log.lines(""));
}

/// Whether the line has all of these.
fn says(line: &str, wanted: &[&str]) {
    for word in wanted {
        assert!(line.contains(word), "no {word} in {line}");
    }
}

#[tokio::test]
async fn each_write_leaves_a_line_whether_it_was_done_or_refused_and_no_read_does() {
    let log = Log::default();
    let _logged = log.taken();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let tokens = file("tokens", "v-token-0123456789 viewer\na-token-0123456789 admin ana\n");
    let [viewer, admin, stranger] =
        ["v", "a", "n"].map(|name| file(name, &format!("{name}-token-0123456789")));
    let listener = config::Admin { token_file: Some(tokens), ..config() };
    let world = World::with(tempfile::tempdir().unwrap(), listener).await;
    let run = async |token: &Path, arguments: &str| {
        world.ctl(&format!("--token-file {} {arguments}", token.display())).await.0
    };
    assert_eq!(run(&admin, "domain add example.com").await, 0);
    assert_eq!(run(&admin, "domain list").await, 0);
    assert_eq!(run(&admin, "domain add example.com").await, 1);
    assert_eq!(run(&viewer, "domain remove example.com").await, 1);
    assert_eq!(run(&stranger, "domain remove example.com").await, 1);
    assert_eq!(run(&admin, "history rollback 0 --dry-run").await, 0);
    assert_eq!(run(&admin, "domain remove example.com").await, 0);
    assert_eq!(run(&admin, "destination add ana@dest.example --verified").await, 0);
    let lines = audited(&log, 6).await;
    assert_eq!(lines.len(), 6, "{lines:?}");
    let ana = ["INFO", "actor=\"ana\"", "role=\"admin\"", "from=127.0.0.1"];
    let done = ["method=\"CreateDomain\"", "name=\"domains/example.com\"", "code=\"OK\"", "revision=1"];
    says(&lines[0], &[&ana[..], &done].concat());
    says(&lines[1], &["name=\"domains/example.com\"", "code=\"AlreadyExists\"", "reason=\"DOMAIN_EXISTS\""]);
    assert!(!lines[1].contains("revision="), "{}", lines[1]);
    says(
        &lines[2],
        &["actor=\"token:", "role=\"viewer\"", "method=\"DeleteDomain\"", "code=\"PermissionDenied\""],
    );
    says(&lines[3], &["method=\"RollBack\"", "name=\"revisions/0 (dry run)\"", "code=\"OK\""]);
    assert!(!lines[3].contains("revision="), "{}", lines[3]);
    says(&lines[4], &["method=\"DeleteDomain\"", "code=\"OK\"", "revision=2"]);
    says(&lines[5], &["method=\"CreateDestination\"", "name=\"destinations/01", "revision=3"]);
    let all = log.lines("").join("\n");
    assert!(!all.contains("ana@dest.example") && !all.contains("token-0123456789"), "{all}");
}
