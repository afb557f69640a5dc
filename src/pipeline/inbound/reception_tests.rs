use std::os::unix::fs::FileExt;

use tokio::sync::Semaphore;

use super::*;

fn reception(message_octets: u64) -> (Reception, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let permits = Arc::new(Semaphore::new(MEMORY_OCTETS));
    let permit = permits.try_acquire_many_owned(u32::try_from(MEMORY_OCTETS).unwrap()).unwrap();
    let bounds = Bounds { message_octets, header_octets: 1000, directory: directory.path().to_owned() };
    (Reception::new(bounds, permit), directory)
}

async fn finish(reception: Reception) -> Result<Message, u16> {
    let refer = |row: &'static reply::Row, argument: &str| row.with(&[argument]);
    reception.finish(refer).await.map(|(message, _)| message).map_err(|reply| reply.code)
}

fn octets(message: &Message) -> Vec<u8> {
    let mut out = message.head().to_vec();
    match message.body() {
        Body::Memory(body) => out.extend_from_slice(body),
        Body::File { file, offset, octets } => {
            let mut body = vec![0; usize::try_from(*octets).unwrap()];
            file.read_exact_at(&mut body, *offset).unwrap();
            out.extend_from_slice(&body);
        }
    }
    out
}

#[tokio::test]
async fn a_small_message_stays_in_memory_whole() {
    let (mut reception, _directory) = reception(1000);
    assert_eq!(reception.data(b"A: 1\r\n\r").await, Progress::More);
    assert_eq!(reception.data(b"\n..body\r\n.\r\nQUIT").await, Progress::End(12));
    let message = finish(reception).await.unwrap();
    assert_eq!(&message.head()[..], b"A: 1\r\n\r\n");
    assert_eq!(octets(&message), b"A: 1\r\n\r\n.body\r\n");
}

#[tokio::test]
async fn a_large_message_goes_to_a_file_octet_for_octet() {
    let (mut reception, directory) = reception(10_000_000);
    let mut sent = b"A: 1\r\nB: 2\r\n\r\n".to_vec();
    for line in 0..60_000 {
        sent.extend_from_slice(
            format!("line {line} of a message that does not fit in memory\r\n").as_bytes(),
        );
    }
    for piece in sent.chunks(100_003) {
        assert_eq!(reception.data(piece).await, Progress::More);
    }
    assert_eq!(reception.data(b".\r\n").await, Progress::End(3));
    let message = finish(reception).await.unwrap();
    assert!(matches!(message.body(), Body::File { .. }));
    assert_eq!(message.original_octets(), sent.len() as u64);
    assert!(octets(&message) == sent);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "the file has no name");
}

#[tokio::test]
async fn a_fault_is_answered_at_the_true_end() {
    for (content, code) in [(&b"A: 1\r\n\r\nbare\nlf\r\n"[..], 550), (b"A: 1\r\n\r\n\0\r\n", 550)] {
        let (mut reception, _directory) = reception(1000);
        assert_eq!(reception.data(content).await, Progress::More);
        assert_eq!(reception.data(b".\r\n").await, Progress::End(3));
        assert_eq!(finish(reception).await.unwrap_err(), code);
    }
}

#[tokio::test]
async fn rfc1870_6_1_the_size_limit_counts_unstuffed_octets() {
    for (size, fits) in [(100, true), (101, false)] {
        let (mut reception, _directory) = reception(100);
        let message = [b"A: 1\r\n\r\n..".to_vec(), vec![b'x'; size - 11], b"\r\n.\r\n".to_vec()].concat();
        assert!(matches!(reception.data(&message).await, Progress::End(_)));
        assert_eq!(
            finish(reception).await.map(|m| m.original_octets()),
            if fits { Ok(100) } else { Err(552) }
        );
    }
}

#[tokio::test]
async fn a_header_section_past_its_bound_is_refused() {
    let (mut reception, _directory) = reception(100_000);
    let message = [b"A: ".to_vec(), vec![b'x'; 1000], b"\r\n\r\nbody\r\n.\r\n".to_vec()].concat();
    assert!(matches!(reception.data(&message).await, Progress::End(_)));
    assert_eq!(finish(reception).await.unwrap_err(), 552);
}

/// A client that declares a small SIZE has a small permit.
#[tokio::test]
async fn a_header_section_larger_than_its_permit_stays_whole() {
    let directory = tempfile::tempdir().unwrap();
    let permit = Arc::new(Semaphore::new(100_000)).try_acquire_many_owned(100_000).unwrap();
    let bounds =
        Bounds { message_octets: 1_000_000, header_octets: 262_144, directory: directory.path().to_owned() };
    let mut reception = Reception::new(bounds, permit);
    let head = format!("From: a\r\n{}\r\n", format!("X: {}\r\n", "x".repeat(900)).repeat(150));
    let sent = format!("{head}{}", "body\r\n".repeat(40_000));
    for piece in sent.as_bytes().chunks(50_000) {
        assert_eq!(reception.data(piece).await, Progress::More);
    }
    assert_eq!(reception.data(b".\r\n").await, Progress::End(3));
    let message = finish(reception).await.unwrap();
    assert!(message.head() == head.as_bytes() && octets(&message) == sent.as_bytes());
    assert!(matches!(message.body(), Body::File { .. }));
}

#[tokio::test]
async fn chunks_are_taken_as_they_are() {
    let (mut reception, _directory) = reception(1000);
    reception.chunk(b"A: 1\r\n\r\n.\r\n.").await;
    reception.chunk(b".no end").await;
    let message = finish(reception).await.unwrap();
    assert_eq!(octets(&message), b"A: 1\r\n\r\n.\r\n..no end");
}

/// RFC 5321 §4.2.3: 452 is for a system without room, 451 for an error in processing.
#[tokio::test]
async fn a_disk_that_fails_is_a_local_error_and_not_a_full_one() {
    let (mut reception, directory) = reception(10_000_000);
    directory.close().unwrap();
    let message = [b"A: 1\r\n\r\n".to_vec(), b"line\r\n".repeat(500_000)].concat();
    assert_eq!(reception.data(&message).await, Progress::More);
    assert_eq!(reception.data(b".\r\n").await, Progress::End(3));
    assert_eq!(finish(reception).await.unwrap_err(), 451);
}
