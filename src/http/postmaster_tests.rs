use super::*;
use crate::config::test_files::Files;
use crate::smtp::reply::CATALOGUE;

fn rendered(line: &str) -> String {
    let files = Files::new();
    render(&Config::parse(&files.with(line), &[]).unwrap())
}

#[test]
fn every_anchor_of_the_reply_catalogue_is_on_the_page() {
    let page = rendered("");
    for row in CATALOGUE.iter().filter(|row| !row.anchor.is_empty()) {
        assert!(page.contains(&format!("<h2 id=\"{}\">", row.anchor)), "{}", row.anchor);
    }
}

#[test]
fn the_page_says_what_is_configured() {
    let page = rendered(
        "dnsbl = [{ name = 'test', zone = 'bl.example' }]\nauthentication = { dmarc = 'monitor' }\n\
         delivery = { source = [{ address = '192.0.2.1', hostname = 'out.example' }] }",
    );
    for text in [
        "25 MiB (26214400 octets)",
        "<code>test</code>: bl.example",
        "No message is refused by DMARC",
        "192.0.2.1 out.example",
        "2022._domainkey.email.relay.example. IN TXT",
        "ops@relay.example",
        "for 21 days",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn what_is_configured_cannot_break_the_page() {
    assert_eq!(escaped("<a href='x'>&\""), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
}
