//! The ARC validation suite: the node's `arc=` of each message.

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt};
use serde::Deserialize;

use super::internet::{Internet, Letter, Mode, fields, publish_keys, wire};
use super::{Tally, suite};

/// Worlds at a time.
const AT_ONCE: usize = 4;
/// Cases where the suite, made for a draft, is wrong or RFC 8617 leaves it open: what is right, and why.
const CORRECTED: &[(&str, &[&str], &str)] = &[
    (
        "cv_fail_i1_as_cv_fail",
        &["fail"],
        "RFC 8617 §5.2: a newest seal with cv=fail is \"fail\"; the suite says nothing",
    ),
    ("cv_fail_i2_as2_fail", &["fail"], "the same"),
    (
        "cv_fail_i2_as1_fail",
        &["fail"],
        "RFC 8617 §5.2: every seal but the first must say cv=pass, the first cv=none",
    ),
    ("ams_fields_c_na", &["fail"], "RFC 6376 §3.5: no c= is simple/simple, and it is signed as relaxed"),
    ("ams_fields_h_empty", &["fail"], "RFC 6376 §3.5: h= names at least one field, §5.4: From among them"),
    (
        "ams_fields_h_includes_as",
        &["pass", "fail"],
        "RFC 8617 §4.1.2 forbids to sign so, and is silent on what a validator does",
    ),
];

/// Cases that share keys.
#[derive(Deserialize)]
struct Section {
    tests: BTreeMap<String, Case>,
    #[serde(rename = "txt-records")]
    keys: BTreeMap<String, String>,
}

/// One message.
#[derive(Deserialize)]
struct Case {
    message: String,
    cv: Option<String>,
}

#[tokio::test]
async fn rfc8617_5_2_every_chain_of_the_validation_suite_is_judged_right() {
    let Some(sections) = suite::<Section>("arc-validation.yml") else { return };
    let mut tally = Tally::new("ARC validation cases");
    let mut left_out = Vec::new();
    let mut played = stream::iter(&sections).map(play).buffer_unordered(AT_ONCE);
    while let Some(results) = played.next().await {
        for (name, result) in results {
            match result {
                Some(result) => tally.count(name, result),
                None => left_out.push(name),
            }
        }
    }
    println!("ARC validation cases: left out {} (no From field)", left_out.join(", "));
    for (name, _, reason) in CORRECTED {
        println!("ARC validation cases: {name} corrected ({reason})");
    }
    tally.close(169);
}

/// Plays the cases of one section; `None` for a message without author, which is refused before its chain matters
/// (RFC 5322 §3.6).
async fn play(section: &Section) -> Vec<(&str, Option<Result<(), String>>)> {
    let internet = Internet::start(Mode::Monitor).await;
    publish_keys(&internet.world.dns, &section.keys);
    let mut results = Vec::new();
    for (name, case) in &section.tests {
        let octets = wire(&case.message);
        let result = if fields(&octets, "From").is_empty() {
            None
        } else {
            Some(judge(&internet, &right(name, case), &octets).await)
        };
        results.push((name.as_str(), result));
    }
    results
}

/// The results that are right.
fn right(name: &str, case: &Case) -> Vec<String> {
    if let Some((_, results, _)) = CORRECTED.iter().find(|(corrected, ..)| *corrected == name) {
        return results.iter().map(ToString::to_string).collect();
    }
    vec![case.cv.as_deref().unwrap_or_default().to_ascii_lowercase()]
}

async fn judge(internet: &Internet, right: &[String], octets: &[u8]) -> Result<(), String> {
    let outcome = internet.send(&Letter { octets, ..Letter::ordinary() }).await;
    let results = outcome.results();
    let found = results.split("; ").find_map(|method| method.strip_prefix("arc="));
    let found = found.and_then(|text| text.split(' ').next());
    if found.is_some_and(|found| right.iter().any(|right| right == found)) {
        return Ok(());
    }
    Err(format!("{} is right; heard {} | A-R: {results}", right.join(" or "), outcome.reply.text()))
}
