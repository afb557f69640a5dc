use super::*;

fn decode(octets: &[u8]) -> Vec<Line> {
    let mut decoder = LineDecoder::default();
    let mut buffer = BytesMut::from(octets);
    std::iter::from_fn(|| decoder.decode(&mut buffer)).collect()
}

#[test]
fn rfc5321_2_3_8_only_crlf_ends_a_valid_line() {
    assert_eq!(
        decode(b"NOOP\r\nNOOP\nNO\rOP\r\nQUIT\r\nrest"),
        [Line::Complete("NOOP".into()), Line::Malformed, Line::Malformed, Line::Complete("QUIT".into())]
    );
}

#[test]
fn an_over_long_line_is_read_to_its_end_and_the_next_one_is_understood() {
    let mut decoder = LineDecoder::default();
    let mut buffer = BytesMut::from(&[b'x'; 3000][..]);
    assert_eq!(decoder.decode(&mut buffer), None);
    buffer.extend_from_slice(&[b'x'; 3000]);
    assert_eq!(decoder.decode(&mut buffer), None);
    buffer.extend_from_slice(b"\r\nNOOP\r\n");
    assert_eq!(decoder.decode(&mut buffer), Some(Line::TooLong));
    assert_eq!(decoder.decode(&mut buffer), Some(Line::Complete("NOOP".into())));
}

#[test]
fn a_bdat_that_is_no_valid_line_is_told_from_other_lines() {
    let long = |verb: &str| format!("{verb} 6{}\r\n", " ".repeat(3000));
    assert_eq!(decode(b"BDAT 6\nNOOP\n"), [Line::Chunk, Line::Malformed]);
    assert_eq!(decode(b"bdat\r 6\r\n"), [Line::Chunk]);
    assert_eq!(decode(long("BDAT").as_bytes()), [Line::Chunk]);
    assert_eq!(decode(long("NOOP").as_bytes()), [Line::TooLong]);
    let mut decoder = LineDecoder::default();
    let text = long("BDAT");
    let (head, tail) = text.split_at(2500);
    let mut buffer = BytesMut::from(head);
    assert_eq!(decoder.decode(&mut buffer), None);
    buffer.extend_from_slice(tail.as_bytes());
    buffer.extend_from_slice(b"NOOP\r\n");
    assert_eq!(decoder.decode(&mut buffer), Some(Line::Chunk));
    assert_eq!(decoder.decode(&mut buffer), Some(Line::Complete("NOOP".into())));
}

#[test]
fn a_line_without_end_is_given_up() {
    let mut decoder = LineDecoder::default();
    let mut buffer = BytesMut::new();
    for _ in 0..40 {
        buffer.extend_from_slice(&[b'x'; 2000]);
        if decoder.decode(&mut buffer) == Some(Line::Endless) {
            return;
        }
    }
    panic!("80000 octets without LF were swallowed");
}
