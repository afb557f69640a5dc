//! What became of each transaction, told once: the log line, the journal entry, the count. Keeps the
//! bytes of poison messages aside.

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::parcel::{Client, Fate, Settlement, Transaction};
use super::refusal::Refusal;
use crate::clock;
use crate::config::{AddressLog, Config};
use crate::journal::{Entry, Journal, Outcome};
use crate::kept_aside;
use crate::mail::{Address, Body, Message, ReversePath, TraceId, header};
use crate::private_files;
use crate::smtp::reply::Reply;
use crate::telemetry::Metrics;
use crate::telemetry::labels::{Contained, Verdict};

/// Recipients that a log line names; the journal keeps more.
const MAX_LOGGED_RECIPIENTS: usize = 10;
/// Octets of a Message-ID that are kept (RFC 5322 §2.1.1 bounds its line).
const MAX_MESSAGE_ID_OCTETS: usize = 998;

/// The chronicler. Clones share everything.
#[derive(Clone)]
pub struct Chronicle {
    inner: Arc<Inner>,
}

struct Inner {
    journal: Journal,
    metrics: Arc<Metrics>,
    manner: ArcSwap<Manner>,
    poison: PathBuf,
}

/// How things are told; a reload changes it.
#[derive(Debug, Clone)]
pub struct Manner {
    /// `log.addresses`
    pub addresses: AddressLog,
    /// `service.postmaster_url`
    pub postmaster_url: String,
}

impl From<&Config> for Manner {
    fn from(config: &Config) -> Self {
        Self {
            addresses: config.log.addresses.clone(),
            postmaster_url: config.service.postmaster_url.clone(),
        }
    }
}

/// All there is to say about a transaction that has ended.
#[derive(Debug)]
pub struct Conclusion<'a> {
    /// The trace id.
    pub id: TraceId,
    /// Who sent it.
    pub client: &'a Client,
    /// MAIL FROM.
    pub reverse_path: &'a ReversePath,
    /// RCPT TO, as the sender wrote them.
    pub recipients: &'a [Address],
    /// How many more there were.
    pub omitted: usize,
    /// The message, if it came that far.
    pub message: Option<&'a Message>,
    /// The methods of Authentication-Results, if it came that far.
    pub results: &'a str,
    /// What became of it.
    pub fate: Fate,
    /// What the client heard last.
    pub reply: &'a Reply,
    /// What happened on the way, a line each.
    pub steps: Vec<String>,
    /// From the start to the reply.
    pub duration: Duration,
}

/// A message that a stage refuses.
#[derive(Debug)]
pub struct Refused {
    /// Its transaction, which gets the answer.
    pub transaction: Transaction,
    /// Its octets.
    pub message: Message,
    /// What authentication found by then.
    pub results: String,
    /// Why.
    pub refusal: Refusal,
}

impl Chronicle {
    /// Tells to this journal and these metrics; poison messages go to a folder of their own.
    #[must_use]
    pub fn new(journal: Journal, metrics: Arc<Metrics>, manner: Manner, poison: PathBuf) -> Self {
        Self { inner: Arc::new(Inner { journal, metrics, manner: ArcSwap::from_pointee(manner), poison }) }
    }

    /// Takes a new configuration.
    pub fn reconfigure(&self, manner: Manner) {
        self.inner.manner.store(Arc::new(manner));
    }

    /// The reply that says a refusal.
    #[must_use]
    pub fn reply(&self, refusal: &Refusal, id: TraceId) -> Reply {
        refusal.reply(&self.inner.manner.load().postmaster_url, id)
    }

    /// Where refusals point to.
    #[must_use]
    pub fn postmaster_url(&self) -> String {
        self.inner.manner.load().postmaster_url.clone()
    }

    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Tells the end of a transaction.
    pub fn conclude(&self, conclusion: Conclusion<'_>) {
        let Conclusion {
            id,
            client,
            reverse_path,
            recipients,
            omitted,
            message,
            results,
            fate,
            reply,
            mut steps,
            duration,
        } = conclusion;
        let octets = message.map_or(0, Message::original_octets);
        let outcome = outcome(fate);
        if message.is_some() {
            self.inner.metrics.messages_received_total.of(verdict(fate)).inc();
            self.inner.metrics.message_size_bytes.observe(octets as f64);
        }
        let manner = self.inner.manner.load();
        tracing::info!(
            trace = %id,
            client_ip = %client.ip,
            helo = client.helo,
            from = manner.addresses.show_path(reverse_path),
            to = shown(&manner.addresses, recipients, omitted),
            octets,
            outcome = word(fate),
            code = reply.code,
            reason = reply.reason,
            duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            "transaction ended"
        );
        if omitted > 0 {
            steps.push(format!("{omitted} more recipients were refused"));
        }
        self.inner.journal.record(Entry {
            id,
            at: clock::now(),
            client_ip: client.ip,
            helo: client.helo.clone(),
            reverse_path: reverse_path.to_string(),
            recipients: recipients.iter().map(ToString::to_string).collect(),
            message_id: message.and_then(message_id),
            octets,
            verdict: results.to_owned(),
            outcome,
            code: reply.code,
            reply: reply.lines.join("\n"),
            steps,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        });
    }

    /// Tells the operator that a copy was refused and that nobody else hears of it.
    pub fn untold(&self, id: TraceId, alias: &Address, reply: &Reply) {
        self.inner.metrics.copies_refused_untold_total.inc();
        tracing::warn!(
            trace = %id,
            to = self.inner.manner.load().addresses.show(alias),
            code = reply.code,
            reason = reply.reason,
            "a copy was refused, and its sender may not be told: nobody vouches for it"
        );
    }

    /// Ends a transaction that a stage refuses: tells it, and answers the session.
    pub(super) fn refuse(&self, refused: Refused) {
        let Refused { transaction, message, results, refusal } = refused;
        let reply = self.reply(&refusal, transaction.id);
        let fate = if reply.is_permanent() { Fate::Rejected } else { Fate::Tempfailed };
        self.conclude(Conclusion {
            id: transaction.id,
            client: &transaction.client,
            reverse_path: &transaction.envelope.reverse_path,
            recipients: &transaction.envelope.recipients,
            omitted: 0,
            message: Some(&message),
            results: &results,
            fate,
            reply: &reply,
            steps: vec![format!("refused: {refusal:?}")],
            duration: transaction.dot_at.elapsed(),
        });
        let _session_gone = transaction.answer.send(Settlement { reply, acknowledged: None });
    }

    /// Keeps the bytes of a message whose processing panicked, and counts it. Blocking I/O.
    pub fn keep_aside(&self, id: TraceId, message: &Message) {
        self.inner.metrics.poisoned_messages_total.of(Contained::Pipeline).inc();
        let folder = &self.inner.poison;
        let room = kept_aside::BOUNDS.with_room_for(message.original_octets());
        if let Err(error) = kept_aside::expire(folder, room, clock::now()) {
            tracing::error!(folder = %folder.display(), %error, "poison messages cannot be removed");
        }
        let kept = private_files::folder(folder)
            .and_then(|()| write_message(&folder.join(format!("{id}.eml")), message));
        match kept {
            Ok(()) => tracing::error!(trace = %id, folder = %folder.display(), "poison message kept aside"),
            Err(error) => tracing::error!(trace = %id, %error, "poison message could not be kept aside"),
        }
    }
}

fn write_message(path: &std::path::Path, message: &Message) -> std::io::Result<()> {
    let mut out = private_files::create(path)?;
    out.write_all(message.head())?;
    match message.body() {
        Body::Memory(octets) => out.write_all(octets),
        Body::File { file, offset, octets } => {
            let mut piece = vec![0; 65_536];
            let (mut at, end) = (*offset, offset + octets);
            while at < end {
                let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(piece.len());
                let piece = piece.get_mut(..want).unwrap_or_default();
                file.read_exact_at(piece, at)?;
                out.write_all(piece)?;
                at += want as u64;
            }
            Ok(())
        }
    }
}

/// Recipients as a log line names them.
fn shown(addresses: &AddressLog, recipients: &[Address], omitted: usize) -> String {
    let named: Vec<String> =
        recipients.iter().take(MAX_LOGGED_RECIPIENTS).map(|address| addresses.show(address)).collect();
    let more = recipients.len() - named.len() + omitted;
    let named = named.join(",");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

/// The Message-ID as written, if it is of a decent length.
fn message_id(message: &Message) -> Option<String> {
    let field = header::fields(message.head()).find(|field| field.is("Message-ID"))?;
    let value = std::str::from_utf8(field.value).ok()?.trim();
    (!value.is_empty() && value.len() <= MAX_MESSAGE_ID_OCTETS).then(|| value.to_owned())
}

/// The label of `messages_received_total`: the message itself was forwarded, though not every copy of it.
fn verdict(fate: Fate) -> Verdict {
    match fate {
        Fate::Forwarded | Fate::PartlyRefused => Verdict::Forwarded,
        Fate::Queued => Verdict::Queued,
        Fate::Rejected => Verdict::Rejected,
        Fate::Dropped => Verdict::Dropped,
        Fate::Tempfailed => Verdict::Tempfailed,
    }
}

fn word(fate: Fate) -> &'static str {
    match fate {
        Fate::Forwarded => "forwarded",
        Fate::Queued => "queued",
        Fate::Rejected => "rejected",
        Fate::Dropped => "dropped",
        Fate::Tempfailed => "tempfailed",
        Fate::PartlyRefused => "partly_refused",
    }
}

fn outcome(fate: Fate) -> Outcome {
    match fate {
        Fate::Forwarded => Outcome::Forwarded,
        Fate::Queued => Outcome::Queued,
        Fate::Rejected => Outcome::Rejected,
        Fate::Dropped => Outcome::Dropped,
        Fate::Tempfailed => Outcome::Tempfailed,
        Fate::PartlyRefused => Outcome::PartlyRefused,
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use bytes::Bytes;

    use super::*;
    use crate::config::LogAddresses;
    use crate::pipeline::testing::chronicle;

    #[test]
    fn a_log_line_names_ten_recipients_and_counts_the_rest() {
        let addresses = AddressLog::new(LogAddresses::Full, b"secret");
        let recipients = |count: usize| vec![Address::parse("a@ours.example").unwrap(); count];
        let ten = ["a@ours.example"; 10].join(",");
        assert_eq!(shown(&addresses, &recipients(10), 0), ten);
        assert_eq!(shown(&addresses, &recipients(100), 99_900), format!("{ten} and 99990 more"));
        assert_eq!(shown(&addresses, &[], 0), "");
    }

    #[test]
    fn a_full_folder_makes_room_for_what_broke_last() {
        let (chronicle, directory) = chronicle();
        let folder = directory.path().join("poison");
        std::fs::create_dir(&folder).unwrap();
        for number in 0..kept_aside::BOUNDS.files {
            std::fs::write(folder.join(number.to_string()), "old").unwrap();
        }
        let id = TraceId::new(UNIX_EPOCH, 7);
        let octets = Bytes::from_static(b"Subject: x\r\n\r\npoison\r\n");
        chronicle.keep_aside(id, &Message::from_octets(octets.clone()));
        assert_eq!(std::fs::read(folder.join(format!("{id}.eml"))).unwrap(), octets);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), kept_aside::BOUNDS.files);
    }
}
