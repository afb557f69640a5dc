//! One mail transaction over an open connection (RFC 5321 §3.3), in two phases: `open` says MAIL and RCPT, `feed`
//! sends the message and reads the reply to its dot. Between them it may wait for the message, and take further
//! recipients.
//!
//! Round trips: where the message is there and PIPELINING is offered, MAIL, every RCPT and DATA leave in one write
//! (RFC 2920 §3.1 lets DATA stand last in a group), so that a message costs two round trips. An upstream that answers
//! 354 though no recipient was taken gets the empty message that RFC 2920 §3.1 asks for.

use tokio::time::{Instant, timeout_at};

use super::address_error::AddressError;
use super::connection::{Connection, Phase, within};
use super::outcomes::{Outcomes, answered, is_too_many, refuses_ipv6, unknown};
use super::outgoing::{Content, Rest};
use crate::mail::{Address, BodyType, RecipientRequest, RequireTls, ReversePath, SmtpUtf8};
use crate::pipeline::deadline::Deadline;
use crate::pipeline::deliver::options::Timing;
use crate::pipeline::refusal::Refusal;
use crate::pipeline::{mask, relay};
use crate::smtp::client::{Capabilities, Extension, MailParameters, mail, rcpt};
use crate::smtp::reply::Reply;

/// Recipients a transaction where the upstream's LIMITS says nothing: what RFC 5321 §4.5.3.1.8 makes every
/// server take.
const MAX_RECIPIENTS: usize = 100;

/// What is offered: the envelope of a message that is there, or of one that is to come.
#[derive(Clone, Copy)]
pub(crate) struct Offer<'a> {
    pub(crate) reverse_path: &'a ReversePath,
    /// One for each copy of the shipment.
    pub(crate) copies: &'a [Addressee<'a>],
    /// What MAIL says of the message.
    pub(crate) parameters: MailParameters<'a>,
}

/// What RCPT says of one copy.
#[derive(Debug)]
pub(crate) struct Addressee<'a> {
    /// Stands for the forward-path in replies.
    pub(crate) alias: &'a Address,
    pub(crate) forward_path: &'a Address,
    /// What is asked of the upstream, which is not all that was asked of us.
    pub(crate) request: RecipientRequest,
}

impl Offer<'_> {
    /// A reply to the transaction as each of its copies may have it.
    fn mask(&self, reply: Reply) -> Reply {
        mask::mask_all(reply, self.copies.iter().map(|copy| (copy.alias, copy.forward_path)))
    }
}

/// Until when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// The end of all that comes before DATA's reply.
    pub(crate) envelope: Deadline,
    /// The end of the rest: when the client must have its reply.
    pub(crate) reply: Deadline,
}

impl Budget {
    /// Half of the time that is left for everything up to DATA, the rest for the message and its reply.
    pub(crate) fn until(deadline: Deadline) -> Self {
        Self { envelope: deadline.half(), reply: deadline }
    }

    /// The part of the budget that one address may use up: all of it for the last, half of what is left
    /// for others, so that one that never answers leaves time for the next. What is too little for two is one's.
    pub(crate) fn share(self, last: bool) -> Self {
        let half = self.envelope.half();
        Self { envelope: if last || !half.is_enough_to_try() { self.envelope } else { half }, ..self }
    }
}

/// Whether DATA goes along with the envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Data {
    /// The message follows.
    Along,
    /// The message is to come.
    Later,
}

/// MAIL and RCPT are answered. Where no copy was taken the transaction is over.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    /// The copies that the upstream takes.
    pub(crate) taken: Vec<usize>,
    /// Those that it does not. What it wants in another transaction is in neither.
    pub(crate) refused: Outcomes,
    /// What the upstream has against our address: those that are in neither list may be offered from another.
    pub(crate) trouble: Option<AddressError>,
    /// The reply to a DATA that went along.
    data: Option<Reply>,
}

impl Opened {
    /// A transaction that was opened earlier for these copies.
    pub(crate) fn earlier(taken: Vec<usize>) -> Self {
        Self { taken, ..Self::default() }
    }
}

/// What came of a message: the outcomes that there are, and how it ended for the others.
#[derive(Debug)]
pub(crate) struct Fed {
    pub(crate) outcomes: Outcomes,
    pub(crate) ending: Ending,
}

/// How a transaction ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// With an answer for each copy that was taken.
    Answered,
    /// The dot is sent and time is up; the upstream owes the answer for these copies.
    Awaiting {
        copies: Vec<usize>,
        /// When the dot was sent.
        dot_at: Instant,
    },
    /// Without one; what has no outcome was not taken by anybody.
    Broken(AddressError),
}

impl From<AddressError> for Fed {
    fn from(trouble: AddressError) -> Self {
        Self { outcomes: Vec::new(), ending: Ending::Broken(trouble) }
    }
}

/// The replies to the envelope.
struct Replies {
    mail: Reply,
    rcpts: Vec<Reply>,
    data: Option<Reply>,
}

/// One transaction in progress.
pub(crate) struct Transaction<'a> {
    pub(crate) connection: &'a mut Connection,
    pub(crate) offer: Offer<'a>,
    pub(crate) budget: Budget,
    pub(crate) timing: Timing,
    /// Recipients that it has from earlier RCPT commands.
    pub(crate) recipients: usize,
}

impl Transaction<'_> {
    /// The first phase, for these copies, or as many of them as the upstream takes in one transaction.
    pub(crate) async fn open(&mut self, copies: &[usize], data: Data) -> Result<Opened, AddressError> {
        check_fitness(&self.offer, &self.connection.capabilities)?;
        let copies = self.most(copies);
        let replies = self.send_envelope(copies, data).await?;
        let opened = self.sort(replies, copies);
        if opened.taken.is_empty()
            && let Some(data) = &opened.data
        {
            self.withdraw(data).await;
        }
        Ok(opened)
    }

    /// Adds copies to the recipients of a transaction that is open already.
    pub(crate) async fn add(&mut self, copies: &[usize]) -> Result<Opened, AddressError> {
        let copies = self.most(copies);
        let mut replies = Vec::with_capacity(copies.len());
        for rcpt in self.rcpts(copies) {
            replies.push(self.say_rcpt(&rcpt).await?);
        }
        Ok(self.sort_recipients(replies, copies))
    }

    /// The second phase: sends the message to the copies that were taken, at least one.
    pub(crate) async fn feed(mut self, opened: Opened, content: &Content) -> Fed {
        let Opened { taken, data, .. } = opened;
        let data = match data {
            Some(data) => Ok(data),
            None => self.send_data_command().await,
        };
        match data {
            Ok(data) => self.send_message(&data, taken, content).await,
            Err(trouble) => trouble.into(),
        }
    }

    /// The second phase of a transaction that waited for the message. An upstream that does not know of it any more
    /// has forgotten it; another is opened.
    pub(crate) async fn feed_later(mut self, opened: Opened, content: &Content) -> Fed {
        let data = timeout_at(self.budget.envelope.at(), self.send_data_command()).await;
        match data.unwrap_or(Err(AddressError::TimedOut("at DATA"))) {
            Ok(data) if relay::is_about_us(&data) => AddressError::OutOfStep(data).into(),
            Ok(data) => self.send_message(&data, opened.taken, content).await,
            Err(trouble) => trouble.into(),
        }
    }

    /// The first copies, as many as the transaction has room for.
    fn most<'c>(&self, copies: &'c [usize]) -> &'c [usize] {
        let most =
            self.connection.capabilities.recipients_max().unwrap_or(MAX_RECIPIENTS).min(MAX_RECIPIENTS);
        copies.get(..most.saturating_sub(self.recipients)).unwrap_or(copies)
    }

    fn rcpts(&self, copies: &[usize]) -> Vec<String> {
        let offered = &self.connection.capabilities;
        let copies = copies.iter().filter_map(|copy| self.offer.copies.get(*copy));
        copies.map(|copy| rcpt(copy.forward_path, &copy.request, offered)).collect()
    }

    async fn say_rcpt(&mut self, rcpt: &str) -> Result<Reply, AddressError> {
        self.connection.say(rcpt, self.command_limit(), "at RCPT").await?;
        self.envelope_reply("at RCPT").await
    }

    /// MAIL and RCPT; with PIPELINING also a DATA that is to go along.
    async fn send_envelope(&mut self, copies: &[usize], data: Data) -> Result<Replies, AddressError> {
        let rcpts = self.rcpts(copies);
        let mail = mail(self.offer.reverse_path, self.offer.parameters, &self.connection.capabilities);
        self.connection.phase = Phase::InTransaction;
        self.connection.transactions += 1;
        if self.connection.capabilities.offers(Extension::Pipelining) {
            self.send_envelope_at_once(&mail, &rcpts, data).await
        } else {
            self.send_envelope_in_steps(&mail, &rcpts).await
        }
    }

    async fn send_envelope_at_once(
        &mut self,
        mail: &str,
        rcpts: &[String],
        data: Data,
    ) -> Result<Replies, AddressError> {
        let last = match data {
            Data::Along => "DATA\r\n",
            Data::Later => "",
        };
        let lines = format!("{mail}{}{last}", rcpts.concat());
        self.connection.say(&lines, self.command_limit(), "at MAIL").await?;
        let mail = self.envelope_reply("at MAIL").await?;
        match self.read_envelope(rcpts.len(), data).await {
            Ok((rcpts, data)) => Ok(Replies { mail, rcpts, data }),
            Err(_) if !mail.is_positive() => {
                self.connection.phase = Phase::Spent;
                Ok(Replies { mail, rcpts: Vec::new(), data: None })
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// The replies behind MAIL's. An upstream that refuses everybody and hangs up has had its say.
    async fn read_envelope(
        &mut self,
        rcpts: usize,
        data: Data,
    ) -> Result<(Vec<Reply>, Option<Reply>), AddressError> {
        let mut answers = Vec::with_capacity(rcpts);
        for _ in 0..rcpts {
            answers.push(self.envelope_reply("at RCPT").await?);
        }
        if data == Data::Later {
            return Ok((answers, None));
        }
        match self.reply_to_data().await {
            Ok(data) => Ok((answers, Some(data))),
            Err(_) if !answers.iter().any(Reply::is_positive) => {
                self.connection.phase = Phase::Spent;
                Ok((answers, None))
            }
            Err(trouble) => Err(trouble),
        }
    }

    async fn send_envelope_in_steps(
        &mut self,
        mail: &str,
        rcpts: &[String],
    ) -> Result<Replies, AddressError> {
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

    async fn send_data_command(&mut self) -> Result<Reply, AddressError> {
        self.connection.say("DATA\r\n", self.data_limit(), "at DATA").await?;
        self.reply_to_data().await
    }

    fn command_limit(&self) -> Instant {
        within(self.timing.command, self.budget.envelope)
    }

    fn data_limit(&self) -> Instant {
        within(self.timing.data, self.budget.reply)
    }

    async fn envelope_reply(&mut self, step: &'static str) -> Result<Reply, AddressError> {
        let reply = self.connection.reply(self.command_limit(), step).await?;
        if reply.code / 100 == 3 {
            return Err(AddressError::OutOfStep(reply));
        }
        self.stay(reply)
    }

    async fn reply_to_data(&mut self) -> Result<Reply, AddressError> {
        let reply = self.connection.reply(self.data_limit(), "at DATA").await?;
        if reply.is_positive() {
            return Err(AddressError::OutOfStep(reply));
        }
        self.stay(reply)
    }

    /// A 421 before the dot closes the connection (RFC 5321 §3.8) and is not about the message.
    fn stay(&mut self, reply: Reply) -> Result<Reply, AddressError> {
        if reply.code != 421 {
            return Ok(reply);
        }
        self.connection.phase = Phase::Spent;
        Err(AddressError::Closing(reply))
    }

    /// Which copies were taken, and which refused.
    fn sort(&self, replies: Replies, copies: &[usize]) -> Opened {
        let Replies { mail, rcpts, data } = replies;
        if mail.is_positive() {
            return Opened { data, ..self.sort_recipients(rcpts, copies) };
        }
        if self.connection.peer.address.is_ipv6() && refuses_ipv6(&mail) {
            let trouble = Some(AddressError::Ipv6Unwelcome(self.offer.mask(mail)));
            return Opened { trouble, data, ..Opened::default() };
        }
        Opened { refused: self.answer_all(copies, &mail), data, ..Opened::default() }
    }

    fn sort_recipients(&self, replies: Vec<Reply>, copies: &[usize]) -> Opened {
        let host = &self.connection.peer.host;
        let over_ipv6 = self.connection.peer.address.is_ipv6();
        let none_taken = self.recipients == 0 && !replies.iter().any(Reply::is_positive);
        let mut opened = Opened::default();
        for (copy, reply) in copies.iter().zip(replies) {
            if reply.is_positive() {
                opened.taken.push(*copy);
            } else if over_ipv6 && none_taken && refuses_ipv6(&reply) {
                opened.trouble = Some(AddressError::Ipv6Unwelcome(self.offer.mask(reply)));
            } else if !is_too_many(&reply, self.recipients + opened.taken.len()) {
                opened.refused.push((*copy, answered(host, reply)));
            }
        }
        opened
    }

    /// Ends a DATA that went ahead of the refusal of all recipients: with an empty message where the
    /// upstream waits for one. What it says to that is nobody's answer, but a 2xx shows that it does not
    /// know what it is doing.
    async fn withdraw(&mut self, data: &Reply) {
        if data.code / 100 != 3 {
            return;
        }
        let limit = self.data_limit();
        self.connection.phase = Phase::Spent;
        if let Ok(reply) = self.connection.command(".\r\n", limit, "at the empty message").await {
            self.connection.phase = after_dot(&reply);
        }
    }

    /// Sends the message, unless DATA was refused, and reads the reply to its dot.
    async fn send_message(&mut self, data: &Reply, taken: Vec<usize>, content: &Content) -> Fed {
        if data.code / 100 != 3 {
            return self.fed(&taken, data);
        }
        if let Err(trouble) = self.send_octets(content).await {
            return self.read_early_reply(trouble, &taken).await;
        }
        let dot_at = Instant::now();
        let limit = within(self.timing.dot, self.budget.reply);
        match self.connection.reply(limit, "after the dot").await.and_then(final_reply) {
            Ok(reply) => {
                self.connection.phase = after_dot(&reply);
                self.fed(&taken, &reply)
            }
            Err(trouble) if trouble.is_timeout() => {
                Fed { outcomes: Vec::new(), ending: Ending::Awaiting { copies: taken, dot_at } }
            }
            Err(trouble) => {
                let outcomes = unknown(&self.connection.peer.host, taken);
                Fed { outcomes, ending: Ending::Broken(trouble) }
            }
        }
    }

    /// The message has its answer.
    fn fed(&self, taken: &[usize], reply: &Reply) -> Fed {
        Fed { outcomes: self.answer_all(taken, reply), ending: Ending::Answered }
    }

    fn answer_all(&self, copies: &[usize], reply: &Reply) -> Outcomes {
        let host = &self.connection.peer.host;
        let reply = self.offer.mask(reply.clone());
        copies.iter().map(|copy| (*copy, answered(host, reply.clone()))).collect()
    }

    /// The message through the dot-stuffer, with the end of data.
    async fn send_octets(&mut self, content: &Content) -> Result<(), AddressError> {
        let mut outgoing = content.outgoing();
        let mut buffer = Vec::new();
        loop {
            let rest = outgoing.fill(&mut buffer).await.map_err(AddressError::Message)?;
            let limit = within(self.timing.block, self.budget.reply);
            self.connection.send(&buffer, limit, "sending the message").await?;
            if rest == Rest::Ended {
                return Ok(());
            }
        }
    }

    /// An upstream that hangs up in the middle of a message may have said why, such as 552: then that is
    /// the answer. The end of data was not handed over, so nothing was delivered.
    async fn read_early_reply(&mut self, trouble: AddressError, taken: &[usize]) -> Fed {
        self.connection.phase = Phase::Spent;
        if !matches!(trouble, AddressError::Lost(..) | AddressError::TimedOut(_)) {
            return trouble.into();
        }
        let limit = within(self.timing.quit, self.budget.reply);
        match self.connection.reply(limit, "in the message").await {
            Ok(reply) if reply.code >= 400 && reply.code != 421 => self.fed(taken, &reply),
            Ok(_) | Err(_) => trouble.into(),
        }
    }
}

/// A reply to the dot is 2xx, 4xx or 5xx.
pub(crate) fn final_reply(reply: Reply) -> Result<Reply, AddressError> {
    if reply.code / 100 == 3 { Err(AddressError::OutOfStep(reply)) } else { Ok(reply) }
}

/// Where the reply to a dot leaves the connection.
pub(crate) fn after_dot(reply: &Reply) -> Phase {
    if reply.code == 421 { Phase::Spent } else { Phase::Clean }
}

/// Whether this upstream can take this message at all.
///
/// Differs: what was declared BODY=8BITMIME but holds no 8-bit octet is sent as the 7-bit message it is,
/// where RFC 6152 §3 would have it refused, because many senders declare it always.
fn check_fitness(offer: &Offer<'_>, offered: &Capabilities) -> Result<(), AddressError> {
    let parameters = offer.parameters;
    let octets = parameters.octets.unwrap_or_default();
    if let Some(limit) = offered.size_limit().filter(|limit| *limit < octets) {
        return Err(AddressError::Unfit(Refusal::UpstreamSize(limit)));
    }
    if parameters.request.require_tls == RequireTls::Yes && !offered.offers(Extension::RequireTls) {
        return Err(AddressError::Unfit(Refusal::UpstreamWithoutRequireTls));
    }
    if parameters.smtp_utf8 == SmtpUtf8::Requested && !offered.offers(Extension::SmtpUtf8) {
        return Err(AddressError::Unfit(Refusal::UpstreamWithoutUtf8));
    }
    if parameters.body_type == BodyType::EightBitMime && !offered.offers(Extension::EightBitMime) {
        return Err(AddressError::Unfit(Refusal::UpstreamWithout8Bit));
    }
    Ok(())
}
