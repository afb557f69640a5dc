//! The openspf.org suites for RFC 7208 and RFC 4408, by SMTP: the result is the one that the node reports in
//! Authentication-Results.

use futures_util::stream::{self, StreamExt};

use super::internet::{Internet, Letter, Mode};
use super::openspf::{Case, DECIDED, Section};
use super::{Tally, suite};

/// Worlds at a time.
const AT_ONCE: usize = 8;
/// What is sent; its author has nothing to do with the envelope.
const MESSAGE: &[u8] = b"From: Ann <ann@author.test>\r\nTo: info@ours.example\r\nSubject: SPF\r\n\
    Date: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <spf@author.test>\r\n\r\nHello.\r\n";

#[tokio::test]
async fn rfc7208_every_case_that_smtp_can_carry_is_judged_right() {
    let Some(sections) = suite("rfc7208-tests.yml") else { return };
    by_smtp("RFC 7208 cases by SMTP", &sections).await.close(201);
}

#[tokio::test]
async fn rfc4408_every_case_that_smtp_can_carry_is_judged_as_rfc7208_has_it() {
    let Some(mut sections) = suite::<Section>("rfc4408-tests.yml") else { return };
    sections.iter_mut().for_each(|section| section.decide(DECIDED));
    for (name, result, clause) in DECIDED {
        println!("RFC 4408 cases: {name} is {result} now ({clause})");
    }
    by_smtp("RFC 4408 cases by SMTP", &sections).await.close(189);
}

async fn by_smtp(of: &'static str, sections: &[Section]) -> Tally {
    let mut tally = Tally::new(of);
    let mut left_out = Vec::new();
    let mut played = stream::iter(sections).map(play).buffer_unordered(AT_ONCE);
    while let Some(results) = played.next().await {
        for (name, result) in results {
            match result {
                Some(result) => tally.count(name, result),
                None => left_out.push(name),
            }
        }
    }
    left_out.sort_unstable();
    println!("{of}: left out {} (SMTP has no words for them)", left_out.join(", "));
    tally
}

/// Plays the cases of one section, one after the other, in its own world; `None` for what cannot be said in SMTP.
async fn play(section: &Section) -> Vec<(&str, Option<Result<(), String>>)> {
    let internet = Internet::start(Mode::Monitor).await;
    section.publish(&internet.world.dns);
    let mut results = Vec::new();
    for (name, case) in &section.tests {
        let result = match reverse_path(case) {
            Some(reverse_path) => Some(judge(&internet, case, &reverse_path).await),
            None => None,
        };
        results.push((name.as_str(), result));
    }
    results
}

/// MAIL FROM as SMTP writes it (RFC 5321 §4.1.2), the local part quoted where it must be; `None` where the grammar
/// has no words for a case: there is no local part, or the HELO name is not one word (§4.1.1.1).
fn reverse_path(case: &Case) -> Option<String> {
    let is_word = |text: &str| text.bytes().all(|octet| octet.is_ascii_graphic());
    if !is_word(&case.helo) || case.helo.is_empty() {
        return None;
    }
    if case.mail_from.is_empty() {
        return Some(String::new());
    }
    let (local, domain) = case.mail_from.rsplit_once('@')?;
    if local.is_empty() || !is_word(domain) || local.bytes().any(|octet| !(b' '..=b'~').contains(&octet)) {
        return None;
    }
    let is_atom = |octet: u8| octet.is_ascii_alphanumeric() || b".!#$%&'*+-/=?^_`{|}~".contains(&octet);
    let escaped = || local.replace('\\', "\\\\").replace('"', "\\\"");
    let local = if local.bytes().all(is_atom) { local.to_owned() } else { format!("\"{}\"", escaped()) };
    Some(format!("{local}@{domain}"))
}

async fn judge(internet: &Internet, case: &Case, reverse_path: &str) -> Result<(), String> {
    let letter = Letter {
        client_ip: case.client_ip(),
        helo: &case.helo,
        reverse_path,
        parameters: "",
        octets: MESSAGE,
    };
    let outcome = internet.send(&letter).await;
    let identity = if case.mail_from.is_empty() { "smtp.helo=" } else { "smtp.mailfrom=" };
    let results = outcome.results();
    let found = results.split("; ").find_map(|method| {
        let (result, _) = method.strip_prefix("spf=")?.split_once(identity)?;
        // A comment may stand between.
        result.split(' ').next()
    });
    // RFC 7208 §4.3: a domain that is none has the result "none"; SMTP refuses the address before that.
    let refused = outcome.mail_refused && matches!(outcome.reply.code(), 501 | 553);
    let result = found.or_else(|| refused.then_some("none"));
    if result.is_some_and(|result| case.accepts(result)) {
        return Ok(());
    }
    Err(format!("{} is right; heard {} | A-R: {results}", case.results().join(" or "), outcome.reply.text()))
}
