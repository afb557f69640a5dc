//! SPF macros: any text is a macro string or none; a name that comes of one is short enough to be asked for, and what is
//! no macro stays as it is.
#![no_main]

use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use postroad::spf::{Context, Explained, MAX_NAME_OCTETS, MacroString, Sender, select};

/// What the client chose, and the text of the domain's owner.
type Input<'a> = (&'a str, &'a str, &'a [u8], u128, &'a [u8]);

fuzz_target!(|input: Input<'_>| {
    let (helo, local, domain, ip, text) = input;
    let ip = std::net::IpAddr::V6(ip.into()).to_canonical();
    let sender = Sender { ip, helo: helo.into(), local: local.into(), domain: "sender.example".into() };
    let explained = Some(Explained { receiver: "mx.example", at: SystemTime::UNIX_EPOCH });
    let context = Context { sender: &sender, domain, validated: Some(domain), explained };
    if let Some(parsed) = MacroString::explanation(text) {
        let said = parsed.text(&context);
        assert!(text.contains(&b'%') || text.starts_with(&said));
    }
    let record = [b"v=spf1 redirect=", text].concat();
    if let Ok(Some(record)) = select(&[record])
        && let Some(target) = record.redirect
    {
        let name = target.name(&context);
        assert!(name.len() <= MAX_NAME_OCTETS);
        let said = target.text(&context);
        assert!(said.len() > 2000 || said.strip_suffix(b".").unwrap_or(&said).ends_with(&name));
    }
});
