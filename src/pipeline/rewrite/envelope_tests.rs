use std::time::Duration;

use super::*;
use crate::mail::RecipientRequest;
use crate::srs::Secret;

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn target(alias: &str, destination: &str, kind: TargetKind) -> Target {
    Target {
        alias: address(alias),
        destination: address(destination),
        kind,
        request: RecipientRequest::default(),
    }
}

async fn shipments(
    path: ReversePath,
    targets: Vec<Target>,
    kept: Result<(), AliasNotKept>,
) -> Result<Vec<Shipment>, Refusal> {
    let srs = Srs::new(vec![Secret::new(b"tops3cr3t-tops3cr3t")], 21);
    let keep_alias: KeepAlias = Arc::new(move |_, _| {
        let kept = kept.clone();
        Box::pin(async move { kept })
    });
    let metrics = Metrics::new().unwrap();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_456_800);
    let rewriter = Rewriter { srs: &srs, keep_alias: &keep_alias, metrics: &metrics, now };
    rewriter.shipments(&path, targets, &mut HashMap::new()).await
}

#[tokio::test]
async fn copies_are_grouped_by_reverse_path_and_destination_domain_in_their_order() {
    use TargetKind::{Forward, Return};
    let path = ReversePath::Mailbox(address("bob@sender.example"));
    let targets = vec![
        target("a@one.example", "x@gmail.example", Forward),
        target("b@two.example", "y@gmail.example", Forward),
        target("c@one.example", "z@gmail.example", Forward),
        target("SRS0=x=y=s.example=l@one.example", "l@gmail.example", Return),
        target("d@one.example", "w@other.example", Forward),
    ];
    let found = shipments(path, targets, Ok(())).await.unwrap();
    let seen: Vec<_> = found
        .iter()
        .map(|shipment| {
            let path = shipment.reverse_path.to_string();
            let forwarding = path.rsplit('@').next().unwrap_or_default().to_owned();
            let locals: Vec<_> = shipment.targets.iter().map(|t| t.destination.local().to_owned()).collect();
            (forwarding, shipment.domain.to_string(), locals.join(""))
        })
        .collect();
    let expected = [
        ("one.example", "gmail.example", "xz"),
        ("two.example", "gmail.example", "y"),
        ("", "gmail.example", "l"),
        ("one.example", "other.example", "w"),
    ];
    assert_eq!(
        seen,
        expected.map(|(path, domain, locals)| (path.to_owned(), domain.to_owned(), locals.to_owned()))
    );
}

#[tokio::test]
async fn a_null_reverse_path_stays_null() {
    let targets = vec![target("a@one.example", "x@gmail.example", TargetKind::Forward)];
    let found = shipments(ReversePath::Null, targets, Ok(())).await.unwrap();
    assert_eq!(found[0].reverse_path, ReversePath::Null);
}

#[tokio::test]
async fn an_original_too_long_for_srs_goes_under_an_alias_once_that_is_kept() {
    let path = ReversePath::Mailbox(address(&format!("{}@sender.example", "l".repeat(60))));
    let targets = || vec![target("a@one.example", "x@gmail.example", TargetKind::Forward)];
    let found = shipments(path.clone(), targets(), Ok(())).await.unwrap();
    assert!(found[0].reverse_path.to_string().starts_with("SRSA="));
    let full = Err(AliasNotKept("disk full".to_owned()));
    assert_eq!(shipments(path, targets(), full).await, Err(Refusal::NoStorage));
}
