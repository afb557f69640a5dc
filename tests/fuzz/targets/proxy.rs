//! PROXY headers: any octets are a header or an error, and nothing behind a header is read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad::pipeline::inbound::proxy::read_header;

fuzz_target!(|octets: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut rest = octets;
        let whole = read_header(&mut rest).await;
        let header = &octets[..octets.len() - rest.len()];
        if let Ok(address) = whole {
            assert_eq!(read_header(&mut &*header).await.ok(), Some(address));
        }
    });
});
