use std::io::Write;

use bytes::Bytes;

use super::*;
use crate::mail::base64;

const HEAD: &[u8] = b"A: b\r\n\r\n";
/// Of "text" and its line's end.
const GOOD: &str = "eDCyaw7m810RhFf0TmGWGkTYiT/1GwL4/PCOGIr3ew4=";

fn in_file(body: &[u8]) -> Message {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[HEAD, body].concat()).unwrap();
    let body =
        Body::File { file: Arc::new(file.into()), offset: HEAD.len() as u64, octets: body.len() as u64 };
    Message::new(Bytes::from_static(HEAD), body)
}

#[test]
fn rfc6376_3_4_4_relaxed_body_hashes_are_right_for_blank_tails() {
    let hashes = |body: &str| {
        let hashes = Hashes::take(body.as_bytes(), Wanted::Both);
        (base64::encode(&hashes.simple.unwrap()), base64::encode(&hashes.relaxed))
    };
    assert_eq!(hashes("text\r\n"), (GOOD.to_owned(), GOOD.to_owned()));
    let (simple, relaxed) = hashes("text\r\n  \r\n\t\r\n");
    assert_eq!(relaxed, GOOD);
    // RFC 6376 §3.4.3: the simple form keeps white space.
    assert_ne!(simple, GOOD);
}

fn works(octets: usize) -> Works {
    Works { contiguous: Arc::new(Semaphore::new(octets)), cores: Cores::of_machine().unwrap() }
}

#[tokio::test]
async fn a_body_in_a_file_takes_memory_only_while_it_is_hashed() {
    let works = works(6);
    let hashes = Hashes::of(&in_file(b"text\r\n"), Wanted::Relaxed, &works).await.unwrap();
    assert_eq!(hashes.relaxed().to_string(), GOOD);
    assert_eq!(works.contiguous.available_permits(), 6);
}

#[tokio::test(start_paused = true)]
async fn without_memory_the_sender_keeps_the_message() {
    let hashes = Hashes::of(&in_file(b"text"), Wanted::Relaxed, &works(3)).await;
    assert_eq!(hashes.unwrap_err(), Refusal::NoStorage);
}
