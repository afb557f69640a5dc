//! Sessions: greeting, TLS, proxies, limits and the end (RFC 5321 §3, RFC 3207, RFC 2920).

use std::time::Duration;

use crate::support::{ALICE, Act, Client, LIMIT, SENDER, Stage, World, letter, until};

#[tokio::test]
async fn who_speaks_before_the_greeting_is_refused() {
    let world = World::start().await;
    let mut client = world.raw().await;
    client.send_octets(b"EHLO bot.example\r\nMAIL FROM:<x@y.example>\r\n").await;
    client.expect("554 5.5.1").await;
    client.ended().await;
}

#[tokio::test]
async fn rfc3207_commands_behind_starttls_are_thrown_away() {
    let world = World::start().await;
    let mut client = world.sender().await;
    client
        .send_octets(b"STARTTLS\r\nMAIL FROM:<evil@sender.example>\r\nRCPT TO:<info@ours.example>\r\n")
        .await;
    client.expect("220").await;
    client.handshake().await;
    // No reply to the injected commands comes over TLS, and nothing of them, nor of EHLO, is remembered.
    client.command("RCPT TO:<info@ours.example>", "503").await;
    client.command("EHLO mail.sender.example", "250").await.lacks("STARTTLS");
    client.submit(ALICE, &["info@ours.example"], &letter("x")).await.starts("250");
    assert!(world.mx.only().text().contains("with ESMTPS"));
}

#[tokio::test]
async fn starttls_is_offered_once() {
    let world = World::start().await;
    let mut client = world.raw().await;
    client.expect("220").await;
    client.command("EHLO mail.sender.example", "250").await.contains("STARTTLS");
    client.starttls().await;
    client.command("EHLO mail.sender.example", "250").await.lacks("STARTTLS");
    client.command("STARTTLS", "503").await;
}

#[tokio::test]
async fn rfc2920_a_whole_transaction_may_be_pipelined() {
    let world = World::start().await;
    let mut client = world.sender().await;
    let envelope = format!(
        "MAIL FROM:<{ALICE}>\r\nRCPT TO:<nobody@ours.example>\r\nRCPT TO:<info@ours.example>\r\nDATA\r\n"
    );
    client.send_octets(envelope.as_bytes()).await;
    client.expect("250").await;
    client.expect("550").await;
    client.expect("250").await;
    client.expect("354").await;
    let rest =
        format!("{}\r\n.\r\nMAIL FROM:<{ALICE}>\r\nRSET\r\nQUIT\r\n", letter("x").replace("\r\n.", "\r\n.."));
    client.send_octets(rest.as_bytes()).await;
    for code in ["250", "250", "250", "221"] {
        client.expect(code).await;
    }
    client.ended().await;
    assert_eq!(world.mx.taken().len(), 1);
}

#[tokio::test]
async fn a_trusted_proxy_speaks_for_its_client() {
    let world =
        World::with(|config| config.smtp.trusted_proxies = vec!["127.0.0.5/32".parse().unwrap()]).await;
    let proxy = "127.0.0.5".parse().unwrap();
    let v2 = [
        b"\r\n\r\n\0\r\nQUIT\n".as_slice(),
        &[0x21, 0x11, 0, 12, 127, 0, 0, 66, 127, 0, 0, 1, 0x30, 0x39, 0, 25],
    ]
    .concat();
    for header in [b"PROXY TCP4 127.0.0.66 127.0.0.1 12345 25\r\n".to_vec(), v2] {
        let mut client = Client::connect(proxy, world.smtp).await;
        client.send_octets(&header).await;
        client.expect("220").await;
        client.command("EHLO listed.example", "250").await;
        client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
        client.command("RCPT TO:<info@ours.example>", "554 5.7.1 127.0.0.66 found").await;
    }
}

#[tokio::test]
async fn a_trusted_proxy_without_a_header_is_refused() {
    let world =
        World::with(|config| config.smtp.trusted_proxies = vec!["127.0.0.5/32".parse().unwrap()]).await;
    let mut client = Client::connect("127.0.0.5".parse().unwrap(), world.smtp).await;
    client.send_octets(b"EHLO x.example\r\n").await;
    client.expect("554 5.5.2").await;
    client.ended().await;
}

#[tokio::test]
async fn a_proxy_header_from_anyone_else_is_an_error() {
    let world = World::start().await;
    let mut client = world.raw().await;
    client.expect("220").await;
    client.command("PROXY TCP4 127.0.0.66 127.0.0.1 12345 25", "500").await;
}

#[tokio::test]
async fn too_many_sessions_from_a_network_hear_421() {
    let world = World::with(|config| config.limits.sessions_per_network = 2).await;
    let first = world.sender().await;
    let _second = world.sender().await;
    let mut third = world.raw().await;
    third.expect("421").await;
    third.ended().await;
    drop(first);
    until("a place is free again", || true, LIMIT).await;
    let mut fourth = world.raw().await;
    let mut heard = fourth.reply().await;
    for _ in 0..100 {
        if heard.code() == 220 {
            break;
        }
        fourth = world.raw().await;
        heard = fourth.reply().await;
    }
    assert_eq!(heard.code(), 220);
}

#[tokio::test]
async fn too_many_errors_end_the_session() {
    let world = World::with(|config| config.limits.errors = 5).await;
    let mut client = world.sender().await;
    for _ in 0..20 {
        if client.exchange("NONSENSE").await.code() == 421 {
            return client.ended().await;
        }
    }
    panic!("twenty errors were answered");
}

#[tokio::test]
async fn an_idle_client_is_told_goodbye() {
    let world = World::with(|config| config.limits.command_timeout = Duration::from_secs(1)).await;
    let mut client = world.sender().await;
    client.expect("421 4.4.2").await;
    client.ended().await;
}

#[tokio::test]
async fn a_client_that_stops_within_its_message_is_told_goodbye() {
    let world = World::with(|config| config.limits.data_timeout = Duration::from_secs(1)).await;
    let mut client = world.sender().await;
    client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    client.command("RCPT TO:<info@ours.example>", "250").await;
    client.command("DATA", "354").await;
    client.send_octets(b"From: alice").await;
    client.expect("421 4.4.2").await;
    client.ended().await;
    assert!(world.mx.received().is_empty());
}

/// A session in which a message may begin.
async fn with_a_recipient(world: &World) -> Client {
    let mut client = world.sender().await;
    client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    client.command("RCPT TO:<info@ours.example>", "250").await;
    client
}

#[tokio::test]
async fn a_message_in_chunks_that_takes_too_long_ends_the_session() {
    let world = World::with(|config| config.limits.message_timeout = Duration::from_secs(1)).await;
    let mut idle = with_a_recipient(&world).await;
    idle.send_octets(b"BDAT 1\r\nF").await;
    idle.expect("250").await;
    let mut busy = with_a_recipient(&world).await;
    busy.send_octets(b"BDAT 1\r\nF").await;
    busy.expect("250").await;
    let chatter = async { while busy.exchange("NOOP").await.code() == 250 {} };
    tokio::time::timeout(LIMIT, chatter).await.expect("the session goes on");
    busy.ended().await;
    idle.expect("421 4.4.2").await;
    idle.ended().await;
    assert!(world.mx.received().is_empty());
}

#[tokio::test]
async fn a_chunk_before_any_recipient_begins_no_message() {
    let world = World::with(|config| config.limits.message_timeout = Duration::from_secs(1)).await;
    let mut early = [world.sender().await, world.sender().await];
    for (client, (chunk, heard)) in early.iter_mut().zip([("BDAT 1", "554"), ("BDAT 1 FIRST", "501")]) {
        client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
        client.send_octets(format!("{chunk}\r\nF").as_bytes()).await;
        client.expect(heard).await;
    }
    let mut begun = with_a_recipient(&world).await;
    begun.send_octets(b"BDAT 1\r\nF").await;
    begun.expect("250").await;
    begun.expect("421 4.4.2").await;
    for client in &mut early {
        client.command("RCPT TO:<info@ours.example>", "250").await;
        client.data(&letter("x")).await.starts("250");
    }
}

#[tokio::test]
async fn a_chunk_that_drips_ends_the_session_taken_or_refused() {
    let world = World::with(|config| config.limits.message_timeout = Duration::from_secs(1)).await;
    let mut taken = with_a_recipient(&world).await;
    let mut refused = world.sender().await;
    for client in [&mut taken, &mut refused] {
        client.send_octets(b"BDAT 1000000\r\nF").await;
        let drips = async {
            while !heard_421(client).await {
                client.try_send_octets(b"x").await;
            }
        };
        tokio::time::timeout(LIMIT, drips).await.expect("the session goes on");
    }
}

/// Whether a 421 is there by now.
async fn heard_421(client: &mut Client) -> bool {
    let line = tokio::time::timeout(Duration::from_millis(20), client.line()).await;
    line.is_ok_and(|line| line.expect("a 421 before the end").starts_with("421 4.4.2"))
}

#[tokio::test]
async fn a_command_line_without_end_is_bounded() {
    let world = World::start().await;
    let mut client = world.sender().await;
    client.send(&"x".repeat(10_000)).await;
    client.expect("500").await;
    client.command("NOOP", "250").await;
    while client.try_send_octets(&[b'x'; 10_000]).await {
        if client_heard_500(&mut client).await {
            return;
        }
    }
}

/// Whether a 500 or the end is there by now.
async fn client_heard_500(client: &mut Client) -> bool {
    match tokio::time::timeout(Duration::from_millis(20), client.line()).await {
        Ok(Some(line)) => {
            assert!(line.starts_with("500") || line.starts_with("421"), "{line}");
            true
        }
        Ok(None) => true,
        Err(_) => false,
    }
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_takes_nothing_new() {
    let world = World::start().await;
    world.mx.when(Stage::Dot, "", 1, Act::SayAfter(Duration::from_secs(1), "250 2.0.0 taken".into()));
    let mut idle = world.sender().await;
    let mut busy = world.sender().await;
    busy.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    busy.command("RCPT TO:<info@ours.example>", "250").await;
    busy.command("DATA", "354").await;
    busy.send_octets(format!("{}\r\n.\r\n", letter("x").replace("\r\n.", "\r\n..")).as_bytes()).await;
    until("the message is upstream", || !world.mx.received().is_empty(), LIMIT).await;
    let World { node, mx, smtp, .. } = world;
    let clients = async {
        idle.expect("421 4.3.2").await;
        idle.ended().await;
        busy.expect("250").await;
    };
    tokio::time::timeout(LIMIT, async { tokio::join!(node.drain(), clients) })
        .await
        .expect("drained in time");
    assert_eq!(mx.taken().len(), 1);
    assert!(tokio::net::TcpStream::connect(smtp).await.is_err(), "still listening");
}

#[tokio::test]
async fn sender_names_itself_in_the_trace() {
    let world = World::start().await;
    let mut client = Client::connect(SENDER, world.smtp).await;
    client.expect("220 linda.mx.relay.example").await;
    client.command("EHLO", "501").await;
    client.command("HELO mail.sender.example", "250").await;
    client.submit(ALICE, &["info@ours.example"], &letter("x")).await.starts("250");
    assert!(world.mx.only().text().contains("with SMTP"), "{}", world.mx.only().text());
}
