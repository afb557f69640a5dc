//! Tag lists: any octets are one or refused; one more tag of a name that is there spoils the list, one that nobody knows
//! changes nothing. Then whatever is made of lists: signatures, keys, the ARC sets of a header section.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad::mail::dkim::{Algorithm, Key, Section, Signature, arc};
use postroad::mail::tags::{self, Tags};

fuzz_target!(|octets: &[u8]| {
    let _ = arc::Chain::read(&Section::new(octets));
    let _ = Key::parse(octets, Algorithm::RsaSha256);
    let Ok(list) = Tags::parse(octets) else { return };
    let _ = (Signature::of_dkim(&list), Signature::of_arc(&list));
    let open = octets.strip_suffix(b"\r\n").unwrap_or(octets);
    let separator: &[u8] = if open.trim_ascii_end().ends_with(b";") { b"" } else { b";" };
    let extended = |tag: &[u8]| [open, separator, tag].concat();
    for name in ["v", "a", "b", "d", "h", "s", "i"] {
        let Some(value) = list.get(name) else { continue };
        assert_eq!(&octets[list.span(name).unwrap()].trim_ascii(), &value.as_bytes(), "{name}");
        assert!(Tags::parse(&extended(format!("{name}=x").as_bytes())).is_err());
        let more = extended(b"zz9=x");
        if let Ok(longer) = Tags::parse(&more) {
            assert_eq!(longer.get(name), Some(value));
        }
        let _ = (tags::number(value), tags::unquoted(value), tags::items(value).count());
    }
});
