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
    if header::check(section).is_ok() {
        let octets: usize = header::fields(section).map(|field| field.range.len()).sum();
        assert!(octets == end && (end == section.len() || section[end..].starts_with(b"\r\n")));
    }
    assert!(header::from_line_octets(section) <= section.len());
    let _ = author::authors(section);
    let _ = loop_token::find(section);
});
