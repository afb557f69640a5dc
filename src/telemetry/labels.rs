//! The words that stand in labels, as types: what is counted under a word that is not here does not compile.
//!
//! Not here, because they are known later: the zones of `dnsbl_*` (blocklist starts them), the record types
//! of `dns_lookups_total` (dns does), the uses of certificates (their end would be in 1970), gRPC methods.

use std::net::IpAddr;

use crate::spf::SpfVerdict;

/// One label's words.
pub trait Label: Copy + 'static {
    /// Every word.
    const ALL: &'static [Self];

    /// The word.
    fn label(self) -> &'static str;
}

/// All labels of one series.
pub trait Labels: Copy + 'static {
    /// A word for each label.
    type Words: AsRef<[&'static str]>;

    /// Every series.
    fn all() -> impl Iterator<Item = Self>;

    /// In the order in which the metric names its labels.
    fn words(self) -> Self::Words;
}

impl<A: Label> Labels for A {
    type Words = [&'static str; 1];

    fn all() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied()
    }

    fn words(self) -> Self::Words {
        [self.label()]
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    type Words = [&'static str; 2];

    fn all() -> impl Iterator<Item = Self> {
        A::all().flat_map(|a| B::all().map(move |b| (a, b)))
    }

    fn words(self) -> Self::Words {
        [self.0.label(), self.1.label()]
    }
}

impl<A: Label, B: Label, C: Label> Labels for (A, B, C) {
    type Words = [&'static str; 3];

    fn all() -> impl Iterator<Item = Self> {
        <(A, B)>::all().flat_map(|(a, b)| C::all().map(move |c| (a, b, c)))
    }

    fn words(self) -> Self::Words {
        [self.0.label(), self.1.label(), self.2.label()]
    }
}

/// Makes an enum of a label's words.
macro_rules! labels {
    ($($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $of_word:literal])* $variant:ident = $word:literal,)+ })+) => { $(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[doc = $of_word])* #[doc = concat!("`", $word, "`.")] $variant,)+
        }

        impl Label for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    )+ };
}

labels! {
    /// The stages of the pipeline whose time is taken, in the order of mail.
    PipelineStage {
        Authenticate = "authenticate",
        Route = "route",
        Rewrite = "rewrite",
        Deliver = "deliver",
    }
    /// Where the processing of a message broke down.
    Contained {
        Pipeline = "pipeline",
        Deliver = "deliver",
        Spool = "spool",
        Queue = "queue",
    }
    /// Of an address.
    IpFamily {
        V4 = "ipv4",
        V6 = "ipv6",
    }
    /// What became of a connection at the door, in the words of the reply catalogue.
    Admission {
        Accepted = "accepted",
        Drain = "drain",
        Sessions = "sessions",
        NetworkSessions = "network_sessions",
        EarlyTalker = "early_talker",
        ProxyHeader = "proxy_header",
        Shutdown = "shutdown",
    }
    /// Who opened a connection.
    Direction {
        Inbound = "inbound",
        Outbound = "outbound",
    }
    /// The versions of TLS that we speak (RFC 8996 retired what was before).
    TlsVersion {
        V1_2 = "TLSv1_2",
        V1_3 = "TLSv1_3",
    }
    /// What a destination was held to, in a handshake that succeeded.
    TlsDemand {
        Opportunistic = "opportunistic",
        MtaSts = "mta_sts",
        Dane = "dane",
    }
    /// What a message was answered.
    Verdict {
        Forwarded = "forwarded",
        Queued = "queued",
        Rejected = "rejected",
        Dropped = "dropped",
        Tempfailed = "tempfailed",
    }
    /// RFC 8601 §2.7.3.
    IprevResult {
        Pass = "pass",
        Fail = "fail",
        TempError = "temperror",
        PermError = "permerror",
    }
    /// RFC 8601 §2.7.1.
    DkimResult {
        Pass = "pass",
        Fail = "fail",
        Policy = "policy",
        Neutral = "neutral",
        TempError = "temperror",
        PermError = "permerror",
    }
    /// RFC 8617 §4.4, and what is not known for want of DNS.
    ArcResult {
        None = "none",
        Pass = "pass",
        Fail = "fail",
        TempError = "temperror",
    }
    /// RFC 9989 §11.1.
    DmarcResult {
        None = "none",
        Pass = "pass",
        Fail = "fail",
        TempError = "temperror",
    }
    /// How an address met its rule.
    Matcher {
        Exact = "exact",
        Subaddress = "subaddress",
        Role = "role",
        CatchAll = "catch_all",
    }
    /// What a rule does.
    RuleAction {
        Forward = "forward",
        Drop = "drop",
        Reject = "reject",
        Waiting = "waiting",
    }
    /// What we sign with, as `a=` has it (RFC 6376 §3.3.2, RFC 8463).
    SigningAlgorithm {
        RsaSha256 = "rsa-sha256",
        Ed25519Sha256 = "ed25519-sha256",
    }
    /// What came of signing.
    SignatureResult {
        Ok = "ok",
        Error = "error",
    }
    /// Whose MX hosts took or refused a message; everyone else is `other`.
    Provider {
        Google = "google",
        Microsoft = "microsoft",
        Yahoo = "yahoo",
        Apple = "apple",
        Proton = "proton",
        Other = "other",
    }
    /// What came of offering a message at one address: the upstream's word, or why there was none; the best for a
    /// message first.
    AttemptResult {
        Delivered = "delivered",
        AwaitingReply = "awaiting_reply",
        Unknown = "unknown",
        Tempfailed = "tempfailed",
        Refused = "refused",
        TimedOut = "timed_out",
        Unreachable = "unreachable",
        Lost = "lost",
        Unwelcome = "unwelcome",
        TlsFailed = "tls_failed",
        Unfit = "unfit",
        NoPlace = "no_place",
        Internal = "internal",
    }
    /// Why a message goes in the clear to a host that offers STARTTLS.
    TlsFallback {
        /// There is no TLS version or cipher suite that both sides take.
        NothingInCommon = "nothing_in_common",
        /// The handshake failed otherwise.
        Handshake = "handshake",
        /// The host takes its offer back.
        StartTls = "starttls_refused",
    }
    /// What a destination said at RCPT; then what became of the transaction that was held for the dot.
    CutThrough {
        Taken = "taken",
        Refused = "refused",
        Tempfailed = "tempfailed",
        Unanswered = "unanswered",
        Used = "used",
        Replaced = "replaced",
        GivenUp = "given_up",
    }
    /// When a message was delivered.
    Mode {
        InSession = "in_session",
        Queued = "queued",
    }
    /// Of a log record.
    Level {
        Error = "error",
        Warn = "warn",
        Info = "info",
        Debug = "debug",
        Trace = "trace",
    }
    /// What a queued message waits for.
    QueueState {
        Waiting = "waiting",
        AwaitingReply = "awaiting_reply",
        Unknown = "unknown",
    }
    /// What a delivery status notification tells (RFC 3464 §2.3.3).
    DsnAction {
        Failed = "failed",
        Delayed = "delayed",
        Relayed = "relayed",
    }
    /// What nodes tell each other that ends by itself.
    FactKind {
        /// What a DNS blocklist says of an address.
        Dnsbl = "dnsbl",
        /// What an earlier transaction came to, for one copy of a message.
        Delivery = "delivery",
        /// What a return address stands for that is too long to hold it.
        ReturnAddress = "return_address",
    }
    /// What became of such a fact.
    FactEvent {
        /// Told to a peer.
        Sent = "sent",
        /// Told by a peer, and kept.
        Received = "received",
        /// Told by a peer, and of no use here: of a zone that has other settings, or none; of what this node knows itself.
        Ignored = "ignored",
        /// Of this node's own, made room for others before its time.
        Dropped = "dropped",
        /// Asked of a peer, who answered.
        Answered = "answered",
        /// Asked of a peer, who knew nothing or was late: the DNS was asked.
        Unanswered = "unanswered",
    }
    /// Whether a member of the cluster is heard of.
    MemberState {
        Up = "up",
        Down = "down",
    }
}

impl IpFamily {
    /// Of this address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// RFC 8601 §2.7.2.
impl Label for SpfVerdict {
    const ALL: &'static [Self] = &[
        Self::None,
        Self::Pass,
        Self::Fail,
        Self::SoftFail,
        Self::Neutral,
        Self::TempError,
        Self::PermError,
    ];

    fn label(self) -> &'static str {
        self.word()
    }
}

/// A method of authentication with its result.
#[derive(Debug, Clone, Copy)]
pub enum AuthResult {
    /// `iprev`.
    Iprev(IprevResult),
    /// `spf`.
    Spf(SpfVerdict),
    /// `dkim`.
    Dkim(DkimResult),
    /// `arc`.
    Arc(ArcResult),
    /// `dmarc`.
    Dmarc(DmarcResult),
}

impl Labels for AuthResult {
    type Words = [&'static str; 2];

    fn all() -> impl Iterator<Item = Self> {
        let iprev = IprevResult::all().map(Self::Iprev);
        let spf = SpfVerdict::all().map(Self::Spf);
        let dkim = DkimResult::all().map(Self::Dkim);
        let arc = ArcResult::all().map(Self::Arc);
        let dmarc = DmarcResult::all().map(Self::Dmarc);
        iprev.chain(spf).chain(dkim).chain(arc).chain(dmarc)
    }

    fn words(self) -> Self::Words {
        match self {
            Self::Iprev(result) => ["iprev", result.label()],
            Self::Spf(result) => ["spf", result.label()],
            Self::Dkim(result) => ["dkim", result.label()],
            Self::Arc(result) => ["arc", result.label()],
            Self::Dmarc(result) => ["dmarc", result.label()],
        }
    }
}

/// What was done with SRS, and what came of it.
#[derive(Debug, Clone, Copy)]
pub enum SrsOperation {
    /// A reverse-path was rewritten.
    Encoded,
    /// One too long for that was kept under an alias.
    AliasKept,
    /// It could not be kept.
    AliasFailed,
    /// A return address led to its original.
    Decoded,
    /// It is too old.
    Expired,
    /// It is none of ours.
    Invalid,
}

impl Labels for SrsOperation {
    type Words = [&'static str; 2];

    fn all() -> impl Iterator<Item = Self> {
        use SrsOperation::{AliasFailed, AliasKept, Decoded, Encoded, Expired, Invalid};
        [Encoded, AliasKept, AliasFailed, Decoded, Expired, Invalid].into_iter()
    }

    fn words(self) -> Self::Words {
        match self {
            Self::Encoded => ["encode", "ok"],
            Self::AliasKept => ["alias", "ok"],
            Self::AliasFailed => ["alias", "error"],
            Self::Decoded => ["decode", "ok"],
            Self::Expired => ["decode", "expired"],
            Self::Invalid => ["decode", "invalid"],
        }
    }
}

/// What came of a TLS handshake of SMTP.
#[derive(Debug, Clone, Copy)]
pub enum Handshake {
    /// A client's succeeded.
    Inbound(TlsVersion),
    /// Ours with a destination succeeded.
    Outbound(TlsVersion, TlsDemand),
    /// It failed, and has no version.
    Failed(Direction),
    /// A client took too long.
    InboundTimedOut,
}

impl Labels for Handshake {
    type Words = [&'static str; 3];

    fn all() -> impl Iterator<Item = Self> {
        let inbound = TlsVersion::all().map(Self::Inbound);
        let outbound = <(TlsVersion, TlsDemand)>::all().map(|(version, met)| Self::Outbound(version, met));
        let failed = Direction::all().map(Self::Failed);
        inbound.chain(outbound).chain(failed).chain([Self::InboundTimedOut])
    }

    fn words(self) -> Self::Words {
        match self {
            Self::Inbound(version) => [Direction::Inbound.label(), version.label(), "ok"],
            Self::Outbound(version, met) => [Direction::Outbound.label(), version.label(), met.label()],
            Self::Failed(direction) => [direction.label(), "none", "failed"],
            Self::InboundTimedOut => [Direction::Inbound.label(), "none", "timeout"],
        }
    }
}
