use super::*;
use crate::check::tests::dns_of;
use crate::config::test_files::Files;
use crate::dev::sink::Sink;

/// The postmaster's mail is at mx.dest.example, 127.0.0.25.
const WORLD: &[(&str, &str)] = &[
    ("dest.example", "@ MX 10 mx\nmx A 127.0.0.25\n"),
    ("relay.example", "_spf.mx TXT \"v=spf1 ip4:192.0.2.0/29 -all\"\n"),
];

async fn found(sink: &Sink, lines: &str) -> Vec<String> {
    let files = Files::new();
    let text = files.with(&format!(
        "service.postmaster = 'ops@dest.example'\nservice.spf_name = '_spf.mx.relay.example'\n\
         delivery.port = {}\ndelivery.private_addresses = 'allow'\n{lines}",
        sink.address().port()
    ));
    let (_server, dns) = dns_of(WORLD).await;
    let config = Config::parse(&text, &[]).unwrap();
    doctor(&config, &dns).await.iter().map(ToString::to_string).collect()
}

async fn sink() -> Sink {
    Sink::start("127.0.0.25:0".parse().unwrap()).await.unwrap()
}

fn assert_has(findings: &[String], beginning: &str, rest: &str) {
    let has = |finding: &String| finding.starts_with(beginning) && finding.contains(rest);
    assert!(findings.iter().any(has), "{beginning} … {rest} in {findings:#?}");
}

#[tokio::test]
async fn the_way_out_is_tried_from_each_address_of_the_pool() {
    let pool = "delivery.source = [{ address = '127.0.0.9', hostname = 'out.relay.example' }]\n";
    let sink = sink().await;
    let findings = found(&sink, pool).await;
    let tried = format!("port25 from 127.0.0.9: mx.dest.example {} says \"220 ", sink.address());
    assert_has(&findings, "ok", &tried);
    assert_has(&findings, "warn  out", "delivery.source has no IPv6 address");
    assert_has(&findings, "FAIL  ptr", "127.0.0.9");

    let nobodys = "delivery.source = [{ address = '192.0.2.1', hostname = 'out.relay.example' }]\n";
    let blocked = found(&sink, nobodys).await;
    assert_has(&blocked, "FAIL  port25", "of dest.example, cannot be reached: ");
}

#[tokio::test]
async fn the_node_here_is_asked_and_told_from_another_server() {
    let sink = sink().await;
    let lines = format!(
        "smtp.listen = ['{}', '127.0.0.9:9', '127.0.0.8:9']\nsmtp.trusted_proxies = ['127.0.0.8']\n",
        sink.address()
    );
    let findings = found(&sink, &lines).await;
    assert_has(&findings, "FAIL  node", "does not answer");
    assert_has(&findings, "FAIL  smtp", "another server, since node.hostname is linda.mx.relay.example");
    assert_has(&findings, "FAIL  smtp", "127.0.0.9:9 cannot be reached");
    assert_has(&findings, "ok    smtp", "127.0.0.8:9 wants the PROXY header");
}

#[test]
fn what_is_said_of_an_address_goes_by_what_others_see() {
    let said = |prefixes: &str, from: &str| {
        let files = Files::new();
        let text = files.with(&format!("service.outbound_prefixes = {prefixes}"));
        translated(&Config::parse(&text, &[]).unwrap(), from.parse().unwrap()).to_string()
    };
    for (prefixes, from, verdict, words) in [
        ("[]", "10.0.0.5", "warn", "which is private: something on the way"),
        ("[]", "193.0.0.5", "ok", "as the system has it"),
        ("['193.0.0.0/24']", "10.0.0.5", "ok", "what others see is said in"),
        ("['193.0.0.0/24']", "193.0.0.5", "ok", "which is in"),
        ("['193.0.0.0/24']", "193.0.1.5", "FAIL", "which is not in"),
    ] {
        let finding = said(prefixes, from);
        assert!(finding.starts_with(verdict) && finding.contains(words), "{prefixes} {from}: {finding}");
    }
}

#[tokio::test]
async fn prefixes_are_held_against_the_spf_record_by_their_ends() {
    let sink = sink().await;
    let lines = "service.outbound_prefixes = ['192.0.2.0/29', '192.0.2.0/28', '192.0.2.1/32']\n";
    let findings = found(&sink, lines).await;
    assert_has(&findings, "ok    spf", "192.0.2.7: pass");
    assert_has(&findings, "FAIL  spf", "192.0.2.15: fail");
    assert_has(&findings, "FAIL  ptr", "192.0.2.1, want email.relay.example");
    assert!(!findings.iter().any(|finding| finding.contains("delivery.source is empty")), "{findings:#?}");
}
