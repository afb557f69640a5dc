use proptest::prelude::*;

use super::*;

fn kinds(value: &str) -> Vec<Kind> {
    tokens(value.as_bytes(), b"<>@,;:").unwrap().into_iter().map(|token| token.kind).collect()
}

fn word(text: &str) -> Kind {
    Kind::Word(text.to_owned())
}

#[test]
fn rfc5322_3_2_2_comments_nest_and_hold_quoted_pairs() {
    assert_eq!(kinds(" a (b (c) \\) d)\r\n\te"), [word("a"), word("e")]);
    assert_eq!(tokens(b"a (b (c)", b""), Err(Unbalanced));
    assert_eq!(tokens(b"a) b", b""), Err(Unbalanced));
    assert_eq!(tokens(b"(a\\", b""), Err(Unbalanced));
}

#[test]
fn rfc5322_3_2_4_quoted_strings_keep_specials_and_lose_folding() {
    assert_eq!(kinds("\"a, \\\"b\\\" (c)\r\n d\""), [Kind::Quoted("a, \"b\" (c) d".to_owned())]);
    assert_eq!(tokens(b"\"a", b""), Err(Unbalanced));
    assert_eq!(tokens(b"\"a\\", b""), Err(Unbalanced));
}

#[test]
fn a_token_knows_what_it_touches() {
    let found = tokens(b"a@b @ c", b"@").unwrap();
    assert_eq!(
        found.iter().map(|token| token.detached).collect::<Vec<_>>(),
        [false, false, false, true, true]
    );
}

proptest! {
    #[test]
    fn any_octets_are_taken(value in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = tokens(&value, b"<>@,;:[]");
    }

    #[test]
    fn comments_change_no_token(words in proptest::collection::vec("[a-z0-9.]{1,8}", 0..6), comment in "[a-z ;@\"<>]{0,12}") {
        let plain = words.join(" ");
        let commented = words.join(&format!("({comment})"));
        let strip = |value: &str| kinds(value);
        prop_assert_eq!(strip(&plain), strip(&commented));
    }
}
