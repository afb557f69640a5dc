//! An upstream's reply as our client hears it, at RCPT or behind the dot: same codes, same lines, the private
//! destination masked ([`mask`]).

use super::mask::mask;
use super::parcel::{Target, UpstreamReply};
use crate::mail::TraceId;
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
    let mut lines = mask(&original.lines, &target.alias, &target.destination);
    lines.push(format!("upstream {} (trace {trace})", reply::clean(&upstream.host)));
    Reply { code, enhanced: Some(enhanced), reason: UPSTREAM_REASON, lines }
}

/// Whether a reply is of [`relay`]'s making: it tells of an upstream, and whoever hears it has no part in that.
#[must_use]
pub(super) fn is_relayed(reply: &Reply) -> bool {
    [UPSTREAM_REASON, reply::UPSTREAM_TROUBLE.reason].contains(&reply.reason)
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
