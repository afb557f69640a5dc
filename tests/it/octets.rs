//! What may not stand in a message, and what may not end one (RFC 5321 §2.3.8, §4.1.1.4; CVE-2023-51764 to
//! 51766).

use crate::support::{ALICE, Client, World, letter};

async fn addressed(world: &World) -> Client {
    let mut client = world.sender().await;
    address(&mut client).await;
    client
}

async fn address(client: &mut Client) {
    client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    client.command("RCPT TO:<info@ours.example>", "250").await;
}

/// False ends of data, each before a whole second message.
const FALSE_ENDS: &[(&str, &str)] = &[
    ("LF . LF", "\n.\n"),
    ("CR . CR", "\r.\r"),
    ("LF . CRLF", "\n.\r\n"),
    ("CRLF . LF", "\r\n.\n"),
    ("CR . CRLF", "\r.\r\n"),
    ("CRLF . CR", "\r\n.\r"),
    ("LF . CR LF with a NUL", "\n.\0\r\n"),
    ("CRLF NUL . CRLF", "\r\n\0.\r\n"),
];

#[tokio::test]
async fn only_crlf_dot_crlf_ends_data() {
    for (name, end) in FALSE_ENDS {
        let world = World::start().await;
        let mut client = addressed(&world).await;
        client.command("DATA", "354").await;
        let second = format!(
            "{}{end}MAIL FROM:<evil@sender.example>\r\nRCPT TO:<info@ours.example>\r\nDATA\r\n{}\r\n.\r\n",
            letter("first"),
            letter("second")
        );
        client.send_octets(second.as_bytes()).await;
        let heard = client.reply().await;
        assert_eq!(heard.code(), 550, "{name}: {}", heard.text());
        heard.contains("5.5.2");
        // The session is in step: the next reply is to the next command, and it is an ordinary one.
        address(&mut client).await;
        client.data(&letter("third")).await.starts("250");
        let taken = world.mx.taken();
        assert_eq!(taken.len(), 1, "{name}");
        assert!(taken[0].text().contains("Subject: third"), "{name}");
    }
}

#[tokio::test]
async fn bare_cr_bare_lf_and_nul_are_refused_in_data() {
    let world = World::start().await;
    let mut client = world.sender().await;
    for octets in ["bare\nlf", "bare\rcr", "nul\0nul", "\nlf at the start", "cr at the end\r"] {
        address(&mut client).await;
        client.command("DATA", "354").await;
        client.send_octets(format!("{}{octets}\r\n.\r\n", letter("x")).as_bytes()).await;
        client.expect("550 5.5.2").await;
    }
    assert!(world.mx.received().is_empty());
}

#[tokio::test]
async fn bare_cr_bare_lf_and_nul_are_refused_in_chunks() {
    let world = World::start().await;
    let mut client = world.sender().await;
    for octets in ["bare\nlf\r\n", "bare\rcr\r\n", "nul\0nul\r\n", "x\n.\nMAIL FROM:<>\r\n", "x\r\n.\ny\r\n"]
    {
        address(&mut client).await;
        let message = format!("{}{octets}", letter("x"));
        client.send_octets(format!("BDAT {} LAST\r\n{message}", message.len()).as_bytes()).await;
        client.expect("550 5.5.2").await;
    }
    assert!(world.mx.received().is_empty());
}

#[tokio::test]
async fn a_bare_cr_across_two_chunks_is_found() {
    let world = World::start().await;
    let mut client = addressed(&world).await;
    let first = format!("{}x\r", letter("x"));
    client.send_octets(format!("BDAT {}\r\n{first}", first.len()).as_bytes()).await;
    let heard = client.reply().await;
    client.send_octets(b"BDAT 4 LAST\r\nyz\r\n").await;
    let last = client.reply().await;
    assert!(heard.code() == 550 || last.code() == 550, "{heard:?} {last:?}");
    assert!(world.mx.received().is_empty());
}

#[tokio::test]
async fn rfc3030_a_dot_within_chunks_ends_nothing() {
    let world = World::start().await;
    let mut client = addressed(&world).await;
    let message = format!("{}\r\n.\r\nMAIL FROM:<evil@sender.example>\r\n", letter("x"));
    let (first, second) = message.split_at(message.len() / 2);
    client.send_octets(format!("BDAT {}\r\n{first}", first.len()).as_bytes()).await;
    client.expect("250").await;
    client.send_octets(format!("BDAT {}\r\n{second}BDAT 0 LAST\r\n", second.len()).as_bytes()).await;
    client.expect("250").await;
    client.expect("250").await;
    let received = world.mx.only();
    assert!(received.octets.ends_with(message.as_bytes()), "{}", received.text());
    let bare = received.wire.windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r');
    assert!(!bare, "a bare LF went upstream");
}

#[tokio::test]
async fn a_chunk_that_is_refused_is_read_all_the_same() {
    let world = World::start().await;
    let mut client = world.sender().await;
    client.send_octets(b"BDAT 12 LAST\r\nNOOP\r\nRSET\r\nNOOP\r\n").await;
    let heard = client.reply().await;
    assert!(matches!(heard.code(), 503 | 554), "{heard:?}");
    client.expect("250").await;
    client.command("NOOP", "250").await;
}

#[tokio::test]
async fn a_message_by_chunks_without_last_crlf_gets_one() {
    let world = World::start().await;
    let mut client = addressed(&world).await;
    let message = format!("{}no end", letter("x"));
    client.send_octets(format!("BDAT {} LAST\r\n{message}", message.len()).as_bytes()).await;
    client.expect("250").await;
    assert!(world.mx.only().octets.ends_with(b"no end\r\n"));
}

#[tokio::test]
async fn chunks_and_data_do_not_mix() {
    let world = World::start().await;
    let mut client = addressed(&world).await;
    client.send_octets(b"BDAT 3\r\na\r\n").await;
    client.expect("250").await;
    client.command("DATA", "503").await;
    client.command("RSET", "250").await;
    address(&mut client).await;
    client.data(&letter("x")).await.starts("250");
}

#[tokio::test]
async fn dots_are_unstuffed_and_stuffed_again() {
    let world = World::start().await;
    let mut client = addressed(&world).await;
    let message = format!("{}.\r\n..\r\n...x\r\n.\r\n", letter("dots"));
    client.data(&message).await.starts("250");
    assert!(world.mx.only().octets.ends_with(message.as_bytes()));
}

#[tokio::test]
async fn a_header_section_that_is_too_large_is_refused_and_the_session_goes_on() {
    let world = World::with(|config| config.limits.header_octets = 16_384).await;
    let mut client = addressed(&world).await;
    let huge = format!("X-Long: {}\r\n", "x".repeat(900)).repeat(30);
    client.data(&format!("{huge}{}", letter("x"))).await.starts("552 5.3.4");
    address(&mut client).await;
    client.data(&letter("x")).await.starts("250");
}

#[tokio::test]
async fn a_message_line_past_the_bound_is_refused() {
    let world = World::start().await;
    let mut client = addressed(&world).await;
    client.data(&format!("{}{}\r\n", letter("x"), "x".repeat(65_537))).await.starts("550 5.5.2");
    address(&mut client).await;
    client.data(&format!("{}{}\r\n", letter("x"), "x".repeat(65_536))).await.starts("250");
}
