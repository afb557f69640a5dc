//! How a session behaves: commands in error, commands that bring no message, and its age. Each has a bound, past which it
//! hears 421 (RFC 5321 §3.8) and may come again.

use std::time::Duration;

use tokio::time::Instant;

use crate::mail::Enhanced;
use crate::pipeline::relay;
use crate::smtp::reply::{self, Reply, Row};
use crate::telemetry::SmtpCommand;

/// Commands that bring no message: Postfix's `smtpd_junk_command_limit`.
const MAX_JUNK: usize = 100;
/// Octets below which a chunk is junk, unless it is the last of its message: what brings less than the longest command of
/// RFC 5321 §4.5.3.1.4 is more command than message. RFC 3030 has no least, so that up to [`MAX_JUNK`] of them are taken.
const LEAST_CHUNK_OCTETS: u64 = 512;
/// Recipients past what a transaction takes that are no junk yet, since who has a long list goes through all of it:
/// Postfix's `smtpd_recipient_overshoot_limit`.
const MAX_EXCESS_RECIPIENTS: usize = 1000;
/// How long a session may go on. A client with more to say connects again, and meets a configuration that is not old.
const LIFE_SPAN: Duration = Duration::from_secs(3600);
/// How much longer, where a transaction is open, its message may take to begin. One that has begun has its own limit.
const LAST_TRANSACTION: Duration = Duration::from_secs(600);
/// RFC 3463 §3.6: too many recipients.
const TOO_MANY_RECIPIENTS: Option<Enhanced> = Some(Enhanced(4, 5, 3));

/// What a session is in the middle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnderWay {
    /// Nothing.
    Nothing,
    /// A transaction whose message has not begun.
    Envelope,
    /// A message.
    Message,
}

/// What a session has done so far.
#[derive(Debug)]
pub(super) struct Conduct {
    began: Instant,
    errors: usize,
    junk: usize,
    excess_recipients: usize,
}

impl Conduct {
    /// A session begins.
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), errors: 0, junk: 0, excess_recipients: 0 }
    }

    /// Takes note of a command's reply; why the session ends, if it was one too many of its kind.
    pub(super) fn note(
        &mut self,
        command: SmtpCommand,
        reply: &Reply,
        max_errors: usize,
    ) -> Option<&'static Row> {
        if reply.is_permanent() {
            self.errors += 1;
        }
        if self.is_junk(command, reply) {
            self.junk += 1;
        }
        if self.errors >= max_errors {
            return Some(reply::TOO_MANY_ERRORS);
        }
        (self.junk > MAX_JUNK).then_some(reply::TOO_MUCH_JUNK)
    }

    /// A chunk was taken that is not the last of its message.
    pub(super) fn brought_a_chunk(&mut self, octets: u64) {
        if octets < LEAST_CHUNK_OCTETS {
            self.junk += 1;
        }
    }

    /// A message was taken, which makes up for what came before it, as in Postfix.
    pub(super) fn brought_a_message(&mut self) {
        self.junk = 0;
    }

    /// Whether it has gone on for too long. A message is never cut off.
    pub(super) fn is_over(&self, under_way: UnderWay) -> bool {
        match under_way {
            UnderWay::Nothing => self.began.elapsed() > LIFE_SPAN,
            UnderWay::Envelope => self.began.elapsed() > LIFE_SPAN + LAST_TRANSACTION,
            UnderWay::Message => false,
        }
    }

    fn is_junk(&mut self, command: SmtpCommand, reply: &Reply) -> bool {
        match command {
            SmtpCommand::Noop
            | SmtpCommand::Rset
            | SmtpCommand::Vrfy
            | SmtpCommand::Help
            | SmtpCommand::Helo
            | SmtpCommand::Ehlo => true,
            SmtpCommand::Mail => {
                self.excess_recipients = 0;
                false
            }
            // What an upstream says for now, be that 452 4.5.3, is not the client's doing, and it is asked for so many
            // recipients only.
            SmtpCommand::Rcpt if relay::is_relayed(reply) => false,
            SmtpCommand::Rcpt if reply.enhanced == TOO_MANY_RECIPIENTS => {
                self.excess_recipients += 1;
                self.excess_recipients > MAX_EXCESS_RECIPIENTS
            }
            SmtpCommand::Rcpt => reply.code / 100 == 4,
            SmtpCommand::Connect
            | SmtpCommand::StartTls
            | SmtpCommand::Data
            | SmtpCommand::Bdat
            | SmtpCommand::Quit
            | SmtpCommand::Other => false,
        }
    }
}

#[cfg(test)]
#[path = "conduct_tests.rs"]
mod tests;
