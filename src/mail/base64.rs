//! Base64 (RFC 4648 §4), encoding only: for signatures, digests and MIME parts that we write.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

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
        }
        assert_eq!(encode(&[0xfb, 0xff, 0xfe]), "+//+");
    }
}
