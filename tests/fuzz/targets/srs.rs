//! SRS: any local part is decoded or refused, and what was encoded is decoded.
#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use postroad::mail::{Address, Domain};
use postroad::srs::{Secret, Srs};

fuzz_target!(|text: &str| {
    let srs = Srs::new(vec![Secret::new(b"tops3cr3t")], 21);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_860);
    let forwarding = Domain::parse("example.com").unwrap();
    let Ok(address) = Address::from_parts(text, forwarding.clone()) else { return };
    let _ = srs.decode(&address, now);
    let _ = srs.decode_alias(&address, now);
    match srs.encode(&address, &forwarding, now) {
        Ok(encoded) => {
            let wire = Address::parse(&encoded.to_string()).unwrap();
            assert!(matches!(srs.decode(&wire, now), Ok(Some(_))) || srs.decode_alias(&wire, now).is_ok());
        }
        Err(too_long) => {
            let (alias, token) = srs.alias(&too_long.original, &forwarding, now).unwrap();
            assert_eq!(srs.decode_alias(&alias, now), Ok(Some(token)));
        }
    }
});
