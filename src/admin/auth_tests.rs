//! Tokens and who they make of a caller.

use super::*;

fn parse(text: &str) -> Result<Tokens, TokenFileError> {
    Tokens::parse(text, Path::new("tokens"))
}

fn headers(authorization: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", authorization.parse().unwrap());
    headers
}

#[test]
fn a_token_file_holds_tokens_with_roles_comments_and_empty_lines() {
    let tokens = parse("# ours\n\n  s3cret admin\r\nother\tviewer\n").unwrap();
    assert_eq!(tokens.role(&fingerprint("s3cret")), Some(Role::Admin));
    assert_eq!(tokens.role(&fingerprint("other")), Some(Role::Viewer));
    assert_eq!(tokens.role(&fingerprint("s3cre")), None);
    assert_eq!(tokens.role(&fingerprint("")), None);
}

#[test]
fn a_bad_line_is_named_and_its_token_is_not() {
    for (text, line) in [("a admin\nsecret", 2), ("secret root", 1), ("secret admin x", 1)] {
        let error = parse(text).unwrap_err();
        assert!(matches!(&error, TokenFileError::Line { line: at, .. } if *at == line), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    assert!(matches!(parse("a admin\na viewer"), Err(TokenFileError::Repeated { line: 2, .. })));
    let many: String = (0..=MAX_TOKENS).map(|n| format!("t{n} viewer\n")).collect();
    assert!(matches!(parse(&many), Err(TokenFileError::TooMany(_))));
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
fn without_files_loopback_is_admin_and_with_a_client_ca_a_certificate_is() {
    let mut config = config::Admin {
        listen: "127.0.0.1:0".parse().unwrap(),
        token_file: None,
        tls: None,
        client_ca_file: None,
    };
    let actor = |config: &config::Admin| Authority::new(config).unwrap().actor(&HeaderMap::new()).unwrap();
    assert_eq!((&*actor(&config).name, actor(&config).role), ("loopback", Role::Admin));
    config.client_ca_file = Some("ca.pem".into());
    assert_eq!(&*actor(&config).name, "certificate");
}

#[test]
fn the_log_names_a_token_by_its_digest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens");
    std::fs::write(&path, "hello viewer\n").unwrap();
    let authority = Authority::Tokens(TokenFile::open(&path).unwrap());
    let actor = authority.actor(&headers("Bearer hello")).unwrap();
    assert_eq!(&*actor.name, "token:2cf24dba");
    assert_eq!(authority.actor(&headers("Bearer hallo")).unwrap_err().code(), tonic::Code::Unauthenticated);
    assert_eq!(authority.actor(&HeaderMap::new()).unwrap_err().code(), tonic::Code::Unauthenticated);
}

#[tokio::test]
async fn a_changed_token_file_is_read_again_and_a_bad_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens");
    std::fs::write(&path, "one viewer\n").unwrap();
    let authority = Arc::new(Authority::Tokens(TokenFile::open(&path).unwrap()));
    let watch = tokio::spawn(Arc::clone(&authority).watch());
    let becomes = async |token: &str, known: bool| {
        let header = headers(&format!("Bearer {token}"));
        let limit = tokio::time::Instant::now() + Duration::from_secs(10);
        while authority.actor(&header).is_ok() != known {
            assert!(tokio::time::Instant::now() < limit, "{token} did not become {known}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    std::fs::write(&path, "two operator\n").unwrap();
    becomes("two", true).await;
    becomes("one", false).await;
    std::fs::write(&path, "not a token file\n").unwrap();
    tokio::time::sleep(WATCH_INTERVAL + Duration::from_millis(300)).await;
    becomes("two", true).await;
    watch.abort();
}
