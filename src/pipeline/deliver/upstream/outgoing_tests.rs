use std::io::Write;

use super::*;

async fn wire(message: &Message) -> (Vec<u8>, usize) {
    let mut outgoing = Content::survey(message).await.unwrap().outgoing();
    let (mut out, mut buffer, mut writes) = (Vec::new(), Vec::new(), 0);
    loop {
        let rest = outgoing.fill(&mut buffer).await.unwrap();
        out.extend_from_slice(&buffer);
        writes += 1;
        if rest == Rest::Ended {
            return (out, writes);
        }
    }
}

fn in_file(head: &[u8], body: &[u8]) -> Message {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(head).unwrap();
    file.write_all(body).unwrap();
    let (offset, octets) = (head.len() as u64, body.len() as u64);
    Message::new(Bytes::copy_from_slice(head), Body::File { file: Arc::new(file.into()), offset, octets })
}

#[tokio::test]
async fn a_small_message_is_one_write() {
    let mut message = Message::from_octets(Bytes::from_static(b"A: 1\r\nB: 2\r\n\r\n.dot\r\nend"));
    message.omit(std::iter::once(0..6).collect());
    message.prepend(b"R: 0\r\n");
    let (octets, writes) = wire(&message).await;
    assert_eq!(octets, b"R: 0\r\nB: 2\r\n\r\n..dot\r\nend\r\n.\r\n");
    assert_eq!(writes, 1);
}

#[tokio::test]
async fn a_body_in_a_file_goes_out_like_one_in_memory() {
    let head = b"A: 1\r\n\r\n";
    let body = b".0123456789 a line of text\r\n".repeat(20_000);
    let (from_file, writes) = wire(&in_file(head, &body)).await;
    let whole = [head.as_slice(), &body].concat();
    let (from_memory, _) = wire(&Message::from_octets(Bytes::from(whole))).await;
    assert!(from_file == from_memory);
    assert!(writes > 1 && writes <= from_file.len() / BLOCK_OCTETS + 1, "{writes} writes");
}

#[tokio::test]
async fn eight_bit_octets_are_noticed_wherever_they_are() {
    let seven = Content::survey(&in_file(b"A: 1\r\n\r\n", b"text\r\n")).await.unwrap();
    assert_eq!((seven.head_octets, seven.all_octets), (Octets::SevenBit, Octets::SevenBit));
    let body = Content::survey(&in_file(b"A: 1\r\n\r\n", &[b'x'; 100_000].map(|b| b + 10))).await.unwrap();
    assert_eq!((body.head_octets, body.all_octets), (Octets::SevenBit, Octets::EightBit));
    let head = Content::survey(&in_file(b"A: \xc3\xa9\r\n\r\n", b"")).await.unwrap();
    assert_eq!((head.head_octets, head.all_octets), (Octets::EightBit, Octets::EightBit));
}

#[tokio::test]
async fn a_file_that_is_too_short_is_an_error() {
    let file = Arc::new(tempfile::tempfile().unwrap().into());
    let message = Message::new(Bytes::new(), Body::File { file, offset: 0, octets: 5 });
    assert!(Content::survey(&message).await.is_err());
}
