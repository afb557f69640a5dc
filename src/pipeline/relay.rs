//! An upstream's reply as our client hears it, at RCPT or behind the dot: same codes, same lines, the private
//! destination masked.

use super::parcel::{Target, UpstreamReply};
use crate::mail::{Address, TraceId};
use crate::smtp::reply::{self, Enhanced, Reply, UPSTREAM_REASON};

/// Whether a reply is about our own connection, never about the message: 421, 500 to 504, 530 and 535.
#[must_use]
pub(super) fn is_about_us(upstream: &Reply) -> bool {
    are_about_us(upstream.code, upstream.enhanced)
}

/// Some hosts complain of an address with the code for a bad command: 5.1.x is about addresses (RFC 3463 §3.2), and so
/// the recipient's or the sender's affair.
fn are_about_us(code: u16, enhanced: Option<Enhanced>) -> bool {
    match (code, enhanced) {
        (500..=504, Some(Enhanced(5, 1, _))) => false,
        (421 | 500..=504 | 530 | 535, _) => true,
        _ => false,
    }
}

/// Whether a reply asks for less from us, now and for other messages too: 421, or a 4.7.x by which large providers
/// limit rates.
#[must_use]
pub(super) fn is_slow_down(upstream: &Reply) -> bool {
    upstream.code == 421 || matches!(upstream.enhanced, Some(Enhanced(4, 7, _)))
}

/// The basic code that the sender hears for an upstream's reply. 552 to RCPT meant too many recipients once
/// and must be read as 452 (RFC 5321 §4.5.3.1.10).
#[must_use]
pub(super) fn relayed_code(upstream: &Reply) -> u16 {
    heard_code(upstream.code, upstream.enhanced)
}

/// The same of the codes of a reply.
#[must_use]
pub(super) fn heard_code(code: u16, enhanced: Option<Enhanced>) -> u16 {
    match code {
        _ if are_about_us(code, enhanced) => reply::UPSTREAM_TROUBLE.code,
        500..=504 => 550,
        552 if enhanced == Some(Enhanced(5, 5, 3)) => reply::TOO_MANY_RECIPIENTS.code,
        200..=299 => 250,
        code => code,
    }
}

/// The reply with a last line that says whose words these are.
#[must_use]
pub(super) fn relay(
    upstream: &UpstreamReply,
    target: &Target,
    postmaster_url: &str,
    trace: TraceId,
) -> Reply {
    let original = &upstream.reply;
    let code = relayed_code(original);
    if is_about_us(original) {
        return reply::UPSTREAM_TROUBLE.refer(&[], postmaster_url, trace);
    }
    let class = u8::try_from(code / 100).unwrap_or(4);
    let (subject, detail) = original.enhanced.map_or((0, 0), |enhanced| (enhanced.1, enhanced.2));
    let enhanced = Enhanced(class, subject, detail);
    let mut lines: Vec<String> =
        original.lines.iter().map(|line| mask(line, &target.alias, &target.destination)).collect();
    lines.push(format!("upstream {} (trace {trace})", reply::clean(&upstream.host)));
    Reply { code, enhanced: Some(enhanced), reason: UPSTREAM_REASON, lines }
}

/// Replaces the private destination by the alias, whatever its case, with `@` or `%40`, and its bare
/// local part where it stands as a word.
#[must_use]
pub(super) fn mask(line: &str, alias: &Address, private: &Address) -> String {
    if private.folded() == alias.folded() {
        return line.to_owned();
    }
    let mut masked = line.to_owned();
    for at in ["@", "%40"] {
        let needle = format!("{}{at}{}", private.local(), private.domain());
        masked = replace(&masked, &needle, &alias.to_string(), Boundary::Any);
    }
    replace(&masked, private.local(), alias.local(), Boundary::Word)
}

/// The reply without the private destinations of any of these copies, each an alias and its destination: a
/// reply to a whole transaction is given to all its copies, whose senders need not know of each other's.
#[must_use]
pub(super) fn mask_all<'a>(
    mut reply: Reply,
    copies: impl IntoIterator<Item = (&'a Address, &'a Address)>,
) -> Reply {
    for (alias, private) in copies {
        reply.lines.iter_mut().for_each(|line| *line = mask(line, alias, private));
    }
    reply
}

/// Where a match counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Boundary {
    Any,
    Word,
}

/// Replaces every occurrence of an ASCII needle, case folded.
fn replace(line: &str, needle: &str, by: &str, boundary: Boundary) -> String {
    let (folded, needle) = (line.to_ascii_lowercase(), needle.to_ascii_lowercase());
    if needle.is_empty() {
        return line.to_owned();
    }
    let within_word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let mut out = String::with_capacity(line.len());
    let mut done = 0;
    for (at, _) in folded.match_indices(&needle) {
        let end = at + needle.len();
        let before = folded.get(..at).and_then(|text| text.chars().next_back());
        let mut after = folded.get(end..).unwrap_or_default().chars();
        let next = after.next();
        let dot_ends_sentence = next == Some('.') && !within_word(after.next());
        let is_word = !within_word(before) && (!within_word(next) || dot_ends_sentence);
        if boundary == Boundary::Word && !is_word {
            continue;
        }
        out.push_str(line.get(done..at).unwrap_or_default());
        out.push_str(by);
        done = end;
    }
    out.push_str(line.get(done..).unwrap_or_default());
    out
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
