use std::convert::Infallible;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::*;
use crate::config::schema::{Effect, KEYS, Kind, Scope};
use crate::config::test_files::Files;
use crate::config::{Live, OnTempfail, taking};

struct Case {
    files: Files,
    reloader: Reloader,
    receiver: watch::Receiver<Arc<Config>>,
    readings: Arc<Mutex<Vec<Reading>>>,
}

fn case() -> Case {
    starting_with("")
}

/// Starts from a file with these lines.
fn starting_with(lines: &str) -> Case {
    let files = Files::new();
    files.write("postroad.toml", &files.with(lines));
    let path = files.path("postroad.toml");
    let first = Config::load(&path, &[]).unwrap();
    let readings = Arc::<Mutex<Vec<Reading>>>::default();
    let seen = Arc::clone(&readings);
    let (reloader, receiver) =
        Reloader::new(path, Vec::new(), first, move |reading| seen.lock().push(reading));
    Case { files, reloader, receiver, readings }
}

impl Case {
    /// Reads a file with these lines; what became of it.
    fn read(&mut self, lines: &str) -> Reading {
        self.append(lines);
        self.reloader.reload();
        *self.readings.lock().last().unwrap()
    }

    fn refusals(&self) -> usize {
        self.readings.lock().iter().filter(|reading| **reading == Reading::Refused).count()
    }

    fn append(&self, line: &str) {
        self.files.write("postroad.toml", &self.files.with(line));
    }
}

#[test]
fn a_changed_file_is_taken_once_it_has_come_to_rest() {
    let mut case = case();
    case.append("authentication = { dmarc = 'monitor' }");
    case.reloader.look();
    assert!(!case.receiver.has_changed().unwrap());
    case.reloader.look();
    assert_eq!(case.receiver.borrow_and_update().authentication.dmarc, crate::config::DmarcMode::Monitor);
    case.reloader.look();
    case.reloader.look();
    assert!(!case.receiver.has_changed().unwrap());
}

#[test]
fn a_change_of_a_named_file_alone_is_published() {
    let mut case = case();
    case.files.write("secrets", "another secret, as long\n");
    case.reloader.look();
    case.reloader.look();
    assert!(case.receiver.has_changed().unwrap());
}

/// As Kubernetes changes a Secret.
#[cfg(unix)]
#[test]
fn a_moved_symlink_is_noticed() {
    let files = Files::new();
    for (folder, secret) in [("old", "0123456789abcdef\n"), ("new", "fedcba9876543210\n")] {
        std::fs::create_dir(files.path(folder)).unwrap();
        files.write(&format!("{folder}/secrets"), secret);
    }
    std::os::unix::fs::symlink(files.path("old"), files.path("..data")).unwrap();
    let path = files.path("postroad.toml");
    files.write("postroad.toml", &files.with("srs.secret_file = '@..data/secrets'"));
    let first = Config::load(&path, &[]).unwrap();
    let (mut reloader, receiver) = Reloader::new(path, Vec::new(), first, |_| {});
    std::os::unix::fs::symlink(files.path("new"), files.path("..next")).unwrap();
    std::fs::rename(files.path("..next"), files.path("..data")).unwrap();
    reloader.look();
    reloader.look();
    assert!(receiver.has_changed().unwrap());
}

#[test]
fn a_bad_file_changes_nothing_and_is_reported_once() {
    let mut case = case();
    case.append("limits = { sessions = 0 }");
    for _ in 0..4 {
        case.reloader.look();
    }
    assert!(!case.receiver.has_changed().unwrap());
    assert_eq!(case.refusals(), 1);
    case.append("limits = { sessions = 5 }");
    case.reloader.look();
    case.reloader.look();
    assert_eq!(case.receiver.borrow().limits.sessions, 5);
}

/// What the changes of `[cluster]` start from.
const CLUSTER_OF_TWO: &str = "cluster = { certificate_file = '@node.pem', private_key_file = '@node.key', ca_file = '@ca.pem', peers = [{ name = 'amir', address = 'amir:1' }] }";

/// Every key that is no array of tables: lines that give it a value, or none, and lines that give it another.
const CHANGES: &[(&str, &str, &str)] = &[
    ("node.name", "", "node.name = 'amir'"),
    ("node.hostname", "", "node.hostname = 'amir.mx.relay.example'"),
    ("node.data_dir", "", "node.data_dir = '@elsewhere'"),
    ("service.domain", "", "service.domain = 'mail.relay.example'"),
    ("service.spf_name", "", "service.spf_name = '_spf.relay.example'"),
    ("service.postmaster", "", "service.postmaster = 'root@relay.example'"),
    ("service.postmaster_url", "", "service.postmaster_url = 'https://relay.example/'"),
    ("service.max_message_octets", "", "service.max_message_octets = 65536"),
    ("service.outbound_prefixes", "", "service.outbound_prefixes = ['192.0.2.0/24']"),
    (
        "service.mx[].hostname",
        "service.mx = [{ hostname = 'a.example', preference = 1 }]",
        "service.mx = [{ hostname = 'b.example', preference = 1 }]",
    ),
    (
        "service.mx[].preference",
        "service.mx = [{ hostname = 'a.example', preference = 1 }]",
        "service.mx = [{ hostname = 'a.example', preference = 2 }]",
    ),
    ("smtp.listen", "", "smtp.listen = ['127.0.0.1:2525']"),
    (
        "smtp.certificate_file",
        "smtp = { certificate_file = '@chain.pem', private_key_file = '@key.pem' }",
        "smtp = { certificate_file = '@chain2.pem', private_key_file = '@key.pem' }",
    ),
    (
        "smtp.private_key_file",
        "smtp = { certificate_file = '@chain.pem', private_key_file = '@key.pem' }",
        "smtp = { certificate_file = '@chain.pem', private_key_file = '@key2.pem' }",
    ),
    ("smtp.trusted_proxies", "", "smtp.trusted_proxies = ['192.0.2.0/24']"),
    ("smtp.split_unvouched", "", "smtp.split_unvouched = false"),
    ("limits.sessions", "", "limits.sessions = 5"),
    ("limits.sessions_per_network", "limits.sessions_per_network = 7", "limits.sessions_per_network = 8"),
    ("limits.recipients", "", "limits.recipients = 101"),
    ("limits.octets_in_flight", "", "limits.octets_in_flight = 300000000"),
    ("limits.min_free_octets", "", "limits.min_free_octets = 0"),
    ("limits.command_timeout", "", "limits.command_timeout = '6m'"),
    ("limits.data_timeout", "", "limits.data_timeout = '6m'"),
    ("limits.message_timeout", "", "limits.message_timeout = '6m'"),
    ("limits.errors", "", "limits.errors = 3"),
    ("limits.transactions", "", "limits.transactions = 3"),
    ("limits.header_octets", "", "limits.header_octets = 20000"),
    ("limits.dkim_signatures", "", "limits.dkim_signatures = 3"),
    ("limits.hops", "", "limits.hops = 30"),
    ("authentication.dmarc", "", "authentication.dmarc = 'monitor'"),
    ("authentication.require_pass", "", "authentication.require_pass = false"),
    ("authentication.trusted_arc_sealers", "", "authentication.trusted_arc_sealers = ['arc.example']"),
    (
        "dnsbl[].name",
        "dnsbl = [{ name = 'a', zone = 'z.example' }]",
        "dnsbl = [{ name = 'b', zone = 'z.example' }]",
    ),
    (
        "dnsbl[].zone",
        "dnsbl = [{ name = 'a', zone = 'z.example' }]",
        "dnsbl = [{ name = 'a', zone = 'y.example' }]",
    ),
    (
        "dnsbl[].key_file",
        "dnsbl = [{ name = 'a', zone = 'z.example' }]",
        "dnsbl = [{ name = 'a', zone = 'z.example', key_file = '@dnsbl.key' }]",
    ),
    (
        "dnsbl[].listed",
        "dnsbl = [{ name = 'a', zone = 'z.example' }]",
        "dnsbl = [{ name = 'a', zone = 'z.example', listed = ['127.0.0.2'] }]",
    ),
    ("dkim.selector", "", "dkim.selector = '2023'"),
    ("dkim.private_key_file", "", "dkim.private_key_file = '@rsa2.pem'"),
    (
        "dkim.key[].selector",
        "dkim.key = [{ selector = 'ed', private_key_file = '@ed25519.pem' }]",
        "dkim.key = [{ selector = 'ed2', private_key_file = '@ed25519.pem' }]",
    ),
    (
        "dkim.key[].private_key_file",
        "dkim.key = [{ selector = 'ed', private_key_file = '@ed25519.pem' }]",
        "dkim.key = [{ selector = 'ed', private_key_file = '@rsa.pem' }]",
    ),
    ("arc.seal", "", "arc.seal = false"),
    ("srs.secret_file", "", "srs.secret_file = '@secrets2'"),
    ("srs.max_age_days", "", "srs.max_age_days = 30"),
    ("delivery.port", "", "delivery.port = 26"),
    ("delivery.in_session_timeout", "", "delivery.in_session_timeout = '46s'"),
    ("delivery.on_tempfail", "", "delivery.on_tempfail = 'queue'"),
    ("delivery.cut_through", "", "delivery.cut_through = false"),
    ("delivery.private_addresses", "", "delivery.private_addresses = 'allow'"),
    ("delivery.give_up_after", "", "delivery.give_up_after = '4d'"),
    ("delivery.retry_first", "", "delivery.retry_first = '2m'"),
    ("delivery.retry_longest", "", "delivery.retry_longest = '2h'"),
    ("delivery.delay_notice_after", "", "delivery.delay_notice_after = '4h'"),
    ("delivery.connect_timeout", "", "delivery.connect_timeout = '9s'"),
    ("delivery.connect_timeout_v6", "", "delivery.connect_timeout_v6 = '9s'"),
    ("delivery.idle_timeout", "", "delivery.idle_timeout = '9s'"),
    (
        "delivery.source[].address",
        "delivery.source = [{ address = '192.0.2.1', hostname = 'a.example' }]",
        "delivery.source = [{ address = '192.0.2.2', hostname = 'a.example' }]",
    ),
    (
        "delivery.source[].hostname",
        "delivery.source = [{ address = '192.0.2.1', hostname = 'a.example' }]",
        "delivery.source = [{ address = '192.0.2.1', hostname = 'b.example' }]",
    ),
    ("dns.servers", "", "dns.servers = ['127.0.0.1:53']"),
    ("dns.trust_ad", "", "dns.trust_ad = 'never'"),
    ("log.level", "", "log.level = 'debug'"),
    ("log.addresses", "", "log.addresses = 'hash'"),
    ("http.listen", "", "http.listen = '127.0.0.1:1'"),
    ("public.listen", "", "public = {}"),
    ("admin.listen", "", "admin.listen = '127.0.0.1:2'"),
    ("admin.token_file", "", "admin.token_file = '@tokens'"),
    (
        "admin.certificate_file",
        "admin = { certificate_file = '@chain.pem', private_key_file = '@key.pem' }",
        "admin = { certificate_file = '@chain2.pem', private_key_file = '@key.pem' }",
    ),
    (
        "admin.private_key_file",
        "admin = { certificate_file = '@chain.pem', private_key_file = '@key.pem' }",
        "admin = { certificate_file = '@chain.pem', private_key_file = '@key2.pem' }",
    ),
    (
        "admin.client_ca_file",
        "admin = { certificate_file = '@chain.pem', private_key_file = '@key.pem' }",
        "admin = { certificate_file = '@chain.pem', private_key_file = '@key.pem', client_ca_file = '@chain.pem' }",
    ),
    (
        "cluster.listen",
        CLUSTER_OF_TWO,
        "cluster = { certificate_file = '@node.pem', private_key_file = '@node.key', ca_file = '@ca.pem', peers = [{ name = 'amir', address = 'amir:1' }], listen = '127.0.0.1:3' }",
    ),
    (
        "cluster.certificate_file",
        CLUSTER_OF_TWO,
        "cluster = { certificate_file = '@node2.pem', private_key_file = '@node.key', ca_file = '@ca.pem', peers = [{ name = 'amir', address = 'amir:1' }] }",
    ),
    (
        "cluster.private_key_file",
        CLUSTER_OF_TWO,
        "cluster = { certificate_file = '@node.pem', private_key_file = '@node2.key', ca_file = '@ca.pem', peers = [{ name = 'amir', address = 'amir:1' }] }",
    ),
    (
        "cluster.ca_file",
        CLUSTER_OF_TWO,
        "cluster = { certificate_file = '@node.pem', private_key_file = '@node.key', ca_file = '@ca2.pem', peers = [{ name = 'amir', address = 'amir:1' }] }",
    ),
    (
        "cluster.peers[].name",
        CLUSTER_OF_TWO,
        "cluster = { certificate_file = '@node.pem', private_key_file = '@node.key', ca_file = '@ca.pem', peers = [{ name = 'isaac', address = 'amir:1' }] }",
    ),
    (
        "cluster.peers[].address",
        CLUSTER_OF_TWO,
        "cluster = { certificate_file = '@node.pem', private_key_file = '@node.key', ca_file = '@ca.pem', peers = [{ name = 'amir', address = 'amir:2' }] }",
    ),
    (
        "cluster.voters",
        CLUSTER_OF_TWO,
        "cluster = { certificate_file = '@node.pem', private_key_file = '@node.key', ca_file = '@ca.pem', peers = [{ name = 'amir', address = 'amir:1' }], voters = 5 }",
    ),
    (
        "cluster.timing",
        CLUSTER_OF_TWO,
        "cluster = { certificate_file = '@node.pem', private_key_file = '@node.key', ca_file = '@ca.pem', peers = [{ name = 'amir', address = 'amir:1' }], timing = 'wan' }",
    ),
];

#[test]
fn each_key_is_taken_or_waits_for_a_restart_as_the_schema_says() {
    let keys: Vec<_> = KEYS.iter().filter(|key| key.kind != Kind::Tables).collect();
    assert_eq!(
        CHANGES.iter().map(|(path, ..)| (*path).to_owned()).collect::<Vec<_>>(),
        keys.iter().map(|key| key.path()).collect::<Vec<_>>()
    );
    for (key, (path, before, after)) in keys.iter().zip(CHANGES) {
        let mut case = starting_with(before);
        for (copy, of) in [
            ("chain2.pem", "chain.pem"),
            ("key2.pem", "key.pem"),
            ("rsa2.pem", "rsa.pem"),
            ("secrets2", "secrets"),
            ("node2.pem", "node.pem"),
            ("node2.key", "node.key"),
            ("ca2.pem", "ca.pem"),
        ] {
            std::fs::copy(case.files.path(of), case.files.path(copy)).unwrap();
        }
        let old = case.receiver.borrow_and_update().clone();
        let written = Config::parse(&case.files.with(after), &[]).unwrap();
        let reading = case.read(after);
        let new = case.receiver.borrow_and_update().clone();
        match key.effect {
            Effect::Live => {
                assert_eq!(reading, Reading::Taken, "{path}");
                assert_eq!(debug(&new), debug(&written), "{path}");
                assert!(old.changed(&new).iter().any(|changed| changed.path() == *path), "{path}");
            }
            Effect::Restart => {
                assert_eq!(reading, Reading::TakenInPart, "{path}");
                assert_eq!(debug(&new), debug(&old), "{path}");
                let (_, kept) = written.keeping(&old).unwrap();
                assert!(kept.iter().any(|kept| kept.path() == *path), "{path}");
                // The running value is back in the file: nothing waits any more.
                assert_eq!(case.read(before), Reading::Taken, "{path}");
            }
        }
    }
}

/// All values, but not the order in which the file has them.
fn debug(config: &Config) -> String {
    let text = format!("{config:?}");
    text.split(", settings: ").next().unwrap().to_owned()
}

#[test]
fn live_keys_of_a_file_are_taken_while_others_wait() {
    let mut case = case();
    assert_eq!(
        case.read("limits.sessions = 5\nhttp.listen = '127.0.0.1:1'\npublic = {}"),
        Reading::TakenInPart
    );
    let new = case.receiver.borrow().clone();
    assert_eq!((new.limits.sessions, new.http.listen.port()), (5, 8080));
    assert!(new.public.is_none());
    assert_eq!(case.read("limits.sessions = 5"), Reading::Taken);
}

#[test]
fn kept_values_go_together() {
    let mut case = starting_with("http.listen = '127.0.0.1:1'\nadmin.listen = '127.0.0.1:2'");
    // Good as it stands, but the listener stays where it is until the restart.
    assert_eq!(case.read("http.listen = '127.0.0.1:2'\nadmin.listen = '127.0.0.1:1'"), Reading::TakenInPart);
}

/// The listener stays past loopback until the restart, so it must not lose its tokens before.
#[test]
fn a_kept_value_that_contradicts_a_new_one_refuses_the_file() {
    let open = "admin = { listen = '192.0.2.1:1', token_file = '@tokens', certificate_file = '@chain.pem', \
                private_key_file = '@key.pem' }";
    let mut case = starting_with(open);
    assert_eq!(case.read("admin.listen = '127.0.0.1:1'"), Reading::Refused);
    assert!(case.receiver.borrow().admin.token_file.is_some());
}

#[test]
fn a_cluster_that_is_left_out_or_comes_in_waits_for_a_restart() {
    let mut case = starting_with(CLUSTER_OF_TWO);
    let before = case.receiver.borrow().cluster.clone();
    assert_eq!(case.read("limits.sessions = 5"), Reading::TakenInPart);
    let running = case.receiver.borrow().clone();
    assert_eq!((&running.cluster, running.limits.sessions), (&before, 5));
    assert_eq!(case.read(CLUSTER_OF_TWO), Reading::Taken);

    let mut alone = self::case();
    assert_eq!(alone.read(CLUSTER_OF_TWO), Reading::TakenInPart);
    assert!(alone.receiver.borrow().cluster.is_none());
    assert_eq!(alone.read(""), Reading::Taken);
}

/// Two names of one value are not two values: what the files hold counts, and is tried by `shared_tests.rs`.
#[test]
fn a_change_of_a_key_is_told_by_its_digest_where_it_is_the_services() {
    for (key, (path, before, after)) in KEYS.iter().filter(|key| key.kind != Kind::Tables).zip(CHANGES) {
        if key.kind == Kind::File {
            continue;
        }
        let files = Files::new();
        let digests = |lines: &str| Config::parse(&files.with(lines), &[]).unwrap().shared_digests().unwrap();
        let differences = digests(before).differences(&digests(after));
        let told: Vec<&str> = differences.iter().map(|difference| difference.key.as_str()).collect();
        match key.scope {
            Scope::Node => assert!(told.is_empty() || *path == "node.name", "{path}: {told:?}"),
            Scope::Cluster => {
                assert!(told.contains(&path.replace("dkim.key[]", "dkim").as_str()), "{path}: {told:?}")
            }
        }
    }
}

#[test]
fn a_default_that_is_written_out_is_no_change() {
    let mut case = case();
    assert_eq!(case.read("http.listen = '127.0.0.1:8080'\nlimits.sessions = 10000"), Reading::Taken);
    let running = case.receiver.borrow().clone();
    assert!(Config::parse(&case.files.minimal(), &[]).unwrap().changed(&running).is_empty());
}

/// A part that can work with nothing.
struct Unable;

impl Live for Unable {
    type Prepared = Infallible;
    type Error = std::fmt::Error;

    fn prepare(&self, _: &Arc<Config>) -> Result<Infallible, std::fmt::Error> {
        Err(std::fmt::Error)
    }

    fn swap(&self, prepared: Infallible) {
        match prepared {}
    }
}

/// A part that takes `delivery.on_tempfail`, and where it puts it.
fn on_tempfail(first: &Config) -> (impl Live + use<>, Arc<ArcSwap<OnTempfail>>) {
    let current = Arc::new(ArcSwap::from_pointee(first.delivery.on_tempfail));
    let kept = current.clone();
    (taking(|next| next.delivery.on_tempfail, move |next| kept.store(Arc::new(next))), current)
}

#[test]
fn all_parts_follow_or_none() {
    let mut able = case();
    let (part, reader) = on_tempfail(&able.receiver.borrow());
    able.reloader = able.reloader.leading(Parts::default().with(part));
    assert_eq!(able.read("delivery.on_tempfail = 'queue'"), Reading::Taken);
    assert_eq!(**reader.load(), OnTempfail::Queue);

    let mut unable = case();
    let (part, reader) = on_tempfail(&unable.receiver.borrow());
    unable.receiver.mark_unchanged();
    unable.reloader = unable.reloader.leading(Parts::default().with(part).with(Unable));
    assert_eq!(unable.read("delivery.on_tempfail = 'queue'"), Reading::Refused);
    assert_eq!(**reader.load(), OnTempfail::Relay);
    assert!(!unable.receiver.has_changed().unwrap());
}

#[test]
fn a_key_that_needs_a_restart_stands_in_no_array_of_tables() {
    for key in KEYS.iter().filter(|key| key.effect == Effect::Restart) {
        assert!(
            !key.section.contains("[]") && !key.section.is_empty() && key.kind != Kind::Tables,
            "{}",
            key.path()
        );
    }
}

const KEYS_HEAD: &str = "\
# Keys: when a change takes effect, and for whom it holds

`postroad config example` prints what each key is; this page is made from the same table, `src/config/schema.rs`.

On SIGHUP, and when the node file or a file that it names has changed and has come to rest, the node reads the file
again. All of it is taken, or nothing: where a key is wrong, or a certificate does not fit its key, the log says why,
`postroad_config_last_reload_successful` is 0, and the node works on with what it had. A change *at once* holds for the
sessions, transactions and attempts that begin from then on. A change *after a restart* is named in the log (WARN), and
`postroad_config_restart_required` is 1 until the node is started again or the file says the running value again; the
other keys of the file are taken meanwhile. What holds for the *service* must be the same on every node of it.

A test changes each key once and holds it to its row (`each_key_is_taken_or_waits_for_a_restart_as_the_schema_says` in
`src/config/reload_tests.rs`); `tests/it/reload.rs` does it to running nodes.

| key | taken | holds for |
|---|---|---|
";

fn keys() -> String {
    let row = |key: &Key| {
        let taken = match key.effect {
            Effect::Live => "at once",
            Effect::Restart => "after a restart",
        };
        let holds_for = match key.scope {
            Scope::Node => "the node",
            Scope::Cluster => "the service",
        };
        format!("| `{}` | {taken} | {holds_for} |\n", key.path())
    };
    KEYS_HEAD.to_owned() + &KEYS.iter().map(|key| row(key)).collect::<String>()
}

/// `docs/keys.md` is the schema's; `UPDATE_GOLDEN=1` rewrites it.
#[test]
fn the_documented_keys_are_the_schemas() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/keys.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, keys()).unwrap();
    }
    let documented = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(documented, keys(), "UPDATE_GOLDEN=1 cargo test rewrites it");
}
