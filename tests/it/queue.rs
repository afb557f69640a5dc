//! What no upstream could take is on our disk before the sender hears 250, and reaches its destination once.

use std::time::Duration;

use postroad::dev::keys::signature;
use postroad::mail::dkim::NewKey;
use postroad::routing::Asker;
use postroad::spool::CopyState;

use crate::support::{ALICE, Act, LIMIT, SENDER_NAME, STRANGER, Stage, World, letter, until};

const INFO: &[&str] = &["info@ours.example"];
const BOTH: &[&str] = &["info@ours.example", "sales@ours.example"];

/// A world whose upstream is not asked at RCPT, and whose queue waits for an order.
async fn patient() -> World {
    World::with(|config| {
        config.delivery.cut_through = false;
        config.delivery.retry_first = Duration::from_secs(3600);
    })
    .await
}

/// An impatient world whose upstream is not asked at RCPT.
async fn impatient_at_the_dot() -> World {
    World::with(|config| {
        config.delivery.cut_through = false;
        config.delivery.retry_first = Duration::from_millis(200);
        config.delivery.retry_longest = Duration::from_millis(400);
    })
    .await
}

#[tokio::test]
async fn what_no_upstream_answers_for_is_queued_and_delivered_once_it_does() {
    let world = World::impatient().await;
    world.mx.at(Stage::Banner, Act::Close);
    let heard = world.sender().await.submit(ALICE, INFO, &letter("one")).await;
    heard.starts("250 2.0.0 Queued (trace ");
    assert_eq!(world.mx.taken().len(), 0);
    world.mx.be_kind();
    until("the queue delivers", || world.mx.taken().len() == 1, LIMIT).await;
    let received = world.mx.only();
    assert!(received.reverse_path().starts_with("SRS0="), "{}", received.mail);
    assert!(received.text().contains(&heard.trace()), "{}", received.text());
    assert!(received.octets.ends_with(letter("one").as_bytes()), "{}", received.text());
    world.emptied().await;
}

#[tokio::test]
async fn mail_of_a_sender_that_nobody_vouches_for_stays_with_it() {
    let world = World::impatient().await;
    world.mx.at(Stage::Banner, Act::Close);
    world.unvouched().await.starts("451 4.4.1");
    assert!(world.queued().await.is_empty());
}

/// Whoever is given a name under a domain signs with it, and writes as the domain's own users: DMARC passes for the
/// author, and a bounce would go to them.
#[tokio::test]
async fn a_name_below_a_domain_vouches_for_none_of_its_users() {
    let world = World::impatient().await;
    world.mx.at(Stage::Banner, Act::Close);
    let key = NewKey::generate().unwrap();
    let record = format!("s1._domainkey.attacker.sender.example. 300 IN TXT {}", key.record());
    world.dns.replace(&record).unwrap();
    let message = letter("x").replace(ALICE, "x@attacker.sender.example");
    let signature = signature(&key, "attacker.sender.example", "s1", message.as_bytes()).unwrap();
    let message = signature + &message;
    let queued_for = async |sender: &str| {
        let mut client = world.client(STRANGER, "stranger.example").await;
        client.submit(sender, INFO, &message).await.code() == 250
    };
    assert!(!queued_for("victim@sender.example").await);
    assert!(!queued_for("victim@other.sender.example").await);
    assert!(queued_for("x@attacker.sender.example").await);
    assert!(queued_for("x@bounces.attacker.sender.example").await);
}

#[tokio::test]
async fn without_room_the_sender_keeps_the_message_and_in_session_mail_flows() {
    let world = World::without_room().await;
    world.mx.when(Stage::Banner, "", 1, Act::Close);
    world.sender().await.submit(ALICE, INFO, &letter("one")).await.starts("452 4.3.1");
    world.sender().await.submit(ALICE, INFO, &letter("one")).await.starts("250");
    assert_eq!(world.mx.taken().len(), 1);
}

#[tokio::test]
async fn a_queued_message_survives_a_restart() {
    let world = World::impatient().await;
    world.mx.at(Stage::Banner, Act::Close);
    world.sender().await.submit(ALICE, INFO, &letter("one")).await.starts("250 2.0.0 Queued");
    let world = world.restarted().await;
    world.mx.be_kind();
    until("the queue delivers", || world.mx.taken().len() == 1, LIMIT).await;
    world.emptied().await;
    assert_eq!(world.mx.received().len(), 1);
}

#[tokio::test]
async fn a_late_reply_settles_its_copy_and_nothing_is_tried_meanwhile() {
    let world = World::impatient().await;
    world.mx.when(Stage::Dot, "", 1, Act::SayAfter(Duration::from_secs(4), "250 2.0.0 at last".into()));
    world.sender().await.submit(ALICE, INFO, &letter("slow")).await.starts("250 2.0.0 Queued");
    assert_eq!(world.queued().await[0].copies[0].state, CopyState::AwaitingReply);
    world.emptied().await;
    assert_eq!(world.mx.received().len(), 1);
}

#[tokio::test]
async fn a_late_temporary_refusal_is_tried_again() {
    let world = World::impatient().await;
    world.mx.when(Stage::Dot, "", 1, Act::SayAfter(Duration::from_secs(3), "451 4.3.0 busy".into()));
    world.sender().await.submit(ALICE, INFO, &letter("slow")).await.starts("250 2.0.0 Queued");
    until("the second attempt", || world.mx.taken().len() == 1, LIMIT).await;
    world.emptied().await;
}

#[tokio::test]
async fn a_reply_that_is_lost_is_unknown_and_tried_again() {
    let world = World::impatient().await;
    world.mx.when(Stage::Dot, "", 1, Act::Close);
    world.sender().await.submit(ALICE, INFO, &letter("lost")).await.starts("250 2.0.0 Queued");
    until("the second attempt", || world.mx.taken().len() == 1, LIMIT).await;
    world.emptied().await;
}

#[tokio::test]
async fn what_is_left_of_a_partly_delivered_message_is_queued() {
    let world = impatient_at_the_dot().await;
    world.mx.when(Stage::Rcpt, "bob@", 3, Act::Say("450 4.2.0 come back".into()));
    world.sender().await.submit(ALICE, BOTH, &letter("partly")).await.starts("250");
    until("the rest", || world.mx.taken().len() == 2, LIMIT).await;
    let taken = world.mx.taken();
    assert_eq!(taken[0].recipients(), ["ana@dest.example"]);
    assert_eq!(taken[1].recipients(), ["bob@dest.example"]);
    world.emptied().await;
}

#[tokio::test]
async fn a_domain_may_have_temporary_refusals_queued() {
    let world = World::with(|config| {
        config.delivery.on_tempfail = postroad::config::OnTempfail::Queue;
        config.delivery.retry_first = Duration::from_millis(200);
    })
    .await;
    world.mx.when(Stage::Dot, "", 1, Act::Say("451 4.3.0 not now".into()));
    world.sender().await.submit(ALICE, INFO, &letter("later")).await.starts("250 2.0.0 Queued");
    until("the second attempt", || world.mx.taken().len() == 1, LIMIT).await;
    world.emptied().await;
}

#[tokio::test]
async fn a_suspended_destination_gets_nothing_until_it_is_resumed() {
    let world = impatient_at_the_dot().await;
    world.mx.when(Stage::Banner, "", 1, Act::Close);
    let domain = postroad::mail::Domain::parse("dest.example").unwrap();
    world.node.queue().suspend(Asker::default(), domain.clone(), None, "maintenance".into()).await.unwrap();
    world.sender().await.submit(ALICE, INFO, &letter("held")).await.starts("250 2.0.0 Queued");
    let world = world.restarted().await;
    let queue = world.node.queue().clone();
    assert_eq!(queue.suspensions()[0].reason, "maintenance");
    let id = world.queued().await[0].id;
    queue.retry(id).await.unwrap();
    world.sender().await.submit(ALICE, INFO, &letter("too")).await.starts("250 2.0.0 Queued");
    assert_eq!(world.mx.taken().len(), 0);
    queue.resume(Asker::default(), &domain).await.unwrap();
    until("the queue delivers", || world.mx.taken().len() == 2, LIMIT).await;
    assert!(queue.resume(Asker::default(), &domain).await.is_err());
}

#[tokio::test]
async fn a_cancelled_message_is_gone() {
    let world = patient().await;
    world.mx.when(Stage::Banner, "", 1, Act::Close);
    world.sender().await.submit(ALICE, INFO, &letter("oops")).await.starts("250 2.0.0 Queued");
    let queue = world.node.queue().clone();
    let id = world.queued().await[0].id;
    queue.cancel(id).await.unwrap();
    assert!(world.queued().await.is_empty());
    assert!(queue.cancel(id).await.is_err());
}

#[tokio::test]
async fn retry_tries_at_once_whatever_the_back_off() {
    let world = patient().await;
    world.mx.when(Stage::Banner, "", 1, Act::Close);
    world.sender().await.submit(ALICE, INFO, &letter("now")).await.starts("250 2.0.0 Queued");
    let id = world.queued().await[0].id;
    world.node.queue().retry(id).await.unwrap();
    until("the attempt", || world.mx.taken().len() == 1, LIMIT).await;
}

// Alice's own mail is taken by the same upstream.

#[tokio::test]
async fn a_refusal_after_our_250_is_told_to_the_sender_and_names_only_the_alias() {
    let world = impatient_at_the_dot().await;
    world.mx.when(Stage::Banner, "", 1, Act::Close);
    let words = "554-5.7.1 ana@dest.example takes no such mail\n554 5.7.1 see ?to=an%61@dest.example";
    world.mx.when(Stage::Dot, "", 1, Act::Say(words.into()));
    let heard = world.sender().await.submit(ALICE, INFO, &letter("bounce")).await;
    heard.starts("250 2.0.0 Queued");
    until("the report", || world.mx.taken().len() == 1, LIMIT).await;
    let taken = world.mx.taken();
    assert_eq!((taken[0].reverse_path(), taken[0].recipients()), ("", vec![ALICE]));
    let report = taken[0].text();
    for part in [
        "report-type=delivery-status",
        "Auto-Submitted: auto-replied",
        "DKIM-Signature: ",
        "Final-Recipient: rfc822; info@ours.example",
        "Action: failed",
        "Status: 5.7.1",
        "info@ours.example takes no such mail",
        "Subject: bounce",
        &heard.trace(),
    ] {
        assert!(report.contains(part), "no {part:?} in {report}");
    }
    assert!(!report.contains("ana@dest.example") && !report.contains("an%61"), "{report}");
    world.emptied().await;
}

#[tokio::test]
async fn rfc5321_4_5_5_a_null_reverse_path_is_told_nothing() {
    let world = World::impatient().await;
    world.mx.when(Stage::Dot, "", 1, Act::SayAfter(Duration::from_secs(3), "554 5.7.1 no".into()));
    world.sender().await.submit("", INFO, &letter("auto-reply")).await.starts("250 2.0.0 Queued");
    world.emptied().await;
    assert_eq!(world.mx.taken().len(), 0);
}

#[tokio::test]
async fn what_grows_too_old_is_given_up_and_told() {
    let world = World::with(|config| {
        config.delivery.retry_first = Duration::from_millis(200);
        config.delivery.retry_longest = Duration::from_millis(200);
        config.delivery.give_up_after = Duration::from_secs(2);
    })
    .await;
    world.mx.when(Stage::Rcpt, "ana@", usize::MAX, Act::Close);
    world.sender().await.submit(ALICE, INFO, &letter("old")).await.starts("250 2.0.0 Queued");
    until("the report", || world.mx.taken().len() == 1, LIMIT).await;
    let report = world.mx.taken()[0].text();
    assert!(report.contains("Status: 5.4.7") && report.contains("Action: failed"), "{report}");
}

#[tokio::test]
async fn rfc3464_2_an_answer_to_a_report_is_taken() {
    let world = impatient_at_the_dot().await;
    world.mx.when(Stage::Banner, "", 1, Act::Close);
    world.mx.when(Stage::Dot, "", 1, Act::Say("554 5.7.1 no".into()));
    world.sender().await.submit(ALICE, INFO, &letter("bounce")).await.starts("250 2.0.0 Queued");
    until("the report", || world.mx.taken().len() == 1, LIMIT).await;
    let report = world.mx.only().text();
    let (_, author) = report.split_once("From: Mail Delivery System <").unwrap();
    let (author, _) = author.split_once('>').unwrap();
    world.sender().await.submit(ALICE, &[author], &letter("why")).await.starts("250");
}

#[tokio::test]
async fn rfc3464_2_3_6_an_expired_copy_is_told_in_the_words_that_its_upstream_said() {
    let world = World::with(|config| {
        config.delivery.retry_first = Duration::from_millis(200);
        config.delivery.retry_longest = Duration::from_millis(200);
        config.delivery.give_up_after = Duration::from_secs(2);
        config.delivery.cut_through = false;
    })
    .await;
    world.mx.when(Stage::Rcpt, "ana@", usize::MAX, Act::Say("452 4.2.2 over quota".into()));
    world.mx.when(Stage::Banner, "", 1, Act::Close);
    world.sender().await.submit(ALICE, INFO, &letter("old")).await.starts("250 2.0.0 Queued");
    until("the report", || world.mx.taken().len() == 1, LIMIT).await;
    let report = world.mx.taken()[0].text();
    assert!(report.contains("Status: 5.4.7"), "{report}");
    assert!(report.contains("Diagnostic-Code: smtp;\r\n 452 4.2.2 over quota\r\n"), "{report}");
}

#[tokio::test]
async fn where_no_server_answered_the_report_names_no_private_domain() {
    let world = World::with(|config| {
        config.delivery.retry_first = Duration::from_millis(200);
        config.delivery.give_up_after = Duration::from_secs(1);
        config.delivery.cut_through = false;
    })
    .await;
    let domain = postroad::mail::Domain::parse("dest.example").unwrap();
    world.node.queue().suspend(Asker::default(), domain, None, "maintenance".into()).await.unwrap();
    world.sender().await.submit(ALICE, INFO, &letter("held")).await.starts("250 2.0.0 Queued");
    until("the report", || world.mx.taken().len() == 1, LIMIT).await;
    let report = world.mx.taken()[0].text();
    assert!(!report.contains("dest.example"), "{report}");
    assert!(report.contains("Status: 5.4.7"), "{report}");
    assert!(report.contains("Diagnostic-Code: X-Postroad;\r\n Mail to the destination is held"), "{report}");
}

#[tokio::test]
async fn rfc8689_5_a_report_about_a_requiretls_message_requires_tls_too() {
    let world = patient().await;
    let domain = postroad::mail::Domain::parse("dest.example").unwrap();
    world.node.queue().suspend(Asker::default(), domain.clone(), None, "maintenance".into()).await.unwrap();
    let mut client = world.sender().await;
    client.starttls().await;
    client.command(&format!("EHLO {SENDER_NAME}"), "250").await;
    client.command(&format!("MAIL FROM:<{ALICE}> REQUIRETLS"), "250").await;
    client.command("RCPT TO:<info@ours.example>", "250").await;
    client.data(&letter("secret")).await.starts("250 2.0.0 Queued");
    let id = world.queued().await[0].id;
    world.node.queue().resume(Asker::default(), &domain).await.unwrap();
    world.node.queue().retry(id).await.unwrap();
    world.emptied().await;
    assert!(world.metrics().await.contains("dsn_sent_total{action=\"failed\"} 1"));
    // Alice's host has no TLS that anybody vouches for.
    assert_eq!(world.mx.received().len(), 0);
}

#[tokio::test]
async fn rfc3461_success_is_told_as_relayed_where_it_was_asked_for() {
    let world = World::impatient().await;
    let mut client = world.sender().await;
    client.command(&format!("MAIL FROM:<{ALICE}> ENVID=QQ314159"), "250").await;
    client.command("RCPT TO:<info@ours.example> NOTIFY=SUCCESS", "250").await;
    client.data(&letter("tell me")).await.starts("250");
    until("message and report", || world.mx.taken().len() == 2, LIMIT).await;
    let report = world.mx.taken()[1].text();
    assert!(report.contains("Action: relayed") && report.contains("QQ314159"), "{report}");
}

#[tokio::test]
async fn rfc3461_of_what_a_rule_drops_no_success_is_told() {
    let world = World::impatient().await;
    let mut client = world.sender().await;
    client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    client.command("RCPT TO:<bin@ours.example> NOTIFY=SUCCESS,FAILURE", "250").await;
    client.data(&letter("binned")).await.starts("250");
    assert!(world.queued().await.is_empty());
    assert_eq!(world.mx.received().len(), 0);
}

#[tokio::test]
async fn show_has_the_dialogue_of_the_last_attempt() {
    let world = impatient_at_the_dot().await;
    world.mx.when(Stage::Banner, "", 1, Act::Close);
    world.mx.say(Stage::Rcpt, "450 4.2.0 come back");
    world.sender().await.submit(ALICE, INFO, &letter("again")).await.starts("250 2.0.0 Queued");
    let said_so = |lines: &[String]| {
        lines.iter().any(|line| line == "> RCPT TO:<ana@dest.example>")
            && lines.iter().any(|line| line.starts_with("< 450 4.2.0 come back"))
            && lines.iter().any(|line| line.starts_with("* mx.dest.example ["))
    };
    let end = tokio::time::Instant::now() + LIMIT;
    loop {
        let copies = world.queued().await.remove(0).copies;
        let dialogue = &copies[0].last.as_ref().unwrap().dialogue;
        if said_so(dialogue) {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "{dialogue:?}");
        tokio::task::yield_now().await;
    }
}

/// Flips a bit in the last octet of the last record, which is of a body.
fn damage(world: &World) {
    let segment = world.spool().join("segments/0000000000000001.log");
    let mut octets = std::fs::read(&segment).unwrap();
    *octets.last_mut().unwrap() ^= 1;
    std::fs::write(&segment, octets).unwrap();
}

#[tokio::test]
async fn a_message_that_the_disk_has_spoilt_is_never_sent_and_its_sender_is_told() {
    let world = patient().await;
    world.mx.when(Stage::Banner, "", 1, Act::Close);
    let heard = world.sender().await.submit(ALICE, INFO, &letter("spoilt")).await;
    heard.starts("250 2.0.0 Queued");
    damage(&world);
    world.node.queue().retry(world.queued().await[0].id).await.unwrap();
    until("the report", || world.mx.taken().len() == 1, LIMIT).await;
    let report = world.mx.only();
    assert_eq!((report.reverse_path(), report.recipients()), ("", vec![ALICE]));
    for part in [
        "Final-Recipient: rfc822; info@ours.example",
        "Action: failed",
        "Status: 5.3.0",
        "Diagnostic-Code: X-Postroad;\r\n the message was damaged",
        "Subject: spoilt",
        &heard.trace(),
    ] {
        assert!(report.text().contains(part), "no {part:?} in {}", report.text());
    }
    assert!(!report.text().contains("Remote-MTA") && !report.text().contains("this is spoilt"));
    world.emptied().await;
    assert_eq!(std::fs::read_dir(world.spool().join("quarantine")).unwrap().count(), 1);
}

#[tokio::test]
async fn of_a_spoilt_message_nobody_is_told_whose_address_may_be_forged() {
    let world = patient().await;
    world.mx.when(Stage::Dot, "", 1, Act::Close);
    let heard = world.unvouched().await;
    heard.starts("250 2.0.0 Queued");
    damage(&world);
    world.node.queue().retry(world.queued().await[0].id).await.unwrap();
    world.emptied().await;
    assert_eq!(world.mx.taken().len(), 0);
}

/// Below the floor no room is made by keeping what failed: the word of it is smaller than the message.
#[tokio::test]
async fn a_failure_is_told_below_the_floor_too() {
    let world = patient().await;
    world.mx.when(Stage::Banner, "", 1, Act::Close);
    world.sender().await.submit(ALICE, INFO, &letter("failed")).await.starts("250 2.0.0 Queued");
    world.mx.when(Stage::Rcpt, "ana@", 1, Act::Say("550 5.1.1 nobody".into()));
    let world = world.restarted_with(|config| config.limits.min_free_octets = 1 << 40).await;
    world.node.queue().retry(world.queued().await[0].id).await.unwrap();
    world.emptied().await;
    let told = world.mx.only();
    assert_eq!(told.recipients(), [ALICE]);
    assert!(told.text().contains("Final-Recipient: rfc822; info@ours.example"), "{}", told.text());
}
