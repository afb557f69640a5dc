//! Accepting one message: MAIL, RCPT, DATA or BDAT, and the one reply behind the final dot.

use std::sync::Arc;

use bytes::Buf;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::open::{Asking, Chunks, Early, Open, Refused};
use super::reception::{Bounds, Reception};
use super::session::{End, Session};
use crate::clock;
use crate::mail::{Address, Envelope, Message, RequireTls, SmtpUtf8, TraceId};
use crate::pipeline::account::Share;
use crate::pipeline::chronicle::Conclusion;
use crate::pipeline::deadline::Deadline;
use crate::pipeline::parcel::{
    Accepted, Addressed, Client, Fate, Opened, Recipient, Settlement, Transaction,
};
use crate::pipeline::refusal::Refusal;
use crate::routing::{Access, is_role};
use crate::smtp::command::{Charset, Chunk, ChunkPosition, Mail, Rcpt};
use crate::smtp::data::Progress;
use crate::smtp::reply::{self, Reply, Row};
use crate::telemetry::SmtpCommand;

impl Session {
    /// MAIL: opens the transaction, and authentication's first questions with it.
    pub(super) async fn mail(&mut self, mail: Mail) -> Result<(), End> {
        let Some(client) = self.client.clone() else {
            return self.say(SmtpCommand::Mail, &reply::BAD_SEQUENCE.with(&["send EHLO first"])).await;
        };
        if self.open.is_some() {
            return self.say(SmtpCommand::Mail, &reply::BAD_SEQUENCE.with(&["a transaction is open"])).await;
        }
        // RFC 8689 §2: not offered, and not to be promised, outside TLS.
        if mail.request.require_tls == RequireTls::Yes && client.tls.is_none() {
            return self.say(SmtpCommand::Mail, &reply::UNKNOWN_PARAMETER.with(&["REQUIRETLS"])).await;
        }
        if self.transactions >= self.config.limits.transactions {
            return self.dismiss(SmtpCommand::Mail, reply::TOO_MANY_TRANSACTIONS.reply()).await;
        }
        self.transactions += 1;
        let id = TraceId::new(clock::now(), rand::random());
        let limit = self.config.service.max_message_octets;
        if mail.size_octets.is_some_and(|octets| octets > limit) {
            return self
                .say(SmtpCommand::Mail, &self.refer(reply::TOO_LARGE, &[&limit.to_string()], id))
                .await;
        }
        let listing = self.around.operators_listing(self.ip);
        if listing.is_none() {
            self.listing.ask(&self.around, self.ip);
        }
        let (answer, early) = oneshot::channel();
        let opened = Opened { client: client.clone(), reverse_path: mail.reverse_path.clone(), answer };
        if self.around.opened.pass(opened).await.is_err() {
            return self.break_down(SmtpCommand::Mail).await;
        }
        self.open = Some(Open {
            id,
            client,
            mail,
            listing,
            early: Early::Asked(early),
            recipients: Vec::new(),
            asking: Asking::default(),
            opened_at: Instant::now(),
            refused: None,
            chunks: Chunks::None,
            due: None,
        });
        self.say(SmtpCommand::Mail, &reply::SENDER_OK.reply()).await
    }

    /// RCPT: local checks, what is said of the client, the routing table, those that were taken before, and then the upstreams.
    pub(super) async fn rcpt(&mut self, rcpt: Rcpt) -> Result<(), End> {
        let limit = self.config.limits.recipients;
        let refusal = match &self.open {
            None => Some(reply::BAD_SEQUENCE.with(&["send MAIL first"])),
            Some(open) if !matches!(open.chunks, Chunks::None) => {
                Some(reply::BAD_SEQUENCE.with(&["the message has begun"]))
            }
            Some(open) if open.recipients.len() >= limit => Some(reply::TOO_MANY_RECIPIENTS.reply()),
            Some(open) if rcpt.charset == Charset::Utf8 && open.mail.smtp_utf8 == SmtpUtf8::NotRequested => {
                Some(reply::UTF8_NOT_REQUESTED.reply())
            }
            Some(_) => None,
        };
        let admitted = match refusal {
            Some(reply) => return self.say(SmtpCommand::Rcpt, &reply).await,
            None => self.admit(rcpt.recipient.clone()).await?,
        };
        let admitted = match admitted {
            Ok(recipient) => match self.split(&recipient).await {
                Some(reply) => Err(reply),
                None => self.ask_upstreams(Recipient { request: rcpt.request, ..recipient }).await?,
            },
            Err(reply) => Err(reply),
        };
        let Some(open) = &mut self.open else { return Err(End::Dismissed) };
        match admitted {
            Ok(recipient) => {
                open.recipients.push(recipient);
                self.say(SmtpCommand::Rcpt, &reply::RECIPIENT_OK.reply()).await
            }
            Err(reply) => {
                let refused = open.refused.get_or_insert_with(|| Refused::new(reply.clone()));
                refused.add(rcpt.recipient, reply.clone());
                self.say(SmtpCommand::Rcpt, &reply).await
            }
        }
    }

    /// Asks what is said of the client, and the routing table about a recipient.
    async fn admit(&mut self, recipient: Option<Address>) -> Result<Result<Recipient, Reply>, End> {
        let Some((id, reverse_path)) =
            self.open.as_ref().map(|open| (open.id, open.mail.reverse_path.clone()))
        else {
            return Err(End::Dismissed);
        };
        // RFC 5321 §4.5.1, RFC 2142 §2: these are how a listed sender complains.
        if !recipient.as_ref().is_none_or(is_role)
            && let Some(refused) = self.refused_client(id).await
        {
            return Ok(Err(refused));
        }
        let (answer, answered) = oneshot::channel();
        let guessed = recipient.clone();
        if self.around.addressed.pass(Addressed { recipient, reverse_path, answer }).await.is_err() {
            return self.break_down(SmtpCommand::Rcpt).await;
        }
        let admitted = answered.await.unwrap_or(Err(Refusal::Internal));
        if let (Err(Refusal::SrsForged), Some(address)) = (&admitted, guessed) {
            return Ok(Err(self.answer_guess(&address, id).await?));
        }
        Ok(admitted.map_err(|refusal| refusal.reply(&self.config.service.postmaster_url, id)))
    }

    /// What a client hears that an operator has blocked, or that blocklists list and no operator allows.
    async fn refused_client(&mut self, id: TraceId) -> Option<Reply> {
        let ip = self.ip.to_string();
        if let Some(listing) = self.open.as_ref().and_then(|open| open.listing.as_ref()) {
            let reason = if listing.reason.is_empty() { "" } else { &format!(" ({})", listing.reason) };
            return match listing.access {
                Access::Blocked => Some(self.refer(reply::BLOCKED, &[&ip, reason], id)),
                Access::Allowed => None,
            };
        }
        let listing = self.listing.verdict().await;
        let zones = listing.is_listed().then(|| listing.zones.join(", "))?;
        Some(self.refer(reply::DNSBL_LISTED, &[&ip, &zones], id))
    }

    /// DATA: says 354, receives, submits.
    pub(super) async fn data(&mut self) -> Result<(), End> {
        if let Some(reply) = self.data_refusal() {
            return self.say(SmtpCommand::Data, &reply).await;
        }
        // RFC 2920 §3.1: DATA ends a group of pipelined commands.
        if !self.input.is_empty() {
            return self.dismiss(SmtpCommand::Data, reply::BAD_SEQUENCE.with(&["wait for 354"])).await;
        }
        self.say(SmtpCommand::Data, &reply::START_MAIL.reply()).await?;
        self.flush().await?;
        let mut reception = self.reception();
        let due = self.due();
        loop {
            if self.input.is_empty() {
                self.read_message_octets(due, Some(&mut reception)).await?;
            }
            let progress = reception.data(&self.input).await;
            match progress {
                Progress::More => self.input.clear(),
                Progress::End(octets) => {
                    self.input.advance(octets);
                    return self.finish(SmtpCommand::Data, reception).await;
                }
            }
        }
    }

    fn data_refusal(&self) -> Option<Reply> {
        match &self.open {
            None => Some(reply::BAD_SEQUENCE.with(&["send MAIL first"])),
            Some(open) if !matches!(open.chunks, Chunks::None) => {
                Some(reply::BAD_SEQUENCE.with(&["DATA cannot follow BDAT"]))
            }
            Some(open) if open.recipients.is_empty() => Some(reply::NO_RECIPIENTS.reply()),
            Some(_) => None,
        }
    }

    /// When the message, which begins now if it has not yet, must be there: `limits.message_timeout` behind 354 or its
    /// first chunk.
    fn due(&mut self) -> Instant {
        let due = Instant::now() + self.config.limits.message_timeout;
        match &mut self.open {
            Some(open) => *open.due.get_or_insert(due),
            None => due,
        }
    }

    /// BDAT (RFC 3030): the octets follow at once, refused or not, and are always read.
    pub(super) async fn bdat(&mut self, chunk: Chunk) -> Result<(), End> {
        let mut reception = match self.begin_chunk(chunk) {
            Ok(reception) => reception,
            Err(reply) => {
                self.skip(chunk.octets).await?;
                return self.say(SmtpCommand::Bdat, &reply).await;
            }
        };
        let due = self.due();
        let mut left = chunk.octets;
        while left > 0 {
            if self.input.is_empty() {
                self.read_message_octets(due, Some(&mut reception)).await?;
            }
            let piece = usize::try_from(left).unwrap_or(usize::MAX).min(self.input.len());
            reception.chunk(self.input.get(..piece).unwrap_or_default()).await;
            self.input.advance(piece);
            left -= piece as u64;
        }
        if chunk.position == ChunkPosition::Last {
            return self.finish(SmtpCommand::Bdat, reception).await;
        }
        if let Some(open) = &mut self.open {
            open.chunks = Chunks::Receiving(reception);
        }
        self.conduct.brought_a_chunk(chunk.octets);
        self.say(SmtpCommand::Bdat, &reply::CHUNK_OK.with(&[&chunk.octets.to_string()])).await
    }

    /// The message that a chunk belongs to, or why it is refused.
    fn begin_chunk(&mut self, chunk: Chunk) -> Result<Box<Reception>, Reply> {
        let Some(open) = &mut self.open else { return Err(reply::BAD_SEQUENCE.with(&["send MAIL first"])) };
        let id = open.id;
        let reception = match std::mem::replace(&mut open.chunks, Chunks::Refused) {
            Chunks::Refused => return Err(reply::BAD_SEQUENCE.with(&["a chunk was refused, send RSET"])),
            Chunks::Receiving(reception) => reception,
            Chunks::None if open.recipients.is_empty() => {
                open.chunks = Chunks::None;
                return Err(reply::NO_RECIPIENTS.reply());
            }
            Chunks::None => self.reception(),
        };
        let limit = self.config.service.max_message_octets;
        if reception.octets().saturating_add(chunk.octets) > limit {
            return Err(self.refer(reply::TOO_LARGE, &[&limit.to_string()], id));
        }
        Ok(reception)
    }

    /// Reads a refused chunk, which begins no message and has the time of one; a chunk that is beyond all reason ends the
    /// session instead.
    pub(super) async fn skip(&mut self, octets: u64) -> Result<(), End> {
        if octets > self.config.service.max_message_octets.saturating_mul(2) {
            let limit = self.config.service.max_message_octets.to_string();
            return self.dismiss(SmtpCommand::Bdat, reply::TOO_LARGE.with(&[&limit])).await;
        }
        let due = self.due_at().unwrap_or_else(|| Instant::now() + self.config.limits.message_timeout);
        let mut left = octets;
        while left > 0 {
            if self.input.is_empty() {
                self.read_message_octets(due, None).await?;
            }
            let piece = usize::try_from(left).unwrap_or(usize::MAX).min(self.input.len());
            self.input.advance(piece);
            left -= piece as u64;
        }
        Ok(())
    }

    /// A message of which nothing is here yet.
    fn reception(&self) -> Box<Reception> {
        let bounds = Bounds {
            message_octets: self.config.service.max_message_octets,
            header_octets: self.config.limits.header_octets,
            floor_octets: self.config.limits.min_free_octets,
            temporary: self.around.temporary.clone(),
        };
        Box::new(Reception::new(bounds, self.around.memory.share(self.ip)))
    }

    /// The true end of the message was read: refuse it, or submit it and relay the one reply.
    async fn finish(&mut self, command: SmtpCommand, reception: Box<Reception>) -> Result<(), End> {
        let Some(open) = self.open.take() else { return Err(End::Dismissed) };
        let received = reception.finish(|row, argument| self.refer(row, &[argument], open.id)).await;
        let (message, memory) = match received {
            Ok(received) => received,
            Err(reply) => {
                self.conclude(&open, &reply, None);
                return self.say(command, &reply).await;
            }
        };
        let settlement = self.submit(open, message, memory).await?;
        self.settle(command, settlement).await
    }

    /// Sends the message down the pipeline and waits for its settlement.
    async fn submit(&mut self, open: Open, message: Message, memory: Share) -> Result<Settlement, End> {
        let (answer, mut settlement) = oneshot::channel();
        let gone = CancellationToken::new();
        let Open { id, client, mail, early, recipients, asking, .. } = open;
        let aliases: Vec<Address> = recipients.iter().map(|recipient| recipient.alias.clone()).collect();
        let dot_at = Instant::now();
        let envelope = Envelope {
            reverse_path: mail.reverse_path,
            recipients: aliases,
            body_type: mail.body_type,
            smtp_utf8: mail.smtp_utf8,
            request: mail.request,
        };
        let aside = (client.clone(), envelope.clone(), message.clone());
        let transaction = Transaction {
            id,
            client,
            envelope,
            recipients,
            advance: asking.advance,
            received_at: clock::now(),
            dot_at,
            deadline: Deadline::after(self.config.delivery.in_session_timeout),
            gone: gone.clone(),
            memory,
            answer,
        };
        if self
            .around
            .accepted
            .pass(Accepted { transaction, message, early: early.receiver() })
            .await
            .is_err()
        {
            return self.break_down(SmtpCommand::Data).await;
        }
        let settled = tokio::select! {
            settled = &mut settlement => settled,
            () = self.gone() => {
                gone.cancel();
                settlement.await
            }
        };
        match settled {
            Ok(settlement) => Ok(settlement),
            Err(_) => Ok(self.poisoned(id, aside, dot_at)),
        }
    }

    /// The message's task ended without an answer: a panic. The sender keeps the message, we keep its bytes.
    fn poisoned(&self, id: TraceId, aside: (Arc<Client>, Envelope, Message), dot_at: Instant) -> Settlement {
        let (client, envelope, message) = aside;
        let reply = self.refer(reply::INTERNAL, &[], id);
        self.around.chronicle.conclude(Conclusion {
            id,
            client: &client,
            reverse_path: &envelope.reverse_path,
            recipients: &envelope.recipients,
            omitted: 0,
            message: Some(&message),
            results: "",
            fate: Fate::Tempfailed,
            reply: &reply,
            steps: vec!["a stage of the pipeline panicked".to_owned()],
            duration: dot_at.elapsed(),
        });
        let chronicle = self.around.chronicle.clone();
        tokio::task::spawn_blocking(move || chronicle.keep_aside(id, &message));
        Settlement { reply, acknowledged: None }
    }

    /// Forgets the open transaction, telling its end where something was refused.
    pub(super) fn abandon(&mut self) {
        if let Some(open) = self.open.take()
            && let Some(refused) = &open.refused
        {
            self.conclude(&open, &refused.reply, Some(refused));
        }
    }

    fn conclude(&self, open: &Open, reply: &Reply, refused: Option<&Refused>) {
        let taken: Vec<Address> = open.recipients.iter().map(|recipient| recipient.alias.clone()).collect();
        self.around.chronicle.conclude(Conclusion {
            id: open.id,
            client: &open.client,
            reverse_path: &open.mail.reverse_path,
            recipients: refused.map_or(&taken, |refused| &refused.recipients),
            omitted: refused.map_or(0, |refused| refused.omitted),
            message: None,
            results: "",
            fate: if reply.is_permanent() { Fate::Rejected } else { Fate::Tempfailed },
            reply,
            steps: Vec::new(),
            duration: open.opened_at.elapsed(),
        });
    }

    pub(super) fn refer(&self, row: &'static Row, arguments: &[&str], id: TraceId) -> Reply {
        row.refer(arguments, &self.config.service.postmaster_url, id)
    }

    /// A stage's actor is gone, and the node is about to end.
    pub(super) async fn break_down<T>(&mut self, command: SmtpCommand) -> Result<T, End> {
        self.dismiss(command, reply::INTERNAL.reply()).await
    }
}
