use super::*;

/// Whatever the first host does, the second gets the message, in time.
async fn is_survived(script: &str) {
    let (world, _one, _two) = two_hosts(&[script], &["hello \n mail"]).await;
    let started = Instant::now();
    let outcome = world.deliver_one(Mail::to(&[ANA])).await;
    assert_eq!(said(&outcome), "delivered by mx2.dest.example: 250 2.0.0 queued", "{script}");
    assert!(started.elapsed() < IN_SESSION / 2, "{script} took {:?}", started.elapsed());
}

#[tokio::test]
async fn an_endless_greeting_is_left() {
    is_survived("flood").await;
}

#[tokio::test]
async fn a_greeting_that_is_no_smtp_is_left() {
    is_survived("> SSH-2.0-OpenSSH_9.9\n hang").await;
    is_survived(&format!("> 220-{}\n > 250 changed\n hang", "x".repeat(5000))).await;
    is_survived("> 999 what\n hang").await;
}

#[tokio::test]
async fn an_octet_now_and_then_does_not_buy_time() {
    let drip: String = "220-mx".chars().map(|c| format!(">> {c}\n wait 250\n")).collect();
    is_survived(&format!("{drip}{drip}{drip}hang")).await;
}

#[tokio::test]
async fn replies_that_do_not_answer_the_question_are_left() {
    is_survived("hello \n < MAIL\n > 354 go on\n hang").await;
    is_survived("hello \n < MAIL\n > 250 ok\n < RCPT\n > 250 ok\n < DATA\n > 250 delivered\n hang").await;
}

#[tokio::test]
async fn what_an_upstream_says_comes_back_clean_and_bounded() {
    let script =
        format!("hello \n < MAIL\n >> 550-5.7.1 \u{1b}[31mred {}\\r\\n\n > 550 5.7.1 end", "y".repeat(9000));
    let (world, _upstream) = one_host(&[&script]).await;
    let outcome = world.deliver_one(Mail::to(&[ANA])).await;
    let Outcome::Refused(upstream) = outcome else { panic!("{}", said(&outcome)) };
    assert!(upstream.reply.lines[0].starts_with("?[31mred yyy"), "{:?}", upstream.reply.lines[0]);
    assert!(upstream.reply.lines.iter().all(|line| line.len() <= 4096));
}

#[tokio::test]
async fn a_reply_ahead_of_its_question_spoils_the_connection_only() {
    let eager = "hello \n mail\n > 250 unasked\n hang";
    let (world, upstream) = one_host(&[eager, "hello \n mail"]).await;
    for _ in 0..2 {
        assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::Delivered(_)));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(upstream.heard().messages.len(), 2);
}

#[tokio::test]
async fn talk_after_221_is_not_waited_for() {
    let (world, _upstream) = one_host(&["hello \n mail\n < QUIT\n > 221 bye\n flood"]).await;
    assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::Delivered(_)));
    let started = Instant::now();
    world.upstreams.drain().await;
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(world.upstreams.metrics.delivery_connections.get(), 0);
}
