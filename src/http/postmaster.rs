//! `/postmaster`: what this service does, for the people whose mail it refuses. Every refusal points to an
//! anchor of it (`Row::anchor` in the reply catalogue; a test holds them together).

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::sync::watch;

use crate::config::{Config, DmarcMode};
use crate::http::{Pages, not_found};
use crate::mail::header::MAX_FIELDS;

/// The page needs nothing from anywhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:45em;margin:2em auto;padding:0 1em}\
                     code,pre{background:#eee;padding:.1em .3em}pre{overflow-x:auto;padding:.6em}";

/// The pages for strangers, from the configuration in force.
#[must_use]
pub fn public_pages(config: watch::Receiver<Arc<Config>>) -> Pages {
    let router = Router::new().route("/postmaster", get(page)).fallback(not_found).with_state(config);
    Pages(router)
}

async fn page(State(config): State<watch::Receiver<Arc<Config>>>) -> impl IntoResponse {
    let config = Arc::clone(&config.borrow());
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, render(&config))
}

/// The page as HTML.
pub(super) fn render(config: &Config) -> String {
    let domain = escaped(config.service.domain.as_str());
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>Postmaster: {domain}</title><style>{STYLE}</style></head>\n<body>\n<h1>Postmaster</h1>\n\
         <p>How {domain} forwards mail, for those who run other mail systems.</p>\n"
    );
    for (anchor, title, body) in sections(config) {
        let _ = write!(out, "<h2 id=\"{anchor}\">{title}</h2>\n{body}\n");
    }
    out.push_str("</body>\n</html>\n");
    out
}

/// Anchor, title and HTML of each part.
fn sections(config: &Config) -> Vec<(&'static str, &'static str, String)> {
    vec![
        ("contact-information", "Contact information", contact(config)),
        ("smtp-errors", "SMTP errors", SMTP_ERRORS.to_owned()),
        ("spam-and-abusive-traffic", "Spam and abusive traffic", blocklists(config)),
        ("blocked-addresses", "Blocked addresses", BLOCKED.to_owned()),
        ("dmarc", "DMARC", dmarc(config)),
        ("dmarc-enforcing", "What we ask of a message", ENFORCING.to_owned()),
        ("message-size", "Message size", message_size(config)),
        ("sender-rewriting", "Sender rewriting", sender_rewriting(config)),
        ("dkim-signature", "DKIM signature", dkim(config)),
        ("mx-spf-and-dkim-records", "MX and SPF records", records(config)),
        ("outbound-hostnames", "Outbound hosts", outbound(config)),
    ]
}

const SMTP_ERRORS: &str = "<p>While you wait after the end of your message we offer it to the mail host of the \
     destination. What that host answers is what you hear, in the same session: its code and its text, and a last \
     line that names the host. A reply of class 4 means that nobody has taken the message: try again. Each refusal \
     ends with a trace id; send it to us with your question.</p>\n<p>Where SPF does not vouch for your sender, its \
     recipients are taken as far as their mail goes the same way; others hear <code>452 4.5.3</code>. Send to them in \
     another transaction.</p>\n<p>Lines of a message end with CR LF and hold \
     neither a bare CR or LF nor a NUL. Every line before the first empty one begins a header field, or stands \
     indented under one; else the message is refused with \
     <code>550 5.6.0</code>, as mail programs differ on what such a message says. Mail that goes round in circles, \
     and mail to an address or a domain that we do not route, is refused. So is mail whose destination can never be \
     reached, at once: its domain does not exist (<code>550 5.1.2</code>), the DNS leads to no mail host of it \
     (<code>550 5.4.4</code>), or it takes no mail (<code>556</code>).</p>";

const ENFORCING: &str = "<p>A message has one From field that names an address. Either SPF passes for its envelope \
     sender, or one of its DKIM signatures does; a notification with a null sender can pass by the SPF record of its \
     HELO name. Otherwise it is refused with <code>550 5.7.26</code>, and with <code>451 4.7.24</code> when a DNS \
     answer that would decide is missing for now.</p>";

const BLOCKED: &str = "<p>Hosts and networks that have done harm here can be blocked by hand, for a while or until further \
     notice: they are refused with <code>554 5.7.1</code> and the reason. Mail to <code>postmaster</code> and \
     <code>abuse</code> is let through to be judged by its content: write there if the reason does not hold any more.</p>";

fn contact(config: &Config) -> String {
    format!("<p>Write to <code>{}</code>.</p>", escaped(&config.service.postmaster.to_string()))
}

fn blocklists(config: &Config) -> String {
    let mut out = String::from(
        "<p>Hosts that are on a DNS blocklist are refused with <code>554 5.7.1</code> and the names of the lists. \
         Ask the list to take your address off; mail to <code>postmaster</code> and <code>abuse</code> is let \
         through to be judged by its content.</p>",
    );
    if !config.dnsbl.is_empty() {
        out.push_str("\n<ul>");
        for list in &config.dnsbl {
            let (name, zone) = (escaped(&list.name), escaped(list.zone.as_str()));
            let _ = write!(out, "<li><code>{name}</code>: {zone}</li>");
        }
        out.push_str("</ul>");
    }
    out
}

fn dmarc(config: &Config) -> String {
    let rule = match config.authentication.dmarc {
        DmarcMode::Enforce => {
            "A message that fails DMARC is refused when its policy is <code>p=reject</code>."
        }
        DmarcMode::Rfc9989 => {
            "A message that fails DMARC with the policy <code>p=reject</code> is refused when something else \
             speaks against it too (RFC 9989 §7.4)."
        }
        DmarcMode::Monitor => "No message is refused by DMARC.",
    };
    format!(
        "<p>We check SPF, DKIM and DMARC of every message. {rule} What we found stands in the \
         Authentication-Results field of the message that we forward.</p>"
    )
}

fn message_size(config: &Config) -> String {
    let octets = config.service.max_message_octets;
    // Exact enough for people: two digits behind the point, none when there is nothing behind it.
    let hundredths = octets.saturating_mul(100) / (1024 * 1024);
    let mebibytes = match hundredths % 100 {
        0 => format!("{}", hundredths / 100),
        rest => format!("{}.{rest:02}", hundredths / 100),
    };
    format!(
        "<p>Messages are at most {mebibytes} MiB ({octets} octets) large, as SIZE says after EHLO. A header section has \
         at most {MAX_FIELDS} fields.</p>"
    )
}

fn sender_rewriting(config: &Config) -> String {
    format!(
        "<p>The envelope sender is rewritten to the domain that forwards (the Sender Rewriting Scheme), so that SPF \
         can pass; the message keeps its From field. Such an address takes bounces (null sender) for {} days and \
         sends them to the original sender; anything else to it is refused. Addresses that we never wrote are \
         refused too, after many of them with a pause or with <code>451</code>: send those later, or not at all.</p>",
        config.srs.max_age_days
    )
}

fn dkim(config: &Config) -> String {
    let domain = config.service.domain.as_str();
    let mut out = format!("<p>Forwarded mail is signed by {}. The keys are at:</p>\n<pre>", escaped(domain));
    for key in &config.dkim.keys {
        let _ = writeln!(out, "{}._domainkey.{}. IN TXT", escaped(&key.selector), escaped(domain));
    }
    out.push_str("</pre>");
    out
}

fn records(config: &Config) -> String {
    let mut out = String::from("<p>A domain whose mail we forward has these records:</p>\n<pre>");
    for host in &config.service.mx {
        let _ = writeln!(out, "example.com. IN MX {} {}.", host.preference, escaped(host.hostname.as_str()));
    }
    if let Some(name) = &config.service.spf_name {
        let _ = writeln!(out, "example.com. IN TXT \"v=spf1 include:{} ~all\"", escaped(name.as_str()));
    }
    out.push_str("</pre>");
    out
}

fn outbound(config: &Config) -> String {
    let domain = escaped(config.service.domain.as_str());
    let mut out = format!(
        "<p>Our hosts say <code>EHLO {domain}</code>. They connect by IPv6 where the destination has it, and by IPv4 \
         otherwise.</p>"
    );
    let prefixes = config.service.outbound_prefixes.iter().map(ToString::to_string);
    let sources = config.delivery.sources.iter();
    let sources = sources.map(|source| format!("{} {}", source.address, escaped(source.hostname.as_str())));
    let lines: Vec<String> =
        if config.service.outbound_prefixes.is_empty() { sources.collect() } else { prefixes.collect() };
    if !lines.is_empty() {
        let _ = write!(out, "\n<pre>{}\n</pre>", lines.join("\n"));
    }
    out
}

/// The text with the characters that mean something in HTML written as references.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
#[path = "postmaster_tests.rs"]
mod tests;
