use super::super::upstream::address_error::CONNECTING;
use super::*;
use crate::tls::Demand;

fn peer(host: &str, address: &str) -> Peer {
    let address = address.parse().unwrap();
    Peer { host: host.to_owned(), address, source: None, demand: Demand::Opportunistic }
}

#[tokio::test(start_paused = true)]
async fn a_silent_host_is_remembered_by_family_until_it_answers_or_ten_minutes_are_over() {
    let hosts = SilentHosts::default();
    let (four, other, six) =
        (peer("mx1", "192.0.2.1:25"), peer("mx1", "192.0.2.2:25"), peer("mx1", "[2001:db8::1]:25"));
    hosts.note(&four, Some(&AddressError::TimedOut(CONNECTING)));
    assert_eq!([&four, &other, &six].map(|peer| hosts.has(peer)), [true, true, false]);
    assert_eq!([&four, &six].map(|peer| hosts.connect_limit(peer)), [Some(CONNECT_LIMIT), None]);
    hosts.note(&six, None);
    assert!(hosts.has(&four));
    hosts.note(&other, Some(&AddressError::CutShort(CONNECTING)));
    assert!(hosts.has(&four));
    hosts.note(&other, None);
    assert!(!hosts.has(&four));
    hosts.note(&four, Some(&AddressError::TimedOut(CONNECTING)));
    tokio::time::advance(PAUSE).await;
    assert!(!hosts.has(&four));
    hosts.sweep();
    assert!(hosts.until.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_was_cut_short_or_was_slow_later_was_not_silent() {
    let hosts = SilentHosts::default();
    let four = peer("mx1", "192.0.2.1:25");
    for trouble in [AddressError::CutShort(CONNECTING), AddressError::TimedOut("at RCPT")] {
        hosts.note(&four, Some(&trouble));
        assert!(!hosts.has(&four), "{trouble}");
    }
}

#[tokio::test(start_paused = true)]
async fn few_hosts_are_remembered() {
    let hosts = SilentHosts::default();
    for number in 0..MAX_REMEMBERED + 10 {
        hosts.note(&peer(&number.to_string(), "192.0.2.1:25"), Some(&AddressError::TimedOut(CONNECTING)));
    }
    assert_eq!(hosts.until.lock().len(), MAX_REMEMBERED);
}
