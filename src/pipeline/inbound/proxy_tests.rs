use super::*;

async fn header(mut octets: &[u8]) -> (Result<Option<IpAddr>, String>, usize) {
    let total = octets.len();
    let result = read_header(&mut octets).await.map_err(|error| error.to_string());
    (result, total - octets.len())
}

fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend_from_slice(&[0x20 | command, family]);
    header.extend_from_slice(&u16::try_from(addresses.len()).unwrap().to_be_bytes());
    header.extend_from_slice(addresses);
    header
}

#[tokio::test]
async fn version_1_gives_the_source_and_takes_nothing_behind_it() {
    let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 25\r\n";
    let (source, taken) = header(&[line, &b"EHLO x\r\n"[..]].concat()).await;
    assert_eq!((source, taken), (Ok(Some("192.0.2.7".parse().unwrap())), line.len()));
    let (source, _) = header(b"PROXY TCP6 2001:db8::7 2001:db8::1 4000 25\r\n").await;
    assert_eq!(source, Ok(Some("2001:db8::7".parse().unwrap())));
    assert_eq!(header(b"PROXY UNKNOWN\r\n").await.0, Ok(None));
}

#[tokio::test]
async fn version_2_gives_the_source() {
    let addresses = [192, 0, 2, 7, 198, 51, 100, 1, 0x0f, 0xa0, 0, 25];
    let octets = v2(1, 0x11, &addresses);
    let (source, taken) = header(&[&octets[..], b"EHLO x\r\n"].concat()).await;
    assert_eq!((source, taken), (Ok(Some("192.0.2.7".parse().unwrap())), octets.len()));
    assert_eq!(header(&v2(0, 0, &[])).await.0, Ok(None));
}

#[tokio::test]
async fn anything_else_is_an_error() {
    for octets in [&b"EHLO client.example\r\n"[..], b"PROXY TCP4 x y 1 2\r\n", b"PROXY TCP4 192.0.2.7"] {
        assert!(header(octets).await.0.is_err(), "{octets:?}");
    }
    assert!(header(&v2(1, 0x11, &[0; 9000])).await.0.is_err());
}
