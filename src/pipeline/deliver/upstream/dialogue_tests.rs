use super::*;

fn octets(lines: &[String]) -> usize {
    lines.iter().map(String::len).sum()
}

#[test]
fn a_short_dialogue_is_kept_whole() {
    let dialogue = Dialogue::default();
    dialogue.note('>', "MAIL FROM:<>");
    dialogue.note('<', "250 2.1.0 OK");
    assert_eq!(dialogue.lines(), ["> MAIL FROM:<>", "< 250 2.1.0 OK"]);
}

#[test]
fn of_a_dialogue_in_long_lines_the_first_and_the_last_are_kept() {
    let dialogue = Dialogue::default();
    for number in 0..1000 {
        dialogue.note('<', format!("{number} {}", "\u{1f4e7}".repeat(1000)));
    }
    let lines = dialogue.lines();
    assert!(octets(&lines) <= 16 << 10, "{}", octets(&lines));
    assert!(lines[0].starts_with("< 0 "), "{}", lines[0]);
    assert!(lines.last().unwrap().starts_with("< 999 "), "{lines:?}");
    let left_out = 1000 - (lines.len() - 1);
    assert!(lines.contains(&format!("* {left_out} lines left out")), "{lines:?}");
}

#[test]
fn of_a_dialogue_in_many_lines_the_first_and_the_last_are_kept() {
    let dialogue = Dialogue::default();
    for number in 0..1000 {
        dialogue.note('<', number);
    }
    let lines = dialogue.lines();
    assert!(lines.len() <= 200, "{}", lines.len());
    assert_eq!((lines[0].as_str(), lines.last().unwrap().as_str()), ("< 0", "< 999"));
}
