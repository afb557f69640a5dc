use super::*;
use crate::config::test_files::Files;

fn read(files: &Files, lines: &str, current: Option<&Terms>) -> Result<Terms, TermsError> {
    let config = Config::parse(&files.with(lines), &[]).unwrap();
    Terms::read(&config.admin, current)
}

const TLS: &str = "admin = { certificate_file = '@chain.pem', private_key_file = '@key.pem' }";
const CERTIFIED: &str = "admin = { certificate_file = '@chain.pem', private_key_file = '@key.pem', client_ca_file = '@chain.pem' }";

#[test]
fn who_connected_before_tls_or_a_client_ca_was_asked_for_is_not_taken_for_who_was_checked() {
    let files = Files::new();
    let headers = HeaderMap::new();
    let plain = read(&files, "", None).unwrap();
    assert!(plain.actor(&headers, Handshake::None).is_ok());
    let tls = read(&files, TLS, Some(&plain)).unwrap();
    assert!(tls.actor(&headers, Handshake::None).is_err());
    assert!(tls.actor(&headers, Handshake::Tls).is_ok() && !tls.knows_by(Handshake::Tls));

    let certified = read(&files, CERTIFIED, Some(&tls)).unwrap();
    let made = Handshake::Certified(certified.identity.as_ref().unwrap().trust().unwrap());
    assert!(certified.actor(&headers, Handshake::Tls).is_err() && !certified.knows_by(Handshake::Tls));
    assert!(certified.actor(&headers, made).is_ok() && certified.knows_by(made));

    let other = rcgen::generate_simple_self_signed(["other.example".to_owned()]).unwrap();
    files.write("other.pem", &other.cert.pem());
    let other = read(
        &files,
        &CERTIFIED.replace("client_ca_file = '@chain.pem'", "client_ca_file = '@other.pem'"),
        None,
    );
    assert!(other.unwrap().actor(&headers, made).is_err());
}

#[test]
fn unusable_files_are_named_and_tokens_are_not() {
    let files = Files::new();
    files.write("key.pem", &rcgen::KeyPair::generate().unwrap().serialize_pem());
    assert!(matches!(read(&files, TLS, None), Err(TermsError::Tls(TlsError::Mismatch { .. }))));
    let config = Config::parse(&files.with("admin.token_file = '@tokens'"), &[]).unwrap();
    files.write("tokens", "sesame admin\n");
    let error = Terms::read(&config.admin, None).unwrap_err();
    let text = crate::error_text::error_text(&error);
    assert!(text.contains("tokens: line 1: a token has 16") && !text.contains("sesame"), "{text}");
}
