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

/// What the session of this message hears: the code and enhanced code.
async fn heard(message: &str, size: usize) -> Result<Message, String> {
    let (mut reception, _directory) = reception(10_000_000);
    for piece in message.as_bytes().chunks(size) {
        assert_eq!(reception.data(piece).await, Progress::More);
    }
    assert_eq!(reception.data(b".\r\n").await, Progress::End(3));
    let refer = |row: &'static reply::Row, argument: &str| row.with(&[argument]);
    reception.finish(refer).await.map(|(message, _)| message).map_err(|reply| reply.to_string())
}

#[tokio::test]
async fn a_header_section_with_a_line_that_is_no_field_is_refused_at_the_true_end() {
    for head in [
        "A: b\r\nprose\r\n",
        " folded\r\nA: b\r\n",
        "A: b\r\n \r\nB: c\r\n",
        "B : c\r\n",
        "A: b\r\nFrom x\r\n",
    ] {
        for rest in ["", "\r\n", "\r\nbody\r\n"] {
            for size in [1, 7, 1000] {
                let heard = heard(&format!("{head}{rest}"), size).await.unwrap_err();
                assert!(heard.starts_with("550 5.6.0 "), "{head:?} {rest:?}: {heard}");
            }
        }
    }
    let large = heard(&format!("prose\r\n\r\n{}", "body\r\n".repeat(400_000)), 100_000).await;
    assert!(large.unwrap_err().starts_with("550 5.6.0 "));
    // Without an empty line all of it is header section.
    assert!(heard("A: b\r\nB: c\r\n", 3).await.is_ok());
    assert!(heard("\r\nbody\r\n", 3).await.is_ok());
}

#[tokio::test]
async fn a_bare_line_feed_in_a_header_section_is_called_that() {
    for head in ["A: b\nprose\r\n\r\n", "prose\n\r\n", "prose\r\n\r\nbare\nbody\r\n"] {
        assert!(heard(head, 5).await.unwrap_err().starts_with("550 5.5.2 "), "{head:?}");
    }
}

#[tokio::test]
async fn a_header_section_of_too_many_fields_is_refused() {
    let section = |fields| "A:\r\n".repeat(fields);
    let heard = heard(&format!("{}\r\nbody\r\n", section(240)), 100).await;
    assert!(heard.is_ok());
    let directory = tempfile::tempdir().unwrap();
    for (fields, fits) in [(header::MAX_FIELDS, true), (header::MAX_FIELDS + 1, false)] {
        let permit = Arc::new(Semaphore::new(100_000)).try_acquire_many_owned(100_000).unwrap();
        let bounds =
            Bounds { message_octets: 100_000, header_octets: 16_384, directory: directory.path().to_owned() };
        let mut reception = Reception::new(bounds, permit);
        assert!(matches!(
            reception.data(format!("{}\r\n.\r\n", section(fields)).as_bytes()).await,
            Progress::End(_)
        ));
        assert_eq!(finish(reception).await.err(), if fits { None } else { Some(552) });
    }
}

/// RFC 4155 appendix A.
#[tokio::test]
async fn a_from_line_before_the_header_section_is_left_out() {
    for line in ["From bob Mon Nov 23 12:00:00 2026\r\n", ">From bob\r\n"] {
        for rest in ["A: b\r\n\r\nbody\r\n", "A: b\r\n\r\n", "A: b\r\n", "\r\nbody\r\n"] {
            let message = heard(&format!("{line}{rest}"), 9).await.unwrap();
            assert!(octets(&message) == rest.as_bytes(), "{rest:?}");
        }
        let rest = format!("A: b\r\n\r\n{}", "body\r\n".repeat(400_000));
        let message = heard(&format!("{line}{rest}"), 100_000).await.unwrap();
        assert!(matches!(message.body(), Body::File { .. }) && octets(&message) == rest.as_bytes());
        assert!(heard(&format!("{line}{line}A: b\r\n\r\n"), 9).await.is_err(), "one, and no more");
        assert!(heard(&format!("{line} folded\r\nA: b\r\n\r\n"), 9).await.is_err());
    }
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
