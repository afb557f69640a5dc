//! The third part: the original's header section, bounded and cleaned, or the whole original as it is, whose size the
//! caller has bounded.

use bytes::Bytes;

use crate::mail::header;

/// Largest header section that is given back, in octets; it is cut at the end of a field.
const MAX_HEAD_OCTETS: usize = 64 * 1024;
/// Longest line of it, without its CRLF (RFC 5322 §2.1.1).
const MAX_LINE_OCTETS: usize = 998;

/// The fields that fit, from the top, without the lines that are no field and without fields whose lines
/// are longer than mail may have.
pub(super) fn head(pieces: &[Bytes]) -> Vec<u8> {
    let section = pieces.concat();
    let mut head = Vec::new();
    for field in header::fields(&section) {
        let Some(octets) = section.get(field.range) else { continue };
        let mut octets = clean(octets);
        if !octets.ends_with(b"\r\n") {
            octets.extend_from_slice(b"\r\n");
        }
        if head.len() + octets.len() > MAX_HEAD_OCTETS {
            break;
        }
        if octets.split(|b| *b == b'\n').all(|line| line.len() <= MAX_LINE_OCTETS + 1) {
            head.extend(octets);
        }
    }
    head
}

/// The part that holds all of the original. `None`: its header section is of no known charset, which no type for whole
/// messages allows.
pub(super) fn whole(pieces: &[Bytes], body: &[u8]) -> Option<Vec<u8>> {
    let head = pieces.concat();
    std::str::from_utf8(&head).ok()?;
    let message = [head.as_slice(), body].concat();
    Some(if is_seven_bit(&message) {
        super::part("message/rfc822", &message)
    } else {
        super::encoded_part("message/global", &message)
    })
}

/// RFC 2045 §2.7, without control octets that a terminal would obey.
fn is_seven_bit(octets: &[u8]) -> bool {
    octets.is_ascii()
        && clean(octets) == octets
        && octets.split(|b| *b == b'\n').all(|line| line.len() <= MAX_LINE_OCTETS + 1)
}

/// Every control octet but tabs and whole line endings becomes `?`.
fn clean(octets: &[u8]) -> Vec<u8> {
    let is_end = |at: usize| octets.get(at..at + 2) == Some(b"\r\n");
    let keep = |at: usize, octet: u8| match octet {
        b'\r' => is_end(at),
        b'\n' => at > 0 && is_end(at - 1),
        _ => octet == b'\t' || !octet.is_ascii_control(),
    };
    octets.iter().enumerate().map(|(at, octet)| if keep(at, *octet) { *octet } else { b'?' }).collect()
}

/// The part: `text/rfc822-headers` (RFC 6522 §4), or for UTF-8 `message/global-headers` (RFC 6533 §6).
pub(super) fn part(head: &[u8]) -> Vec<u8> {
    let content_type = if head.is_ascii() {
        "text/rfc822-headers"
    } else if std::str::from_utf8(head).is_ok() {
        "message/global-headers"
    } else {
        // RFC 1428 §3: 8-bit octets of which nobody said what they are.
        "text/rfc822-headers; charset=unknown-8bit"
    };
    super::part(content_type, head)
}
