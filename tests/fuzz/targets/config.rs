//! The node file: any text is a configuration or a list of errors that can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad::config::Config;

fuzz_target!(|text: &str| {
    if let Err(errors) = Config::parse(text, &[]) {
        assert!(!errors.to_string().is_empty());
    }
});
