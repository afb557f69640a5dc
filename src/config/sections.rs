//! Builds each section of the [`Config`] from the file: every key is read before the first `?`, so that no
//! error hides another. The rules that hold between keys stand here.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::Ipv4Net;
use tracing_subscriber::EnvFilter;

use crate::config::cluster::cluster;
use crate::config::error::Problem;
use crate::config::files::{self, SigningKey};
use crate::config::read::Section;
use crate::config::schema::{self as keys, Key};
use crate::config::settings::Settings;
use crate::config::{
    AddressLog, Admin, Arc, Authentication, Config, Delivery, Dkim, DkimKey, DmarcMode, Dns, Dnsbl, Http,
    KeyPairFiles, Limits, Log, LogAddresses, MxHost, Node, OnTempfail, PrivateAddresses, Public, Sealing,
    Service, Smtp, Source, Srs, TrustAd,
};
use crate::mail::Domain;

/// The longest postmaster URL, in octets: a refusal with it, an anchor and a trace id is one reply line
/// (RFC 5321 §4.5.3.1.5).
const MAX_URL_OCTETS: usize = 200;
/// The most DNSBL zones: each is asked for every connection and has its own series in the metrics.
const MAX_DNSBL_ZONES: usize = 20;
/// The most signing keys: each makes a signature for every message.
const MAX_DKIM_KEYS: usize = 4;
/// Answers that mean listed lie here (RFC 5782 §2.1).
const DNSBL_ANSWERS: &str = "127.0.0.0/8";

/// The whole configuration; `None` when anything was wrong, which is then in the notes.
pub(super) fn config(root: &Section<'_>) -> Option<Config> {
    let node_section = root.section("node");
    let node = node(&node_section);
    let service = service(&root.section("service"));
    let smtp = smtp(&root.section("smtp"));
    let limits = limits(&root.section("limits"), service.as_ref());
    let authentication = authentication(&root.section("authentication"));
    let dnsbl = dnsbl(root);
    let dkim = dkim(&root.section("dkim"));
    let arc = arc(&root.section("arc"));
    let srs = srs(&root.section("srs"));
    let delivery = delivery(&root.section("delivery"));
    let dns = dns(&root.section("dns"));
    let log = log(&root.section("log"), srs.as_ref().map(|(_, secret)| secret.expose().as_bytes()));
    let http = root.section("http").one(keys::HTTP_LISTEN);
    let public = public(&root.section("public"));
    let admin = admin(&root.section("admin"));
    let cluster = cluster(&root.section("cluster"), (&node_section, node.as_ref()));
    let config = Config {
        node: node?,
        service: service?,
        smtp: smtp?,
        limits: limits?,
        authentication: authentication?,
        dnsbl: dnsbl?,
        dkim: dkim?,
        arc: arc?,
        srs: srs?.0,
        delivery: delivery?,
        dns: dns?,
        log: log?,
        http: Http { listen: http? },
        public: public?,
        admin: admin?,
        cluster: cluster?,
        settings: Settings::new(root.table()),
    };
    listeners_differ(&config, root);
    Some(config)
}

fn arc(section: &Section<'_>) -> Option<Arc> {
    let seal = section.flag_or_word(keys::ARC_SEAL, [Sealing::On, Sealing::Needed, Sealing::Off])?;
    Some(Arc { seal })
}

fn dns(section: &Section<'_>) -> Option<Dns> {
    let servers = section.list(keys::DNS_SERVERS);
    let words = [("loopback", TrustAd::Loopback), ("always", TrustAd::Always), ("never", TrustAd::Never)];
    let trust_ad = section.word(keys::DNS_TRUST_AD, &words);
    Some(Dns { servers: servers?, trust_ad: trust_ad? })
}

fn node(section: &Section<'_>) -> Option<Node> {
    let name = name(section, keys::NODE_NAME, 63);
    let hostname = section.one(keys::NODE_HOSTNAME);
    let data_dir: Option<PathBuf> = section.one(keys::NODE_DATA_DIR);
    if let Some(path) = data_dir.as_ref().filter(|path| path.exists() && !path.is_dir()) {
        let problem = Problem::File { path: path.clone(), cause: "is not a directory".to_owned() };
        section.wrong(keys::NODE_DATA_DIR, problem);
    }
    Some(Node { name: name?, hostname: hostname?, data_dir: data_dir? })
}

/// Letters, digits, dots, hyphens and underscores, up to `max` of them.
fn name(section: &Section<'_>, key: &Key, max: usize) -> Option<String> {
    let name: String = section.one(key)?;
    let fits = (1..=max).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if !fits {
        let reason = format!("\"{name}\" is not 1 to {max} letters, digits, dots, hyphens and underscores");
        section.invalid(key, reason);
        return None;
    }
    Some(name)
}

fn service(section: &Section<'_>) -> Option<Service> {
    let domain: Option<Domain> = section.one(keys::SERVICE_DOMAIN);
    let spf_name = section.optional(keys::SERVICE_SPF_NAME);
    let postmaster = section.one(keys::SERVICE_POSTMASTER);
    let url = postmaster_url(section, domain.as_ref());
    let max_message_octets = section.number(keys::SERVICE_MAX_MESSAGE_OCTETS);
    let outbound_prefixes = section.list(keys::SERVICE_OUTBOUND_PREFIXES);
    let mx: Vec<Option<MxHost>> = section.tables(keys::SERVICE_MX).iter().map(mx_host).collect();
    let mx: Option<Vec<MxHost>> = mx.into_iter().collect();
    if let Some(twice) = mx.as_ref().and_then(|mx| duplicate(mx.iter().map(|host| &host.hostname))) {
        section.invalid(keys::SERVICE_MX, format!("{twice} is there twice"));
    }
    Some(Service {
        domain: domain?,
        spf_name: spf_name?,
        postmaster: postmaster?,
        postmaster_url: url?,
        max_message_octets: max_message_octets?,
        outbound_prefixes: outbound_prefixes?,
        mx: mx?,
    })
}

fn mx_host(section: &Section<'_>) -> Option<MxHost> {
    let hostname = section.one(keys::MX_HOSTNAME);
    let preference = section.number(keys::MX_PREFERENCE);
    Some(MxHost { hostname: hostname?, preference: preference? })
}

fn postmaster_url(section: &Section<'_>, domain: Option<&Domain>) -> Option<String> {
    let key = keys::SERVICE_POSTMASTER_URL;
    let Some(url) = section.optional::<String>(key)? else {
        return domain.map(|domain| format!("https://{domain}/postmaster"));
    };
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let fits = host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'))
        && url.len() <= MAX_URL_OCTETS
        && url.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    if !fits {
        section.invalid(key, format!("\"{url}\" is not {}", key.expected()));
        return None;
    }
    Some(url)
}

fn smtp(section: &Section<'_>) -> Option<Smtp> {
    let listen: Option<Vec<SocketAddr>> = section.list(keys::SMTP_LISTEN);
    if let Some(listen) = &listen {
        if listen.is_empty() {
            section.invalid(keys::SMTP_LISTEN, "needs at least one address");
        }
        if let Some(twice) = duplicate(listen.iter().filter(|address| address.port() != 0)) {
            section.invalid(keys::SMTP_LISTEN, format!("{twice} is there twice"));
        }
    }
    let tls = key_pair(section, keys::SMTP_CERTIFICATE_FILE, keys::SMTP_PRIVATE_KEY_FILE);
    let trusted_proxies = section.list(keys::SMTP_TRUSTED_PROXIES);
    let split_unvouched = section.flag(keys::SMTP_SPLIT_UNVOUCHED);
    Some(Smtp {
        listen: listen?,
        tls: tls?,
        trusted_proxies: trusted_proxies?,
        split_unvouched: split_unvouched?,
    })
}

/// Both files or neither; the outer `None` is an error.
fn key_pair(section: &Section<'_>, certificate: &Key, private_key: &Key) -> Option<Option<KeyPairFiles>> {
    let chain = section.optional_file(certificate, files::certificates);
    let secret = section.optional_file(private_key, files::private_key);
    for (here, there) in [(certificate, private_key), (private_key, certificate)] {
        if section.has(here) && !section.has(there) {
            let reason = format!("goes together with {}, which is not set", there.name);
            section.wrong(here, Problem::Conflict(reason));
        }
    }
    let pair = chain?.zip(secret?).map(|((certificate_file, _), (private_key_file, _))| KeyPairFiles {
        certificate_file,
        private_key_file,
    });
    Some(pair)
}

fn limits(section: &Section<'_>, service: Option<&Service>) -> Option<Limits> {
    let sessions = section.number(keys::LIMITS_SESSIONS);
    let sessions_per_network = section.number(keys::LIMITS_SESSIONS_PER_NETWORK);
    let recipients = section.number(keys::LIMITS_RECIPIENTS);
    let octets_in_flight: Option<u64> = section.number(keys::LIMITS_OCTETS_IN_FLIGHT);
    let min_free_octets = section.number(keys::LIMITS_MIN_FREE_OCTETS);
    let command_timeout = section.duration(keys::LIMITS_COMMAND_TIMEOUT);
    let data_timeout = section.duration(keys::LIMITS_DATA_TIMEOUT);
    let message_timeout = section.duration(keys::LIMITS_MESSAGE_TIMEOUT);
    let errors = section.number(keys::LIMITS_ERRORS);
    let transactions = section.number(keys::LIMITS_TRANSACTIONS);
    let header_octets = section.number(keys::LIMITS_HEADER_OCTETS);
    let dkim_signatures = section.number(keys::LIMITS_DKIM_SIGNATURES);
    let hops = section.number(keys::LIMITS_HOPS);
    if let (Some(room), Some(service)) = (octets_in_flight, service) {
        let needed = service.max_message_octets;
        if room < needed {
            let reason = format!("{room} octets have no room for service.max_message_octets = {needed}");
            section.wrong(keys::LIMITS_OCTETS_IN_FLIGHT, Problem::Conflict(reason));
        }
    }
    Some(Limits {
        sessions: sessions?,
        sessions_per_network: sessions_per_network?,
        recipients: recipients?,
        octets_in_flight: octets_in_flight?,
        min_free_octets: min_free_octets?,
        command_timeout: command_timeout?,
        data_timeout: data_timeout?,
        message_timeout: message_timeout?,
        errors: errors?,
        transactions: transactions?,
        header_octets: header_octets?,
        dkim_signatures: dkim_signatures?,
        hops: hops?,
    })
}

fn authentication(section: &Section<'_>) -> Option<Authentication> {
    let dmarc = section.word(
        keys::AUTHENTICATION_DMARC,
        &[("enforce", DmarcMode::Enforce), ("rfc9989", DmarcMode::Rfc9989), ("monitor", DmarcMode::Monitor)],
    );
    let require_pass = section.flag(keys::AUTHENTICATION_REQUIRE_PASS);
    let sealers = section.list(keys::AUTHENTICATION_TRUSTED_ARC_SEALERS);
    Some(Authentication { dmarc: dmarc?, require_pass: require_pass?, trusted_arc_sealers: sealers? })
}

fn dnsbl(root: &Section<'_>) -> Option<Vec<Dnsbl>> {
    let tables = root.tables(keys::DNSBL);
    if tables.len() > MAX_DNSBL_ZONES {
        root.invalid(keys::DNSBL, format!("more than {MAX_DNSBL_ZONES} zones"));
    }
    let zones: Vec<Option<Dnsbl>> = tables.iter().map(dnsbl_zone).collect();
    let zones: Vec<Dnsbl> = zones.into_iter().collect::<Option<_>>()?;
    if let Some(twice) = duplicate(zones.iter().map(|zone| &zone.name)) {
        root.invalid(keys::DNSBL, format!("the name {twice} is there twice"));
    }
    Some(zones)
}

fn dnsbl_zone(section: &Section<'_>) -> Option<Dnsbl> {
    let name = name(section, keys::DNSBL_NAME, 32);
    let zone = section.one(keys::DNSBL_ZONE);
    let key = section.optional_file(keys::DNSBL_KEY_FILE, files::dnsbl_key);
    let listed: Option<Vec<Ipv4Net>> = section.list(keys::DNSBL_LISTED);
    let answers: Option<Ipv4Net> = DNSBL_ANSWERS.parse().ok();
    for net in listed.iter().flatten().filter(|net| !answers.is_some_and(|all| all.contains(*net))) {
        section.invalid(keys::DNSBL_LISTED, format!("{net} is not inside {DNSBL_ANSWERS}"));
    }
    if listed.as_ref().is_some_and(Vec::is_empty) {
        section.invalid(keys::DNSBL_LISTED, "needs at least one network");
    }
    Some(Dnsbl { name: name?, zone: zone?, key_file: key?.map(|(path, _)| path), listed: listed? })
}

fn dkim(section: &Section<'_>) -> Option<Dkim> {
    let tables = section.tables(keys::DKIM_KEY);
    let mut signing = Vec::new();
    let pair = section.has(keys::DKIM_SELECTOR) || section.has(keys::DKIM_PRIVATE_KEY_FILE);
    if pair || !section.has(keys::DKIM_KEY) {
        let key = dkim_key(section, keys::DKIM_SELECTOR, keys::DKIM_PRIVATE_KEY_FILE);
        signing.push((section, keys::DKIM_PRIVATE_KEY_FILE, key));
    }
    for table in &tables {
        let key = dkim_key(table, keys::DKIM_KEY_SELECTOR, keys::DKIM_KEY_PRIVATE_KEY_FILE);
        signing.push((table, keys::DKIM_KEY_PRIVATE_KEY_FILE, key));
    }
    if let Some((first, row, Some((_, SigningKey::Ed25519(_))))) = signing.first() {
        first.invalid(row, "the first key must be RSA, which every verifier understands (RFC 8463 §5)");
    }
    if signing.is_empty() || signing.len() > MAX_DKIM_KEYS {
        section.invalid(keys::DKIM_KEY, format!("1 to {MAX_DKIM_KEYS} keys are needed"));
    }
    let keys: Option<Vec<DkimKey>> =
        signing.into_iter().map(|(_, _, key)| key.map(|(names, _)| names)).collect();
    let keys = keys?;
    if let Some(twice) = duplicate(keys.iter().map(|key| &key.selector)) {
        section.invalid(keys::DKIM_SELECTOR, format!("\"{twice}\" is there twice"));
    }
    Some(Dkim { keys })
}

fn dkim_key(section: &Section<'_>, selector: &Key, file: &Key) -> Option<(DkimKey, SigningKey)> {
    let name: Option<String> = section.one(selector);
    let key = section.file(file, files::dkim_key);
    let name = name?;
    // RFC 6376 §3.1: a selector is one or more labels.
    let Ok(labels) = Domain::parse(&name) else {
        section.invalid(
            selector,
            format!("\"{name}\" is not a selector: labels of letters, digits and hyphens"),
        );
        return None;
    };
    let (private_key_file, key) = key?;
    Some((DkimKey { selector: labels.as_str().to_owned(), private_key_file }, key))
}

fn srs(section: &Section<'_>) -> Option<(Srs, files::Secret)> {
    let secrets = section.file(keys::SRS_SECRET_FILE, files::srs_secrets);
    let max_age_days = section.number(keys::SRS_MAX_AGE_DAYS);
    let (secret_file, secrets) = secrets?;
    let first = secrets.into_iter().next()?;
    Some((Srs { secret_file, max_age_days: max_age_days? }, first))
}

fn delivery(section: &Section<'_>) -> Option<Delivery> {
    let port = section.number(keys::DELIVERY_PORT);
    let in_session_timeout = section.duration(keys::DELIVERY_IN_SESSION_TIMEOUT);
    let on_tempfail = section.word(
        keys::DELIVERY_ON_TEMPFAIL,
        &[("relay", OnTempfail::Relay), ("queue", OnTempfail::Queue), ("verified", OnTempfail::Verified)],
    );
    let cut_through = section.flag(keys::DELIVERY_CUT_THROUGH);
    let private_addresses = section.word(
        keys::DELIVERY_PRIVATE_ADDRESSES,
        &[("refuse", PrivateAddresses::Refuse), ("allow", PrivateAddresses::Allow)],
    );
    let give_up_after = section.duration(keys::DELIVERY_GIVE_UP_AFTER);
    let retry_first = section.duration(keys::DELIVERY_RETRY_FIRST);
    let retry_longest = section.duration(keys::DELIVERY_RETRY_LONGEST);
    let delay_notice_after = section.duration(keys::DELIVERY_DELAY_NOTICE_AFTER);
    let connect_timeout = section.duration(keys::DELIVERY_CONNECT_TIMEOUT);
    let connect_timeout_v6 = section.duration(keys::DELIVERY_CONNECT_TIMEOUT_V6);
    let idle_timeout = section.duration(keys::DELIVERY_IDLE_TIMEOUT);
    let sources: Vec<Option<Source>> = section.tables(keys::DELIVERY_SOURCE).iter().map(source).collect();
    let sources: Option<Vec<Source>> = sources.into_iter().collect();
    if let Some(twice) = sources.as_ref().and_then(|all| duplicate(all.iter().map(|source| &source.address)))
    {
        section.invalid(keys::DELIVERY_SOURCE, format!("{twice} is there twice"));
    }
    Some(Delivery {
        port: port?,
        in_session_timeout: in_session_timeout?,
        on_tempfail: on_tempfail?,
        cut_through: cut_through?,
        private_addresses: private_addresses?,
        give_up_after: give_up_after?,
        retry_first: retry_first?,
        retry_longest: retry_longest?,
        delay_notice_after: delay_notice_after?,
        sources: sources?,
        connect_timeout: connect_timeout?,
        connect_timeout_v6: connect_timeout_v6?,
        idle_timeout: idle_timeout?,
    })
}

fn source(section: &Section<'_>) -> Option<Source> {
    let address: Option<IpAddr> = section.one(keys::SOURCE_ADDRESS);
    let hostname = section.one(keys::SOURCE_HOSTNAME);
    if let Some(address) = address.filter(|address| address.is_unspecified() || address.is_multicast()) {
        section.invalid(keys::SOURCE_ADDRESS, format!("{address} is no address to connect from"));
    }
    Some(Source { address: address?, hostname: hostname? })
}

fn log(section: &Section<'_>, secret: Option<&[u8]>) -> Option<Log> {
    let level: Option<String> = section.one(keys::LOG_LEVEL);
    let addresses = section.word(
        keys::LOG_ADDRESSES,
        &[("full", LogAddresses::Full), ("hash", LogAddresses::Hash), ("none", LogAddresses::None)],
    );
    let level = level?;
    if let Err(cause) = EnvFilter::try_new(&level) {
        section.invalid(keys::LOG_LEVEL, format!("\"{level}\" is not a filter: {cause}"));
    }
    Some(Log { level, addresses: AddressLog::new(addresses?, secret?) })
}

fn public(section: &Section<'_>) -> Option<Option<Public>> {
    if !section.is_there() {
        return Some(None);
    }
    section.one(keys::PUBLIC_LISTEN).map(|listen| Some(Public { listen }))
}

fn admin(section: &Section<'_>) -> Option<Admin> {
    let listen: Option<SocketAddr> = section.one(keys::ADMIN_LISTEN);
    let tokens = section.optional_file(keys::ADMIN_TOKEN_FILE, files::admin_tokens);
    let tls = key_pair(section, keys::ADMIN_CERTIFICATE_FILE, keys::ADMIN_PRIVATE_KEY_FILE);
    let ca = section.optional_file(keys::ADMIN_CLIENT_CA_FILE, files::certificates);
    let has_tls = section.has(keys::ADMIN_CERTIFICATE_FILE);
    let (has_tokens, has_ca) = (section.has(keys::ADMIN_TOKEN_FILE), section.has(keys::ADMIN_CLIENT_CA_FILE));
    let conflict = |key: &Key, reason: &str| section.wrong(key, Problem::Conflict(reason.to_owned()));
    if has_ca && !has_tls {
        conflict(
            keys::ADMIN_CLIENT_CA_FILE,
            "client certificates need certificate_file and private_key_file",
        );
    }
    if listen.is_some_and(|listen| !listen.ip().is_loopback()) {
        if !has_tokens && !has_ca {
            conflict(keys::ADMIN_LISTEN, "past loopback it needs token_file or client_ca_file");
        } else if has_tokens && !has_tls {
            conflict(keys::ADMIN_LISTEN, "tokens past loopback need certificate_file and private_key_file");
        }
    }
    Some(Admin {
        listen: listen?,
        token_file: tokens?.map(|(path, _)| path),
        tls: tls?,
        client_ca_file: ca?.map(|(path, _)| path),
    })
}

/// Two listeners cannot have one address; port 0 is a different one each time.
fn listeners_differ(config: &Config, root: &Section<'_>) {
    let named = [
        ("http", keys::HTTP_LISTEN, Some(config.http.listen)),
        ("public", keys::PUBLIC_LISTEN, config.public.as_ref().map(|public| public.listen)),
        ("admin", keys::ADMIN_LISTEN, Some(config.admin.listen)),
        ("cluster", keys::CLUSTER_LISTEN, config.cluster.as_ref().map(|cluster| cluster.listen)),
    ];
    let mut taken: BTreeSet<SocketAddr> = config.smtp.listen.iter().copied().collect();
    for (section, key, listen) in named {
        let Some(listen) = listen.filter(|listen| listen.port() != 0) else { continue };
        if !taken.insert(listen) {
            let reason = format!("{listen} is another listener's address already");
            root.section(section).wrong(key, Problem::Conflict(reason));
        }
    }
}

/// The first value that is there twice.
fn duplicate<T: Ord>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut seen = BTreeSet::new();
    for value in values {
        if seen.contains(&value) {
            return Some(value);
        }
        seen.insert(value);
    }
    None
}
