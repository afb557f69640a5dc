use futures_util::{FutureExt, poll};

use super::*;

const MIB: usize = 1_048_576;

fn share(memory: &Account, ip: &str) -> Share {
    memory.share(ip.parse().unwrap())
}

/// Shares of as many clients, each in a network of its own, that hold this many octets each; those that got them.
fn crowd(memory: &Account, clients: u8, octets: usize) -> Vec<Share> {
    let shares = (0..clients).map(|number| share(memory, &format!("192.0.{number}.1")));
    shares.filter_map(|mut share| share.grow(octets, Purpose::Content).then_some(share)).collect()
}

#[test]
fn three_quarters_are_for_messages_and_all_for_header_sections() {
    let memory = Account::new(MIB as u64);
    let crowd = crowd(&memory, 20, MIB / 16);
    assert_eq!(crowd.len(), 12);
    let mut last = share(&memory, "198.51.100.1");
    assert!(!last.grow(1, Purpose::Content));
    assert!(last.grow(MIB / 4, Purpose::Header));
    assert!(!share(&memory, "203.0.113.1").grow(1, Purpose::Header));
    drop(crowd);
    assert!(share(&memory, "203.0.113.1").grow(MIB / 8, Purpose::Content));
}

#[test]
fn one_network_holds_an_eighth() {
    let memory = Account::new(MIB as u64);
    let mut first = share(&memory, "192.0.2.1");
    let mut second = share(&memory, "192.0.2.2");
    assert!(first.grow(MIB / 16, Purpose::Content) && second.grow(MIB / 16, Purpose::Content));
    assert!(!second.grow(MIB / 16 + 1, Purpose::Content), "past the eighth");
    assert!(share(&memory, "192.0.3.1").grow(MIB / 8, Purpose::Content), "a neighbour's is its own");
    first.shrink(10);
    assert!(second.grow(MIB / 16 + 10, Purpose::Content));
    drop((first, second));
    assert!(share(&memory, "192.0.2.3").grow(MIB / 8, Purpose::Content));
}

#[test]
fn many_networks_of_one_site_or_provider_hold_a_quarter_and_a_half() {
    let memory = Account::new(MIB as u64);
    let take = |ip: String| {
        let mut share = share(&memory, &ip);
        share.grow(MIB / 16, Purpose::Content).then_some(share)
    };
    let site: Vec<Share> = (0..100).filter_map(|n| take(format!("2001:db8:0:{:x}::1", n << 8))).collect();
    assert_eq!(site.len(), 4);
    let provider: Vec<Share> = (1..100).filter_map(|n| take(format!("2001:db8:{n:x}::1"))).collect();
    assert_eq!(site.len() + provider.len(), 8);
    assert!(share(&memory, "2001:db9::1").grow(MIB / 8, Purpose::Content));
}

#[test]
fn nothing_is_remembered_of_a_network_that_holds_nothing() {
    let memory = Account::new(MIB as u64);
    drop(crowd(&memory, 20, 100));
    let held = memory.inner.held.lock();
    assert_eq!((held.octets, held.by_network.len()), (0, 0));
}

#[test]
fn fewer_octets_hold_for_what_comes_next() {
    let memory = Account::new(MIB as u64);
    let mut held = share(&memory, "192.0.2.1");
    assert!(held.grow(MIB / 8, Purpose::Content));
    memory.resize(1000);
    assert_eq!(held.octets(), MIB / 8);
    assert!(!share(&memory, "192.0.3.1").grow(1, Purpose::Content));
    drop(held);
    assert!(share(&memory, "192.0.3.1").grow(1, Purpose::Content));
}

#[tokio::test]
async fn a_shortage_is_seen_when_over_half_is_taken() {
    let memory = Account::new(MIB as u64);
    let half = crowd(&memory, 8, MIB / 16);
    let mut waiting = pin!(memory.clone().shortage());
    assert!(poll!(waiting.as_mut()).is_pending());
    let more = crowd(&memory, 1, 1);
    assert!(poll!(waiting.as_mut()).is_ready());
    assert!(memory.clone().shortage().now_or_never().is_some());
    drop((half, more));
    assert!(memory.shortage().now_or_never().is_none());
}
