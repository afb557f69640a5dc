//! SMTP commands: any line is a command or an error reply that can be written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad::smtp::command;

fuzz_target!(|line: &[u8]| {
    let _ = command::verb(line);
    if let Err(reply) = command::parse(line) {
        assert!((400..600).contains(&reply.code));
        let mut wire = Vec::new();
        reply.write_to(&mut wire);
        assert!(wire.split_inclusive(|octet| *octet == b'\n').all(|line| line.len() <= 512));
    }
});
