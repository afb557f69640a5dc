//! The table of every section and key of the node file: its type, bounds, default, unit and reason, when a change of
//! it takes effect, and for whom it holds. What a reload may take is read off here, and nowhere else.
//!
//! A key's doc comment is what `postroad config example` prints beside it, so it is written for operators.

/// What a value is, with its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string; the text says of what form, or which words can stand.
    Text(&'static str),
    /// The path of a file that is read; relative ones start from the working directory.
    File,
    /// `true` or `false`.
    Flag,
    /// `true`, `false`, or this word for what lies between them.
    FlagOr(&'static str),
    /// An integer from, to, of this unit.
    Number(u64, u64, &'static str),
    /// One of these integers, of this unit.
    Choice(&'static [u64], &'static str),
    /// A string such as `"45s"` or `"5d"`; the bounds in seconds.
    Duration(u64, u64),
    /// An array of strings of this form.
    List(&'static str),
    /// An array of tables.
    Tables,
}

/// Whether a key can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It cannot; an example, in TOML.
    Mandatory(&'static str),
    /// It can; the default, in TOML.
    Default(&'static str),
    /// It can, and then there is none; an example, in TOML.
    Optional(&'static str),
}

/// When a change of a key takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// While the node runs: for the sessions, transactions and attempts that begin from then on.
    Live,
    /// At the node's next start; until then the running value is kept, and the node says so.
    Restart,
}

/// For whom a value holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// For this node; another may have another.
    Node,
    /// For the service: it must be the same on every node, or what one node promises another breaks.
    Cluster,
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// The section's path; `[]` stands for the index in an array of tables.
    pub section: &'static str,
    /// The key's name in its section.
    pub name: &'static str,
    /// What the value is.
    pub kind: Kind,
    /// Whether it can be left out.
    pub presence: Presence,
    /// When a change takes effect.
    pub effect: Effect,
    /// For whom the value holds.
    pub scope: Scope,
    /// Why it is there, and where the default comes from.
    pub reason: &'static str,
}

/// How a section stands in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `[section]`.
    Table,
    /// `[section]`, and leaving it out switches something off.
    OptionalTable,
    /// `[[section]]`, any number of times.
    Array,
    /// The inline tables of a key.
    Inline,
}

/// One section.
#[derive(Debug)]
pub struct SectionRow {
    /// Its path; `[]` at the end for an array of tables.
    pub path: &'static str,
    /// How it stands in the file.
    pub form: Form,
    /// What it is about.
    pub about: &'static str,
}

const fn section(path: &'static str, form: Form, about: &'static str) -> SectionRow {
    SectionRow { path, form, about }
}

/// Every section, in the order of the example.
pub const SECTIONS: &[SectionRow] = &[
    section("node", Form::Table, "who this node is"),
    section("service", Form::Table, "the same on every node"),
    section("service.mx[]", Form::Inline, ""),
    section("smtp", Form::Table, "where mail comes in"),
    section("limits", Form::Table, "the bounds that operators turn"),
    section("authentication", Form::Table, "what a sender must prove"),
    section("dnsbl[]", Form::Array, "a DNS blocklist; a table for each zone, asked in parallel"),
    section("dkim", Form::Table, "what we sign with"),
    section("dkim.key[]", Form::Array, "further signing keys, or all of them instead of the two keys above"),
    section("arc", Form::Table, "the Authenticated Received Chain (RFC 8617)"),
    section("srs", Form::Table, "the Sender Rewriting Scheme"),
    section("delivery", Form::Table, "the way out"),
    section("delivery.source[]", Form::Array, "the outbound pool; none: the system chooses the address"),
    section("dns", Form::Table, "the resolvers"),
    section("log", Form::Table, "JSON lines on standard output"),
    section("http", Form::Table, "for the operator: /metrics /livez /readyz"),
    section("public", Form::OptionalTable, "for strangers: the /postmaster page; no section, no listener"),
    section("admin", Form::Table, "the gRPC service postroad.admin.v1"),
    section(
        "cluster",
        Form::OptionalTable,
        "the other nodes, over gRPC with mTLS; no section: a cluster of one",
    ),
    section("cluster.peers[]", Form::Inline, ""),
];

macro_rules! keys {
    ($($(#[doc = $reason:literal])+ $name:ident = $section:literal, $key:literal, $kind:expr, $presence:expr, $effect:expr, $scope:expr;)*) => {
        $($(#[doc = $reason])+ pub const $name: &Key = &Key {
            section: $section, name: $key, kind: $kind, presence: $presence, effect: $effect, scope: $scope,
            reason: concat!($($reason),+),
        };)*
        /// Every key, in the order of the example.
        pub const KEYS: &[&Key] = &[$($name),*];
    };
}

use Effect::{Live, Restart};
use Kind::{Choice, Duration, File, Flag, FlagOr, List, Number, Tables, Text};
use Presence::{Default, Mandatory, Optional};
use Scope::{Cluster, Node};

const HOST_NAME: Kind = Text("a host name");
const SOCKET: Kind = Text("an address with its port; port 0 takes any free one");

keys! {
    /// Unique in the cluster: 1 to 63 letters, digits, dots, hyphens and underscores. In a cluster of several one label of a host name, in lower case: the node's certificate bears it.
    NODE_NAME = "node", "name", Text("a name"), Mandatory("\"linda\""), Restart, Node;
    /// The banner, the EHLO answer and the "by" of Received fields (RFC 5321 §4.2, §4.4).
    NODE_HOSTNAME = "node", "hostname", HOST_NAME, Mandatory("\"linda.mx.relay.example\""), Live, Node;
    /// Everything that the node keeps; made when it is not there.
    NODE_DATA_DIR = "node", "data_dir", Text("a directory"), Mandatory("\"/var/lib/postroad\""), Restart, Node;

    /// The outbound EHLO name, the d= of our DKIM signatures and the authserv-id (RFC 8601 §2.5).
    SERVICE_DOMAIN = "service", "domain", HOST_NAME, Mandatory("\"email.relay.example\""), Live, Cluster;
    /// What customers' SPF records include; `postroad check` holds the outbound addresses against it.
    SERVICE_SPF_NAME = "service", "spf_name", HOST_NAME, Optional("\"_spf.mx.relay.example\""), Live, Cluster;
    /// Gets `<Postmaster>` (RFC 5321 §4.5.1), and postmaster@ and abuse@ of every domain without a rule for them.
    SERVICE_POSTMASTER = "service", "postmaster", Text("a mail address"), Mandatory("\"ops@relay.example\""), Live, Cluster;
    /// Where refusals point to, an anchor appended. When left out: https://DOMAIN/postmaster.
    SERVICE_POSTMASTER_URL = "service", "postmaster_url", Text("an http or https URL of up to 200 octets, without #"),
        Optional("\"https://relay.example/postmaster\""), Live, Cluster;
    /// The largest message taken (RFC 1870). 25 MiB is what large mailbox providers take; RFC 5321 §4.5.3.1.7 asks for at least 64 KiB.
    SERVICE_MAX_MESSAGE_OCTETS = "service", "max_message_octets", Number(65_536, 157_286_400, "octets"),
        Default("26214400"), Live, Cluster;
    /// What the world sees us come from, where that is not what we send from, as behind a NAT: for the postmaster page, and for `check`, which holds it against the SPF record. None: the addresses of delivery.source.
    SERVICE_OUTBOUND_PREFIXES = "service", "outbound_prefixes", List("networks"), Default("[]"), Live, Cluster;
    /// The cluster's MX hosts. Mail is never delivered to them, nor to hosts of worse preference (RFC 5321 §5.1).
    SERVICE_MX = "service", "mx", Tables, Default("[]"), Live, Cluster;
    /// The host's name.
    MX_HOSTNAME = "service.mx[]", "hostname", HOST_NAME, Mandatory("\"linda.mx.relay.example\""), Live, Cluster;
    /// The preference customers publish it with; the lowest is tried first (RFC 5321 §5.1).
    MX_PREFERENCE = "service.mx[]", "preference", Number(0, 65_535, "the lowest is tried first"), Mandatory("86"), Live, Cluster;

    /// Where SMTP clients connect to. Port 25 (RFC 5321 §4.5.4.2), IPv4 and IPv6.
    SMTP_LISTEN = "smtp", "listen", List("addresses with their port; port 0 takes any free one"),
        Default("[\"0.0.0.0:25\", \"[::]:25\"]"), Restart, Node;
    /// The certificate chain, PEM, leaf first. With private_key_file: STARTTLS is offered (RFC 3207). Re-read when it changes.
    SMTP_CERTIFICATE_FILE = "smtp", "certificate_file", File, Optional("\"/etc/postroad/smtp-chain.pem\""), Live, Node;
    /// The key of the certificate: PKCS#8, PKCS#1 or SEC1, PEM.
    SMTP_PRIVATE_KEY_FILE = "smtp", "private_key_file", File, Optional("\"/etc/postroad/smtp-key.pem\""), Live, Node;
    /// Networks whose PROXY v1 or v2 header is believed, and required within 5 s; from others it is an error.
    SMTP_TRUSTED_PROXIES = "smtp", "trusted_proxies", List("networks"), Default("[]"), Live, Node;
    /// Whether a sender that SPF does not vouch for can write through one alias domain to one destination domain in a transaction; its other recipients hear 452 4.5.3 (RFC 5321 §4.5.3.1.10), and their mail comes in the next. When false, a copy that its destination refuses while another takes it is lost, and nobody is told: such a sender may be forged, and is sent no bounce.
    SMTP_SPLIT_UNVOUCHED = "smtp", "split_unvouched", Flag, Default("true"), Live, Cluster;

    /// Concurrent SMTP sessions; the next one hears 421. An idle session costs under 30 KB, so this is under 300 MB; one that sends up to 40 KB beside limits.octets_in_flight.
    LIMITS_SESSIONS = "limits", "sessions", Number(1, 1_000_000, "sessions"), Default("10000"), Live, Node;
    /// Concurrent sessions of one client network, IPv4 /24 or IPv6 /56; past half of limits.sessions also four times as many of an IPv6 /48, sixteen times of a /32. Postfix allows one address 50 (smtpd_client_connection_count_limit).
    LIMITS_SESSIONS_PER_NETWORK = "limits", "sessions_per_network", Number(1, 1_000_000, "sessions"), Default("50"), Live, Node;
    /// Recipients of one message; told to clients by LIMITS RCPTMAX (RFC 9422). RFC 5321 §4.5.3.1.8 asks for at least 100.
    LIMITS_RECIPIENTS = "limits", "recipients", Number(1, 1000, "recipients"), Default("100"), Live, Cluster;
    /// Message octets held in memory over all sessions, at most 1 MiB of any message and an eighth for one client network. A message that gets no more goes on in a file. Past half, messages slower than 500 octets/s are ended. 3,000 messages of 64 KiB.
    LIMITS_OCTETS_IN_FLIGHT = "limits", "octets_in_flight", Number(1_048_576, 1_099_511_627_776, "octets"),
        Default("268435456"), Live, Node;
    /// Free octets on the disk of data_dir below which nothing new is queued, and no message is put in a temporary file: what would need it hears 452 4.3.1, all else flows. Temporary files take at most half of what is free above it, those of one client network an eighth of that, or one message of the largest size; past half of their part, messages slower than 500 octets/s are ended. Forty messages of the largest size.
    LIMITS_MIN_FREE_OCTETS = "limits", "min_free_octets", Number(0, 1_099_511_627_776, "octets"),
        Default("1073741824"), Live, Node;
    /// The longest wait for a client's next command (RFC 5321 §4.5.3.2.7: at least 5 minutes).
    LIMITS_COMMAND_TIMEOUT = "limits", "command_timeout", Duration(1, 3600), Default("\"5m\""), Live, Node;
    /// The longest wait for the next octets of a message (RFC 5321 §4.5.3.2.5: 3 minutes).
    LIMITS_DATA_TIMEOUT = "limits", "data_timeout", Duration(1, 3600), Default("\"3m\""), Live, Node;
    /// The longest time from 354 to the final dot, or from the first chunk to the last. 30 minutes carry 25 MiB at 120 kbit/s; it ends clients that drip.
    LIMITS_MESSAGE_TIMEOUT = "limits", "message_timeout", Duration(1, 86_400), Default("\"30m\""), Live, Node;
    /// Commands in error before the session is ended by 421. Postfix's smtpd_hard_error_limit is 20.
    LIMITS_ERRORS = "limits", "errors", Number(1, 1000, "commands"), Default("20"), Live, Node;
    /// Transactions before the session is ended by 421. Exim's smtp_accept_max_per_connection is 1000.
    LIMITS_TRANSACTIONS = "limits", "transactions", Number(1, 1_000_000, "transactions"), Default("1000"), Live, Node;
    /// The largest header section of a message; it is parsed in memory. Real ones stay under 100 KB.
    LIMITS_HEADER_OCTETS = "limits", "header_octets", Number(16_384, 4_194_304, "octets"), Default("262144"), Live, Cluster;
    /// DKIM signatures checked on one message, an author's before others; further ones are ignored (RFC 6376 §6.1).
    LIMITS_DKIM_SIGNATURES = "limits", "dkim_signatures", Number(1, 100, "signatures"), Default("10"), Live, Cluster;
    /// Received fields before a message counts as looping (RFC 5321 §6.3: at least 100).
    LIMITS_HOPS = "limits", "hops", Number(10, 1000, "fields"), Default("100"), Live, Cluster;

    /// What a DMARC failure does. enforce: p=reject rejects, as the postmaster page promises. rfc9989: only with a second signal (§7.4). monitor: never.
    AUTHENTICATION_DMARC = "authentication", "dmarc", Text("enforce | rfc9989 | monitor"), Default("\"enforce\""), Live, Cluster;
    /// Refuse mail that neither SPF nor DKIM passes (550 5.7.26); bounces, postmaster@ and abuse@ are exempt.
    AUTHENTICATION_REQUIRE_PASS = "authentication", "require_pass", Flag, Default("true"), Live, Cluster;
    /// Domains whose ARC seals may override a DMARC failure (RFC 8617 §7.2.1). Nobody unless you say so.
    AUTHENTICATION_TRUSTED_ARC_SEALERS = "authentication", "trusted_arc_sealers", List("host names"), Default("[]"), Live, Cluster;

    /// DNS blocklists (RFC 5782). None unless you say so: each has its terms of use.
    DNSBL = "", "dnsbl", Tables, Default("[]"), Live, Cluster;
    /// The name in replies and in metrics: 1 to 32 letters, digits, dots, hyphens and underscores.
    DNSBL_NAME = "dnsbl[]", "name", Text("a name"), Mandatory("\"abusixip\""), Live, Cluster;
    /// The zone, without a subscriber's key.
    DNSBL_ZONE = "dnsbl[]", "zone", HOST_NAME, Mandatory("\"combined.mail.abusix.zone\""), Live, Cluster;
    /// A subscriber's key, put before the zone as a label; never logged or shown.
    DNSBL_KEY_FILE = "dnsbl[]", "key_file", File, Optional("\"/etc/postroad/abusix.key\""), Live, Node;
    /// Answers that mean listed (RFC 5782 §2.1). 127.0.0.1 and 127.255.255.0/24 never do: the one is a test point, the other an error.
    DNSBL_LISTED = "dnsbl[]", "listed", List("networks inside 127.0.0.0/8"), Default("[\"127.0.0.0/8\"]"), Live, Cluster;

    /// The selector of private_key_file, published as SELECTOR._domainkey.DOMAIN (RFC 6376 §3.6.2.1). Mandatory without [[dkim.key]].
    DKIM_SELECTOR = "dkim", "selector", Text("a selector"), Mandatory("\"2022\""), Live, Cluster;
    /// RSA of 2048 to 8192 bits, PKCS#1 or PKCS#8, PEM. Mandatory without [[dkim.key]]. Re-read when it changes.
    DKIM_PRIVATE_KEY_FILE = "dkim", "private_key_file", File, Mandatory("\"/etc/postroad/dkim-2022.pem\""), Live, Cluster;
    /// Signing keys in order of preference; the first must be RSA, which every verifier understands (RFC 8463 §5).
    DKIM_KEY = "dkim", "key", Tables, Default("[]"), Live, Cluster;
    /// The key's selector.
    DKIM_KEY_SELECTOR = "dkim.key[]", "selector", Text("a selector"), Mandatory("\"2022-ed\""), Live, Cluster;
    /// RSA as above, or Ed25519 (PKCS#8, PEM; RFC 8463).
    DKIM_KEY_PRIVATE_KEY_FILE = "dkim.key[]", "private_key_file", File, Mandatory("\"/etc/postroad/dkim-2022-ed.pem\""), Live, Cluster;

    /// Which forwarded mail gets an ARC set, so that the destination can see what we saw.
    /// true: all of it, as large receivers ask of forwarders; one that trusts us sees our verdict on every message.
    /// "needed": not where a DKIM signature aligned with From passes and survives us, since the destination can verify that itself;
    /// a chain that came with the message is continued all the same. It saves two of three RSA signatures of most mail: for a node
    /// whose CPU is its limit.
    /// false: none; for when nobody behind this node reads ARC.
    ARC_SEAL = "arc", "seal", FlagOr("needed"), Default("true"), Live, Cluster;

    /// One secret a line, 16 octets or more: the first signs, all verify. The same on every node.
    SRS_SECRET_FILE = "srs", "secret_file", File, Mandatory("\"/etc/postroad/srs-secrets\""), Live, Cluster;
    /// How long a rewritten address takes bounces. 21 is postsrsd's; past 512 the timestamp's 1024 days wrap.
    SRS_MAX_AGE_DAYS = "srs", "max_age_days", Number(1, 512, "days"), Default("21"), Live, Cluster;

    /// The port of the destinations' MX hosts (RFC 5321 §4.5.4.2).
    DELIVERY_PORT = "delivery", "port", Number(1, 65_535, "a port"), Default("25"), Live, Cluster;
    /// From the client's final dot to our reply. Clients wait 10 minutes (RFC 5321 §4.5.3.2.6) in theory and a minute in practice; 15 s were too short for forwardemail, Exim takes 60 s.
    DELIVERY_IN_SESSION_TIMEOUT = "delivery", "in_session_timeout", Duration(1, 600), Default("\"45s\""), Live, Cluster;
    /// What an upstream 4xx becomes for a message that nobody has yet. relay: the sender hears it. queue: we keep it. verified: queue for a sender that SPF or DKIM vouches for, else relay. A domain can say otherwise.
    DELIVERY_ON_TEMPFAIL = "delivery", "on_tempfail", Text("relay | queue | verified"), Default("\"relay\""), Live, Cluster;
    /// Whether destinations are asked while our client is at RCPT, for senders that SPF vouches for: an unknown or full mailbox is then refused there, recipient by recipient, in the upstream's words, and the message goes through the same upstream transaction. Switch it off when a destination counts connections that wait for a message against us.
    DELIVERY_CUT_THROUGH = "delivery", "cut_through", Flag, Default("true"), Live, Cluster;
    /// MX hosts on loopback and private networks. allow is for closed networks and tests: strangers' MX records could point inside.
    DELIVERY_PRIVATE_ADDRESSES = "delivery", "private_addresses", Text("refuse | allow"), Default("\"refuse\""), Live, Cluster;
    /// How long a queued message is tried (RFC 5321 §4.5.4.1: at least 4 to 5 days). After a start, and when the clock is set by over ten minutes, each gets one attempt before it is given up; where none can be made, that takes as long again.
    DELIVERY_GIVE_UP_AFTER = "delivery", "give_up_after", Duration(60, 2_592_000), Default("\"5d\""), Live, Cluster;
    /// From the first failed attempt to the second; each further pause is twice the last, give or take a quarter. Postfix's minimal_backoff_time is 300 s.
    DELIVERY_RETRY_FIRST = "delivery", "retry_first", Duration(1, 86_400), Default("\"1m\""), Live, Cluster;
    /// The longest pause between two attempts. RFC 5321 §4.5.4.1 asks for at least 30 minutes once the first attempts are over.
    DELIVERY_RETRY_LONGEST = "delivery", "retry_longest", Duration(1, 86_400), Default("\"1h\""), Live, Cluster;
    /// Age at which a sender is told that its message is still queued; 0s: never. Many take such a notice for a failure and send again.
    DELIVERY_DELAY_NOTICE_AFTER = "delivery", "delay_notice_after", Duration(0, 2_592_000), Default("\"0s\""), Live, Cluster;
    /// The longest wait for an IPv4 connection: two fit into the half of in_session_timeout before DATA.
    DELIVERY_CONNECT_TIMEOUT = "delivery", "connect_timeout", Duration(1, 300), Default("\"10s\""), Live, Node;
    /// The longest wait for an IPv6 connection; short, because IPv4 is tried next in the same session.
    DELIVERY_CONNECT_TIMEOUT_V6 = "delivery", "connect_timeout_v6", Duration(1, 300), Default("\"5s\""), Live, Node;
    /// How long a connection is kept idle for the next message to the same host. Hosts hang up after 5 to 300 s.
    DELIVERY_IDLE_TIMEOUT = "delivery", "idle_timeout", Duration(0, 300), Default("\"4s\""), Live, Node;
    /// Local addresses to deliver from, chosen by address family.
    DELIVERY_SOURCE = "delivery", "source", Tables, Default("[]"), Live, Node;
    /// The local address to connect from.
    SOURCE_ADDRESS = "delivery.source[]", "address", Text("an IPv4 or IPv6 address"), Mandatory("\"104.30.0.7\""), Live, Node;
    /// The name that its PTR record gives.
    SOURCE_HOSTNAME = "delivery.source[]", "hostname", HOST_NAME, Mandatory("\"a0-7.email.relay.example\""), Live, Node;

    /// Resolvers to ask, best a local one that validates; none: the system's.
    DNS_SERVERS = "dns", "servers", List("addresses with their port"), Default("[]"), Live, Node;
    /// Whose AD bit counts as DNSSEC validation, which DANE needs: all resolvers' when all are on loopback, always, or never. They must validate, not only forward.
    DNS_TRUST_AD = "dns", "trust_ad", Text("loopback | always | never"), Default("\"loopback\""), Live, Node;

    /// tracing's filter syntax, such as "info,postroad::pipeline=debug"; POSTROAD_LOG beats it.
    LOG_LEVEL = "log", "level", Text("a filter"), Default("\"info\""), Live, Node;
    /// Mail addresses in logs: in full, the local part hashed with a key from srs.secret_file, or not at all.
    LOG_ADDRESSES = "log", "addresses", Text("full | hash | none"), Default("\"full\""), Live, Cluster;

    /// Loopback unless you say so: there is no authentication.
    HTTP_LISTEN = "http", "listen", SOCKET, Default("\"127.0.0.1:8080\""), Restart, Node;

    /// A reverse proxy with a certificate belongs before it.
    PUBLIC_LISTEN = "public", "listen", SOCKET, Default("\"127.0.0.1:8081\""), Restart, Node;

    /// With no token_file and no client_ca_file it must be on loopback.
    ADMIN_LISTEN = "admin", "listen", SOCKET, Default("\"127.0.0.1:50051\""), Restart, Node;
    /// Lines `TOKEN ROLE [NAME]`: tokens of 16 printable characters or more, roles viewer, operator and admin; the name stands in the log and in `postroadctl history`. Past loopback tokens need TLS.
    ADMIN_TOKEN_FILE = "admin", "token_file", File, Optional("\"/etc/postroad/admin-tokens\""), Live, Node;
    /// The certificate chain, PEM, leaf first. With private_key_file: TLS.
    ADMIN_CERTIFICATE_FILE = "admin", "certificate_file", File, Optional("\"/etc/postroad/admin-chain.pem\""), Live, Node;
    /// The key of the certificate: PKCS#8, PKCS#1 or SEC1, PEM.
    ADMIN_PRIVATE_KEY_FILE = "admin", "private_key_file", File, Optional("\"/etc/postroad/admin-key.pem\""), Live, Node;
    /// Client certificates must be signed by these, PEM: mTLS.
    ADMIN_CLIENT_CA_FILE = "admin", "client_ca_file", File, Optional("\"/etc/postroad/admin-clients.pem\""), Live, Node;

    /// Where the other nodes connect to, with certificates of ca_file. Let nobody else reach it all the same.
    CLUSTER_LISTEN = "cluster", "listen", SOCKET, Default("\"0.0.0.0:50052\""), Restart, Node;
    /// This node's certificate chain, PEM, leaf first: node.name is a DNS name of it, and it is good for servers and for clients. `postroad cluster certificates` makes one. Re-read when it changes.
    CLUSTER_CERTIFICATE_FILE = "cluster", "certificate_file", File, Mandatory("\"/etc/postroad/cluster/node.pem\""), Live, Node;
    /// The key of the certificate: PKCS#8, PKCS#1 or SEC1, PEM.
    CLUSTER_PRIVATE_KEY_FILE = "cluster", "private_key_file", File, Mandatory("\"/etc/postroad/cluster/node.key\""), Live, Node;
    /// Whose certificates are believed, PEM: this cluster's authority and no other's. While one authority is replaced by another, both.
    CLUSTER_CA_FILE = "cluster", "ca_file", File, Mandatory("\"/etc/postroad/cluster/ca.pem\""), Live, Node;
    /// All nodes, up to 9; this one may be among them, so that all nodes can have the same list.
    CLUSTER_PEERS = "cluster", "peers", Tables,
        Mandatory("[{ name = \"amir\", address = \"amir.internal:50052\" }]"), Live, Cluster;
    /// The node's node.name.
    PEER_NAME = "cluster.peers[]", "name", Text("a label of a host name in lower case"), Mandatory("\"amir\""), Live, Cluster;
    /// Where this node reaches it; a name is resolved at every dial.
    PEER_ADDRESS = "cluster.peers[]", "address", Text("HOST:PORT or [IPV6]:PORT"), Mandatory("\"amir.internal:50052\""), Live, Node;
    /// How many nodes vote at most. Of three, one may be gone, of five, two; further nodes serve mail alike, and do not vote.
    CLUSTER_VOTERS = "cluster", "voters", Choice(&[3, 5], "voters"), Default("3"), Restart, Cluster;
    /// How long heartbeats and elections take. lan: within one place, another node leads 1.5 to 2.4 s after a leader is gone. wan: up to 100 ms and 10 Mbit/s between nodes, and about twice that.
    CLUSTER_TIMING = "cluster", "timing", Text("lan | wan"), Default("\"lan\""), Restart, Cluster;
}

impl Key {
    /// The path of the key in the schema, with `[]` for indices.
    #[must_use]
    pub fn path(&self) -> String {
        join(self.section, self.name)
    }

    /// What a value must be, as the example and the errors say it.
    #[must_use]
    pub fn expected(&self) -> String {
        match self.kind {
            Text(form) => form.to_owned(),
            File => "a file".to_owned(),
            Flag => "true or false".to_owned(),
            FlagOr(word) => format!("true | \"{word}\" | false"),
            Number(min, max, unit) => format!("{unit}, {min} to {max}"),
            Choice(numbers, unit) => {
                let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
                format!("{unit}, {}", numbers.join(" | "))
            }
            Duration(min, max) => format!("a duration, \"{}\" to \"{}\"", seconds(min), seconds(max)),
            List(form) => format!("an array of {form}"),
            Tables => "an array of tables".to_owned(),
        }
    }
}

/// Seconds in the largest unit that divides them.
pub(super) fn seconds(count: u64) -> String {
    for (unit, size) in [("d", 86_400), ("h", 3600), ("m", 60)] {
        if count > 0 && count.is_multiple_of(size) {
            return format!("{}{unit}", count / size);
        }
    }
    format!("{count}s")
}

/// Joins a section's path and a name with a dot.
pub(super) fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

/// The key of this section and name.
pub(super) fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().copied().find(|key| key.section == section && key.name == name)
}

/// Whether the path is a section's, not one of an array of tables.
pub(super) fn is_section(path: &str) -> bool {
    SECTIONS.iter().any(|row| row.path == path)
}
