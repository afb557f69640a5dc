use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::tls::test_authority::{Authority, Identity};
use crate::tls::{ClientTls, Demand, TlsFailure};

const HOST: &str = "mx.dest.example";

fn domain() -> Domain {
    Domain::parse("dest.example").unwrap()
}

fn record(identity: &Identity, usage: u8, selector: u8, matching: u8) -> Tlsa {
    let data = identity.association(usize::from(usage == 2), selector, matching);
    Tlsa { usage, selector, matching, data }
}

/// Shakes hands with a host of this identity, held to these records.
async fn shake(identity: &Identity, records: Vec<Tlsa>) -> Result<(), TlsFailure> {
    let dane = Dane::of(records, HOST, &domain()).expect("usable");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = identity.acceptor();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        if let Ok(mut stream) = acceptor.accept(stream).await {
            let _ = stream.shutdown().await;
        }
    });
    let client = ClientTls::new(Authority::new().roots()).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let shaken = client.connect(HOST, &Demand::Dane(Arc::new(dane)), stream).await;
    server.await.unwrap();
    shaken.map(drop).map_err(|error| TlsFailure::of_handshake(&error))
}

#[tokio::test]
async fn rfc7672_3_1_1_dane_ee_ignores_name_and_dates() {
    let identity = Authority::new().issue_until(&["elsewhere.example"], 2001);
    for selector in [0, 1] {
        for matching in [0, 1, 2] {
            let shaken = shake(&identity, vec![record(&identity, 3, selector, matching)]).await;
            assert_eq!(shaken, Ok(()), "3 {selector} {matching}");
        }
    }
}

#[tokio::test]
async fn rfc7672_3_1_2_dane_ta_verifies_the_path_the_name_and_the_dates() {
    let authority = Authority::new();
    let identity = authority.issue(&[HOST]);
    for selector in [0, 1] {
        for matching in [0, 1, 2] {
            let shaken = shake(&identity, vec![record(&identity, 2, selector, matching)]).await;
            assert_eq!(shaken, Ok(()), "2 {selector} {matching}");
        }
    }
    let of_domain = authority.issue(&["dest.example"]);
    assert_eq!(shake(&of_domain, vec![record(&identity, 2, 0, 1)]).await, Ok(()), "RFC 7672 §3.2.2");
    let elsewhere = authority.issue(&["elsewhere.example"]);
    let mismatch = shake(&elsewhere, vec![record(&identity, 2, 0, 1)]).await;
    assert_eq!(mismatch, Err(TlsFailure::CertificateHostMismatch));
    let expired = authority.issue_until(&[HOST], 2001);
    let expired = shake(&expired, vec![record(&identity, 2, 0, 1)]).await;
    assert_eq!(expired, Err(TlsFailure::CertificateExpired));
}

#[tokio::test]
async fn a_certificate_that_no_record_names_is_not_trusted() {
    let (named, shown) = (Authority::new().issue(&[HOST]), Authority::new().issue(&[HOST]));
    for usage in [2, 3] {
        let shaken = shake(&shown, vec![record(&named, usage, 1, 1)]).await;
        assert_eq!(shaken, Err(TlsFailure::CertificateNotTrusted), "usage {usage}");
    }
}

#[tokio::test]
async fn one_record_that_matches_is_enough() {
    let (old, new) = (Authority::new().issue(&[HOST]), Authority::new().issue(&[HOST]));
    let records = vec![record(&old, 3, 1, 1), record(&old, 2, 0, 1), record(&new, 3, 1, 2)];
    assert_eq!(shake(&new, records).await, Ok(()));
}

#[tokio::test]
async fn rfc7672_3_1_2_an_issuer_that_stands_in_the_record_need_not_be_sent() {
    let mut identity = Authority::new().issue(&[HOST]);
    let whole = record(&identity, 2, 0, 0);
    identity.chain.truncate(1);
    assert_eq!(shake(&identity, vec![whole]).await, Ok(()));
}

#[test]
fn rfc7672_3_1_3_records_that_smtp_cannot_use_are_none() {
    let usable = |usage, selector, matching, octets| {
        let record = Tlsa { usage, selector, matching, data: vec![0; octets] };
        Dane::of(vec![record], HOST, &domain()).is_some()
    };
    assert!(usable(3, 1, 1, 32) && usable(2, 0, 2, 64) && usable(3, 0, 0, 1));
    for (usage, selector, matching, octets) in [
        (0, 1, 1, 32),
        (1, 1, 1, 32),
        (255, 1, 1, 32),
        (3, 2, 1, 32),
        (3, 1, 3, 32),
        (3, 1, 1, 31),
        (3, 1, 2, 32),
        (3, 1, 0, 0),
    ] {
        assert!(!usable(usage, selector, matching, octets), "{usage} {selector} {matching} {octets}");
    }
}

#[test]
fn demands_of_one_host_are_alike_where_names_do_not_matter() {
    let of = |usage, domain: &str| {
        let record = Tlsa { usage, selector: 1, matching: 1, data: vec![7; 32] };
        Dane::of(vec![record], HOST, &Domain::parse(domain).unwrap())
    };
    assert_eq!(of(3, "one.example"), of(3, "two.example"));
    assert_ne!(of(2, "one.example"), of(2, "two.example"));
}
