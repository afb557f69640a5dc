//! Base64 (RFC 4648 §4): for signatures, digests and MIME parts that we write, and for signatures and keys that
//! others wrote.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What stands in [`DIGITS`] for a character that is no digit.
const NO_DIGIT: u8 = 0xff;
/// The value of each character.
static DIGITS: [u8; 256] = digits();

#[allow(clippy::indexing_slicing, reason = "in a constant, where the compiler checks it")]
const fn digits() -> [u8; 256] {
    let mut digits = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 64 {
        digits[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    digits
}

/// Octets that make one line of 76 characters.
const LINE_OCTETS: usize = 57;

/// Encodes octets, with padding.
#[must_use]
pub fn encode(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len().div_ceil(3) * 4);
    for group in octets.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, octet| bits << 8 | u32::from(*octet)) << (8 * (3 - group.len()));
        for position in 0..4 {
            let index = (bits >> (18 - 6 * position)) & 0x3f;
            let digit = ALPHABET.get(index as usize).copied().unwrap_or(b'=');
            text.push(char::from(if position > group.len() { b'=' } else { digit }));
        }
    }
    text
}

/// Encodes octets in lines of at most 76 characters, each ended by CRLF (RFC 2045 §6.8).
#[must_use]
pub fn encode_lines(octets: &[u8]) -> String {
    octets.chunks(LINE_OCTETS).map(|line| encode(line) + "\r\n").collect()
}

/// Decodes text as tags hold it (RFC 6376 §3.2, `base64string`): white space anywhere, and the padding may be
/// missing. `None` for anything else.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut digits, mut padding) = (0_u32, 0_usize, 0_usize);
    for character in text.bytes().filter(|b| !b" \t\r\n".contains(b)) {
        let Some(digit) = digit(character) else {
            padding += 1;
            if character == b'=' && padding <= 2 { continue } else { return None }
        };
        if padding > 0 {
            return None;
        }
        bits = bits << 6 | u32::from(digit);
        digits += 1;
        if digits % 4 == 0 {
            octets.extend_from_slice(bits.to_be_bytes().get(1..)?);
            bits = 0;
        }
    }
    match digits % 4 {
        0 => {}
        2 => octets.push(u8::try_from(bits >> 4).ok()?),
        3 => octets.extend_from_slice((bits << 6).to_be_bytes().get(1..3)?),
        _ => return None,
    }
    Some(octets)
}

fn digit(character: u8) -> Option<u8> {
    DIGITS.get(usize::from(character)).copied().filter(|digit| *digit != NO_DIGIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4648_10_test_vectors() {
        for (octets, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ] {
            assert_eq!(encode(octets.as_bytes()), text);
            assert_eq!(decode(text).as_deref(), Some(octets.as_bytes()));
        }
        assert_eq!(encode(&[0xfb, 0xff, 0xfe]), "+//+");
        assert_eq!(decode("+//+"), Some(vec![0xfb, 0xff, 0xfe]));
    }

    #[test]
    fn rfc6376_3_2_white_space_may_stand_anywhere_and_padding_be_missing() {
        assert_eq!(decode(" Zm\r\n\t9v Yg = = ").as_deref(), Some(b"foob".as_slice()));
        assert_eq!(decode("Zm9vYg").as_deref(), Some(b"foob".as_slice()));
        for wrong in ["Z", "Zm9vY", "Zm9v====", "Zg==Zg==", "Zm_v", "Zm9v!", "\u{e4}mmm"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
