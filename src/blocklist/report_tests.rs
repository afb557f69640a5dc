use super::*;

#[test]
fn texts_are_few_and_short_and_hold_no_control_characters() {
    let records: Vec<Vec<u8>> = (0..9).map(|_| [b"\x1b[2J".as_slice(), &[b'x'; 5000]].concat()).collect();
    let texts = texts(&records, None);
    assert_eq!(texts.len(), 4);
    assert_eq!(texts[0], format!("[2J{}", "x".repeat(297)));
}

#[test]
fn a_text_that_names_the_subscribers_key_is_left_out_whatever_its_case() {
    let records = [b"see 66.0.0.127.SeSaMe.bl.example".to_vec(), b"spam".to_vec()];
    assert_eq!(texts(&records, Some("sesame")), [LEFT_OUT, "spam"]);
    assert_eq!(texts(&records, None)[0], "see 66.0.0.127.SeSaMe.bl.example");
}
