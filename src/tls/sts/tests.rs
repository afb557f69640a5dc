use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config;
use crate::dev::dns::DnsServer;
use crate::telemetry::Metrics;
use crate::tls::test_authority::{Authority, Identity};

const POLICY: &str = "version: STSv1\nmode: enforce\nmx: mx.dest.example\nmax_age: 86400\n";
const ZONE: &str = "_mta-sts TXT \"v=STSv1; id=1;\"\nmta-sts A 127.0.0.1\n";

/// A policy's host over a real socket: it answers every request alike, and counts them.
struct Site {
    port: u16,
    response: Arc<Mutex<String>>,
    requests: Arc<AtomicUsize>,
}

impl Site {
    async fn start(identity: &Identity) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let response = Arc::new(Mutex::new(ok(POLICY)));
        let requests = Arc::new(AtomicUsize::new(0));
        let (acceptor, said, counted) = (identity.acceptor(), response.clone(), requests.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = vec![0; 4096];
                let read = stream.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..read]).to_lowercase();
                assert!(request.starts_with("get /.well-known/mta-sts.txt http/1.1\r\n"), "{request}");
                assert!(request.contains("\r\nhost: mta-sts.dest.example\r\n"), "{request}");
                counted.fetch_add(1, Ordering::Relaxed);
                let response = said.lock().clone();
                let _ = stream.write_all(response.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { port, response, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

struct World {
    dns: DnsServer,
    resolver: Dns,
    site: Site,
    store: Store,
    authority: Authority,
    _data: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let authority = Authority::new();
        let identity = authority.issue(&["mta-sts.dest.example"]);
        Self::showing(authority, &identity).await
    }

    async fn showing(authority: Authority, identity: &Identity) -> Self {
        let dns =
            DnsServer::start(&[("dest.example", ZONE), ("plain.example", "@ A 127.0.0.1\n")]).await.unwrap();
        let config = config::Dns { servers: vec![dns.addr()], ..Default::default() };
        let resolver = Dns::new(&config, Arc::new(Metrics::new().unwrap())).unwrap();
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).unwrap();
        Self { dns, resolver, site: Site::start(identity).await, store, authority, _data: data }
    }

    /// The policies as a start of the node opens them.
    fn open(&self) -> StsPolicies {
        let roots = self.authority.roots();
        StsPolicies::open(&self.store, self.resolver.clone(), roots, self.site.port).unwrap()
    }
}

fn domain() -> Domain {
    Domain::parse("dest.example").unwrap()
}

/// Looks again as if the TXT record's time were over, and waits for what comes of it.
async fn look_again(policies: &StsPolicies) -> Sts {
    let mut over = policies.look(&domain()).unwrap();
    let _ = over.changed().await;
    policies.of(&domain()).await
}

#[tokio::test]
async fn rfc8461_3_3_a_policy_is_fetched_once_and_cached() {
    let world = World::new().await;
    let policies = world.open();
    for _ in 0..3 {
        let sts = policies.of(&domain()).await;
        assert!(sts.policy.unwrap().names("mx.dest.example"));
        assert_eq!(sts.trouble, None);
    }
    assert_eq!(world.site.requests(), 1);
    assert_eq!(world.dns.queries("_mta-sts.dest.example", "TXT"), 1);
}

#[tokio::test]
async fn concurrent_messages_share_one_fetch() {
    let world = World::new().await;
    let policies = world.open();
    let domain = domain();
    let asked = (0..20).map(|_| policies.of(&domain));
    let told = futures_util::future::join_all(asked).await;
    assert!(told.iter().all(|sts| sts.policy.is_some()));
    assert_eq!(world.site.requests(), 1);
}

#[tokio::test]
async fn a_domain_without_a_record_has_no_policy_and_is_not_asked_for_one() {
    let world = World::new().await;
    let policies = world.open();
    for _ in 0..2 {
        let sts = policies.of(&Domain::parse("plain.example").unwrap()).await;
        assert!(sts.policy.is_none() && sts.trouble.is_none());
    }
    assert_eq!(world.dns.queries("_mta-sts.plain.example", "TXT"), 1);
}

#[test]
fn what_was_final_is_open_once_it_is_to_be_looked_at_again() {
    let now = Instant::now();
    let known = |look_at| Known::new(None, Certainty::Final, look_at);
    assert_eq!(known(now + Duration::from_secs(60)).told().certainty, Certainty::Final);
    assert_eq!(known(now).told().certainty, Certainty::Open);
}

#[tokio::test]
async fn rfc8461_3_3_a_policy_is_fetched_again_when_its_id_changes() {
    let world = World::new().await;
    let policies = world.open();
    policies.of(&domain()).await;
    *world.site.response.lock() = ok(&POLICY.replace("mx.dest", "*.dest"));
    look_again(&policies).await;
    assert_eq!(world.site.requests(), 1, "the id is the same");
    world.resolver.resolver().clear_cache();
    world.dns.replace("_mta-sts.dest.example TXT \"v=STSv1; id=2;\"").unwrap();
    let sts = look_again(&policies).await;
    assert!(sts.policy.unwrap().names("other.dest.example"));
}

#[tokio::test]
async fn a_restart_is_no_downgrade() {
    let world = World::new().await;
    world.open().of(&domain()).await;
    *world.site.response.lock() = "HTTP/1.1 500 no\r\n\r\n".into();
    world.resolver.resolver().clear_cache();
    world.dns.remove("_mta-sts.dest.example").unwrap();
    let sts = world.open().of(&domain()).await;
    assert_eq!(sts.policy.unwrap().mode, StsMode::Enforce);
}

#[tokio::test]
async fn rfc8461_5_1_a_fetch_that_fails_leaves_the_policy_that_holds() {
    let world = World::new().await;
    let policies = world.open();
    policies.of(&domain()).await;
    *world.site.response.lock() = "HTTP/1.1 404 gone\r\n\r\n".into();
    world.resolver.resolver().clear_cache();
    world.dns.replace("_mta-sts.dest.example TXT \"v=STSv1; id=2;\"").unwrap();
    let sts = look_again(&policies).await;
    assert!(sts.policy.is_some());
    assert_eq!(sts.trouble, Some(TlsFailure::StsPolicyFetchError));
}

#[tokio::test]
async fn a_policy_ends_with_its_max_age() {
    let world = World::new().await;
    *world.site.response.lock() = ok(&POLICY.replace("86400", "0"));
    let policies = world.open();
    assert!(policies.of(&domain()).await.policy.is_none());
    drop(policies);
    assert_eq!(world.open().shared.known.lock().len(), 0, "and is not read back");
}

#[tokio::test]
async fn rfc8461_3_3_what_is_no_policy_says_why() {
    let html = ok(POLICY).replace("text/plain", "text/html");
    let large = ok(&format!("{POLICY}{}", "x: y\n".repeat(20_000)));
    for (response, trouble) in [
        (
            "HTTP/1.1 301 moved\r\nLocation: https://mta-sts.dest.example/\r\n\r\n".into(),
            TlsFailure::StsPolicyFetchError,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 500\r\n\r\nversion".into(),
            TlsFailure::StsPolicyFetchError,
        ),
        ("220 mx ESMTP\r\n".into(), TlsFailure::StsPolicyFetchError),
        (html, TlsFailure::StsPolicyInvalid),
        (large, TlsFailure::StsPolicyInvalid),
        (ok("mode: enforce\n"), TlsFailure::StsPolicyInvalid),
    ] {
        let world = World::new().await;
        *world.site.response.lock() = response.clone();
        let sts = world.open().of(&domain()).await;
        assert!(sts.policy.is_none());
        assert_eq!(sts.trouble, Some(trouble), "{response:.80}");
    }
}

#[tokio::test]
async fn rfc8461_3_3_the_host_of_a_policy_must_authenticate_itself() {
    let authority = Authority::new();
    let elsewhere = authority.issue(&["elsewhere.example"]);
    let expired = authority.issue_until(&["mta-sts.dest.example"], 2001);
    let stranger = Authority::new().issue(&["mta-sts.dest.example"]);
    let mut authority = Some(authority);
    for identity in [elsewhere, expired, stranger] {
        let authority = authority.take().unwrap_or_else(Authority::new);
        let world = World::showing(authority, &identity).await;
        let sts = world.open().of(&domain()).await;
        assert_eq!(sts.trouble, Some(TlsFailure::StsWebpkiInvalid));
        assert!(sts.policy.is_none());
        assert_eq!(world.site.requests(), 0);
    }
}

#[tokio::test]
async fn rfc8461_5_the_mode_none_is_no_policy() {
    let world = World::new().await;
    *world.site.response.lock() = ok("version: STSv1\nmode: none\nmax_age: 86400\n");
    assert!(world.open().of(&domain()).await.policy.is_none());
}

#[tokio::test]
async fn a_full_memory_forgets_those_without_a_policy_and_those_not_asked_for_longest() {
    let world = World::new().await;
    let policies = world.open();
    policies.of(&domain()).await;
    let (now, held) = (Instant::now(), policies.shared.recall(&domain()).unwrap().held);
    let name = |number: usize| Domain::parse(&format!("d{number}.example")).unwrap();
    let aged = |held: Option<Held>, seconds: usize| Known {
        used_at: now + Duration::from_secs(seconds as u64),
        ..Known::new(held, Certainty::Final, now + LOOK_AGAIN.1)
    };
    {
        let mut known = policies.shared.known.lock();
        for number in 1..MAX_DOMAINS {
            // The first 100 have no policy and are asked for all the time.
            let known_of_it =
                if number <= 100 { aged(None, MAX_DOMAINS) } else { aged(held.clone(), number) };
            known.insert(name(number), known_of_it);
        }
    }
    keep(&policies.shared.tree, &name(101), held.as_ref().unwrap()).unwrap();
    policies.shared.remember(&Domain::parse("new.example").unwrap(), aged(None, 0)).await;
    let known = policies.shared.known.lock();
    assert_eq!(known.len(), MAX_DOMAINS - FORGOTTEN_AT_ONCE + 1);
    assert!(known.contains_key(&Domain::parse("new.example").unwrap()));
    let kept = [1, 100, 101, 102, MAX_DOMAINS - 1].map(|number| known.contains_key(&name(number)));
    assert_eq!(kept, [false, false, false, false, true]);
    assert!(
        policies.shared.tree.get(name(101).as_str().as_bytes()).unwrap().is_none(),
        "nor after a restart"
    );
}
