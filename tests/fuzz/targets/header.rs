//! Header sections: fields lie within the section, in order, and every reader of them stands anything.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad::mail::{author, header, loop_token};

fuzz_target!(|octets: &[u8]| {
    let section = &octets[..header::section_end(octets).unwrap_or(octets.len())];
    let mut end = 0;
    for field in header::fields(section) {
        assert!(field.range.start >= end && field.range.end <= section.len());
        end = field.range.end;
    }
    let _ = author::authors(section);
    let _ = loop_token::find(section);
});
