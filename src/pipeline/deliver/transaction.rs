//! One mail transaction over an open connection (RFC 5321 §3.3): MAIL, RCPT, DATA, the message, the reply
//! to its dot.
//!
//! Round trips: where PIPELINING is offered, MAIL, every RCPT and DATA leave in one write (RFC 2920 §3.1
//! lets DATA stand last in a group), so that a message costs two round trips. An upstream that answers 354
//! though no recipient was taken gets the empty message that RFC 2920 §3.1 asks for.
//!
//! At RCPT there is an envelope and no message yet: the transaction stops behind RCPT and stays open, takes
//! further recipients, and goes on with DATA once the message is there.

use tokio::time::{Instant, timeout_at};

use super::connection::{Connection, Standing, within};
use super::content::{Content, Rest};
use super::options::Timing;
use super::outcome::{Progress, is_too_many, refuses_ipv6};
use super::trouble::Trouble;
use crate::mail::{Address, BodyType, RecipientRequest, RequireTls, ReversePath, SmtpUtf8};
use crate::pipeline::deadline::Deadline;
use crate::pipeline::parcel::Outcome;
use crate::pipeline::refusal::Refusal;
use crate::pipeline::relay;
use crate::smtp::client::{Capabilities, Extension, MailParameters, mail, rcpt};
use crate::smtp::reply::Reply;

/// Recipients a transaction where the upstream's LIMITS says nothing: what RFC 5321 §4.5.3.1.8 makes every
/// server take.
const MAX_RECIPIENTS: usize = 100;

/// What is offered: one message to some recipients, or only the envelope of one that is to come.
#[derive(Clone, Copy)]
pub(super) struct Offer<'a> {
    pub(super) reverse_path: &'a ReversePath,
    /// One for each copy of the shipment.
    pub(super) copies: &'a [Copy<'a>],
    /// None ahead of the message.
    pub(super) content: Option<&'a Content>,
    /// What MAIL says of it.
    pub(super) parameters: MailParameters<'a>,
}

/// What RCPT says of one copy.
#[derive(Debug)]
pub(super) struct Copy<'a> {
    /// Stands for the forward-path in replies.
    pub(super) alias: &'a Address,
    pub(super) forward_path: &'a Address,
    /// What is asked of the upstream, which is not all that was asked of us.
    pub(super) request: RecipientRequest,
}

impl Offer<'_> {
    /// A reply to the transaction as each of its copies may have it.
    fn mask(&self, reply: Reply) -> Reply {
        relay::mask_all(reply, self.copies.iter().map(|copy| (copy.alias, copy.forward_path)))
    }
}

/// Until when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// The end of all that comes before DATA's reply.
    pub(super) envelope: Deadline,
    /// The end of the rest: when the client must have its reply.
    pub(super) reply: Deadline,
}

/// How a transaction ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// With an answer for each recipient, but for those that the upstream wants in another transaction.
    Answered,
    /// Not yet: recipients were taken, and the message is to come.
    Open,
    /// The dot is sent and time is up; the upstream owes the answer for these copies.
    Awaiting {
        copies: Vec<usize>,
        /// When the dot was sent.
        dot_at: Instant,
    },
}

/// The replies to the envelope.
struct Replies {
    mail: Reply,
    rcpts: Vec<Reply>,
    data: Option<Reply>,
}

/// One transaction in progress.
pub(super) struct Transaction<'a> {
    pub(super) connection: &'a mut Connection,
    pub(super) offer: Offer<'a>,
    pub(super) budget: Budget,
    pub(super) timing: Timing,
    /// Recipients that it has from earlier RCPT commands.
    pub(super) recipients: usize,
}

impl Transaction<'_> {
    /// Offers what is pending. Copies that the upstream gave its word on are settled, also where the rest
    /// ends in trouble; what is still pending afterwards was not taken by anybody.
    pub(super) async fn run(mut self, progress: &mut Progress) -> Result<Ending, Trouble> {
        check_fitness(&self.offer, &self.connection.capabilities)?;
        let copies = progress.pending(self.most_recipients());
        let replies = self.send_envelope(&copies).await?;
        let data = replies.data.clone();
        let taken = self.sort(replies, copies, progress)?;
        if self.offer.content.is_none() {
            return Ok(self.stay_open(taken, progress));
        }
        match (data, taken.is_empty()) {
            (None, true) => Ok(Ending::Answered),
            (Some(data), true) => self.withdraw(&data).await,
            (None, false) => {
                let data = self.send_data_command().await?;
                self.send_message(&data, taken, progress).await
            }
            (Some(data), false) => self.send_message(&data, taken, progress).await,
        }
    }

    /// Adds what is pending to the recipients of a transaction that is open already.
    pub(super) async fn add(mut self, progress: &mut Progress) -> Result<Ending, Trouble> {
        let copies = progress.pending(self.most_recipients());
        let mut replies = Vec::with_capacity(copies.len());
        for rcpt in self.rcpts(&copies) {
            replies.push(self.say_rcpt(&rcpt).await?);
        }
        let taken = self.sort_recipients(replies, copies, progress)?;
        Ok(self.stay_open(taken, progress))
    }

    /// Sends the message to the copies whose RCPT was taken earlier. An upstream that does not know of the
    /// transaction any more has forgotten it; another is opened.
    pub(super) async fn go_on(
        mut self,
        taken: Vec<usize>,
        progress: &mut Progress,
    ) -> Result<Ending, Trouble> {
        let data = timeout_at(self.budget.envelope.at(), self.send_data_command()).await;
        let data = data.unwrap_or(Err(Trouble::TimedOut("at DATA")))?;
        if relay::is_about_us(&data) {
            return Err(Trouble::OutOfStep(data));
        }
        self.send_message(&data, taken, progress).await
    }

    fn stay_open(&self, taken: Vec<usize>, progress: &mut Progress) -> Ending {
        let open = self.recipients > 0 || !taken.is_empty();
        taken.into_iter().for_each(|copy| progress.take(copy));
        if open { Ending::Open } else { Ending::Answered }
    }

    fn most_recipients(&self) -> usize {
        let most =
            self.connection.capabilities.recipients_max().unwrap_or(MAX_RECIPIENTS).min(MAX_RECIPIENTS);
        most.saturating_sub(self.recipients)
    }

    fn rcpts(&self, copies: &[usize]) -> Vec<String> {
        let offered = &self.connection.capabilities;
        let copies = copies.iter().filter_map(|copy| self.offer.copies.get(*copy));
        copies.map(|copy| rcpt(copy.forward_path, &copy.request, offered)).collect()
    }

    async fn say_rcpt(&mut self, rcpt: &str) -> Result<Reply, Trouble> {
        self.connection.say(rcpt, self.command_limit(), "at RCPT").await?;
        self.envelope_reply("at RCPT").await
    }

    /// MAIL and RCPT; with PIPELINING, where there is a message, also DATA.
    async fn send_envelope(&mut self, copies: &[usize]) -> Result<Replies, Trouble> {
        let rcpts = self.rcpts(copies);
        let mail = mail(self.offer.reverse_path, self.offer.parameters, &self.connection.capabilities);
        self.connection.standing = Standing::InTransaction;
        self.connection.transactions += 1;
        if self.connection.capabilities.offers(Extension::Pipelining) {
            self.send_envelope_at_once(&mail, &rcpts).await
        } else {
            self.send_envelope_in_steps(&mail, &rcpts).await
        }
    }

    async fn send_envelope_at_once(&mut self, mail: &str, rcpts: &[String]) -> Result<Replies, Trouble> {
        let data = if self.offer.content.is_some() { "DATA\r\n" } else { "" };
        let lines = format!("{mail}{}{data}", rcpts.concat());
        self.connection.say(&lines, self.command_limit(), "at MAIL").await?;
        let mail = self.envelope_reply("at MAIL").await?;
        match self.read_envelope(rcpts.len()).await {
            Ok((rcpts, data)) => Ok(Replies { mail, rcpts, data }),
            Err(_) if !mail.is_positive() => {
                self.connection.standing = Standing::Spent;
                Ok(Replies { mail, rcpts: Vec::new(), data: None })
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// The replies behind MAIL's. An upstream that refuses everybody and hangs up has had its say.
    async fn read_envelope(&mut self, rcpts: usize) -> Result<(Vec<Reply>, Option<Reply>), Trouble> {
        let mut answers = Vec::with_capacity(rcpts);
        for _ in 0..rcpts {
            answers.push(self.envelope_reply("at RCPT").await?);
        }
        if self.offer.content.is_none() {
            return Ok((answers, None));
        }
        match self.reply_to_data().await {
            Ok(data) => Ok((answers, Some(data))),
            Err(_) if !answers.iter().any(Reply::is_positive) => {
                self.connection.standing = Standing::Spent;
                Ok((answers, None))
            }
            Err(trouble) => Err(trouble),
        }
    }

    async fn send_envelope_in_steps(&mut self, mail: &str, rcpts: &[String]) -> Result<Replies, Trouble> {
        self.connection.say(mail, self.command_limit(), "at MAIL").await?;
        let mail = self.envelope_reply("at MAIL").await?;
        let mut answers = Vec::with_capacity(rcpts.len());
        if mail.is_positive() {
            for rcpt in rcpts {
                answers.push(self.say_rcpt(rcpt).await?);
            }
        }
        Ok(Replies { mail, rcpts: answers, data: None })
    }

    async fn send_data_command(&mut self) -> Result<Reply, Trouble> {
        self.connection.say("DATA\r\n", self.data_limit(), "at DATA").await?;
        self.reply_to_data().await
    }

    fn command_limit(&self) -> Instant {
        within(self.timing.command, self.budget.envelope)
    }

    fn data_limit(&self) -> Instant {
        within(self.timing.data, self.budget.reply)
    }

    async fn envelope_reply(&mut self, step: &'static str) -> Result<Reply, Trouble> {
        let reply = self.connection.reply(self.command_limit(), step).await?;
        if reply.code / 100 == 3 {
            return Err(Trouble::OutOfStep(reply));
        }
        self.stay(reply)
    }

    async fn reply_to_data(&mut self) -> Result<Reply, Trouble> {
        let reply = self.connection.reply(self.data_limit(), "at DATA").await?;
        if reply.is_positive() {
            return Err(Trouble::OutOfStep(reply));
        }
        self.stay(reply)
    }

    /// A 421 before the dot closes the connection (RFC 5321 §3.8) and is not about the message.
    fn stay(&mut self, reply: Reply) -> Result<Reply, Trouble> {
        if reply.code != 421 {
            return Ok(reply);
        }
        self.connection.standing = Standing::Spent;
        Err(Trouble::Unwelcome(reply))
    }

    /// Settles what was refused; gives the copies that were taken. What is one too many for this
    /// transaction stays pending.
    fn sort(
        &self,
        replies: Replies,
        copies: Vec<usize>,
        progress: &mut Progress,
    ) -> Result<Vec<usize>, Trouble> {
        if replies.mail.is_positive() {
            return self.sort_recipients(replies.rcpts, copies, progress);
        }
        if self.connection.peer.address.is_ipv6() && refuses_ipv6(&replies.mail) {
            return Err(Trouble::Ipv6Unwelcome(self.offer.mask(replies.mail)));
        }
        self.answer_all(copies, &replies.mail, progress);
        Ok(Vec::new())
    }

    fn sort_recipients(
        &self,
        replies: Vec<Reply>,
        copies: Vec<usize>,
        progress: &mut Progress,
    ) -> Result<Vec<usize>, Trouble> {
        let host = &self.connection.peer.host;
        let over_ipv6 = self.connection.peer.address.is_ipv6();
        let none_taken = self.recipients == 0 && !replies.iter().any(Reply::is_positive);
        let mut taken = Vec::with_capacity(copies.len());
        for (copy, reply) in copies.into_iter().zip(replies) {
            if reply.is_positive() {
                taken.push(copy);
            } else if over_ipv6 && none_taken && refuses_ipv6(&reply) {
                return Err(Trouble::Ipv6Unwelcome(self.offer.mask(reply)));
            } else if !is_too_many(&reply, self.recipients + taken.len()) {
                progress.answer(copy, host, reply);
            }
        }
        Ok(taken)
    }

    /// Ends a DATA that went ahead of the refusal of all recipients: with an empty message where the
    /// upstream waits for one. What it says to that is nobody's answer, but a 2xx shows that it does not
    /// know what it is doing.
    async fn withdraw(&mut self, data: &Reply) -> Result<Ending, Trouble> {
        if data.code / 100 != 3 {
            return Ok(Ending::Answered);
        }
        let limit = self.data_limit();
        self.connection.standing = Standing::Spent;
        if let Ok(reply) = self.connection.command(".\r\n", limit, "at the empty message").await {
            self.connection.standing = after_dot(&reply);
        }
        Ok(Ending::Answered)
    }

    /// Sends the message, unless DATA was refused, and reads the reply to its dot.
    async fn send_message(
        &mut self,
        data: &Reply,
        taken: Vec<usize>,
        progress: &mut Progress,
    ) -> Result<Ending, Trouble> {
        if data.code / 100 != 3 {
            self.answer_all(taken, data, progress);
            return Ok(Ending::Answered);
        }
        if let Err(trouble) = self.send_octets().await {
            return self.read_early_reply(trouble, taken, progress).await;
        }
        let dot_at = Instant::now();
        let limit = within(self.timing.dot, self.budget.reply);
        match self.connection.reply(limit, "after the dot").await.and_then(final_reply) {
            Ok(reply) => {
                self.connection.standing = after_dot(&reply);
                self.answer_all(taken, &reply, progress);
                Ok(Ending::Answered)
            }
            Err(trouble) if trouble.is_timeout() => Ok(Ending::Awaiting { copies: taken, dot_at }),
            Err(trouble) => {
                let host = &self.connection.peer.host;
                for copy in taken {
                    progress.settle(copy, Outcome::Unknown { host: host.clone() });
                }
                Err(trouble)
            }
        }
    }

    fn answer_all(&self, copies: Vec<usize>, reply: &Reply, progress: &mut Progress) {
        let host = &self.connection.peer.host;
        let reply = self.offer.mask(reply.clone());
        copies.into_iter().for_each(|copy| progress.answer(copy, host, reply.clone()));
    }

    /// The message through the dot-stuffer, with the end of data.
    async fn send_octets(&mut self) -> Result<(), Trouble> {
        let missing = || Trouble::Message(std::io::ErrorKind::NotFound.into());
        let mut outgoing = self.offer.content.ok_or_else(missing)?.outgoing();
        let mut buffer = Vec::new();
        loop {
            let rest = outgoing.fill(&mut buffer).await.map_err(Trouble::Message)?;
            let limit = within(self.timing.block, self.budget.reply);
            self.connection.send(&buffer, limit, "sending the message").await?;
            if rest == Rest::Ended {
                return Ok(());
            }
        }
    }

    /// An upstream that hangs up in the middle of a message may have said why, such as 552: then that is
    /// the answer. The end of data was not handed over, so nothing was delivered.
    async fn read_early_reply(
        &mut self,
        trouble: Trouble,
        taken: Vec<usize>,
        progress: &mut Progress,
    ) -> Result<Ending, Trouble> {
        self.connection.standing = Standing::Spent;
        if !matches!(trouble, Trouble::Lost(..) | Trouble::TimedOut(_)) {
            return Err(trouble);
        }
        let limit = within(self.timing.quit, self.budget.reply);
        match self.connection.reply(limit, "in the message").await {
            Ok(reply) if reply.code >= 400 && reply.code != 421 => {
                self.answer_all(taken, &reply, progress);
                Ok(Ending::Answered)
            }
            Ok(_) | Err(_) => Err(trouble),
        }
    }
}

/// A reply to the dot is 2xx, 4xx or 5xx.
pub(super) fn final_reply(reply: Reply) -> Result<Reply, Trouble> {
    if reply.code / 100 == 3 { Err(Trouble::OutOfStep(reply)) } else { Ok(reply) }
}

/// Where the reply to a dot leaves the connection.
pub(super) fn after_dot(reply: &Reply) -> Standing {
    if reply.code == 421 { Standing::Spent } else { Standing::Clean }
}

/// Whether this upstream can take this message at all.
///
/// Differs: what was declared BODY=8BITMIME but holds no 8-bit octet is sent as the 7-bit message it is,
/// where RFC 6152 §3 would have it refused, because many senders declare it always.
fn check_fitness(offer: &Offer<'_>, offered: &Capabilities) -> Result<(), Trouble> {
    let parameters = offer.parameters;
    let octets = parameters.octets.unwrap_or_default();
    if let Some(limit) = offered.size_limit().filter(|limit| *limit < octets) {
        return Err(Trouble::Unfit(Refusal::UpstreamSize(limit)));
    }
    if parameters.request.require_tls == RequireTls::Yes && !offered.offers(Extension::RequireTls) {
        return Err(Trouble::Unfit(Refusal::UpstreamWithoutRequireTls));
    }
    if parameters.smtp_utf8 == SmtpUtf8::Requested && !offered.offers(Extension::SmtpUtf8) {
        return Err(Trouble::Unfit(Refusal::UpstreamWithoutUtf8));
    }
    if parameters.body_type == BodyType::EightBitMime && !offered.offers(Extension::EightBitMime) {
        return Err(Trouble::Unfit(Refusal::UpstreamWithout8Bit));
    }
    Ok(())
}
