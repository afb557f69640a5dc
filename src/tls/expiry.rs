//! When the certificates that listeners show end. Senders that check certificates, as MTA-STS asks them to (RFC 8461
//! §4.2), stop delivering at that second; so the operator hears of it before.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{ServerIdentity, ServerUse};

/// A certificate that ends sooner should have been renewed by now: ACME clients do so a third of its life before its
/// end, 30 days for the usual 90.
pub const RENEWAL_TIME: Duration = Duration::from_secs(14 * 86_400);

/// A certificate that has ended, or ends within [`RENEWAL_TIME`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Which listener shows it.
    pub listener: ServerUse,
    /// Its file.
    pub certificate: String,
    /// The last second of its life.
    pub not_after: SystemTime,
    /// Whether that is over.
    pub stage: EndingStage,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndingStage {
    /// It ends within [`RENEWAL_TIME`].
    Soon,
    /// It has ended.
    Ended,
}

/// Tells of the certificates that are shown when it is asked, as they are then. Clones share it.
pub type Endings = Arc<dyn Fn(SystemTime) -> Vec<Ending> + Send + Sync>;

impl Ending {
    /// What there is to say of a certificate now; `None`: nothing yet.
    #[must_use]
    pub fn of(identity: &ServerIdentity, listener: ServerUse, now: SystemTime) -> Option<Self> {
        let seconds = u64::try_from(identity.not_after()?).unwrap_or_default();
        let not_after = UNIX_EPOCH + Duration::from_secs(seconds);
        let stage = match not_after.duration_since(now) {
            Ok(left) if left >= RENEWAL_TIME => return None,
            Ok(_) => EndingStage::Soon,
            Err(_) => EndingStage::Ended,
        };
        Some(Self { listener, certificate: identity.name().to_owned(), not_after, stage })
    }

    /// Says so in the log.
    pub fn tell(&self) {
        let Self { listener, certificate, .. } = self;
        let not_after = humantime::format_rfc3339_seconds(self.not_after);
        let listener = listener.label();
        match self.stage {
            EndingStage::Soon => tracing::warn!(listener, certificate, %not_after, "a certificate ends soon"),
            EndingStage::Ended => {
                tracing::error!(listener, certificate, %not_after, "a certificate has ended")
            }
        }
    }
}

/// `smtp certificate /etc/postroad/chain.pem ends at 2026-12-01T00:00:00Z`
impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.stage {
            EndingStage::Soon => "ends",
            EndingStage::Ended => "ended",
        };
        let not_after = humantime::format_rfc3339_seconds(self.not_after);
        write!(f, "{} certificate {} {verb} at {not_after}", self.listener.label(), self.certificate)
    }
}

#[cfg(test)]
#[path = "expiry_tests.rs"]
mod tests;
