//! SPF records: any octets are one, none or an error; what is one stays the same however many spaces are between its
//! terms, and no longer is one when a term follows that nobody knows.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad::spf::{MAX_RECORD_OCTETS, select};

fuzz_target!(|octets: &[u8]| {
    let record = [b"v=spf1 ", octets].concat();
    if record.len() > MAX_RECORD_OCTETS / 2 {
        return; // What is made of it below would be too long.
    }
    let Ok(found) = select(&[record.clone()]) else { return };
    let found = found.expect("a version and a space begin a record");
    let spaced: Vec<u8> = record.iter().flat_map(|b| [*b, *b].into_iter().take(if *b == b' ' { 2 } else { 1 })).collect();
    assert_eq!(select(&[spaced]), Ok(Some(found)));
    assert!(select(&[[&record, b" moo".as_slice()].concat()]).is_err());
    assert!(select(&[record.clone(), record]).is_err());
});
