//! Base64 (RFC 4648 §4): for signatures, digests and MIME parts that we write, and for signatures and keys that
//! others wrote.

use std::sync::LazyLock;

use data_encoding::{BASE64, Encoding};

/// Octets that make one line of 76 characters.
const LINE_OCTETS: usize = 57;

/// Without padding, and whatever the bits are that the last digit has too many.
static LENIENT: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = BASE64.specification();
    specification.padding = None;
    specification.check_trailing_bits = false;
    // Only the padding of a sound specification is gone.
    specification.encoding().unwrap_or(BASE64)
});

/// Encodes octets, with padding.
#[must_use]
pub fn encode(octets: &[u8]) -> String {
    BASE64.encode(octets)
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
    let mut digits: Vec<u8> = text.bytes().filter(|b| !b" \t\r\n".contains(b)).collect();
    for _ in 0..2 {
        digits.pop_if(|last| *last == b'=');
    }
    LENIENT.decode(&digits).ok()
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
