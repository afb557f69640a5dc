//! What travels between the stages: one type a hop, each a past participle.
//!
//! A parcel owns its [`Transaction`], and with it the share of memory that the message holds and the
//! sender half of the answer: a stage that drops a parcel (or panics with it) answers it, with the 451 that
//! the receiver makes of a closed channel.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::account::Share;
pub use super::cut_through::{Admitted, Advance, Declared, Held, Inquired, Inquiry, Readdressed};
use super::deadline::Deadline;
pub use super::receiver::ReceiverHelp;
use super::refusal::Refusal;
pub use super::silence::{NoAnswer, Silence};
use crate::check_host::Explanation;
use crate::config::OnTempfail;
pub use crate::ledger::Recorded;
use crate::ledger::UnderWay;
use crate::mail::{Address, Domain, Envelope, Message, RecipientRequest, ReversePath, TraceId, base64};
use crate::smtp::reply::Reply;
pub use crate::smtp::reply::UpstreamReply;
pub use crate::spf::SpfVerdict;
use crate::tls::Negotiated;

/// The other end of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its address; an IPv4-mapped IPv6 address is IPv4 here.
    pub ip: IpAddr,
    /// What it said with EHLO or HELO, as said, at most 255 printable characters.
    pub helo: String,
    /// How it speaks, for the Received field (RFC 3848, RFC 6531 §4.3).
    pub protocol: Protocol,
    /// What STARTTLS came to.
    pub tls: Option<Negotiated>,
}

/// The `with` clause of Received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HELO.
    Smtp,
    /// EHLO.
    Esmtp,
    /// EHLO under TLS.
    Esmtps,
}

/// At MAIL: what can be asked of DNS before the message is there.
#[derive(Debug)]
pub struct Opened {
    /// The client.
    pub client: Arc<Client>,
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// Where the answer goes.
    pub answer: oneshot::Sender<EarlyVerdict>,
}

/// What is known of the sender before the message: SPF of HELO and MAIL FROM, and forward-confirmed
/// reverse DNS.
#[derive(Debug, Clone)]
pub struct EarlyVerdict {
    /// SPF of the HELO identity (RFC 7208 §2.3).
    pub spf_helo: SpfVerdict,
    /// SPF of the MAIL FROM identity; for a null reverse-path of `postmaster@HELO` (RFC 7208 §2.4).
    pub spf_mail_from: SpfVerdict,
    /// What the owner of that domain has to say, where it is a fail.
    pub spf_explanation: Option<Explanation>,
    /// Names that the client's PTR records give and whose addresses contain the client's (RFC 8601 §2.7.3).
    pub confirmed_names: Vec<Domain>,
    /// What the look-ups for `confirmed_names` came to.
    pub iprev: IprevVerdict,
    /// Whether the sender's domain publishes a null MX (RFC 7505), so that no answer could reach it.
    pub sender_null_mx: bool,
}

/// A result of the `iprev` method (RFC 8601 §2.7.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IprevVerdict {
    /// At least one name is confirmed.
    Pass,
    /// There are names, and none is confirmed.
    Fail,
    /// DNS did not answer.
    TempError,
    /// There is no name.
    PermError,
}

/// At RCPT: who is this for?
#[derive(Debug)]
pub struct Addressed {
    /// RCPT TO; `None` for `<Postmaster>` without a domain (RFC 5321 §4.5.1).
    pub recipient: Option<Address>,
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Result<Recipient, Refusal>>,
}

/// A recipient that was taken, and what its rule does with the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The address the sender wrote, with the domain filled in for `<Postmaster>`.
    pub alias: Address,
    /// What happens with its copy.
    pub action: Action,
    /// Whether policy refusals by address reputation or missing authentication do not apply to it.
    pub standing: Standing,
    /// What its domain says of an upstream's 4xx; `None`: what the node says.
    pub on_tempfail: Option<OnTempfail>,
    /// NOTIFY and ORCPT; filled in by `inbound`, which alone has heard them.
    pub request: RecipientRequest,
}

/// What a recipient's rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Forwarded to these final destinations (1 to 20, none of them in a domain that we host).
    Forward(Vec<Address>),
    /// Judged, answered 250 and gone.
    Drop,
    /// A bounce to an SRS address of ours: sent to the original sender with the null reverse-path.
    ReturnToSender(Address),
}

/// Who a recipient is to the policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Every policy applies.
    Ordinary,
    /// postmaster@ and abuse@: DNSBL and `require_pass` do not apply (RFC 5321 §4.5.1, RFC 2142).
    Role,
    /// A valid SRS address: bounces are unsigned, so `require_pass` does not apply.
    Bounce,
}

/// What every parcel from the final dot on carries.
#[derive(Debug)]
pub struct Transaction {
    /// The id in replies, Received, log and trace.
    pub id: TraceId,
    /// The other end.
    pub client: Arc<Client>,
    /// MAIL and RCPT.
    pub envelope: Envelope,
    /// The recipients that were taken, in RCPT order; `envelope.recipients` holds their aliases.
    pub recipients: Vec<Recipient>,
    /// What was done for it at RCPT.
    pub advance: Advance,
    /// Wall time of the final dot.
    pub received_at: SystemTime,
    /// When the client's final dot was read.
    pub dot_at: Instant,
    /// When the client must have its reply (`delivery.in_session_timeout` after the dot).
    pub deadline: Deadline,
    /// Whether the client has gone since: its side of the stream is closed.
    pub gone: CancellationToken,
    /// The memory that the message holds while it is in flight.
    pub memory: Share,
    /// Where the settlement goes; dropped unanswered, it is a 451.
    pub answer: oneshot::Sender<Settlement>,
}

/// inbound → authenticate: the message is here, whole.
#[derive(Debug)]
pub struct Accepted {
    /// The transaction.
    pub transaction: Transaction,
    /// Its octets.
    pub message: Message,
    /// The answer to [`Opened`], under way since MAIL.
    pub early: oneshot::Receiver<EarlyVerdict>,
}

/// authenticate → route: judged, and not refused.
#[derive(Debug)]
pub struct Authenticated {
    /// The transaction.
    pub transaction: Transaction,
    /// Its octets, forged Authentication-Results fields already omitted.
    pub message: Message,
    /// What it is signed with.
    pub body_hash: BodyHash,
    /// What was found.
    pub verdict: Verdict,
}

/// The SHA-256 hash of a body in its relaxed canonical form (RFC 6376 §3.4.4), in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyHash(String);

impl BodyHash {
    /// Of the hash's octets.
    #[must_use]
    pub fn new(hash: &[u8]) -> Self {
        Self(base64::encode(hash))
    }
}

/// As `bh=` has it.
impl fmt::Display for BodyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What authentication found, as far as later stages need it.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The SPF result that DMARC used.
    pub spf: SpfVerdict,
    /// Whether a DMARC policy was met, failed, or there is none.
    pub dmarc: DmarcVerdict,
    /// Whether SPF or an aligned DKIM signature vouches for the reverse-path (conventions: only then may a
    /// bounce be sent).
    pub vouched: Vouched,
    /// The methods of the Authentication-Results field, without field name and authserv-id:
    /// `spf=pass …;\r\n\tdkim=pass …`.
    pub results: String,
    /// The state of the ARC chain that came with the message.
    pub arc: ArcState,
    /// Whether its receivers need an ARC set of ours.
    pub help: ReceiverHelp,
    /// A name of the client that its addresses confirm, for the Received field.
    pub confirmed_name: Option<Domain>,
}

/// The ARC chain as received (RFC 8617 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArcState {
    /// No ARC set.
    None,
    /// A valid chain with this many sets.
    Pass(u8),
    /// A chain that is broken; it may be sealed once more with cv=fail unless its newest seal says so already.
    Fail(u8),
    /// A chain that must not be sealed again: cv=fail already, too long, or not parseable.
    Ended,
}

/// DMARC (RFC 9989).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DmarcVerdict {
    /// No policy applies.
    None,
    /// An aligned identifier passes.
    Pass,
    /// It fails, and the policy or the mode lets it through.
    Fail,
    /// Could not be determined for now, and it would not have decided.
    TempError,
}

/// Whether a bounce to the reverse-path could be anybody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vouched {
    /// SPF passed for MAIL FROM, or an aligned DKIM signature is valid.
    Yes,
    /// Neither, or the reverse-path is null.
    No,
}

/// route → rewrite: for each recipient, where its copies go.
#[derive(Debug)]
pub struct Routed {
    /// The transaction.
    pub transaction: Transaction,
    /// Its octets.
    pub message: Message,
    /// What it is signed with.
    pub body_hash: BodyHash,
    /// What was found.
    pub verdict: Verdict,
    /// Every copy to send, in RCPT order; the same destination of two aliases stands once, under the first.
    pub targets: Vec<Target>,
}

/// One copy: a destination and the alias through which it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The address the sender wrote: what replies may name.
    pub alias: Address,
    /// The private destination: in no octet that we send but RCPT TO.
    pub destination: Address,
    /// Forwarded mail or a bounce on its way back.
    pub kind: TargetKind,
    /// What the sender asked for with RCPT; the same for all destinations of an alias.
    pub request: RecipientRequest,
}

/// Whether the reverse-path is rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// Forwarded: SRS in the alias's domain, unless the reverse-path is null.
    Forward,
    /// A bounce to an SRS address of ours: null reverse-path, no SRS.
    Return,
}

/// rewrite → deliver: signed, and grouped by what goes in one upstream transaction.
#[derive(Debug)]
pub struct Rewritten {
    /// The transaction.
    pub transaction: Transaction,
    /// The octets to send.
    pub message: Message,
    /// What was found.
    pub verdict: Verdict,
    /// The copies, grouped by rewritten reverse-path and destination domain.
    pub shipments: Vec<Shipment>,
}

/// Copies that share a reverse-path and a destination domain: one upstream transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipment {
    /// MAIL FROM on the upstream side.
    pub reverse_path: ReversePath,
    /// The domain whose MX hosts are asked.
    pub domain: Domain,
    /// The copies; at least one.
    pub targets: Vec<Target>,
}

/// deliver → settle: how each copy fared.
#[derive(Debug)]
pub struct Attempted {
    /// The transaction.
    pub transaction: Transaction,
    /// The octets, for the fingerprint of idempotence records.
    pub message: Message,
    /// What was found.
    pub verdict: Verdict,
    /// One for each target, in the order of the targets.
    pub deliveries: Vec<Delivery>,
    /// What else the trace tells, such as which upstream got it in the clear though it offers TLS.
    pub remarks: Vec<Arc<str>>,
    /// Says that the copies are under way, where that took its time.
    pub under_way: Option<UnderWay>,
}

/// How one copy fared.
#[derive(Debug)]
pub struct Delivery {
    /// Which copy.
    pub target: Target,
    /// MAIL FROM on the upstream side.
    pub reverse_path: ReversePath,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of offering one copy to its destination.
#[derive(Debug)]
pub enum Outcome {
    /// The upstream took it: its reply to our dot, and the host.
    Delivered(UpstreamReply),
    /// The upstream's 4xx or 5xx to MAIL, RCPT, DATA or the dot.
    Refused(UpstreamReply),
    /// We decided without an upstream's word: null MX, no SMTPUTF8, loop among our own MX hosts.
    Undeliverable(Refusal),
    /// No upstream answered: unreachable, a greeting that refuses us, time-outs before the dot, DNS errors.
    NoAnswer(NoAnswer),
    /// The connection was lost between our dot and the reply: delivered or not, nobody knows.
    Unknown {
        /// The host that has or has not got it.
        host: String,
    },
    /// Our dot is sent and the reply is not in, though the time is up. The connection is still read.
    AwaitingReply {
        /// The host that owes the answer.
        host: String,
        /// Resolves within ten minutes of the dot; closed without a value when the connection is lost.
        late: oneshot::Receiver<UpstreamReply>,
    },
    /// An earlier transaction with the same content got this answer for this copy (idempotence record).
    Recorded(Recorded),
}

/// settle → inbound: the one reply, for this transaction only.
#[derive(Debug)]
pub struct Settlement {
    /// What the client hears.
    pub reply: Reply,
    /// Resolved by the session: whether the client is known to have the reply.
    pub acknowledged: Option<oneshot::Sender<Acknowledgement>>,
}

/// What became of a message: the word in log and trace. `messages_received_total` knows one less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Every copy is with its upstream.
    Forwarded,
    /// The client heard 250, and our disk has what no upstream has.
    Queued,
    /// The client heard 5xx.
    Rejected,
    /// A rule dropped it.
    Dropped,
    /// The client heard 4xx.
    Tempfailed,
    /// The client heard 250, and a copy was refused that nobody may be told of.
    PartlyRefused,
}

/// Whether the client has the reply, as far as its session can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledgement {
    /// It sent something, or ended the stream in whatever way, once the reply was written whole.
    Heard,
    /// The stream had ended or broken before the reply was written whole.
    Vanished,
    /// Nothing came any more until the session was over.
    Silent,
}

/// How long the upstream is read after our dot, whatever the client's time (RFC 5321 §4.5.3.2.6).
pub const FINAL_DOT_TIMEOUT: Duration = Duration::from_secs(600);

/// What travels between stages. [`parcels`] makes a type one.
pub trait Parcel: actix::Message<Result = ()> + Send + 'static {
    /// The id of the message that it is or is about, where that has one by now.
    fn trace(&self) -> Option<TraceId>;
}

/// What a stage at the end of a way hands on: there is none.
#[derive(Debug, Clone, Copy)]
pub enum Nothing {}

/// Makes parcels of types: each with the trace id of one.
macro_rules! parcels {
    ($($parcel:ty: |$this:pat_param| $trace:expr),* $(,)?) => { $(
        impl actix::Message for $parcel {
            type Result = ();
        }

        impl $crate::pipeline::parcel::Parcel for $parcel {
            fn trace(&self) -> Option<$crate::mail::TraceId> {
                let $this = self;
                $trace
            }
        }
    )* };
}
pub(crate) use parcels;

parcels!(
    Nothing: |_| None,
    Opened: |_| None,
    Addressed: |_| None,
    Admitted: |parcel| Some(parcel.inquiry.id),
    Readdressed: |parcel| Some(parcel.inquiry.id),
    Accepted: |parcel| Some(parcel.transaction.id),
    Authenticated: |parcel| Some(parcel.transaction.id),
    Routed: |parcel| Some(parcel.transaction.id),
    Rewritten: |parcel| Some(parcel.transaction.id),
    Attempted: |parcel| Some(parcel.transaction.id),
);
