use super::*;
use crate::config::test_files::Files;

#[test]
fn a_key_that_cannot_be_read_is_named_by_the_path_of_its_key() {
    let files = Files::new();
    let zones = "dnsbl = [{ name = 'a', zone = 'a.example' }, { name = 'b', zone = 'b.example', key_file = '@dnsbl.key' }]";
    let config = Config::parse(&files.with(zones), &[]).unwrap();
    let path = config.dnsbl[1].key_file.clone().unwrap();
    std::fs::remove_file(&path).unwrap();
    let error = keyed(&config.dnsbl).unwrap_err().to_string();
    assert!(error.starts_with(&format!("dnsbl[1].key_file: {}: ", path.display())), "{error}");
}
