//! Addresses: what was parsed is written so that it parses to the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad::mail::Address;

fuzz_target!(|text: &str| {
    if let Ok(address) = Address::parse(text) {
        assert_eq!(Address::parse(&address.to_string()), Ok(address));
    }
});
