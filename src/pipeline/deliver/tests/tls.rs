//! The policies of destinations: DANE, MTA-STS, and the wishes of senders beside them.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::mail::RequireTls;
use crate::telemetry::labels::{Handshake, TlsDemand, TlsFallback, TlsVersion};
use crate::tls::test_authority::{Authority, Identity};

const HOST: &str = "mx1.dest.example";
/// A host that shakes hands and takes a message.
const WILLING: &str =
    "hello STARTTLS\n < STARTTLS\n > 220 go\n tls\n < EHLO\n > 250-mx\n > 250 REQUIRETLS\n mail";
/// A host that shakes hands, if the client likes what it sees.
const DISLIKED: &str = "hello STARTTLS\n < STARTTLS\n > 220 go\n tls";
/// A host that would take a message in the clear.
const PLAIN: &str = "hello \n mail";
const ENFORCE: &str = "version: STSv1\nmode: enforce\nmx: mx1.dest.example\nmax_age: 86400\n";

/// A destination with one host of this identity.
struct Scene {
    world: World,
    upstream: Upstream,
}

impl Scene {
    /// In a zone that the resolver vouches for, with these TLSA records.
    async fn signed(identity: &Identity, scripts: &[&str], tlsa: &[String]) -> Self {
        let scene = Self::start(&Authority::new(), identity, scripts, None).await;
        scene.world.dns.vouch("dest.example").unwrap();
        let records: String = tlsa.iter().map(|data| format!("_25._tcp.{HOST} TLSA {data}\n")).collect();
        scene.world.dns.replace(&records).unwrap();
        scene
    }

    /// With this MTA-STS policy, whose host and the mail's host the authority vouches for.
    async fn governed(authority: &Authority, identity: &Identity, scripts: &[&str], policy: &str) -> Self {
        Self::start(authority, identity, scripts, Some(policy)).await
    }

    async fn start(
        authority: &Authority,
        identity: &Identity,
        scripts: &[&str],
        policy: Option<&str>,
    ) -> Self {
        let upstream = Upstream::showing("127.0.0.1", 0, scripts, identity.acceptor()).await;
        let options = Options { port: upstream.address.port(), ..options() };
        let mut records = "@ MX 10 mx1\nmx1 A 127.0.0.1\n".to_owned();
        let mut https = HTTPS_PORT;
        if let Some(policy) = policy {
            https = site(&authority.issue(&["mta-sts.dest.example"]), policy).await;
            records.push_str("mta-sts A 127.0.0.1\n_mta-sts TXT \"v=STSv1; id=1\"\n");
        }
        Self { world: World::trusting(options, &records, authority.roots(), https).await, upstream }
    }

    async fn deliver(&self) -> String {
        said(&self.world.deliver_one(Mail::to(&[ANA])).await)
    }

    fn handshakes(&self, met: TlsDemand) -> u64 {
        let handshakes = &self.world.upstreams.metrics.smtp_tls_connections_total;
        handshakes.of(Handshake::Outbound(TlsVersion::V1_3, met)).get()
    }
}

/// A policy's host.
async fn site(identity: &Identity, policy: &str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = identity.acceptor();
    let response = format!("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n{policy}");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(response.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    port
}

fn requiring() -> Mail {
    let mut mail = Mail::to(&[ANA]);
    mail.message_request.require_tls = RequireTls::Yes;
    mail
}

const DELIVERED: &str = "delivered by mx1.dest.example: 250 2.0.0 queued";

#[tokio::test]
async fn rfc7672_2_2_a_host_that_its_tlsa_record_names_gets_the_mail() {
    let identity = Authority::new().issue_until(&["elsewhere.example"], 2001);
    let scene = Scene::signed(&identity, &[WILLING], &[identity.tlsa(3, 1, 1)]).await;
    assert_eq!(scene.deliver().await, DELIVERED);
    assert_eq!(scene.handshakes(TlsDemand::Dane), 1);
}

#[tokio::test]
async fn rfc7672_2_2_a_host_that_no_tlsa_record_names_gets_nothing() {
    let identity = Authority::new().issue(&[HOST]);
    let other = Authority::new().issue(&[HOST]);
    let scene = Scene::signed(&identity, &[DISLIKED, PLAIN], &[other.tlsa(3, 1, 1)]).await;
    let said = scene.deliver().await;
    assert!(said.starts_with("no answer: mx1.dest.example [127.0.0.1]: TLS handshake failed"), "{said}");
    assert_eq!(scene.upstream.heard().clients.len(), 1, "nothing in the clear");
}

#[tokio::test]
async fn rfc7672_2_2_a_host_with_tlsa_records_and_without_starttls_gets_nothing() {
    let identity = Authority::new().issue(&[HOST]);
    for tlsa in [identity.tlsa(3, 1, 1), identity.tlsa(0, 1, 1)] {
        let scene = Scene::signed(&identity, &[PLAIN], &[tlsa]).await;
        let said = scene.deliver().await;
        assert!(said.contains("STARTTLS is not offered"), "{said}");
        assert!(!scene.upstream.heard().lines.iter().any(|line| line.starts_with("MAIL")));
    }
}

#[tokio::test]
async fn rfc7672_2_2_unusable_tlsa_records_make_tls_mandatory_and_no_more() {
    let identity = Authority::new().issue(&["elsewhere.example"]);
    let scene = Scene::signed(&identity, &[WILLING], &[identity.tlsa(1, 1, 1)]).await;
    assert_eq!(scene.deliver().await, DELIVERED);
    assert_eq!(scene.handshakes(TlsDemand::Dane), 0);
}

#[tokio::test]
async fn rfc7672_2_1_2_a_host_whose_tlsa_records_nobody_knows_is_not_tried() {
    let identity = Authority::new().issue(&[HOST]);
    let scene = Scene::signed(&identity, &[WILLING], &[identity.tlsa(3, 1, 1)]).await;
    scene.world.dns.behave(&format!("_25._tcp.{HOST}"), crate::dev::dns::Behaviour::ServFail).unwrap();
    assert_eq!(scene.deliver().await, "no answer: mx1.dest.example: nobody knows its TLSA records");
    assert_eq!(scene.upstream.heard().clients, []);
}

#[tokio::test]
async fn rfc7672_2_2_tlsa_records_that_dnssec_does_not_vouch_for_are_not_asked_for() {
    let identity = Authority::new().issue(&[HOST]);
    let scene = Scene::start(&Authority::new(), &identity, &[WILLING], None).await;
    let other = Authority::new().issue(&[HOST]).tlsa(3, 1, 1);
    scene.world.dns.replace(&format!("_25._tcp.{HOST} TLSA {other}")).unwrap();
    assert_eq!(scene.deliver().await, DELIVERED);
    assert_eq!(scene.world.dns.queries(&format!("_25._tcp.{HOST}"), "TLSA"), 0);
    assert_eq!(scene.handshakes(TlsDemand::Opportunistic), 1);
}

#[tokio::test]
async fn rfc8461_4_2_a_host_that_the_policy_names_must_authenticate_itself() {
    let authority = Authority::new();
    let fine = authority.issue(&[HOST]);
    let scene = Scene::governed(&authority, &fine, &[WILLING], ENFORCE).await;
    assert_eq!(scene.deliver().await, DELIVERED);
    assert_eq!(scene.handshakes(TlsDemand::MtaSts), 1);

    let mismatch = authority.issue(&["elsewhere.example"]);
    let expired = authority.issue_until(&[HOST], 2001);
    let stranger = Authority::new().issue(&[HOST]);
    for identity in [mismatch, expired, stranger] {
        let scene = Scene::governed(&authority, &identity, &[DISLIKED, PLAIN], ENFORCE).await;
        let said = scene.deliver().await;
        assert!(said.contains("TLS handshake failed: invalid peer certificate"), "{said}");
        assert_eq!(scene.upstream.heard().clients.len(), 1, "nothing in the clear");
    }
}

#[tokio::test]
async fn rfc8461_5_a_host_that_the_policy_does_not_name_and_one_without_starttls_get_nothing() {
    let authority = Authority::new();
    let identity = authority.issue(&[HOST]);
    let other = ENFORCE.replace("mx1.", "mx2.");
    let scene = Scene::governed(&authority, &identity, &[WILLING], &other).await;
    let said = scene.deliver().await;
    assert_eq!(said, "no answer: mx1.dest.example: the destination's MTA-STS policy does not name it");
    assert_eq!(scene.upstream.heard().clients, []);

    let scene = Scene::governed(&authority, &identity, &[PLAIN], ENFORCE).await;
    let said = scene.deliver().await;
    assert!(said.contains("STARTTLS is not offered"), "{said}");
}

#[tokio::test]
async fn rfc8461_5_a_policy_in_testing_delivers_all_the_same() {
    let testing = ENFORCE.replace("enforce", "testing");
    let authority = Authority::new();
    let stranger = Authority::new().issue(&[HOST]);
    for (script, policy) in
        [(WILLING, &testing), (PLAIN, &testing), (WILLING, &testing.replace("mx1", "mx2"))]
    {
        let scene = Scene::governed(&authority, &stranger, &[script], policy).await;
        assert_eq!(scene.deliver().await, DELIVERED);
    }
}

#[tokio::test]
async fn rfc8461_2_dane_counts_before_mta_sts() {
    let authority = Authority::new();
    let stranger = Authority::new().issue(&["elsewhere.example"]);
    let scene = Scene::governed(&authority, &stranger, &[WILLING], &ENFORCE.replace("mx1.", "mx2.")).await;
    scene.world.dns.vouch("dest.example").unwrap();
    let tlsa = stranger.tlsa(3, 0, 2);
    scene.world.dns.replace(&format!("_25._tcp.{HOST} TLSA {tlsa}")).unwrap();
    assert_eq!(scene.deliver().await, DELIVERED);
    assert_eq!(scene.handshakes(TlsDemand::Dane), 1);
}

#[tokio::test]
async fn a_connection_that_was_not_verified_serves_no_message_that_needs_it() {
    let authority = Authority::new();
    let identity = authority.issue(&[HOST]);
    let scene = Scene::start(&authority, &identity, &[WILLING, WILLING], None).await;
    assert_eq!(scene.deliver().await, DELIVERED);
    scene.world.dns.vouch("dest.example").unwrap();
    scene.world.upstreams.dns.forget_secured();
    let tlsa = identity.tlsa(3, 1, 1);
    scene.world.dns.replace(&format!("_25._tcp.{HOST} TLSA {tlsa}")).unwrap();
    assert_eq!(scene.deliver().await, DELIVERED);
    assert_eq!(scene.upstream.heard().clients.len(), 2);
}

#[tokio::test]
async fn rfc8689_4_2_1_requiretls_goes_on_to_an_authenticated_host_that_offers_it() {
    let identity = Authority::new().issue(&[HOST]);
    let scene = Scene::signed(&identity, &[WILLING], &[identity.tlsa(3, 1, 1)]).await;
    assert_eq!(said(&scene.world.deliver_one(requiring()).await), DELIVERED);
    let lines = scene.upstream.heard().lines;
    assert!(lines.iter().any(|line| line.starts_with("MAIL") && line.ends_with(" REQUIRETLS")), "{lines:?}");

    let authority = Authority::new();
    let testing = ENFORCE.replace("enforce", "testing");
    let identity = authority.issue(&[HOST]);
    let scene = Scene::governed(&authority, &identity, &[WILLING], &testing).await;
    assert_eq!(said(&scene.world.deliver_one(requiring()).await), DELIVERED);
    assert_eq!(scene.handshakes(TlsDemand::MtaSts), 1);
}

#[tokio::test]
async fn rfc8689_4_2_1_requiretls_goes_to_no_other_host() {
    let unable = "undeliverable: UpstreamWithoutRequireTls";
    let identity = Authority::new().issue(&[HOST]);
    let silent = WILLING.replace(" REQUIRETLS", " SIZE").replace("mail", "< QUIT");
    for script in [silent.as_str(), PLAIN] {
        let scene = Scene::signed(&identity, &[script], &[identity.tlsa(3, 1, 1)]).await;
        assert_eq!(said(&scene.world.deliver_one(requiring()).await), unable);
    }
    let scene = Scene::start(&Authority::new(), &identity, &[WILLING], None).await;
    assert_eq!(said(&scene.world.deliver_one(requiring()).await), unable, "nobody vouches for its name");
    assert_eq!(scene.upstream.heard().clients, []);
}

#[tokio::test]
async fn rfc5321_4_2_1_requiretls_is_not_refused_for_good_while_nobody_knows_the_policy() {
    let identity = Authority::new().issue(&[HOST]);
    let open = "no answer: mx1.dest.example: whether an MTA-STS policy names it is not known yet";
    let scene = Scene::start(&Authority::new(), &identity, &[WILLING], None).await;
    scene.world.dns.behave("_mta-sts.dest.example", crate::dev::dns::Behaviour::ServFail).unwrap();
    assert_eq!(said(&scene.world.deliver_one(requiring()).await), open, "the record");

    // Nothing listens where the policy should be.
    let scene = Scene::start(&Authority::new(), &identity, &[WILLING], None).await;
    scene.world.dns.replace("_mta-sts.dest.example TXT \"v=STSv1; id=1\"").unwrap();
    assert_eq!(said(&scene.world.deliver_one(requiring()).await), open, "the policy");
    assert_eq!(scene.upstream.heard().clients, []);
}

#[tokio::test]
async fn rfc3207_4_a_host_that_offers_starttls_and_refuses_it_gets_the_mail_in_the_clear_if_it_may() {
    let identity = Authority::new().issue(&[HOST]);
    for refusal in ["454 4.7.0 not now", "502 5.5.1 what?"] {
        let refusing = format!("hello STARTTLS\n < STARTTLS\n > {refusal}\n < QUIT\n > 221 bye");
        let scene = Scene::start(&Authority::new(), &identity, &[&refusing, PLAIN], None).await;
        assert_eq!(scene.deliver().await, DELIVERED);

        let scene = Scene::signed(&identity, &[&refusing, PLAIN], &[identity.tlsa(3, 1, 1)]).await;
        let said = scene.deliver().await;
        assert!(said.starts_with("no answer"), "{said}");
        assert_eq!(scene.upstream.heard().clients.len(), 1, "nothing in the clear");
    }
}

#[tokio::test]
async fn rfc8689_3_a_message_may_waive_the_policy() {
    let identity = Authority::new().issue(&[HOST]);
    let other = Authority::new().issue(&[HOST]);
    let waiving = || {
        let octets = Bytes::from_static(b"Subject: hi\r\ntls-required:\r\n No\r\n\r\nhello\r\n");
        Mail { octets, ..Mail::to(&[ANA]) }
    };
    for script in [WILLING, PLAIN] {
        let scene = Scene::signed(&identity, &[script], &[other.tlsa(3, 1, 1)]).await;
        assert_eq!(said(&scene.world.deliver_one(waiving()).await), DELIVERED);
    }
    let scene = Scene::signed(&identity, &[DISLIKED], &[other.tlsa(3, 1, 1)]).await;
    let mut both = waiving();
    both.message_request.require_tls = RequireTls::Yes;
    let said = said(&scene.world.deliver_one(both).await);
    assert!(said.starts_with("no answer"), "REQUIRETLS counts: {said}");
}

#[tokio::test]
async fn rfc8460_4_3_sessions_are_counted_with_what_went_wrong() {
    let identity = Authority::new().issue(&[HOST]);
    let other = Authority::new().issue(&[HOST]);
    let refusing = "hello STARTTLS\n < STARTTLS\n > 454 4.7.0 not now\n < QUIT\n > 221 bye";
    for script in [DISLIKED, refusing] {
        let scene = Scene::signed(&identity, &[script], &[other.tlsa(3, 1, 1)]).await;
        scene.deliver().await;
        let announced = "_smtp._tls.dest.example TXT \"v=TLSRPTv1; rua=mailto:a@dest.example\"";
        scene.world.dns.replace(announced).unwrap();
        let reporter = crate::tls::Reporter { organization: Domain::parse("relay.example").unwrap() };
        let tomorrow = crate::clock::now() + Duration::from_secs(86_400);
        let reports = scene.world.upstreams.policies.due_reports(tomorrow, &reporter).await;
        assert_eq!(reports.len(), 1, "{script}");
        assert_eq!(reports[0].to.to_string(), "a@dest.example");
    }
}

/// A host whose TLS is too old for us: the alert that says so (RFC 8446 §6.2).
const TOO_OLD: &str =
    "hello STARTTLS\n < STARTTLS\n > 220 go\n wait 50\n >> \u{15}\u{3}\u{1}\0\u{2}\u{2}\u{46}\n close";

#[tokio::test]
async fn rfc7435_3_what_goes_in_the_clear_since_tls_failed_is_counted_and_told() {
    for (script, cause) in [
        (TOO_OLD, TlsFallback::NothingInCommon),
        ("hello STARTTLS\n < STARTTLS\n > 220 go\n > no handshake\n close", TlsFallback::Handshake),
        ("hello STARTTLS\n < STARTTLS\n > 454 4.7.0 not now\n < QUIT\n close", TlsFallback::StartTls),
    ] {
        let (world, _upstream) = one_host(&[script, PLAIN]).await;
        let attempted = deliver(world.upstreams.clone(), Mail::to(&[ANA]).rewritten()).await;
        assert_eq!(said(&attempted.deliveries[0].outcome), DELIVERED, "{script}");
        let remark = attempted.remarks.concat();
        assert!(remark.starts_with("mx1.dest.example [127.0.0.1]: in the clear, since"), "{remark}");
        assert_eq!(world.upstreams.metrics.delivery_tls_fallbacks_total.of(cause).get(), 1, "{script}");
    }
}

#[tokio::test]
async fn a_handshake_that_fails_is_logged_though_the_plain_try_fails_too() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let writer = Arc::new(log.reopen().unwrap());
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    let broken = "hello STARTTLS\n < STARTTLS\n > 220 go\n close";
    let (world, _upstream) = one_host(&[broken, "> 554 5.7.1 go away"]).await;
    assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::NoAnswer(_)));
    let log = std::fs::read_to_string(log.path()).unwrap();
    assert!(log.contains("the TLS handshake failed"), "{log}");
}
