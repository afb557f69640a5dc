use tokio::time::advance;

use super::*;
use crate::smtp::reply::UPSTREAM_REASON;

const MAX_ERRORS: usize = 20;

/// How many times a session hears this reply to this command, and what ends it.
fn heard(command: SmtpCommand, reply: &Reply) -> Option<(usize, &'static Row)> {
    let mut conduct = Conduct::new();
    (1..5000).find_map(|times| Some((times, conduct.note(command, reply, MAX_ERRORS)?)))
}

#[tokio::test]
async fn commands_that_bring_no_message_have_a_limit() {
    let ok = reply::OK.reply();
    for command in [
        SmtpCommand::Noop,
        SmtpCommand::Rset,
        SmtpCommand::Vrfy,
        SmtpCommand::Help,
        SmtpCommand::Helo,
        SmtpCommand::Ehlo,
    ] {
        assert_eq!(heard(command, &ok), Some((101, reply::TOO_MUCH_JUNK)), "{command:?}");
    }
    assert_eq!(heard(SmtpCommand::Noop, &reply::BAD_ARGUMENTS.reply()), Some((20, reply::TOO_MANY_ERRORS)));
}

/// How many chunks of this size a session brings, and what ends it.
fn brought(octets: u64) -> Option<(usize, &'static Row)> {
    let mut conduct = Conduct::new();
    (1..5000).find_map(|times| {
        conduct.brought_a_chunk(octets);
        Some((times, conduct.note(SmtpCommand::Bdat, &reply::CHUNK_OK.reply(), MAX_ERRORS)?))
    })
}

#[tokio::test]
async fn chunks_that_bring_next_to_nothing_have_a_limit() {
    for octets in [0, 1, 511] {
        assert_eq!(brought(octets), Some((101, reply::TOO_MUCH_JUNK)), "{octets}");
    }
    assert_eq!(brought(512), None);
}

#[tokio::test]
async fn recipients_that_we_refuse_for_now_have_a_limit() {
    let waiting = reply::RULE_WAITING.reply();
    assert_eq!(heard(SmtpCommand::Rcpt, &waiting), Some((101, reply::TOO_MUCH_JUNK)));
    assert_eq!(heard(SmtpCommand::Rcpt, &reply::RECIPIENT_OK.reply()), None);
}

#[tokio::test]
async fn what_upstreams_say_of_recipients_for_now_is_no_fault_of_the_client() {
    for row in [reply::RULE_WAITING, reply::TOO_MANY_RECIPIENTS] {
        let relayed = Reply { reason: UPSTREAM_REASON, ..row.reply() };
        assert_eq!(heard(SmtpCommand::Rcpt, &relayed), None, "{row:?}");
    }
    assert_eq!(heard(SmtpCommand::Rcpt, &reply::UPSTREAM_TROUBLE.reply()), None);
}

/// RFC 5321 §4.5.3.1.10: who is told 452 4.5.3 sends to the rest in the next transaction.
#[tokio::test]
async fn recipients_past_a_limit_are_no_fault_up_to_a_thousand() {
    for row in [reply::TOO_MANY_RECIPIENTS, reply::OTHER_GROUP] {
        assert_eq!(heard(SmtpCommand::Rcpt, &row.reply()), Some((1101, reply::TOO_MUCH_JUNK)));
    }
    let mut conduct = Conduct::new();
    for _ in 0..10 {
        assert_eq!(conduct.note(SmtpCommand::Mail, &reply::SENDER_OK.reply(), MAX_ERRORS), None);
        for _ in 0..1000 {
            let end = conduct.note(SmtpCommand::Rcpt, &reply::TOO_MANY_RECIPIENTS.reply(), MAX_ERRORS);
            assert_eq!(end, None);
        }
    }
}

#[tokio::test]
async fn a_message_makes_up_for_commands_before_it() {
    let mut conduct = Conduct::new();
    for _ in 0..10 {
        for _ in 0..100 {
            assert_eq!(conduct.note(SmtpCommand::Noop, &reply::OK.reply(), MAX_ERRORS), None);
        }
        conduct.brought_a_message();
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_after_an_hour_and_never_within_a_message() {
    let conduct = Conduct::new();
    advance(LIFE_SPAN).await;
    assert!(!conduct.is_over(UnderWay::Nothing));
    advance(Duration::from_secs(1)).await;
    assert!(conduct.is_over(UnderWay::Nothing));
    assert!(!conduct.is_over(UnderWay::Envelope), "what is open may be sent");
    advance(LAST_TRANSACTION).await;
    assert!(conduct.is_over(UnderWay::Envelope), "and is not open for ever");
    advance(LIFE_SPAN * 24).await;
    assert!(!conduct.is_over(UnderWay::Message));
}
