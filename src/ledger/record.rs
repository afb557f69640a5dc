//! What is kept of an answer, for how long, and its stored form.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{DELIVERED_FOR, OPEN_FOR, REFUSED_FOR, Recorded};
use crate::smtp::reply::{self, Enhanced, Reply, UPSTREAM_REASON, UpstreamReply};

/// Octets of an upstream's text that a record keeps at most: one reply line (RFC 5321 §4.5.3.1.5). With all
/// [`super::MAX_RECORDS`] it is 100 MB.
pub const KEPT_OCTETS: usize = 512;
/// Lines of it, since a line costs memory without any text too.
pub const KEPT_LINES: usize = 8;

#[derive(Debug, Clone)]
pub(super) struct Record {
    /// Names it among nodes, so that what is said of an earlier one of its copy is not taken for this one. Drawn.
    pub(super) id: u64,
    pub(super) answer: Recorded,
    pub(super) at: SystemTime,
}

/// The stored form of a [`Record`] that is not open.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Stored {
    #[serde(default = "rand::random")]
    id: u64,
    at: u64,
    delivered: bool,
    /// Ours is the queue that has it; host and reply are empty. Absent in records of before the queue.
    #[serde(default)]
    queued: bool,
    host: String,
    code: u16,
    enhanced: Option<(u8, u16, u16)>,
    lines: Vec<String>,
}

impl Record {
    pub(super) fn new(id: u64, answer: Recorded, at: SystemTime) -> Self {
        Self { id, answer: shortened(answer), at }
    }

    pub(super) fn is_over(&self, now: SystemTime) -> bool {
        self.remaining(now).is_none()
    }

    /// For how much longer it counts.
    pub(super) fn remaining(&self, now: SystemTime) -> Option<Duration> {
        lifetime(&self.answer).checked_sub(now.duration_since(self.at).unwrap_or_default())
    }
}

/// Keeps of an upstream's reply what the retry needs.
pub(super) fn shortened(mut answer: Recorded) -> Recorded {
    if let Recorded::Delivered(upstream) | Recorded::Refused(upstream) = &mut answer {
        upstream.reply.lines = reply::first_words(&upstream.reply.lines, KEPT_LINES, KEPT_OCTETS);
    }
    answer
}

/// For how long a record counts.
pub(super) fn lifetime(answer: &Recorded) -> Duration {
    match answer {
        Recorded::Delivered(_) | Recorded::Queued => DELIVERED_FOR,
        Recorded::Refused(_) => REFUSED_FOR,
        Recorded::Open => OPEN_FOR,
    }
}

impl Stored {
    pub(super) fn of(record: &Record) -> Option<Self> {
        let id = record.id;
        let at = record.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let (delivered, upstream) = match &record.answer {
            Recorded::Delivered(upstream) => (true, upstream),
            Recorded::Refused(upstream) => (false, upstream),
            Recorded::Open => return None,
            Recorded::Queued => {
                return Some(Self { id, at, delivered: true, queued: true, ..Self::default() });
            }
        };
        Some(Self {
            id,
            at,
            delivered,
            queued: false,
            host: upstream.host.clone(),
            code: upstream.reply.code,
            enhanced: upstream.reply.enhanced.map(|e| (e.0, e.1, e.2)),
            lines: upstream.reply.lines.clone(),
        })
    }
}

impl From<Stored> for Record {
    fn from(stored: Stored) -> Self {
        let enhanced = stored.enhanced.map(|(class, subject, detail)| Enhanced(class, subject, detail));
        let reply = Reply { code: stored.code, enhanced, reason: UPSTREAM_REASON, lines: stored.lines };
        let upstream = UpstreamReply { host: stored.host, reply };
        let answer = match (stored.queued, stored.delivered) {
            (true, _) => Recorded::Queued,
            (false, true) => Recorded::Delivered(upstream),
            (false, false) => Recorded::Refused(upstream),
        };
        // A record of an earlier version may have the whole reply.
        Self::new(stored.id, answer, SystemTime::UNIX_EPOCH + Duration::from_secs(stored.at))
    }
}
