use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::tls::test_authority::{Authority, Identity, link_files, link_identity};

fn link(identity: &Identity, authorities: &[&Authority]) -> LinkTls {
    LinkTls::new(link_identity(identity, authorities))
}

/// Dials `name`, and says a word if both like each other: the names that the listener saw, or whether nobody got through.
async fn dial(from: &LinkTls, name: &str, to: &LinkTls) -> Option<Vec<String>> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let to = to.clone();
    let accepted = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let Linked { mut stream, names } = to.accept(stream).await.ok()?;
        stream.write_all(b"h").await.ok()?;
        Some(names)
    });
    let dialled = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut stream = from.connect(name, stream).await.ok()?;
        // In TLS 1.3 a client hears only now whether its certificate was taken.
        stream.read_u8().await.ok()
    };
    let heard = dialled.await;
    let names = accepted.await.unwrap();
    heard.and(names)
}

#[tokio::test]
async fn nodes_of_one_authority_know_each_other_by_name_wherever_they_are() {
    let ca = Authority::new();
    let (linda, amir) =
        (link(&ca.issue(&["linda"]), &[&ca]), link(&ca.issue(&["amir", "mx.example"]), &[&ca]));
    assert_eq!(dial(&linda, "amir", &amir).await, Some(vec!["linda".to_owned()]));
    assert_eq!(dial(&linda, "AMIR", &amir).await, Some(vec!["linda".to_owned()]));
    assert_eq!(dial(&linda, "isaac", &amir).await, None);
    assert!(amir.identity().is_of("amir") && !amir.identity().is_of("linda"));
}

#[tokio::test]
async fn a_name_that_sni_cannot_carry_is_dialled_without() {
    let ca = Authority::new();
    let (linda, odd) = (link(&ca.issue(&["linda"]), &[&ca]), link(&ca.issue(&["route.1."]), &[&ca]));
    let odder = link(&ca.issue(&["-amir_"]), &[&ca]);
    assert!(dial(&linda, "route.1.", &odd).await.is_some());
    assert!(dial(&linda, "-amir_", &odder).await.is_some());
}

#[tokio::test]
async fn a_wildcard_is_no_node() {
    let ca = Authority::new();
    let (linda, any) = (link(&ca.issue(&["linda"]), &[&ca]), link(&ca.issue(&["*.example"]), &[&ca]));
    assert_eq!(dial(&linda, "amir.example", &any).await, None);
}

#[tokio::test]
async fn a_stranger_to_the_authority_is_refused_in_both_directions() {
    let (ca, other) = (Authority::new(), Authority::new());
    let linda = link(&ca.issue(&["linda"]), &[&ca]);
    let stranger = link(&other.issue(&["amir"]), &[&ca]);
    assert_eq!(dial(&linda, "amir", &stranger).await, None);
    assert_eq!(dial(&stranger, "linda", &linda).await, None);
    let trusting = link(&ca.issue(&["amir"]), &[&other]);
    assert_eq!(dial(&linda, "amir", &trusting).await, None);
    assert_eq!(dial(&trusting, "linda", &linda).await, None);
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_refused_in_both_directions() {
    let ca = Authority::new();
    let linda = link(&ca.issue(&["linda"]), &[&ca]);
    let late = link(&ca.issue_until(&["amir"], 2020), &[&ca]);
    assert_eq!(dial(&linda, "amir", &late).await, None);
    assert_eq!(dial(&late, "linda", &linda).await, None);
}

#[tokio::test]
async fn an_authority_is_replaced_while_both_are_named() {
    let (old, new) = (Authority::new(), Authority::new());
    let linda = link(&old.issue(&["linda"]), &[&old, &new]);
    let amir = link(&new.issue(&["amir"]), &[&old, &new]);
    assert!(dial(&linda, "amir", &amir).await.is_some());
    assert!(dial(&amir, "linda", &linda).await.is_some());
    linda.swap(link_identity(&new.issue(&["linda"]), &[&new]));
    assert!(dial(&linda, "amir", &amir).await.is_some());
    assert!(dial(&amir, "linda", &linda).await.is_some());
    let late = link(&old.issue(&["isaac"]), &[&old, &new]);
    assert_eq!(dial(&late, "linda", &linda).await, None);
}

#[test]
fn files_that_did_not_change_are_the_same_identity() {
    let ca = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let files = link_files(dir.path(), &ca.issue_until(&["linda"], 2040), &[&ca]);
    let first = LinkIdentity::load(&files, None).unwrap();
    assert!(Arc::ptr_eq(&first, &LinkIdentity::load(&files, Some(first.clone())).unwrap()));
    assert_eq!(first.not_after(), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(2_208_988_800)));
    link_files(dir.path(), &ca.issue(&["linda"]), &[&ca]);
    assert!(!Arc::ptr_eq(&first, &LinkIdentity::load(&files, Some(first.clone())).unwrap()));
    std::fs::write(&files.ca_file, "no authority").unwrap();
    let error = LinkIdentity::load(&files, Some(first)).unwrap_err().to_string();
    assert!(error.contains("cluster.ca_file"), "{error}");
}
