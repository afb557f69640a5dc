//! xtext, the form in which DSN parameters carry any printable text (RFC 3461 §4).
//!
//! ```text
//! xchar = any character between "!" and "~" but "+" and "="
//! xtext = *( xchar / "+" 2(upper-case hexadecimal digit) )
//! ```

/// The text in xtext. Characters outside ASCII become the `\x{HEX}` of RFC 6533 §3, which is xtext too and
/// understood in addresses of the type `utf-8`.
#[must_use]
pub fn encode(text: &str) -> String {
    let quoted = |c: char| match c {
        '!'..='*' | ','..='<' | '>'..='~' => c.to_string(),
        _ if c.is_ascii() => format!("+{:02X}", u32::from(c)),
        _ => embedded(c),
    };
    text.chars().map(quoted).collect()
}

/// The xtext with characters outside ASCII as `\x{HEX}`: what was said under SMTPUTF8 (RFC 6533 §3) becomes
/// what may be said without.
#[must_use]
pub fn to_ascii(xtext: &str) -> String {
    xtext.chars().map(|c| if c.is_ascii() { c.to_string() } else { embedded(c) }).collect()
}

fn embedded(c: char) -> String {
    format!("\\x{{{:X}}}", u32::from(c))
}

/// The text that xtext stands for; `None` unless it is xtext and stands for printable characters, as
/// RFC 3461 §4.2 and §4.4 ask of addresses and envelope ids. Characters outside ASCII are let through for
/// the caller to judge; `\x{HEX}` is left as it is.
#[must_use]
pub fn decode(xtext: &str) -> Option<String> {
    let mut out = String::with_capacity(xtext.len());
    let mut rest = xtext.chars();
    while let Some(c) = rest.next() {
        let decoded = match c {
            '+' => char::from(16 * hexadecimal(rest.next()?)? + hexadecimal(rest.next()?)?),
            '=' | ' ' => return None,
            _ => c,
        };
        let printable = if c == '+' { (' '..='~').contains(&decoded) } else { !decoded.is_control() };
        if !printable {
            return None;
        }
        out.push(decoded);
    }
    Some(out)
}

fn hexadecimal(digit: char) -> Option<u8> {
    let value = digit.to_digit(16).filter(|_| !digit.is_ascii_lowercase())?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rfc3461_4_xtext_of_plus_equals_and_space() {
        assert_eq!(encode("a+b=c d@e.example"), "a+2Bb+3Dc+20d@e.example");
        assert_eq!(decode("a+2Bb+3Dc+20d@e.example").as_deref(), Some("a+b=c d@e.example"));
    }

    #[test]
    fn rfc6533_3_characters_outside_ascii_are_embedded() {
        assert_eq!(encode("jürgen@e.example"), "j\\x{FC}rgen@e.example");
        assert_eq!(to_ascii("j+2Bü@e.example"), "j+2B\\x{FC}@e.example");
        assert_eq!(decode("jü").as_deref(), Some("jü"));
    }

    #[test]
    fn what_is_no_xtext_or_not_printable_is_refused() {
        for text in ["a=b", "a b", "a+2", "a+", "a+2b", "a+G0", "a+0D+0A", "a+00", "a+7F", "a+FC"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn printable_text_comes_back(text in "[ -~]{0,60}") {
            prop_assert_eq!(decode(&encode(&text)), Some(text));
        }

        #[test]
        fn encoded_text_holds_no_space_and_no_control(text in ".{0,60}") {
            prop_assert!(encode(&text).bytes().all(|octet| octet.is_ascii_graphic()));
        }
    }
}
