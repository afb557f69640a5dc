//! Tokens and who they make of a caller.

use super::*;
use crate::config::files::admin_tokens;

fn tokens(text: &str) -> Tokens {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Tokens::new(&admin_tokens(file.path()).unwrap())
}

fn headers(authorization: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", authorization.parse().unwrap());
    headers
}

#[test]
fn a_token_has_its_role_and_nothing_like_it_has() {
    let tokens = tokens("# ours\n\n  s3cret-0123456789 admin\r\nother-0123456789\tviewer\n");
    let role = |token| tokens.find(&fingerprint(token)).map(|known| known.role);
    assert_eq!(role("s3cret-0123456789"), Some(Role::Admin));
    assert_eq!(role("other-0123456789"), Some(Role::Viewer));
    assert_eq!(role("s3cret-012345678"), None);
    assert_eq!(role(""), None);
}

#[test]
fn a_bearer_token_is_read_whatever_the_case_of_its_scheme() {
    assert_eq!(bearer(&headers("Bearer abc")), Some("abc"));
    assert_eq!(bearer(&headers("bearer abc")), Some("abc"));
    assert_eq!(bearer(&headers("Basic abc")), None);
    assert_eq!(bearer(&headers("abc")), None);
    assert_eq!(bearer(&HeaderMap::new()), None);
}

#[test]
fn without_tokens_whoever_is_there_is_admin() {
    let actor = |authority: Authority| authority.actor(&HeaderMap::new()).unwrap();
    let loopback = actor(Authority::Loopback);
    assert_eq!((&*loopback.name, loopback.role), ("loopback", Role::Admin));
    assert_eq!(&*actor(Authority::Certificates).name, "certificate");
}

#[test]
fn a_token_goes_by_its_name_if_it_has_one() {
    let authority = Authority::Tokens(tokens("hello-0123456789 admin  ana@desk\n"));
    let actor = authority.actor(&headers("Bearer hello-0123456789")).unwrap();
    assert_eq!((&*actor.name, actor.role), ("ana@desk", Role::Admin));
}

#[test]
fn the_log_names_a_token_by_its_digest() {
    let authority = Authority::Tokens(tokens("hello-0123456789 viewer\n"));
    let actor = authority.actor(&headers("Bearer hello-0123456789")).unwrap();
    let digest: String =
        fingerprint("hello-0123456789")[..4].iter().map(|octet| format!("{octet:02x}")).collect();
    assert_eq!(*actor.name, format!("token:{digest}"));
    let wrong = authority.actor(&headers("Bearer hallo-0123456789")).unwrap_err();
    assert_eq!(wrong.code(), tonic::Code::Unauthenticated);
    assert_eq!(authority.actor(&HeaderMap::new()).unwrap_err().code(), tonic::Code::Unauthenticated);
}
