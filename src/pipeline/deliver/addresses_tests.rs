use super::super::tests::options;
use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn refusing() -> Options {
    Options { private_addresses: PrivateAddresses::Refuse, ..options() }
}

#[test]
fn addresses_that_are_not_on_the_internet_are_refused() {
    for text in [
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.1.1",
        "192.0.0.8",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "::ffff:8.8.8.8",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::1",
        "2002:c0a8:101::",
        "64:ff9b::a00:1",
        "64:ff9b:1::808:808",
        "64:ff9b:1:7f00:0:100::",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2002:a00:1::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fd12::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ] {
        assert_eq!(check(ip(text), &refusing()), Err(Barred::NotPublic), "{text}");
        assert_eq!(check(ip(text), &options()), Ok(()), "{text} where private addresses are allowed");
    }
}

#[test]
fn addresses_on_the_internet_are_taken() {
    for text in [
        "8.8.8.8",
        "172.32.0.1",
        "172.15.0.1",
        "192.167.0.1",
        "100.128.0.1",
        "198.20.0.1",
        "223.255.255.1",
        "2001:200::1",
        "2001:4860::1",
        "2a00:1450::1",
        "2c0f::1",
        "64:ff9b::808:808",
        "2002:808:808::1",
    ] {
        assert_eq!(check(ip(text), &refusing()), Ok(()), "{text}");
    }
}

#[test]
fn the_unspecified_address_is_nobodys_even_where_private_ones_are_allowed() {
    for text in ["0.0.0.0", "::", "::ffff:0.0.0.0"] {
        assert_eq!(check(ip(text), &options()), Err(Barred::NotPublic), "{text}");
    }
}

#[test]
fn our_own_listeners_are_never_delivered_to() {
    let listening = |text: &str, port: u16| Options {
        listening: vec![SocketAddr::new(ip(text), port)],
        port: 25,
        sources: vec![ip("8.8.4.4")],
        ..options()
    };
    assert_eq!(check(ip("8.8.8.8"), &listening("8.8.8.8", 25)), Err(Barred::Ours));
    assert_eq!(check(ip("8.8.8.8"), &listening("8.8.8.8", 26)), Ok(()));
    assert_eq!(check(ip("127.0.0.2"), &listening("0.0.0.0", 25)), Err(Barred::Ours));
    assert_eq!(check(ip("::ffff:127.0.0.2"), &listening("0.0.0.0", 25)), Err(Barred::Ours));
    assert_eq!(check(ip("8.8.4.4"), &listening("0.0.0.0", 25)), Err(Barred::Ours));
    assert_eq!(check(ip("8.8.8.8"), &listening("0.0.0.0", 25)), Ok(()));
}

#[test]
fn the_source_is_of_the_destinations_family() {
    let pool = Options { sources: vec![ip("192.0.2.1"), ip("192.0.2.2")], ..options() };
    assert!(pool.sources.contains(&source(ip("8.8.8.8"), &pool).unwrap().unwrap()));
    assert_eq!(source(ip("2001:db8::1"), &pool), Err(Barred::NoSource));
    assert_eq!(source(ip("2001:db8::1"), &options()), Ok(None));
}
