//! The upstream's answer is the sender's (conventions of this project; RFC 5321 §4.2, §4.5.3.1.5).

use crate::support::{ALICE, Act, Stage, World, letter};

/// Sends one letter to info and answers what its dot heard.
async fn verdict(world: &World) -> crate::support::Heard {
    world.sender().await.submit(ALICE, &["info@ours.example"], &letter("x")).await
}

#[tokio::test]
async fn acceptance_is_relayed_with_the_upstreams_words() {
    let world = World::start().await;
    world.mx.say(Stage::Dot, "250 2.0.0 Ok: queued as 4F2A");
    let heard = verdict(&world).await;
    heard.starts("250").contains("2.0.0 Ok: queued as 4F2A").contains("upstream mx.dest.example (trace ");
    assert_eq!(world.mx.only().recipients(), ["ana@dest.example"]);
}

#[tokio::test]
async fn a_refused_recipient_is_the_answer_to_the_dot_without_cut_through() {
    let world = World::with(|config| config.delivery.cut_through = false).await;
    world.mx.say(Stage::Rcpt, "550 5.1.1 no such user here");
    verdict(&world)
        .await
        .starts("550-5.1.1 no such user here")
        .contains("550 5.1.1 upstream mx.dest.example");
    assert!(world.mx.received().is_empty());
}

#[tokio::test]
async fn a_refused_content_is_relayed() {
    let world = World::start().await;
    world.mx.say(Stage::Dot, "554 5.7.1 looks like spam to me");
    verdict(&world).await.starts("554-5.7.1 looks like spam to me");
    assert!(world.mx.taken().is_empty());
}

#[tokio::test]
async fn a_refused_sender_is_relayed() {
    let world = World::start().await;
    world.mx.say(Stage::Mail, "550 5.7.1 not from you");
    verdict(&world).await.starts("550-5.7.1 not from you");
}

#[tokio::test]
async fn a_full_mailbox_is_relayed_as_temporary() {
    let world = World::start().await;
    world.mx.say(Stage::Rcpt, "452 4.2.2 mailbox full");
    verdict(&world).await.starts("452-4.2.2 mailbox full");
}

#[tokio::test]
async fn a_multi_line_reply_keeps_its_lines() {
    let world = World::start().await;
    world
        .mx
        .say(Stage::Dot, "550-5.7.26 Unauthenticated.\n550-5.7.26 See the manual.\n550 5.7.26 Goodbye x9si");
    let heard = verdict(&world).await;
    assert_eq!(heard.lines.len(), 4, "{heard:?}");
    assert_eq!(
        heard.lines[..3],
        ["550-5.7.26 Unauthenticated.", "550-5.7.26 See the manual.", "550-5.7.26 Goodbye x9si"]
    );
    assert!(heard.lines[3].starts_with("550 5.7.26 upstream mx.dest.example (trace "), "{heard:?}");
}

#[tokio::test]
async fn rfc2034_a_missing_enhanced_code_is_made_up() {
    let world = World::start().await;
    world.mx.say(Stage::Dot, "550 no thanks");
    verdict(&world).await.starts("550-5.0.0 no thanks");
}

#[tokio::test]
async fn complaints_about_us_become_451() {
    let world = World::start().await;
    for reply in
        ["500 5.5.1 what?", "503 5.5.1 bad order", "530 5.7.0 authenticate", "535 5.7.8 bad password"]
    {
        world.mx.say(Stage::Mail, reply);
        verdict(&world).await.starts("451").contains("4.3.0");
    }
}

#[tokio::test]
async fn an_upstream_that_shuts_down_is_a_temporary_failure() {
    let world = World::start().await;
    world.mx.say(Stage::Dot, "421 4.3.2 going down");
    verdict(&world).await.starts("451").contains("4.3.0");
}

#[tokio::test]
async fn rfc5321_4_5_3_1_10_too_many_recipients_as_552_becomes_452() {
    let world = World::start().await;
    world.mx.say(Stage::Rcpt, "552 5.5.3 too many recipients");
    verdict(&world).await.starts("452");
}

#[tokio::test]
async fn a_refused_connection_is_no_answer() {
    let world = World::start().await;
    world.mx.say(Stage::Banner, "554 5.7.1 your address is bad");
    world.unvouched().await.starts("451 4.4.1").contains("(trace ");
    assert!(world.mx.received().is_empty());
}

#[tokio::test]
async fn an_upstream_that_hangs_up_before_the_dot_is_no_answer() {
    let world = World::start().await;
    for stage in [Stage::Banner, Stage::Ehlo, Stage::Mail, Stage::Rcpt, Stage::Data] {
        world.mx.be_kind();
        world.mx.at(stage, Act::Close);
        world.unvouched().await.starts("451 4.4.");
    }
    assert!(world.mx.received().is_empty());
}

#[tokio::test]
async fn odd_octets_of_an_upstream_are_cleaned() {
    let world = World::start().await;
    let reply = b"550-5.7.1 bell \x07 escape \x1b[31m nul \0 8-bit \xff\xfe\r\n550 5.7.1 end\r\n";
    world.mx.at(Stage::Dot, Act::Write(reply.to_vec()));
    verdict(&world).await.starts("550").contains("bell").contains("end");
}

#[tokio::test]
async fn a_long_line_of_an_upstream_is_wrapped() {
    let world = World::start().await;
    world.mx.say(Stage::Dot, &format!("550 5.7.1 {}", "word ".repeat(300)));
    verdict(&world).await.starts("550");
}

#[tokio::test]
async fn an_endless_reply_is_bounded() {
    let world = World::start().await;
    let reply = b"550-5.7.1 and another thing\r\n".repeat(200_000);
    world.mx.at(Stage::Rcpt, Act::Write(reply));
    let heard = world.unvouched().await;
    assert!(matches!(heard.code(), 451 | 550), "{heard:?}");
    assert!(heard.text().len() < 100_000);
}

#[tokio::test]
async fn an_upstream_that_talks_nonsense_is_no_answer() {
    let world = World::start().await;
    world.mx.at(Stage::Mail, Act::Write(b"HTTP/1.1 400 Bad Request\r\n".to_vec()));
    world.unvouched().await.starts("451");
}

#[tokio::test]
async fn the_private_destination_is_masked_as_the_alias() {
    let world = World::start().await;
    for (said, heard) in [
        ("<ana@dest.example>: unknown", "<info@ours.example>: unknown"),
        ("ANA@Dest.Example is unknown", "info@ours.example is unknown"),
        ("see http://dest/?to=ana%40dest.example&x", "ours.example&x"),
        ("user ana has left", "user info has left"),
        ("\"ana\" has left", "\"info\" has left"),
    ] {
        world.mx.say(Stage::Rcpt, &format!("550 5.1.1 {said}"));
        verdict(&world).await.starts("550").contains(heard).lacks("ana@dest").lacks("ana%40dest");
    }
    // Only as a word of its own.
    world.mx.say(Stage::Rcpt, "550 5.1.1 ask the manager of bananas");
    verdict(&world).await.contains("ask the manager of bananas");
}

#[tokio::test]
async fn a_line_that_names_the_private_destination_in_disguise_is_left_out() {
    let world = World::start().await;
    for said in [
        "x-ana&#64;dest.example is unknown",
        "x-ana%2540dest.example is unknown",
        "a\\na\\@dest.example is unknown",
        "x-ana at dest dot example is unknown",
    ] {
        for stage in [Stage::Rcpt, Stage::Dot] {
            world.mx.be_kind();
            world.mx.say(stage, &format!("550-5.1.1 sorry\n550-5.1.1 {said}\n550 5.1.1 bye"));
            let heard = verdict(&world).await;
            heard
                .starts("550-5.1.1 sorry")
                .contains("550-5.1.1 (left out")
                .contains("550-5.1.1 bye")
                .lacks("unknown");
        }
    }
    world.mx.be_kind();
    world.mx.say(Stage::Dot, "550-5.1.1 no mailbox x-ana@\n550 5.1.1 dest.example");
    verdict(&world).await.starts("550-5.1.1 (left out").lacks("x-ana");
}

#[tokio::test]
async fn the_alias_in_the_reply_is_the_one_the_sender_wrote() {
    let world = World::start().await;
    world.mx.say(Stage::Rcpt, "550 5.1.1 <ana@dest.example> unknown");
    let mut client = world.sender().await;
    client
        .submit(ALICE, &["Info+News@ours.example"], &letter("x"))
        .await
        .contains("<Info+News@ours.example>");
}

#[tokio::test]
async fn a_reply_over_several_lines_is_masked_in_all_of_them() {
    let world = World::start().await;
    world
        .mx
        .say(Stage::Dot, "554-5.7.1 for ana@dest.example\n554-5.7.1 nothing\n554 5.7.1 bye ana@dest.example");
    verdict(&world).await.starts("554").lacks("ana@dest");
}
