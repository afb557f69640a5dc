use super::*;
use crate::mail::{Address, RecipientRequest};
use crate::pipeline::parcel::Standing;

fn recipient(alias: &str, action: Action) -> Recipient {
    Recipient {
        alias: Address::parse(alias).unwrap(),
        action,
        standing: Standing::Ordinary,
        on_tempfail: None,
        request: RecipientRequest::default(),
    }
}

fn forward(alias: &str, destinations: &[&str]) -> Recipient {
    let destinations = destinations.iter().map(|text| Address::parse(text).unwrap()).collect();
    recipient(alias, Action::Forward(destinations))
}

fn mailbox() -> ReversePath {
    ReversePath::Mailbox(Address::parse("alice@sender.example").unwrap())
}

#[test]
fn one_group_is_one_forwarding_domain_and_one_destination_domain() {
    let info = forward("info@ours.example", &["ana@dest.example"]);
    let sales = forward("sales@OURS.example", &["bob@DEST.example", "cal@dest.example"]);
    let elsewhere = forward("info@more.example", &["ana@dest.example"]);
    let far = forward("far@ours.example", &["cal@other.example"]);
    let both = forward("both@ours.example", &["ana@dest.example", "cal@other.example"]);
    let bin = recipient("bin@ours.example", Action::Drop);
    let bounce =
        recipient("srs0=x@ours.example", Action::ReturnToSender(Address::parse("dan@dest.example").unwrap()));
    let one = |path: &ReversePath, recipients: &[&Recipient]| is_one_group(path, recipients.iter().copied());
    let from_alice = mailbox();
    assert!(one(&from_alice, &[]));
    assert!(one(&from_alice, &[&info, &sales, &bin]));
    assert!(!one(&from_alice, &[&info, &far]));
    assert!(!one(&from_alice, &[&both]));
    // The reverse-path is rewritten in the domain of the alias; the null one is not.
    assert!(!one(&from_alice, &[&info, &elsewhere]));
    assert!(one(&ReversePath::Null, &[&info, &elsewhere, &bounce]));
    assert!(!one(&ReversePath::Null, &[&far, &bounce]));
}
