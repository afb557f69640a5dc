//! Authentication-Results of others: forged ones are whole fields, and taking them out leaves none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad::mail::authentication_results::{forged, says_dmarc_pass};
use postroad::mail::{Domain, header};

fuzz_target!(|octets: &[u8]| {
    let ours = Domain::parse("email.relay.example").unwrap();
    let section = &octets[..header::section_end(octets).unwrap_or(octets.len())];
    let ranges = forged(section, &ours);
    assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start));
    let mut left = section.to_vec();
    for range in ranges.into_iter().rev() {
        left.drain(range);
    }
    assert!(forged(&left, &ours).is_empty());
    for field in header::fields(section) {
        let _ = says_dmarc_pass(field.value, &ours);
    }
});
