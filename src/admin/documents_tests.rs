use super::*;
use crate::mail::{Address, Domain};
use crate::routing::test_table::in_memory;
use crate::routing::{NewDomain, RoutingOptions};

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

/// Makes two changes at a time.
fn documents() -> Documents {
    let options = RoutingOptions {
        service_domain: domain("email.relay.example"),
        mx_hosts: vec![],
        postmaster: Address::parse("ops@relay.example").unwrap(),
    };
    Documents { routing: in_memory(options), step: 2 }
}

fn yaml(names: &[&str]) -> String {
    names.iter().fold("domains:\n".to_owned(), |yaml, name| yaml + "  - name: " + name + "\n")
}

fn request(names: &[&str], id: &str) -> Request<ApplyRoutingDocumentRequest> {
    let (yaml, request_id) = (yaml(names), id.to_owned());
    Request::new(ApplyRoutingDocumentRequest { yaml, request_id, ..Default::default() })
}

async fn apply(documents: &Documents, names: &[&str], id: &str) -> Result<(Vec<String>, bool), Status> {
    let response = documents.apply_routing_document(request(names, id)).await?.into_inner();
    Ok((response.changes.into_iter().map(|change| change.name).collect(), response.repeated))
}

fn reason(status: &Status) -> String {
    use tonic_types::StatusExt;
    status.get_details_error_info().unwrap().reason
}

const NAMES: [&str; 5] = ["a.example", "b.example", "c.example", "d.example", "e.example"];

fn creations(names: &[&str]) -> Change {
    let create = |name: &&str| Change::CreateDomain(NewDomain::new(domain(name)));
    Change::Batch(names.iter().map(create).collect())
}

#[tokio::test]
async fn a_repeat_of_a_document_in_steps_goes_on_with_those_that_were_not_made() {
    let documents = documents();
    // The call before came so far.
    let step = Write::of(&request(&NAMES, "id")).unwrap().step(1);
    step.change(&documents.routing, creations(&NAMES[..2]), RESOURCE).await.unwrap();
    assert_eq!(reason(&apply(&documents, &NAMES[..1], "id").await.unwrap_err()), "REQUEST_ID_REUSED");

    let (made, repeated) = apply(&documents, &NAMES, "id").await.unwrap();
    assert_eq!((made, repeated), (NAMES[2..].iter().map(|name| format!("domains/{name}")).collect(), false));
    let table = documents.routing.snapshot();
    assert_eq!((table.revision(), table.domain_count()), (3, 5));
}

#[tokio::test]
async fn a_repeat_of_a_document_does_not_undo_what_others_did_since() {
    let documents = documents();
    let (made, repeated) = apply(&documents, &NAMES, "id").await.unwrap();
    assert_eq!((made.len(), repeated), (5, false));
    let removed = Change::DeleteDomain {
        name: domain("a.example"),
        rules: crate::routing::RulesOfDeleted::Keep,
        etag: None,
    };
    documents.routing.change(removed).await.unwrap();
    assert_eq!(apply(&documents, &NAMES, "id").await.unwrap(), (Vec::new(), true));
    assert!(!documents.routing.snapshot().hosts(&domain("a.example")));
    assert_eq!(apply(&documents, &NAMES, "another").await.unwrap().0, ["domains/a.example"]);
}

/// The call that is repeated may still be carried out: what it planned need not be what its repeat plans.
#[tokio::test]
async fn a_step_that_the_first_call_makes_meanwhile_is_planned_around() {
    let documents = documents();
    let write = Write::of(&request(&NAMES[..3], "id")).unwrap();
    let wanted = Arc::new(Wanted { yaml: yaml(&NAMES[..3]), prune: Prune::No });
    let step = write.step(1);
    let (made, other) = tokio::join!(
        documents.carry_out(wanted, &write),
        step.change(&documents.routing, creations(&NAMES[1..2]), RESOURCE)
    );
    other.unwrap();
    let made: Vec<String> = made.unwrap().into_iter().map(|change| change.name).collect();
    assert_eq!(made, ["domains/a.example", "domains/c.example"]);
    assert_eq!(documents.routing.snapshot().domain_count(), 3);
}
