use crate::config::schema::Effect;
use crate::config::test_files::Files;
use crate::config::{Config, ConfigErrors};

fn load(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(text, &[("POSTROAD__LIMITS__SESSIONS".to_owned(), "77".to_owned())])
}

#[test]
fn what_is_shown_is_a_file_that_says_the_same() {
    let files = Files::new();
    for text in [files.minimal(), files.contract()] {
        let config = load(&text).unwrap();
        for shown in [config.effective(), config.beside_defaults()] {
            let again = load(&shown).unwrap_or_else(|errors| panic!("{errors}\n{shown}"));
            for effect in [Effect::Live, Effect::Restart] {
                let differing = config.settings.differing(&again.settings, effect);
                let keys: Vec<String> = differing.iter().map(|key| key.path()).collect();
                assert!(keys.is_empty(), "{keys:?}\n{shown}");
            }
        }
    }
}

#[test]
fn what_differs_from_the_defaults_is_told_with_them() {
    let files = Files::new();
    let config = load(&files.with("service.max_message_octets = 1000000\nlog.level = 'info'")).unwrap();
    let differs = config.beside_defaults();
    assert!(differs.contains("sessions = 77 # default: "), "{differs}");
    assert!(!differs.contains("level"), "{differs}");
    assert!(config.effective().contains("level = \"info\"\n"));
}
