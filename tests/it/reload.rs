//! What a running node makes of a changed file: all of it or nothing, and it says which.

use std::path::PathBuf;
use std::time::Duration;

use postroad::dev::dns::DnsServer;
use postroad::telemetry::free_octets;
use rcgen::{CertificateParams, KeyPair};
use tokio::time::{Instant, sleep};

use crate::support::{ALICE, Act, LIMIT, LISTED, Stage, World, letter};

const TAKEN: &str = "postroad_config_last_reload_successful 1";
const REFUSED: &str = "postroad_config_last_reload_successful 0";
const RESTART_REQUIRED: &str = "postroad_config_restart_required 1";
const INFO: &[&str] = &["info@ours.example"];
const ONE: &str = "0123456789abcdef-one";
const TWO: &str = "0123456789abcdef-two";

/// Waits until /metrics has the line.
async fn until_metric(world: &World, line: &str) {
    let end = Instant::now() + LIMIT;
    while !world.metrics().await.lines().any(|other| other == line) {
        assert!(Instant::now() < end, "not within {LIMIT:?}: {line}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the call's answer is as wanted.
async fn until_answer(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !ask().await {
        assert!(Instant::now() < end, "not within {LIMIT:?}: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Writes a new self-signed pair that ends in this year; the certificate's file.
fn write_pair(world: &World, name: &str, year: i32) -> PathBuf {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    world.write(&format!("{name}.key"), &key.serialize_pem());
    world.write(&format!("{name}.pem"), &params.self_signed(&key).unwrap().pem())
}

fn ends_at_start_of(year: i32) -> &'static str {
    match year {
        2040 => "2.2089888e+09",
        _ => "2.2406112e+09",
    }
}

async fn until_certificate(world: &World, usage: &str, year: i32) {
    let line = format!("postroad_tls_certificate_not_after_timestamp_seconds{{use=\"{usage}\"}} ");
    let end = ends_at_start_of(year).parse::<f64>().unwrap();
    until_answer("the new certificate", async || {
        let metrics = world.metrics().await;
        let value = metrics.lines().find_map(|other| other.strip_prefix(line.as_str()));
        value.is_some_and(|value| value.parse::<f64>().unwrap() == end)
    })
    .await;
}

async fn says_starttls(world: &World) -> bool {
    let mut client = world.raw().await;
    client.expect("220").await;
    client.exchange("EHLO x.example").await.text().contains("STARTTLS")
}

#[tokio::test]
async fn a_key_that_needs_a_restart_is_told_and_the_others_are_taken() {
    let world = World::following().await;
    until_metric(&world, "postroad_config_restart_required 0").await;
    world.edit("[http]\nlisten = \"127.0.0.1:0\"", "[http]\nlisten = \"127.0.0.1:1\"");
    world.edit("min_free_octets", "recipients = 7\nmin_free_octets");
    until_metric(&world, RESTART_REQUIRED).await;
    until_metric(&world, TAKEN).await;
    world.raw().await.expect("220").await;
    let mut client = world.raw().await;
    client.expect("220").await;
    client.command("EHLO x.example", "250").await.contains("RCPTMAX=7");
    world.edit("[http]\nlisten = \"127.0.0.1:1\"", "[http]\nlisten = \"127.0.0.1:0\"");
    until_metric(&world, "postroad_config_restart_required 0").await;
}

#[tokio::test]
async fn a_token_file_named_by_a_reload_closes_the_open_admin_api() {
    let world = World::following().await;
    assert_eq!(world.ctl(&["domain", "list"]).await.0, 0);
    let tokens = world.write("tokens", &format!("{ONE} admin\n"));
    let one = world.write("one", ONE).display().to_string();
    let two = world.write("two", TWO).display().to_string();
    world.edit("[admin]", &format!("[admin]\ntoken_file = \"{}\"", tokens.display()));
    until_answer("the API is closed", async || world.ctl(&["domain", "list"]).await.0 == 1).await;
    assert_eq!(world.ctl(&["--token-file", &one, "domain", "list"]).await.0, 0);

    world.write("tokens", &format!("{TWO} admin\n"));
    until_answer("the new token is known", async || {
        world.ctl(&["--token-file", &two, "domain", "list"]).await.0 == 0
    })
    .await;
    assert_eq!(world.ctl(&["--token-file", &one, "domain", "list"]).await.0, 1);

    // What would have stopped the start stops the reload.
    world.write("tokens", "short admin\n");
    until_metric(&world, REFUSED).await;
    assert_eq!(world.ctl(&["--token-file", &two, "domain", "list"]).await.0, 0);
}

#[tokio::test]
async fn the_admin_certificate_is_followed() {
    let world = World::following().await;
    let certificate = write_pair(&world, "admin", 2040);
    let key = certificate.with_extension("key");
    let pair = format!(
        "[admin]\ncertificate_file = \"{}\"\nprivate_key_file = \"{}\"",
        certificate.display(),
        key.display()
    );
    world.edit("[admin]", &pair);
    let server = format!("https://localhost:{}", world.node.addresses().admin.port());
    let list = async |ca: &PathBuf| {
        let ca = ca.display().to_string();
        world.ctl_at(&server, &["--ca-file", &ca, "domain", "list"]).await.0
    };
    until_answer("TLS", async || list(&certificate).await == 0).await;
    assert_eq!(world.ctl(&["domain", "list"]).await.0, 1, "plaintext is refused");

    let old = world.write("old.pem", &std::fs::read_to_string(&certificate).unwrap());
    write_pair(&world, "admin", 2041);
    until_answer("the renewed certificate", async || list(&certificate).await == 0).await;
    assert_eq!(list(&old).await, 1);
    until_certificate(&world, "admin", 2041).await;
}

#[tokio::test]
async fn a_certificate_that_does_not_fit_its_key_refuses_the_whole_file() {
    let world = World::following().await;
    until_metric(&world, TAKEN).await;
    let good = std::fs::read_to_string(world.file("key.pem")).unwrap();
    world.write("key.pem", &KeyPair::generate().unwrap().serialize_pem());
    world.edit("min_free_octets", "recipients = 7\nmin_free_octets");
    until_metric(&world, REFUSED).await;
    let mut client = world.sender().await;
    client.starttls().await;
    client.command("EHLO x.example", "250").await.contains("RCPTMAX=100");

    world.write("key.pem", &good);
    until_metric(&world, TAKEN).await;
    let mut client = world.raw().await;
    client.expect("220").await;
    client.command("EHLO x.example", "250").await.contains("RCPTMAX=7");
}

#[tokio::test]
async fn the_smtp_certificate_is_followed_to_other_files_and_away() {
    let world = World::following().await;
    let (certificate, key) = (world.file("cert.pem"), world.file("key.pem"));
    let moved = write_pair(&world, "moved", 2041);
    world.edit(&key.display().to_string(), &moved.with_extension("key").display().to_string());
    world.edit(&certificate.display().to_string(), &moved.display().to_string());
    until_certificate(&world, "smtp", 2041).await;
    let mut client = world.sender().await;
    client.starttls().await;
    client.command("EHLO x.example", "250").await;

    world.edit("certificate_file", "# certificate_file");
    world.edit("private_key_file = \"", "# private_key_file = \"");
    until_answer("no STARTTLS", async || !says_starttls(&world).await).await;
    world.edit("# certificate_file", "certificate_file");
    world.edit("# private_key_file", "private_key_file");
    until_answer("STARTTLS again", async || says_starttls(&world).await).await;
}

#[tokio::test]
async fn the_floor_of_the_disk_is_followed() {
    let world = World::following().await;
    // The highest floor there is; a disk with more room than that stays above it.
    if free_octets(world.data()).unwrap() >= 1 << 40 {
        return;
    }
    world.edit("min_free_octets = 0", "min_free_octets = 1099511627776");
    until_answer("the floor", async || {
        world.mx.at(Stage::Banner, Act::Close);
        let heard = world.sender().await.submit(ALICE, INFO, &letter("floor")).await;
        world.mx.be_kind();
        heard.text().starts_with("452 4.3.1")
    })
    .await;
}

/// A network has an eighth of the memory, and this message is a little less than 256 KiB of it; the disk takes nothing.
#[tokio::test]
async fn the_octets_in_flight_are_followed_up_and_down() {
    let world = World::following().await;
    let message = letter("memory") + &("x".repeat(98) + "\r\n").repeat(2500);
    let answer = async || world.sender().await.submit(ALICE, INFO, &message).await.text();
    world.edit("min_free_octets = 0", "min_free_octets = 1099511627776\noctets_in_flight = 1048576");
    world.edit("[service]", "[service]\nmax_message_octets = 1048576");
    until_answer("less", async || answer().await.starts_with("452 4.3.1")).await;
    world.edit("octets_in_flight = 1048576", "octets_in_flight = 2097152");
    until_answer("more", async || answer().await.starts_with("250")).await;
    world.edit("octets_in_flight = 2097152", "octets_in_flight = 1048576");
    until_answer("less again", async || answer().await.starts_with("452 4.3.1")).await;
}

#[tokio::test]
async fn a_new_key_in_the_file_of_a_dnsbl_subscriber_is_used() {
    let world = World::following().await;
    let key = world.write("dnsbl.key", "first\n");
    world.edit(
        "zone = \"dnsbl.example\"",
        &format!("zone = \"dnsbl.example\"\nkey_file = \"{}\"", key.display()),
    );
    for name in ["2.0.0.127", "66.0.0.127"] {
        world.dns.replace(&format!("{name}.second.dnsbl.example. 300 IN A 127.0.0.2")).unwrap();
    }
    let listed = async || {
        let mut client = world.client(LISTED, "listed.example").await;
        client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
        client.exchange("RCPT TO:<info@ours.example>").await.text().starts_with("554 5.7.1")
    };
    until_answer("the first key", async || !listed().await).await;
    world.write("dnsbl.key", "second\n");
    until_answer("the second key", listed).await;
}

#[tokio::test]
async fn the_resolvers_are_followed() {
    let world = World::following().await;
    world.sender().await.submit(ALICE, INFO, &letter("before")).await.starts("250");
    let other = DnsServer::start(&[("sender.example", "@ TXT \"v=spf1 -all\"\n")]).await.unwrap();
    world.edit(&world.dns.addr().to_string(), &other.addr().to_string());
    until_answer("the other server's word", async || {
        let heard = world.sender().await.submit(ALICE, INFO, &letter("after")).await;
        heard.text().starts_with("550 5.7.26")
    })
    .await;
}
