use super::*;
use crate::mail::{Notify, Return};
use crate::telemetry::labels::{AttemptResult, Handshake, IpFamily, TlsDemand, TlsVersion};

#[tokio::test]
async fn a_message_goes_to_the_best_host_dot_stuffed() {
    let (world, upstream) = one_host(&["hello \n mail"]).await;
    let outcome = world.deliver_one(Mail::to(&[ANA])).await;
    assert_eq!(said(&outcome), "delivered by mx1.dest.example: 250 2.0.0 queued");
    world.upstreams.drain().await;
    let Heard { lines, messages, .. } = upstream.finish().await;
    assert_eq!(messages, ["Subject: hi\r\n\r\n..hello\r\n"]);
    let expected = [
        "EHLO relay.example",
        "MAIL FROM:<srs@customer.example>",
        "RCPT TO:<ana@dest.example>",
        "DATA",
        "QUIT",
    ];
    assert_eq!(lines, expected);
    assert_eq!(world.attempts(IpFamily::V4, AttemptResult::Delivered), 1);
}

#[tokio::test]
async fn rfc2920_3_1_envelope_and_data_leave_in_one_write() {
    let script = "hello PIPELINING,SIZE 1000,8BITMIME,SMTPUTF8
        < MAIL FROM:<srs@customer.example> SIZE=23
        < RCPT TO:<ana@dest.example>
        < RCPT TO:<bob@dest.example>
        < DATA
        > 250 sender ok
        > 250 ok
        > 550 5.1.1 no bob
        > 354 go
        message
        > 250 2.0.0 queued";
    let (world, upstream) = one_host(&[script]).await;
    let outcomes = world.deliver(Mail::to(&[ANA, BOB])).await;
    assert_eq!(said(&outcomes[0]), "delivered by mx1.dest.example: 250 2.0.0 queued");
    assert_eq!(said(&outcomes[1]), "refused by mx1.dest.example: 550 5.1.1 no bob");
    world.upstreams.drain().await;
    upstream.finish().await;
}

#[tokio::test]
async fn rfc2920_3_1_a_354_without_recipients_is_answered_by_an_empty_message() {
    let script = "hello PIPELINING
        < MAIL
        < RCPT
        < DATA
        > 250 ok
        > 550 5.1.1 no ana
        > 354 go
        message
        > 554 5.5.1 no valid recipients
        < MAIL
        < RCPT
        < DATA
        > 250 ok
        > 250 ok
        > 354 go
        message
        > 250 ok";
    let (world, upstream) = one_host(&[script]).await;
    let refused = world.deliver_one(Mail::to(&[ANA])).await;
    assert_eq!(said(&refused), "refused by mx1.dest.example: 550 5.1.1 no ana");
    assert!(matches!(world.deliver_one(Mail::to(&[BOB])).await, Outcome::Delivered(_)));
    world.upstreams.drain().await;
    assert_eq!(upstream.finish().await.messages, ["", "Subject: hi\r\n\r\n..hello\r\n"]);
}

#[tokio::test]
async fn a_reply_to_all_copies_tells_none_of_them_where_the_others_go() {
    let at_mail = "hello\n < MAIL\n > 550 5.7.1 not to <Bob@dest.example> or ana%40dest.example";
    let rcpts = "hello\n < MAIL\n > 250 ok\n < RCPT\n > 250 ok\n < RCPT\n > 250 ok\n < DATA";
    let at_data = format!("{rcpts}\n > 452 4.2.2 <bob@dest.example>: full, ana@dest.example is not");
    let at_dot = format!("{rcpts}\n > 354 go\n message\n > 552 5.2.2 bob@dest.example is full, ana is not");
    let words = [
        (at_mail, "550 5.7.1 not to <alias1@customer.example> or alias0@customer.example"),
        (&at_data, "452 4.2.2 <alias1@customer.example>: full, alias0@customer.example is not"),
        (&at_dot, "552 5.2.2 alias1@customer.example is full, alias0 is not"),
    ];
    for (script, told) in words {
        let (world, _upstream) = one_host(&[script]).await;
        for outcome in world.deliver(Mail::to(&[ANA, BOB])).await {
            assert_eq!(said(&outcome), format!("refused by mx1.dest.example: {told}"));
        }
    }
}

#[tokio::test]
async fn a_late_reply_to_all_copies_tells_none_of_them_where_the_others_go() {
    let script =
        "hello\n < MAIL\n > 250 ok\n < RCPT\n > 250 ok\n < RCPT\n > 250 ok\n < DATA\n > 354 go\n message
        wait 1500\n > 452 4.2.2 <bob@dest.example>: full";
    let (world, _upstream) = one_host(&[script]).await;
    let hurried = Mail { in_session: Duration::from_secs(1), ..Mail::to(&[ANA, BOB]) };
    for outcome in world.deliver(hurried).await {
        let Outcome::AwaitingReply { late, .. } = outcome else { panic!("{}", said(&outcome)) };
        assert_eq!(late.await.unwrap().reply.to_string(), "452 4.2.2 <alias1@customer.example>: full");
    }
}

#[tokio::test]
async fn refusals_at_mail_rcpt_data_and_the_dot_are_the_upstreams_word() {
    let at_mail = "hello
        < MAIL
        > 550-5.7.1 we do not
        > 550 5.7.1 want you";
    let at_rcpt = "hello
        < MAIL
        > 250 ok
        < RCPT
        > 450 4.2.0 greylisted";
    let at_data = "hello
        < MAIL
        > 250 ok
        < RCPT
        > 250 ok
        < DATA
        > 451 no room";
    let at_dot = "hello
        < MAIL
        > 250 ok
        < RCPT
        > 250 ok
        < DATA
        > 354 go
        message
        > 552 5.3.4 too large";
    for (script, expected) in [
        (at_mail, "550 5.7.1 we do not"),
        (at_rcpt, "450 4.2.0 greylisted"),
        (at_data, "451 4.0.0 no room"),
        (at_dot, "552 5.3.4 too large"),
    ] {
        let (world, one, two) = two_hosts(&[script], &[]).await;
        let outcome = world.deliver_one(Mail::to(&[ANA])).await;
        assert_eq!(said(&outcome), format!("refused by mx1.dest.example: {expected}"));
        world.upstreams.drain().await;
        world.until_connections(0).await;
        drop(one.finish().await);
        assert!(two.heard().clients.is_empty(), "the second host was asked too");
    }
}

#[tokio::test]
async fn a_refusal_of_everybody_stands_though_the_upstream_hangs_up() {
    for script in [
        "hello PIPELINING\n < MAIL\n > 550 5.7.1 blocked\n close",
        "hello PIPELINING\n < MAIL\n > 250 ok\n > 550 5.7.1 blocked\n close",
    ] {
        let (world, _upstream) = one_host(&[script]).await;
        let outcome = world.deliver_one(Mail::to(&[ANA])).await;
        assert_eq!(said(&outcome), "refused by mx1.dest.example: 550 5.7.1 blocked");
    }
}

#[tokio::test]
async fn rfc5321_3_2_helo_where_ehlo_is_not_known() {
    let script = "> 220 old
        < EHLO
        > 500 what
        < HELO relay.example
        > 250 old
        mail";
    let (world, upstream) = one_host(&[script]).await;
    assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::Delivered(_)));
    assert!(upstream.heard().lines.contains(&"MAIL FROM:<srs@customer.example>".to_owned()));
}

#[tokio::test]
async fn mail_is_sent_under_tls_where_it_is_offered() {
    let script = "hello STARTTLS
        < STARTTLS
        > 220 go
        tls
        < EHLO
        > 250-mx
        > 250 PIPELINING
        mail";
    let (world, upstream) = one_host(&[script]).await;
    let outcome = world.deliver_one(Mail::to(&[ANA])).await;
    assert!(matches!(outcome, Outcome::Delivered(_)), "{}", said(&outcome));
    assert_eq!(upstream.heard().messages.len(), 1);
    let handshakes = &world.upstreams.metrics.smtp_tls_connections_total;
    assert_eq!(handshakes.of(Handshake::Outbound(TlsVersion::V1_3, TlsDemand::Opportunistic)).get(), 1);
}

#[tokio::test]
async fn rfc3207_4_2_octets_behind_the_220_are_thrown_away() {
    let script = "> 220 mx
        < EHLO
        > 250-mx
        > 250 STARTTLS
        < STARTTLS
        >> 220 go\\r\\n250-mx\\r\\n250 INJECTED\\r\\n
        wait 50
        tls
        < EHLO
        > 250 mx
        mail";
    let (world, _upstream) = one_host(&[script]).await;
    let outcome = world.deliver_one(Mail::to(&[ANA])).await;
    assert!(matches!(outcome, Outcome::Delivered(_)), "{}", said(&outcome));
}

#[tokio::test]
async fn a_failed_handshake_is_followed_by_one_plain_try_on_a_new_connection() {
    let broken = "hello STARTTLS\n < STARTTLS\n > 220 go\n > this is no handshake\n close";
    let (world, upstream) = one_host(&[broken, "hello STARTTLS\n mail"]).await;
    let outcome = world.deliver_one(Mail::to(&[ANA])).await;
    assert!(matches!(outcome, Outcome::Delivered(_)), "{}", said(&outcome));
    assert_eq!(upstream.heard().clients.len(), 2);
}

#[tokio::test]
async fn rfc1870_a_message_past_the_upstreams_size_is_not_sent() {
    let (world, _upstream) = one_host(&["hello SIZE 10"]).await;
    let outcome = world.deliver_one(Mail::to(&[ANA])).await;
    assert!(matches!(outcome, Outcome::Undeliverable(Refusal::UpstreamSize(10))), "{}", said(&outcome));
}

#[tokio::test]
async fn eight_bit_mail_needs_8bitmime_and_seven_bit_mail_declared_so_does_not() {
    let (world, _upstream) = one_host(&["hello "]).await;
    let eight = Mail { octets: Bytes::from_static(b"A: 1\r\n\r\n\xff\r\n"), ..Mail::to(&[ANA]) };
    let outcome = world.deliver_one(eight).await;
    assert!(matches!(outcome, Outcome::Undeliverable(Refusal::UpstreamWithout8Bit)), "{}", said(&outcome));

    let (world, upstream) = one_host(&["hello \n mail"]).await;
    let declared = Mail { body_type: BodyType::EightBitMime, ..Mail::to(&[ANA]) };
    assert!(matches!(world.deliver_one(declared).await, Outcome::Delivered(_)));
    assert!(upstream.heard().lines.contains(&"MAIL FROM:<srs@customer.example>".to_owned()));
}

#[tokio::test]
async fn rfc6531_smtputf8_is_said_only_when_it_is_needed() {
    let requested = |octets: &'static [u8], to: &str| Mail {
        octets: Bytes::from_static(octets),
        smtp_utf8: SmtpUtf8::Requested,
        ..Mail::to(&[to])
    };
    let (world, upstream) = one_host(&["hello SMTPUTF8,8BITMIME\n mail\n mail\n mail"]).await;
    world.deliver_one(requested(b"A: 1\r\n\r\n", ANA)).await;
    world.deliver_one(requested("A: \u{e9}\r\n\r\n".as_bytes(), ANA)).await;
    world.deliver_one(requested(b"A: 1\r\n\r\n", "\u{e9}@dest.example")).await;
    let mail: Vec<_> = upstream.heard().lines.into_iter().filter(|line| line.starts_with("MAIL")).collect();
    assert_eq!(
        mail,
        [
            "MAIL FROM:<srs@customer.example>",
            "MAIL FROM:<srs@customer.example> BODY=8BITMIME SMTPUTF8",
            "MAIL FROM:<srs@customer.example> SMTPUTF8",
        ]
    );

    let (world, _upstream) = one_host(&["hello 8BITMIME"]).await;
    let outcome = world.deliver_one(requested("A: \u{e9}\r\n\r\n".as_bytes(), ANA)).await;
    assert!(matches!(outcome, Outcome::Undeliverable(Refusal::UpstreamWithoutUtf8)), "{}", said(&outcome));
}

#[tokio::test]
async fn rfc9422_recipients_past_the_upstreams_limit_go_in_the_next_transaction() {
    let (world, upstream) = one_host(&["hello LIMITS RCPTMAX=1\n mail\n mail"]).await;
    let outcomes = world.deliver(Mail::to(&[ANA, BOB])).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Delivered(_))));
    assert_eq!(upstream.heard().messages.len(), 2);
}

#[tokio::test]
async fn rfc5321_4_1_1_5_a_transaction_without_a_dot_is_reset_before_the_next() {
    let script = "hello LIMITS RCPTMAX=1
        < MAIL
        > 250 ok
        < RCPT
        > 550 5.1.1 no ana
        < RSET
        > 250 ok
        mail";
    let (world, _upstream) = one_host(&[script]).await;
    let outcomes = world.deliver(Mail::to(&[ANA, BOB])).await;
    assert_eq!(said(&outcomes[0]), "refused by mx1.dest.example: 550 5.1.1 no ana");
    assert_eq!(said(&outcomes[1]), "delivered by mx1.dest.example: 250 2.0.0 queued");
}

#[tokio::test]
async fn rfc5321_4_5_3_1_10_one_recipient_too_many_goes_in_the_next_transaction() {
    let script = "hello
        < MAIL
        > 250 ok
        < RCPT TO:<ana
        > 250 ok
        < RCPT TO:<bob
        > 452 4.5.3 too many
        < DATA
        > 354 go
        message
        > 250 2.0.0 first
        < MAIL
        > 250 ok
        < RCPT TO:<bob
        > 250 ok
        < DATA
        > 354 go
        message
        > 250 2.0.0 second";
    let (world, _upstream) = one_host(&[script]).await;
    let outcomes = world.deliver(Mail::to(&[ANA, BOB])).await;
    assert_eq!(said(&outcomes[0]), "delivered by mx1.dest.example: 250 2.0.0 first");
    assert_eq!(said(&outcomes[1]), "delivered by mx1.dest.example: 250 2.0.0 second");
}

#[tokio::test]
async fn shipments_go_side_by_side_and_come_back_in_rcpt_order() {
    let slow = ["hello \n < MAIL\n wait 300\n > 550 5.7.1 slow no"];
    let other = ["hello \n < MAIL\n wait 300\n > 550 5.7.1 other no"];
    let [one, _two] = Upstream::pair(("127.0.0.1", &slow), ("127.0.0.2", &other)).await;
    let world = World::new(one.address.port(), "").await;
    let started = Instant::now();
    let outcomes = world.deliver(Mail::to(&["a@[127.0.0.1]", "b@[127.0.0.2]", "c@[127.0.0.1]"])).await;
    assert!(started.elapsed() < Duration::from_millis(590), "one after the other");
    let hosts: Vec<String> = outcomes.iter().map(said).collect();
    assert_eq!(
        hosts,
        [
            "refused by [127.0.0.1]: 550 5.7.1 slow no",
            "refused by [127.0.0.2]: 550 5.7.1 other no",
            "refused by [127.0.0.1]: 550 5.7.1 slow no",
        ]
    );
}

#[tokio::test]
async fn mail_leaves_from_the_outbound_pool() {
    let upstream = Upstream::start("127.0.0.1", 0, &["hello \n mail"]).await;
    let pool =
        Options { port: upstream.address.port(), sources: vec!["127.0.0.9".parse().unwrap()], ..options() };
    let world = World::with(pool, "@ MX 10 mx1\nmx1 A 127.0.0.1\nmx1 AAAA ::1").await;
    assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::Delivered(_)));
    assert_eq!(upstream.heard().clients[0].ip().to_string(), "127.0.0.9");
    assert_eq!(world.attempts(IpFamily::V6, AttemptResult::Unreachable), 0);
}

#[tokio::test]
async fn a_message_goes_on_with_what_came_of_it() {
    let (world, _upstream) = one_host(&["hello \n mail"]).await;
    let turn = Deliver(world.upstreams.clone()).run(Mail::to(&[ANA]).rewritten()).await;
    let Turn::Next(attempted) = turn else { panic!("{turn:?}") };
    assert!(matches!(attempted.deliveries[0].outcome, Outcome::Delivered(_)));
}

#[tokio::test]
async fn rfc3461_5_2_7_4_success_is_not_asked_of_an_upstream_that_could_name_the_destination() {
    let (world, upstream) = one_host(&["hello DSN\n mail"]).await;
    let mail = Mail {
        message_request: MessageRequest {
            ret: Some(Return::Full),
            envelope_id: Some("QQ1".into()),
            ..MessageRequest::default()
        },
        request: RecipientRequest {
            notify: Notify::On { success: true, failure: true, delay: false },
            original_recipient: None,
        },
        ..Mail::to(&[ANA])
    };
    assert!(matches!(world.deliver_one(mail).await, Outcome::Delivered(_)));
    let lines = upstream.heard().lines;
    assert!(lines.contains(&"MAIL FROM:<srs@customer.example> RET=FULL ENVID=QQ1".to_owned()), "{lines:?}");
    let rcpt = format!("RCPT TO:<{ANA}> NOTIFY=FAILURE ORCPT=rfc822;alias0@customer.example");
    assert!(lines.contains(&rcpt), "{lines:?}");
}
