//! The messages of the crash tests: each is made from its number alone, so that whoever has a copy can tell
//! whether it is whole.

use crate::support::ALICE;

/// The start of a subject; the message's number follows.
const SUBJECT: &str = "Subject: crash-";

/// Message `number`: most are small, every tenth has 10 KiB, and now and then one has 400 KiB, whose body is a
/// file of its own in the spool.
pub(crate) fn letter(number: u64) -> String {
    let lines = match number {
        _ if number % 150 == 7 => 6400,
        _ if number.is_multiple_of(10) => 160,
        _ => 4,
    };
    let mut text = format!(
        "From: Alice <{ALICE}>\r\nTo: info@ours.example\r\n{SUBJECT}{number}\r\n\
         Date: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <crash-{number}@sender.example>\r\n\r\n"
    );
    let mut word = number;
    for line in 0..lines {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407 + line);
        text.push_str(&format!("{word:016x} {number:020} {line:020} {:04x}\r\n", word >> 48));
    }
    text
}

/// The number of the message that these octets are a copy of.
pub(crate) fn number(octets: &[u8]) -> Option<u64> {
    field(octets, SUBJECT)?.parse().ok()
}

/// The id under which the node took this copy: of the topmost Received field.
pub(crate) fn trace(octets: &[u8]) -> Option<String> {
    let head = head(octets);
    let from =
        head.find("\nReceived: ").map(|at| at + 1).or_else(|| head.starts_with("Received: ").then_some(0))?;
    let (_, id) = head[from..].split_once(" id ").or_else(|| head[from..].split_once("\tid "))?;
    Some(id.chars().take_while(char::is_ascii_alphanumeric).collect())
}

fn head(octets: &[u8]) -> String {
    String::from_utf8_lossy(&octets[..octets.len().min(16_384)]).into_owned()
}

fn field(octets: &[u8], start: &str) -> Option<String> {
    head(octets).lines().find_map(|line| line.strip_prefix(start).map(str::to_owned))
}
