use std::os::unix::fs::FileExt;

use futures_util::poll;
use tokio::time::advance;

use super::*;
use crate::pipeline::account::Account;

/// Enough for any message here, with the share of one network.
const PLENTY: u64 = 16 << 20;

struct Case {
    memory: Account,
    directory: tempfile::TempDir,
    message_octets: u64,
    header_octets: usize,
    floor_octets: u64,
}

impl Case {
    fn with_memory(octets: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            memory: Account::new(octets),
            directory,
            message_octets: 10_000_000,
            header_octets: 1000,
            floor_octets: 0,
        }
    }

    fn reception(&self) -> Reception {
        let bounds = Bounds {
            message_octets: self.message_octets,
            header_octets: self.header_octets,
            floor_octets: self.floor_octets,
            temporary: Arc::new(Temporary::new(self.directory.path().to_owned())),
        };
        Reception::new(bounds, self.memory.share([192, 0, 2, 1].into()))
    }
}

fn reception(message_octets: u64) -> (Reception, Case) {
    let case = Case { message_octets, ..Case::with_memory(PLENTY) };
    (case.reception(), case)
}

async fn finish(reception: Reception) -> Result<Message, u16> {
    let refer = |row: &'static reply::Row, argument: &str| row.with(&[argument]);
    reception.finish(refer).await.map(|(message, _)| message).map_err(|reply| reply.code)
}

fn octets_of(message: &Message) -> Vec<u8> {
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
    let (mut reception, _case) = reception(1000);
    assert_eq!(reception.data(b"A: 1\r\n\r").await, Progress::More);
    assert_eq!(reception.data(b"\n..body\r\n.\r\nQUIT").await, Progress::End(12));
    let message = finish(reception).await.unwrap();
    assert_eq!(&message.head()[..], b"A: 1\r\n\r\n");
    assert_eq!(octets_of(&message), b"A: 1\r\n\r\n.body\r\n");
}

#[tokio::test]
async fn a_large_message_goes_to_a_file_octet_for_octet() {
    let (mut reception, case) = reception(10_000_000);
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
    assert!(octets_of(&message) == sent);
    assert_eq!(std::fs::read_dir(case.directory.path()).unwrap().count(), 0, "the file has no name");
}

#[tokio::test]
async fn a_fault_is_answered_at_the_true_end() {
    for (content, code) in [(&b"A: 1\r\n\r\nbare\nlf\r\n"[..], 550), (b"A: 1\r\n\r\n\0\r\n", 550)] {
        let (mut reception, _case) = reception(1000);
        assert_eq!(reception.data(content).await, Progress::More);
        assert_eq!(reception.data(b".\r\n").await, Progress::End(3));
        assert_eq!(finish(reception).await.unwrap_err(), code);
    }
}

#[tokio::test]
async fn rfc1870_6_1_the_size_limit_counts_unstuffed_octets() {
    for (size, fits) in [(100, true), (101, false)] {
        let (mut reception, _case) = reception(100);
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
    let (mut reception, _case) = reception(100_000);
    let message = [b"A: ".to_vec(), vec![b'x'; 1000], b"\r\n\r\nbody\r\n.\r\n".to_vec()].concat();
    assert!(matches!(reception.data(&message).await, Progress::End(_)));
    assert_eq!(finish(reception).await.unwrap_err(), 552);
}

#[tokio::test]
async fn a_header_section_that_went_to_the_file_stays_whole() {
    let case = Case { header_octets: 262_144, ..Case::with_memory(PLENTY) };
    let mut reception = case.reception();
    let head = format!("From: a\r\n{}\r\n", format!("X: {}\r\n", "x".repeat(900)).repeat(150));
    let sent = format!("{head}{}", "body\r\n".repeat(400_000));
    for piece in sent.as_bytes().chunks(50_000) {
        assert_eq!(reception.data(piece).await, Progress::More);
    }
    assert_eq!(reception.data(b".\r\n").await, Progress::End(3));
    let message = finish(reception).await.unwrap();
    assert!(message.head() == head.as_bytes() && octets_of(&message) == sent.as_bytes());
    assert!(matches!(message.body(), Body::File { .. }));
}

/// What the session of this message hears: the code and enhanced code.
async fn heard(message: &str, size: usize) -> Result<Message, String> {
    let (mut reception, _case) = reception(10_000_000);
    for piece in message.as_bytes().chunks(size) {
        assert_eq!(reception.data(piece).await, Progress::More);
    }
    assert_eq!(reception.data(b".\r\n").await, Progress::End(3));
    let refer = |row: &'static reply::Row, argument: &str| row.with(&[argument]);
    reception.finish(refer).await.map(|(message, _)| message).map_err(|reply| reply.to_string())
}

#[tokio::test]
async fn a_header_section_with_a_line_that_is_no_field_is_refused_at_the_true_end() {
    for head in ["A: b\r\nprose\r\n", " folded\r\nA: b\r\n", "A: b\r\nFrom x\r\n"] {
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
    let case = Case { header_octets: 16_384, ..Case::with_memory(PLENTY) };
    for (fields, fits) in [(header::MAX_FIELDS, true), (header::MAX_FIELDS + 1, false)] {
        let mut reception = case.reception();
        assert!(matches!(
            reception.data(format!("{}\r\n.\r\n", section(fields)).as_bytes()).await,
            Progress::End(_)
        ));
        assert_eq!(finish(reception).await.err(), if fits { None } else { Some(552) });
    }
}

/// RFC 5322 §4.5.
#[tokio::test]
async fn white_space_before_a_colon_is_left_out() {
    let message = heard("A : b\r\n c : d\r\nB\t: e : f\r\n\r\nG : h\r\n", 5).await.unwrap();
    assert_eq!(octets_of(&message), b"A: b\r\n c : d\r\nB: e : f\r\n\r\nG : h\r\n");
}

/// RFC 4155 appendix A.
#[tokio::test]
async fn a_from_line_before_the_header_section_is_left_out() {
    for line in ["From bob Mon Nov 23 12:00:00 2026\r\n", ">From bob\r\n"] {
        for rest in ["A: b\r\n\r\nbody\r\n", "A: b\r\n\r\n", "A: b\r\n", "\r\nbody\r\n"] {
            let message = heard(&format!("{line}{rest}"), 9).await.unwrap();
            assert!(octets_of(&message) == rest.as_bytes(), "{rest:?}");
        }
        let rest = format!("A: b\r\n\r\n{}", "body\r\n".repeat(400_000));
        let message = heard(&format!("{line}{rest}"), 100_000).await.unwrap();
        assert!(matches!(message.body(), Body::File { .. }) && octets_of(&message) == rest.as_bytes());
        assert!(heard(&format!("{line}{line}A: b\r\n\r\n"), 9).await.is_err(), "one, and no more");
        assert!(heard(&format!("{line} folded\r\nA: b\r\n\r\n"), 9).await.is_err());
    }
}

#[tokio::test]
async fn chunks_are_taken_as_they_are() {
    let (mut reception, _case) = reception(1000);
    reception.chunk(b"A: 1\r\n\r\n.\r\n.").await;
    reception.chunk(b".no end").await;
    let message = finish(reception).await.unwrap();
    assert_eq!(octets_of(&message), b"A: 1\r\n\r\n.\r\n..no end");
}

/// RFC 5321 §4.2.3: 452 is for a system without room, 451 for an error in processing.
#[tokio::test]
async fn a_disk_that_fails_is_a_local_error_and_not_a_full_one() {
    let (mut reception, case) = reception(10_000_000);
    case.directory.close().unwrap();
    let message = [b"A: 1\r\n\r\n".to_vec(), b"line\r\n".repeat(500_000)].concat();
    assert_eq!(reception.data(&message).await, Progress::More);
    assert_eq!(reception.data(b".\r\n").await, Progress::End(3));
    assert_eq!(finish(reception).await.unwrap_err(), 451);
}

/// A letter of about so many octets.
fn letter(octets: usize) -> Vec<u8> {
    [b"A: 1\r\nB: 2\r\n\r\n".to_vec(), b"line\r\n".repeat(octets / 6)].concat()
}

#[tokio::test]
async fn memory_is_reserved_as_octets_come_and_never_less_than_is_used() {
    let (mut reception, _case) = reception(10_000_000);
    assert_eq!(reception.share.octets(), 0);
    let sent = letter(900_000);
    let mut steps = Vec::new();
    for piece in sent.chunks(3000) {
        reception.data(piece).await;
        let held = reception.share.octets();
        assert!(
            reception.buffer.capacity() <= held.max(UNRESERVED_OCTETS),
            "{}",
            reception.buffer.capacity()
        );
        steps.push(held);
    }
    steps.dedup();
    let expected: Vec<usize> = [0].into_iter().chain((1..=14).map(|step| step * STEP_OCTETS)).collect();
    assert_eq!(steps, expected);
    reception.data(b".\r\n").await;
    let capacity = reception.buffer.capacity();
    let (message, share) = reception.finish(|row, _| row.reply()).await.unwrap();
    assert!(matches!(message.body(), Body::Memory(_)));
    assert_eq!(share.octets(), capacity);
}

#[tokio::test]
async fn a_message_that_gets_no_memory_goes_on_in_its_file() {
    let case = Case::with_memory(0);
    for octets in [5000, 70_000, 3_000_000] {
        let mut reception = case.reception();
        let sent = letter(octets);
        for piece in sent.chunks(10_007) {
            reception.data(piece).await;
            assert!(reception.buffer.capacity() <= UNRESERVED_OCTETS, "{}", reception.buffer.capacity());
        }
        reception.data(b".\r\n").await;
        // Its header section has to be in memory in the end.
        case.memory.resize(1000);
        let message = finish(reception).await.unwrap();
        case.memory.resize(0);
        assert!(matches!(message.body(), Body::File { .. }));
        assert_eq!(&message.head()[..], b"A: 1\r\nB: 2\r\n\r\n");
        assert!(octets_of(&message) == sent);
    }
}

#[tokio::test]
async fn a_small_message_needs_no_share_at_all() {
    let case = Case { floor_octets: u64::MAX, ..Case::with_memory(0) };
    let mut reception = case.reception();
    let sent = letter(4000);
    for piece in sent.chunks(100) {
        reception.data(piece).await;
    }
    reception.data(b".\r\n").await;
    assert!(octets_of(&finish(reception).await.unwrap()) == sent);
}

/// RFC 5321 §4.2.3, conventions: read to its true end, then 452.
#[tokio::test]
async fn without_memory_and_room_on_the_disk_a_message_is_read_to_its_end() {
    let case = Case { floor_octets: u64::MAX, ..Case::with_memory(0) };
    let mut reception = case.reception();
    let sent = letter(100_000);
    for piece in sent.chunks(10_007) {
        assert_eq!(reception.data(piece).await, Progress::More);
    }
    assert_eq!(reception.data(b".\r\nQUIT").await, Progress::End(3));
    assert_eq!(finish(reception).await.unwrap_err(), 452);
}

#[tokio::test]
async fn a_header_section_that_memory_has_no_room_for_is_refused_for_now() {
    let case = Case::with_memory(0);
    let mut reception = case.reception();
    for piece in [letter(6000), b".\r\n".to_vec()] {
        reception.data(&piece).await;
    }
    assert_eq!(finish(reception).await.unwrap_err(), 452);
}

#[tokio::test]
async fn a_header_section_in_pieces_is_found_in_memory_and_in_a_file() {
    let sent = b"A: 1\r\nB: 2\r\n\r\n\r\nbody\r\n";
    let large = [&sent[..], &letter(10_000)].concat();
    for (memory, sent) in [(PLENTY, &sent[..]), (0, &large)] {
        for length in 1..sent.len().min(20) {
            let case = Case::with_memory(memory);
            let mut reception = case.reception();
            for piece in sent.chunks(length) {
                reception.chunk(piece).await;
            }
            case.memory.resize(PLENTY);
            let message = finish(reception).await.unwrap();
            assert_eq!(&message.head()[..], b"A: 1\r\nB: 2\r\n\r\n", "{length}");
            assert!(octets_of(&message) == sent, "{length}");
        }
    }
}

#[tokio::test]
async fn a_message_without_a_body_is_all_header_section() {
    for content in [&b"A: 1\r\n"[..], b"", b"\r\n", b"\r\nbody\r\n"] {
        let (mut reception, _case) = reception(1000);
        reception.chunk(content).await;
        let message = finish(reception).await.unwrap();
        assert_eq!(octets_of(&message), content);
        let head = if content.starts_with(b"\r\n") { 2 } else { content.len() };
        assert_eq!(message.head().len(), head);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_message_that_holds_memory_is_ended_while_memory_is_short() {
    let (mut slow, case) = reception(10_000_000);
    slow.data(&letter(50_000)).await;
    let mut too_slow = std::pin::pin!(slow.is_too_slow());
    assert!(poll!(too_slow.as_mut()).is_pending());
    // 10 s of grace, and 100 s for 50,000 octets; there is memory enough.
    advance(Duration::from_secs(1000)).await;
    assert!(poll!(too_slow.as_mut()).is_pending());
    case.memory.resize(2 * STEP_OCTETS as u64 - 1);
    assert!(poll!(too_slow.as_mut()).is_ready());
    // While it is short, exactly the time that the pace leaves is waited for.
    let mut too_slow = std::pin::pin!(slow.is_too_slow());
    advance(Duration::from_secs(109)).await;
    assert!(poll!(too_slow.as_mut()).is_pending());
    advance(Duration::from_secs(2)).await;
    assert!(poll!(too_slow.as_mut()).is_ready());
    // Its client had none of this time yet; once it had, there is no more.
    slow.waited(Duration::from_secs(111));
    let mut too_slow = std::pin::pin!(slow.is_too_slow());
    assert!(poll!(too_slow.as_mut()).is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_slow_message_that_holds_no_memory_is_in_nobodys_way() {
    let case = Case::with_memory(0);
    let mut slow = case.reception();
    slow.data(&letter(50_000)).await;
    let mut others = case.memory.share([198, 51, 100, 1].into());
    case.memory.resize(PLENTY);
    assert!(others.grow(1_000_000, Purpose::Content));
    case.memory.resize(1);
    let mut too_slow = std::pin::pin!(slow.is_too_slow());
    advance(Duration::from_secs(1000)).await;
    assert!(poll!(too_slow.as_mut()).is_pending());
}

/// A message in a file is in the way of others where the disk is short.
#[tokio::test(start_paused = true)]
async fn a_slow_message_in_a_file_is_ended_while_the_disk_is_short() {
    let case = Case::with_memory(0);
    let mut slow = case.reception();
    slow.data(&letter(50_000)).await;
    let mut too_slow = std::pin::pin!(slow.is_too_slow());
    advance(Duration::from_secs(1000)).await;
    assert!(poll!(too_slow.as_mut()).is_pending());
    // Somebody else finds the disk full.
    let temporary = slow.bounds.temporary.clone();
    let other = temporary.file(&case.memory.share([198, 51, 100, 1].into()));
    let full = Limits { floor_octets: u64::MAX, largest_octets: 0 };
    assert!(temporary.append(other, b"x", full).is_err());
    assert!(poll!(too_slow.as_mut()).is_ready());
    // What is given up holds nothing.
    slow.give_up();
    let mut too_slow = std::pin::pin!(slow.is_too_slow());
    advance(Duration::from_secs(1000)).await;
    assert!(poll!(too_slow.as_mut()).is_pending());
}
