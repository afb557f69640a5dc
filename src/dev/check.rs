//! Owns what the destination finds out about a forwarded message: whose signatures hold, what SPF says.

use mail_auth::spf::verify::SpfParameters;
use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator, SpfResult};

use super::DevError;
use super::client::{Exchange, Letter};
use super::sink::Kept;
use crate::dns::Dns;
use crate::mail::header;

/// Something that was looked at.
#[derive(Debug)]
pub(super) struct Check {
    /// What.
    pub(super) what: &'static str,
    /// What was found, in words.
    pub(super) found: String,
    /// Whether it is what it must be.
    pub(super) holds: bool,
}

/// Looks at the last reply that a sender heard: its code, and what must be in its text.
pub(super) fn reply(exchanges: &[Exchange], code: u16, parts: &[&str]) -> Check {
    let last = exchanges.last();
    let (heard, text) = last.map_or_else(Default::default, |last| (last.code(), last.text()));
    let holds = heard == code && parts.iter().all(|part| text.contains(part));
    Check { what: "the sender heard", found: heard.to_string(), holds }
}

/// Looks at which addresses the sink was given messages for.
pub(super) fn recipients(kept: &[Kept], wanted: &str) -> Check {
    let found: Vec<&str> = kept.iter().flat_map(|message| &message.recipients).map(String::as_str).collect();
    Check { what: "sink: RCPT TO", holds: found == [wanted], found: found.join(", ") }
}

/// Looks at what the sink got for a letter that passes every check.
pub(super) async fn forwarded(lookups: &Dns, letter: &Letter, kept: &[Kept]) -> Result<Vec<Check>, DevError> {
    let [message] = kept else {
        let found = format!("{} messages", kept.len());
        return Ok(vec![Check { what: "the sink got", found, holds: false }]);
    };
    let mut checks = envelope(message);
    checks.push(verdict(message));
    let unchanged = message.octets.ends_with(&letter.message);
    let found = if unchanged { "unchanged, behind our trace fields" } else { "changed" };
    checks.push(Check { what: "message", found: found.to_owned(), holds: unchanged });
    checks.extend(signatures(lookups, message).await?);
    checks.push(sender_policy(lookups, message).await);
    Ok(checks)
}

fn envelope(message: &Kept) -> Vec<Check> {
    let srs = message.reverse_path.starts_with("SRS0=")
        && message.reverse_path.ends_with("=sender.test=alice@example.com");
    let text = String::from_utf8_lossy(&message.octets);
    let hidden = !text.contains("ana@dest.test");
    vec![
        Check { what: "sink: MAIL FROM", found: message.reverse_path.clone(), holds: srs },
        recipients(std::slice::from_ref(message), "ana@dest.test"),
        Check {
            what: "private address",
            found: if hidden { "only in RCPT TO" } else { "in the message" }.to_owned(),
            holds: hidden,
        },
    ]
}

/// What our Authentication-Results field says.
fn verdict(message: &Kept) -> Check {
    let section = header::section_end(&message.octets).unwrap_or(message.octets.len());
    let section = message.octets.get(..section).unwrap_or_default();
    let field = header::fields(section).find(|field| field.is("Authentication-Results"));
    let value = field.map(|field| String::from_utf8_lossy(field.value).into_owned()).unwrap_or_default();
    let ours = value.trim_start().starts_with("email.relay.test;");
    let results: Vec<String> = ["spf", "dkim", "dmarc"]
        .iter()
        .map(|method| format!("{method}={}", result(&value, method).unwrap_or("missing")))
        .collect();
    let holds = ours && results.iter().all(|result| result.ends_with("=pass"));
    Check { what: "our verdict", found: results.join(" "), holds }
}

/// The first result of a method; SPF is that of MAIL FROM, wherever both are given.
fn result<'a>(value: &'a str, method: &str) -> Option<&'a str> {
    let word = |text: &'a str| text.split(|c: char| !c.is_ascii_alphanumeric()).next();
    let results =
        value.split(';').filter_map(|part| part.trim_start().strip_prefix(method)?.strip_prefix('='));
    let (mailfrom, others): (Vec<&str>, Vec<&str>) =
        results.partition(|text| text.contains("smtp.mailfrom="));
    mailfrom.first().or_else(|| others.first()).copied().and_then(word)
}

async fn signatures(lookups: &Dns, message: &Kept) -> Result<Vec<Check>, DevError> {
    let authenticator = MessageAuthenticator(lookups.resolver().clone());
    let parsed = AuthenticatedMessage::parse(&message.octets).ok_or(DevError::Unreadable)?;
    let outputs = authenticator.verify_dkim(&parsed).await;
    let mut checks: Vec<Check> =
        [("sender's signature", "sender.test"), ("our signature", "email.relay.test")]
            .into_iter()
            .map(|(what, domain)| {
                let output =
                    outputs.iter().find(|output| output.signature().is_some_and(|found| found.d == domain));
                let result = output.map_or("missing", |output| word(output.result()));
                Check { what, found: format!("d={domain} {result}"), holds: result == "pass" }
            })
            .collect();
    let arc = authenticator.verify_arc(&parsed).await;
    let result = if arc.sets().is_empty() { "missing" } else { word(arc.result()) };
    let found = format!("{} set, {result}", arc.sets().len());
    checks.push(Check { what: "ARC chain", found, holds: result == "pass" });
    Ok(checks)
}

fn word(result: &DkimResult) -> &'static str {
    match result {
        DkimResult::Pass => "pass",
        DkimResult::Neutral(_) => "neutral",
        DkimResult::Fail(_) => "fail",
        DkimResult::PermError(_) => "permerror",
        DkimResult::TempError(_) => "temperror",
        DkimResult::None => "none",
    }
}

/// SPF of our reverse-path, as the destination sees us.
async fn sender_policy(lookups: &Dns, message: &Kept) -> Check {
    let authenticator = MessageAuthenticator(lookups.resolver().clone());
    let ip = message.peer.ip();
    let parameters =
        SpfParameters::verify_mail_from(ip, &message.helo, "mx.dest.test", &message.reverse_path);
    let result = authenticator.verify_spf(parameters).await.result();
    let domain = message.reverse_path.rsplit('@').next().unwrap_or_default();
    let found = format!("{} of {domain} for {ip}", format!("{result:?}").to_lowercase());
    Check { what: "sink's SPF check", found, holds: result == SpfResult::Pass }
}
