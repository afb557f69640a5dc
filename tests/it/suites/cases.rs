//! Inputs that went wrong once: zone, envelope, message, and a pattern for reply and results.

use std::path::Path;

use fancy_regex::Regex;
use futures_util::stream::{self, StreamExt};
use postroad::dev::dns::{Behaviour, Data, DnsServer};
use serde::Deserialize;
use serde_json::Value;

use super::internet::{Internet, Letter, Mode, Outcome, octets, publish};
use super::{Tally, folder};

/// Worlds at a time.
const AT_ONCE: usize = 8;
/// How many there are at least.
const CASES: usize = 48;

/// One input.
#[derive(Deserialize)]
struct Case {
    zone: Vec<(String, String, Value)>,
    mail_from: String,
    #[serde(default = "a_good_client")]
    client_ip: String,
    #[serde(default = "a_good_name")]
    helo: String,
    #[serde(default)]
    params: String,
    #[serde(default)]
    mode: Option<String>,
    /// The name of the file with the message.
    message: String,
    /// A regular expression for `REPLY | A-R: results`.
    right: String,
}

fn a_good_client() -> String {
    "192.0.2.10".to_owned()
}

fn a_good_name() -> String {
    "out.sender.test".to_owned()
}

/// What every input takes for granted.
const BASE: &str = "\
out.sender.test. A 192.0.2.10
h-192-0-2-10.sender.test. A 192.0.2.10
mx.sender.test. A 192.0.2.10
10.2.0.192.in-addr.arpa. PTR out.sender.test.
10.2.0.192.in-addr.arpa. PTR h-192-0-2-10.sender.test.
sender.test. MX 10 mx.sender.test.
sender.test. TXT \"v=spf1 ip4:192.0.2.10 -all\"
out.sender.test. TXT \"v=spf1 ip4:192.0.2.10 -all\"
_dmarc.sender.test. TXT \"v=DMARC1; p=reject\"
";

#[tokio::test]
async fn what_went_wrong_once_is_right_now() {
    let Some(folder) = folder("POSTROAD_CASES") else { return };
    let folder = folder.join("authentication");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    let mut tally = Tally::new("authentication cases");
    let mut played = stream::iter(&files).map(|file| play(file)).buffer_unordered(AT_ONCE);
    while let Some((name, result)) = played.next().await {
        tally.count(&name, result);
    }
    tally.close(CASES);
}

/// Plays one input in a world of its own, since their zones give names different records.
async fn play(file: &Path) -> (String, Result<(), String>) {
    let name = file.file_stem().unwrap().to_string_lossy().into_owned();
    let case: Case = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mode = match case.mode.as_deref() {
        Some("enforce") => Mode::Enforce,
        Some("monitor") | None => Mode::Monitor,
        Some(other) => panic!("{name}: mode {other}"),
    };
    let internet = Internet::start(mode).await;
    internet.world.dns.replace(BASE).unwrap();
    for (owner, kind, value) in &case.zone {
        add(&internet.world.dns, owner, kind, value);
    }
    let letter = Letter {
        client_ip: case.client_ip.parse().unwrap(),
        helo: &case.helo,
        reverse_path: &case.mail_from,
        parameters: &case.params,
        octets: &std::fs::read(file.with_file_name(&case.message)).unwrap(),
    };
    let heard = shown(&internet.send(&letter).await);
    let right = Regex::new(&case.right).unwrap().is_match(&heard).unwrap();
    (name, if right { Ok(()) } else { Err(format!("not {}: {heard}", case.right)) })
}

/// What a pattern is held against.
fn shown(outcome: &Outcome) -> String {
    format!("{} | A-R: {}", outcome.reply.text().replace('\n', " "), outcome.results())
}

fn add(dns: &DnsServer, owner: &str, kind: &str, value: &Value) {
    let text = || octets(value.as_str().unwrap());
    match (kind, value.as_str()) {
        (_, Some("SERVFAIL!")) => dns.behave_for(owner, kind, Behaviour::ServFail).unwrap(),
        ("A", Some(address)) => publish(dns, owner, &Data::A(address.parse().unwrap())),
        ("AAAA", Some(address)) => publish(dns, owner, &Data::Aaaa(address.parse().unwrap())),
        ("PTR", Some(_)) => publish(dns, owner, &Data::Ptr(&text())),
        ("TXT", Some(_)) => publish(dns, owner, &Data::Txt(&[&text()])),
        ("MX", None) => {
            let (preference, exchange): (u16, String) = serde_json::from_value(value.clone()).unwrap();
            publish(dns, owner, &Data::Mx(preference, exchange.as_bytes()));
        }
        _ => panic!("{owner} {kind} {value}"),
    }
}
