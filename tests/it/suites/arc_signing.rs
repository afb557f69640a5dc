//! The ARC signing suite, through a node. Its expected signatures are over a header list and a tag order of its own,
//! and its results are those of the message's Authentication-Results fields, which a node that verifies for itself does
//! not believe; so what is held against it here is whether a set is added, its instance and its chain validation
//! status, and that the whole chain then verifies by a verifier that shares no code with our sealer. That the sealer's
//! canonical octets are the suite's to the letter is proved beside it (`pipeline::rewrite`).

use std::collections::BTreeMap;

use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator};
use serde::Deserialize;

use super::internet::{Internet, Letter, Mode, fields, publish_keys, wire};
use super::{Tally, suite};

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
    /// The seal to be put on; empty for none.
    #[serde(rename = "AS")]
    seal: String,
}

#[tokio::test]
async fn rfc8617_5_1_every_message_of_the_signing_suite_is_sealed_as_it_must_be() {
    let Some(sections) = suite::<Section>("arc-signing.yml") else { return };
    let mut tally = Tally::new("ARC signing cases through a node");
    for section in &sections {
        let internet = Internet::start(Mode::Monitor).await;
        publish_keys(&internet.world.dns, &section.keys);
        for (name, case) in &section.tests {
            tally.count(name, judge(&internet, case).await);
        }
    }
    tally.close(17);
}

async fn judge(internet: &Internet, case: &Case) -> Result<(), String> {
    let octets = wire(&case.message);
    let outcome = internet.send(&Letter { octets: &octets, ..Letter::ordinary() }).await;
    let Some(arrived) = &outcome.arrived else { return Err(format!("heard {}", outcome.reply.text())) };
    let (before, after) = (fields(&octets, "ARC-Seal"), outcome.fields("ARC-Seal"));
    if case.seal.is_empty() {
        return if before == after { Ok(()) } else { Err(format!("a seal was added: {}", after[0])) };
    }
    let added = after.len() == before.len() + 1 && tag(&after[0], "d") == Some("email.relay.example");
    let expected = (tag(&case.seal, "i"), tag(&case.seal, "cv"));
    let found = (tag(&after[0], "i"), tag(&after[0], "cv"));
    if !added || found != expected {
        return Err(format!("{expected:?} is right, found {found:?} in {after:?}"));
    }
    let verdict = verify(internet, arrived).await;
    let right = if expected.1 == Some("fail") { "fail" } else { "pass" };
    if verdict == right {
        Ok(())
    } else {
        Err(format!("the chain is {verdict}:\n{}", String::from_utf8_lossy(arrived)))
    }
}

/// A tag's value.
fn tag<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    list.split(';').find_map(|tag| tag.trim().strip_prefix(name)?.strip_prefix('='))
}

/// The chain as mail-auth sees it.
async fn verify(internet: &Internet, message: &[u8]) -> &'static str {
    let server = internet.world.dns.addr();
    let mut name_server = NameServerConfig::udp_and_tcp(server.ip());
    for connection in &mut name_server.connections {
        connection.port = server.port();
    }
    let servers = ResolverConfig::from_parts(None, Vec::new(), vec![name_server]);
    let authenticator = MessageAuthenticator::new(servers, ResolverOpts::default()).unwrap();
    let message = AuthenticatedMessage::parse(message).unwrap();
    match authenticator.verify_arc(&message).await.result() {
        DkimResult::Pass => "pass",
        DkimResult::None => "none",
        DkimResult::TempError(_) => "temperror",
        DkimResult::Neutral(_) | DkimResult::Fail(_) | DkimResult::PermError(_) => "fail",
    }
}
