use crate::config::Config;
use crate::config::test_files::Files;

#[test]
fn every_secret_that_the_world_may_read_is_named_by_its_key_and_one_of_the_group_is_not() {
    let files = Files::new();
    let lines = "dkim = { key = [{ selector = 'b', private_key_file = '@ed25519.pem' }] }\n\
                 dnsbl = [{ name = 'a', zone = 'a.example' }, { name = 'b', zone = 'b.example', key_file = '@dnsbl.key' }]\n\
                 smtp = { certificate_file = '@chain.pem', private_key_file = '@key.pem' }\n\
                 admin = { token_file = '@tokens', certificate_file = '@chain.pem', private_key_file = '@key.pem' }";
    let config = Config::parse(&files.with(lines), &[]).unwrap();
    assert_eq!(config.exposed_secrets(), []);
    // What everybody may know.
    files.permit("chain.pem", 0o644);
    // fsGroup of Kubernetes.
    files.permit("tokens", 0o440);
    assert_eq!(config.exposed_secrets(), []);
    for name in ["rsa.pem", "ed25519.pem", "secrets", "dnsbl.key", "tokens", "key.pem"] {
        files.permit(name, 0o644);
    }
    let keys: Vec<String> = config.exposed_secrets().into_iter().map(|exposed| exposed.key).collect();
    assert_eq!(
        keys,
        [
            "srs.secret_file",
            "dkim.private_key_file",
            "dkim.key[0].private_key_file",
            "dnsbl[1].key_file",
            "smtp.private_key_file",
            "admin.private_key_file",
            "admin.token_file",
        ]
    );
    let said = config.exposed_secrets()[0].to_string();
    assert!(
        said.ends_with("/secrets can be read by everybody on this host (mode 0644): chmod o-r"),
        "{said}"
    );
}

#[test]
fn signing_keys_of_tables_alone_are_counted_from_0() {
    let files = Files::new();
    let text = files.minimal().replace("dkim = { selector = '2022', ", "dkim = { key = [{ selector = 'a', ");
    let text = text.replace("rsa.pem' }", "rsa.pem' }] }");
    files.permit("rsa.pem", 0o604);
    let config = Config::parse(&text, &[]).unwrap();
    assert_eq!(config.exposed_secrets()[0].key, "dkim.key[0].private_key_file");
}
