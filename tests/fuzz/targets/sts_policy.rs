//! MTA-STS: any octets are a policy or refused, and a policy that was read is written and read again alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad::tls::{MAX_AGE, StsPolicy, announced_id};

fuzz_target!(|octets: &[u8]| {
    if let Some(id) = announced_id(&[octets.to_vec()]) {
        assert!((1..=32).contains(&id.len()));
    }
    let Ok(policy) = StsPolicy::parse(octets) else { return };
    assert!(policy.max_age <= MAX_AGE);
    for pattern in policy.patterns() {
        assert!(policy.names(&pattern.replace('*', "mx")), "{pattern}");
    }
    assert_eq!(StsPolicy::parse(policy.to_string().as_bytes()), Ok(policy));
});
