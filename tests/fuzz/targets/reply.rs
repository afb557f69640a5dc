//! Replies of upstreams, and the EHLO keywords in them: any octets are a reply or an error, and what was
//! decoded can be said again in lines of at most 512 octets.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use postroad::smtp::client::{Capabilities, ReplyDecoder};

fuzz_target!(|octets: &[u8]| {
    let (mut decoder, mut buffer) = (ReplyDecoder::default(), BytesMut::from(octets));
    while let Ok(Some(reply)) = decoder.decode(&mut buffer) {
        assert!((200..600).contains(&reply.code));
        let _ = Capabilities::parse(&reply);
        let mut wire = Vec::new();
        reply.write_to(&mut wire);
        for line in wire.split_inclusive(|octet| *octet == b'\n') {
            assert!(line.len() <= 512 && line.ends_with(b"\r\n"));
            assert!(line[..line.len() - 2].iter().all(|octet| (b' '..=b'~').contains(octet)));
        }
    }
});
