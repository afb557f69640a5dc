//! RCPT of a return address whose hash is not ours: how and when it is answered.

use std::time::Duration;

use tokio::time::sleep;

use super::guesses::{Answer, Pause};
use super::session::{End, Session};
use crate::mail::{Address, TraceId};
use crate::pipeline::refusal::Refusal;
use crate::smtp::reply::{self, Reply};
use crate::srs;
use crate::telemetry::SmtpCommand;

/// How long an answer waits that is not given at once. A client waits five minutes for it (RFC 5321 §4.5.3.2.3).
const PAUSE: Duration = Duration::from_secs(30);

impl Session {
    /// The answer to a guess. Nothing but this session waits with it.
    pub(super) async fn answer_guess(&mut self, address: &Address, id: TraceId) -> Result<Reply, End> {
        // First: the one pause of a network is not for whoever does not read.
        self.flush().await?;
        let claim = srs::claim(address).unwrap_or_default();
        let answer = self.around.guesses.count(self.ip, &claim);
        match answer {
            Answer::AtOnce => {}
            Answer::AfterPause(kept) => self.pause(kept).await?,
            Answer::Later => return Ok(self.refer(reply::TOO_MANY_SRS_GUESSES, &[], id)),
        }
        Ok(Refusal::SrsForged.reply(&self.config.service.postmaster_url, id))
    }

    /// Waits, until the client goes or the node drains at the longest.
    async fn pause(&mut self, kept: Pause) -> Result<(), End> {
        let draining = self.around.draining.clone();
        tokio::select! {
            () = sleep(PAUSE) => return Ok(()),
            () = self.gone() => return Err(End::Closed),
            () = draining.cancelled() => drop(kept),
        }
        self.shut_down(SmtpCommand::Rcpt).await
    }
}

#[cfg(test)]
#[path = "return_address_tests.rs"]
mod tests;
