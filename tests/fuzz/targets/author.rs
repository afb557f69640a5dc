//! Whom a message claims to be from: any header section has authors or is refused, and an address in angle brackets
//! that nothing covers is always among them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad::mail::author::authors;
use postroad::mail::{Domain, header, loop_token};

fuzz_target!(|octets: &[u8]| {
    let section = &octets[..header::section_end(octets).unwrap_or(octets.len())];
    if let Ok(found) = authors(section) {
        assert!(!found.is_empty());
    }
    let _ = loop_token::find(section);
    if !octets.iter().any(|octet| b"\"()\\\r\n".contains(octet)) {
        let field = [b"From: <ceo@bank.example> ", octets, b"\r\n\r\n"].concat();
        if let Ok(found) = authors(&field) {
            assert!(found.contains(&Domain::parse("bank.example").unwrap()));
        }
    }
});
