use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

#[tokio::test(start_paused = true)]
async fn the_third_failure_ends_a_connection_and_past_twenty_each_one_does() {
    let failures = Failures::new();
    let first = [1, 2, 3].map(|on_connection| failures.count(STRANGER, on_connection, "x"));
    assert_eq!(first, [Verdict::Stays, Verdict::Stays, Verdict::Ends]);
    for _ in first.len()..MAX_OF_PEER as usize {
        assert_eq!(failures.count(STRANGER, 1, "x"), Verdict::Stays);
    }
    assert_eq!(failures.count(STRANGER, 1, "x"), Verdict::Ends);
    assert_eq!(failures.count(Ipv4Addr::new(192, 0, 2, 2).into(), 1, "x"), Verdict::Stays);
    tokio::time::advance(WINDOW).await;
    assert_eq!(failures.count(STRANGER, 1, "x"), Verdict::Stays);
}

#[test]
fn the_count_of_peers_is_bounded() {
    let failures = Failures::new();
    for number in 0..u16::try_from(2 * MAX_PEERS).unwrap() {
        failures.count(Ipv6Addr::new(0x2001, 0xdb8, 0, number, 0, 0, 0, 1).into(), 1, "x");
    }
    let window = failures.window.lock();
    assert_eq!((window.by_peer.len(), window.others as usize), (MAX_PEERS, MAX_PEERS));
}
