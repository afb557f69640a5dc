use proptest::prelude::*;

use super::*;

fn decode(octets: &[u8]) -> Result<Option<Reply>, ReplyError> {
    ReplyDecoder::default().decode(&mut BytesMut::from(octets))
}

fn reply(octets: &[u8]) -> Reply {
    decode(octets).unwrap().unwrap()
}

#[test]
fn rfc5321_4_2_1_multi_line_replies_keep_their_lines() {
    let reply = reply(b"550-5.1.1 No such user\r\n550-5.1.1 really\r\n550 5.1.1 bye\r\n");
    assert_eq!((reply.code, reply.enhanced), (550, Some(Enhanced(5, 1, 1))));
    assert_eq!(reply.lines, ["No such user", "really", "bye"]);
}

#[test]
fn rfc5321_4_2_a_code_alone_is_a_reply() {
    assert_eq!(reply(b"250\r\n").lines, [""]);
}

#[test]
fn bare_lf_ends_a_line() {
    assert_eq!(reply(b"250-a\n250 b\n").lines, ["a", "b"]);
}

#[test]
fn rfc2034_4_an_enhanced_code_of_another_class_is_text() {
    let reply = reply(b"550 4.1.1 odd\r\n");
    assert_eq!(reply.enhanced, Some(Enhanced(5, 0, 0)));
    assert_eq!(reply.lines, ["4.1.1 odd"]);
}

#[test]
fn a_reply_without_an_enhanced_code_gets_the_general_one_of_its_class() {
    assert_eq!(reply(b"450 later\r\n").enhanced, Some(Enhanced(4, 0, 0)));
    assert_eq!(reply(b"250 1.2.3.4 is an address\r\n").lines, ["1.2.3.4 is an address"]);
    assert_eq!(reply(b"354 go on\r\n").enhanced, None);
}

#[test]
fn control_and_8_bit_octets_are_cleaned() {
    assert_eq!(reply(b"550 a\x1b[2J\xc3\xa9\xff\rb\r\n").lines, ["a?[2J???b"]);
}

#[test]
fn what_is_no_reply_is_an_error() {
    assert_eq!(decode(b"25\r\n"), Err(ReplyError::NoCode));
    assert_eq!(decode(b"2x0 a\r\n"), Err(ReplyError::NoCode));
    assert_eq!(decode(b"250_a\r\n"), Err(ReplyError::NoCode));
    assert_eq!(decode(b"199 a\r\n"), Err(ReplyError::CodeOutOfRange(199)));
    assert_eq!(decode(b"600 a\r\n"), Err(ReplyError::CodeOutOfRange(600)));
    assert_eq!(decode(b"250-a\r\n251 b\r\n"), Err(ReplyError::CodeChanged(250, 251)));
}

#[test]
fn a_reply_is_bounded_in_line_lines_and_octets() {
    let long = [b"250 ".as_slice(), &[b'x'; 10_000], b"\r\n"].concat();
    assert_eq!(reply(&long).lines[0].len(), MAX_LINE_OCTETS - 4);
    let many = ["250-x\r\n".repeat(500), "250 y\r\n".into()].concat();
    assert_eq!(reply(many.as_bytes()).lines.len(), MAX_LINES);
    let wide = format!("250-{}\r\n", "x".repeat(600)).repeat(50) + "250 y\r\n";
    assert_eq!(reply(wide.as_bytes()).lines.concat().len(), MAX_TEXT_OCTETS);
    assert_eq!(decode(&[b'2'; MAX_REPLY_OCTETS]), Ok(None));
    assert_eq!(decode(&[b'2'; MAX_REPLY_OCTETS + 1]), Err(ReplyError::TooLong));
    assert_eq!(decode("250-x\r\n".repeat(20_000).as_bytes()), Err(ReplyError::TooLong));
}

#[test]
fn the_bound_counts_octets_and_not_the_pieces_they_come_in() {
    let mut decoder = ReplyDecoder::default();
    for _ in 0..MAX_REPLY_OCTETS {
        assert_eq!(decoder.decode(&mut BytesMut::from(b"2".as_slice())), Ok(None));
    }
    assert_eq!(decoder.decode(&mut BytesMut::from(b"2".as_slice())), Err(ReplyError::TooLong));
}

#[test]
fn pipelined_replies_come_out_one_at_a_time() {
    let mut input = BytesMut::from(b"250 a\r\n450 b\r\n3".as_slice());
    let mut decoder = ReplyDecoder::default();
    assert_eq!(decoder.decode(&mut input).unwrap().unwrap().code, 250);
    assert_eq!(decoder.decode(&mut input).unwrap().unwrap().code, 450);
    assert_eq!(decoder.decode(&mut input), Ok(None));
    input.extend_from_slice(b"54 c\r\n");
    assert_eq!(decoder.decode(&mut input).unwrap().unwrap().code, 354);
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same(octets in "(2[05]0[- ][a-z.\r]{0,20}\r?\n){0,6}.{0,30}", cut in 0usize..200) {
        let whole = decode(octets.as_bytes());
        let mut decoder = ReplyDecoder::default();
        let cut = cut.min(octets.len());
        let mut input = BytesMut::from(&octets.as_bytes()[..cut]);
        let mut pieces = decoder.decode(&mut input);
        if pieces == Ok(None) {
            input.extend_from_slice(&octets.as_bytes()[cut..]);
            pieces = decoder.decode(&mut input);
        }
        prop_assert_eq!(pieces, whole);
    }

    #[test]
    fn no_octets_panic(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&octets);
    }
}
