//! What came of copies, as messages.

use std::time::Duration;

use super::wire::Malformed;
use crate::ledger::{KEPT_LINES, KEPT_OCTETS, Key, Recorded, Told};
use crate::proto::cluster::v1;
use crate::proto::cluster::v1::delivery_record::Answer;
use crate::smtp::reply::{Enhanced, Reply, UPSTREAM_REASON, UpstreamReply};

/// Octets of a host's name, at most (RFC 1035 §2.3.4).
const MAX_HOST_OCTETS: usize = 255;

pub(super) fn encode_record(key: Key, told: &Told) -> v1::DeliveryRecord {
    let answer = match told.answer() {
        None => Answer::Over(v1::Blank {}),
        Some(Recorded::Open) => Answer::Open(v1::Blank {}),
        Some(Recorded::Queued) => Answer::Queued(v1::Blank {}),
        Some(Recorded::Delivered(upstream)) => Answer::Delivered(encode_upstream(upstream)),
        Some(Recorded::Refused(upstream)) => Answer::Refused(encode_upstream(upstream)),
    };
    v1::DeliveryRecord { key: key.0.to_vec(), answer: Some(answer), id: told.id() }
}

/// What no peer would take of an upstream's words is left out.
fn encode_upstream(upstream: &UpstreamReply) -> v1::UpstreamAnswer {
    let UpstreamReply { host, reply } = upstream;
    let text = |text: &str| text.replace(char::is_control, " ");
    let codes = |Enhanced(class, subject, detail): Enhanced| [class.into(), subject.into(), detail.into()];
    let enhanced = reply
        .enhanced
        .map(codes)
        .filter(|[class, subject, detail]| decode_enhanced(*class, *subject, *detail).is_ok());
    v1::UpstreamAnswer {
        host: text(host.get(..host.floor_char_boundary(MAX_HOST_OCTETS)).unwrap_or_default()),
        code: reply.code.into(),
        enhanced: enhanced.map(Vec::from).unwrap_or_default(),
        lines: reply.lines.iter().map(|line| text(line)).collect(),
    }
}

/// Nothing of a later version's kind, and of what is over.
pub(super) fn decode_record(
    record: v1::DeliveryRecord,
    remaining: Duration,
) -> Result<Option<(Key, Told)>, Malformed> {
    let key = record.key.as_slice().try_into().map_err(|_| Malformed("the key of a delivery"))?;
    let answer = match record.answer {
        None => return Ok(None),
        Some(Answer::Over(_)) => None,
        Some(Answer::Open(_)) => Some(Recorded::Open),
        Some(Answer::Queued(_)) => Some(Recorded::Queued),
        Some(Answer::Delivered(upstream)) => Some(Recorded::Delivered(decode_upstream(upstream, 2..=2)?)),
        Some(Answer::Refused(upstream)) => Some(Recorded::Refused(decode_upstream(upstream, 2..=5)?)),
    };
    Ok(Told::new(record.id, answer, remaining).map(|told| (Key(key), told)))
}

/// An answer of a mail server that a client may be told: it is no more than lines of text. What a refusal's code is worth is
/// said where it is passed on.
fn decode_upstream(
    upstream: v1::UpstreamAnswer,
    classes: std::ops::RangeInclusive<u16>,
) -> Result<UpstreamReply, Malformed> {
    let v1::UpstreamAnswer { host, code, enhanced, lines } = upstream;
    let code = u16::try_from(code).ok().filter(|code| classes.contains(&(code / 100)));
    let code = code.ok_or(Malformed("the code of a reply"))?;
    let octets: usize = lines.iter().map(String::len).sum();
    let is_text = |text: &String| !text.chars().any(char::is_control);
    if !(1..=KEPT_LINES).contains(&lines.len()) || octets > KEPT_OCTETS || !lines.iter().all(is_text) {
        return Err(Malformed("the text of a reply"));
    }
    if host.len() > MAX_HOST_OCTETS || !is_text(&host) {
        return Err(Malformed("the host of a reply"));
    }
    let enhanced = match enhanced.as_slice() {
        [] => None,
        [class, subject, detail] => Some(decode_enhanced(*class, *subject, *detail)?),
        _ => return Err(Malformed("the enhanced code of a reply")),
    };
    Ok(UpstreamReply { host, reply: Reply { code, enhanced, reason: UPSTREAM_REASON, lines } })
}

/// RFC 3463 §2: a class of one digit, subject and detail of up to three.
fn decode_enhanced(class: u32, subject: u32, detail: u32) -> Result<Enhanced, Malformed> {
    let wrong = || Malformed("the enhanced code of a reply");
    let part = |part: u32| u16::try_from(part).ok().filter(|part| *part <= 999).ok_or_else(wrong);
    let class = u8::try_from(class).ok().filter(|class| matches!(class, 2 | 4 | 5)).ok_or_else(wrong)?;
    Ok(Enhanced(class, part(subject)?, part(detail)?))
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
