//! The relaxed canonical form of header fields (RFC 6376 §3.4.2), and what of a body its relaxed form depends on.

/// Appends the relaxed form of one field, without the CRLF that separates it from the next.
pub fn relaxed_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend(name.trim_ascii_end().iter().map(u8::to_ascii_lowercase));
    out.push(b':');
    let words = value.split(|b| b" \t\r\n".contains(b)).filter(|word| !word.is_empty());
    for (number, word) in words.enumerate() {
        if number > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

/// A body without the white space and the empty lines at its end. The relaxed canonical form (RFC 6376
/// §3.4.4) of both is the same; mail-auth 0.13 gets it right only for this one (its issue 62).
#[must_use]
pub fn without_blank_tail(body: &[u8]) -> &[u8] {
    let end = body.iter().rposition(|b| !b" \t\r\n".contains(b)).map_or(0, |last| last + 1);
    body.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6376_3_4_5_relaxed_fields() {
        let relaxed = |name: &str, value: &str| {
            let mut out = Vec::new();
            relaxed_field(name.as_bytes(), value.as_bytes(), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(relaxed("A", " X\r\n"), "a:X");
        assert_eq!(relaxed("B ", " Y\t\r\n\tZ  \r\n"), "b:Y Z");
        assert_eq!(relaxed("C", "\r\n"), "c:");
    }

    #[test]
    fn blank_lines_at_the_end_do_not_count() {
        assert_eq!(without_blank_tail(b"text \r\n  \r\n\t\r\n"), b"text");
        assert_eq!(without_blank_tail(b" \r\n"), b"");
        assert_eq!(without_blank_tail(b""), b"");
        assert_eq!(without_blank_tail(b"a\r\n\r\nb"), b"a\r\n\r\nb");
    }
}
