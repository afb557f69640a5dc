use bytes::Bytes;

use super::*;

fn wish(field: &str, require_tls: RequireTls) -> TlsWish {
    let request = MessageRequest { require_tls, ..MessageRequest::default() };
    let octets = Bytes::from(format!("Subject: hi\r\n{field}\r\nhello\r\nTLS-Required: No\r\n"));
    TlsWish::of(&request, &Message::from_octets(octets))
}

#[test]
fn rfc8689_3_only_no_in_the_header_section_waives_and_only_without_requiretls() {
    for (field, expected) in [
        ("TLS-Required: No\r\n", TlsWish::NotRequired),
        ("tls-required:no \r\n", TlsWish::NotRequired),
        ("TLS-Required: Yes\r\n", TlsWish::Unsaid),
        ("X-TLS-Required: No\r\n", TlsWish::Unsaid),
        ("", TlsWish::Unsaid),
    ] {
        assert_eq!(wish(field, RequireTls::No), expected, "{field}");
        assert_eq!(wish(field, RequireTls::Yes), TlsWish::Required, "{field}");
    }
}
