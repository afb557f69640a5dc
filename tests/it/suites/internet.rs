//! A world for one set of records: the node believes PROXY headers, so that clients can have any address, and its
//! DNS server has a root zone, so that every name can have records.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use postroad::config::DmarcMode;
use postroad::dev::dns::{Data, DnsServer};

use crate::support::{Client, Heard, World};

/// From where the client, as its own proxy, connects.
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What the node does with what it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// `dmarc = "monitor"` and `require_pass = false`: everything arrives with its results.
    Monitor,
    /// The defaults.
    Enforce,
}

/// One world.
pub(super) struct Internet {
    pub(super) world: World,
}

/// A message and how it is sent.
pub(super) struct Letter<'a> {
    pub(super) client_ip: IpAddr,
    pub(super) helo: &'a str,
    /// What stands between the brackets of MAIL FROM.
    pub(super) reverse_path: &'a str,
    /// What stands behind them.
    pub(super) parameters: &'a str,
    /// With CRLFs.
    pub(super) octets: &'a [u8],
}

/// What became of it.
pub(super) struct Outcome {
    /// The reply to the dot, or the refusal before it.
    pub(super) reply: Heard,
    /// Whether MAIL was refused: the reverse-path is no address.
    pub(super) mail_refused: bool,
    /// What arrived.
    pub(super) arrived: Option<Vec<u8>>,
}

impl Internet {
    pub(super) async fn start(mode: Mode) -> Self {
        let world = World::with(|config| {
            config.smtp.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
            if mode == Mode::Monitor {
                config.authentication.dmarc = DmarcMode::Monitor;
                config.authentication.require_pass = false;
            }
        })
        .await;
        world.dns.add_zone(".", "").unwrap();
        Self { world }
    }

    /// Sends a letter to an alias, in a session of its own, and waits for its reply.
    pub(super) async fn send(&self, letter: &Letter<'_>) -> Outcome {
        let before = self.world.mx.received().len();
        let (reply, mail_refused) = self.converse(letter).await;
        let arrived = self.world.mx.received().into_iter().nth(before).map(|received| received.octets);
        Outcome { reply, mail_refused, arrived }
    }

    async fn converse(&self, letter: &Letter<'_>) -> (Heard, bool) {
        let mut client = Client::connect(PROXY, self.world.smtp).await;
        let ip = letter.client_ip;
        let (family, node) = if ip.is_ipv4() { ("TCP4", "127.0.0.1") } else { ("TCP6", "::1") };
        client.send(&format!("PROXY {family} {ip} {node} 1025 25")).await;
        client.expect("220").await;
        client.command(&format!("EHLO {}", letter.helo), "250").await;
        let mail = format!("MAIL FROM:<{}> {}", letter.reverse_path, letter.parameters);
        let mail = client.exchange(mail.trim_end()).await;
        if mail.code() != 250 {
            return (mail, true);
        }
        let rcpt = client.exchange("RCPT TO:<info@ours.example>").await;
        let reply = if rcpt.code() == 250 { client.data_octets(letter.octets).await } else { rcpt };
        (reply, false)
    }
}

impl Letter<'static> {
    /// Whose sender nobody has a word on; the message is still to be put in.
    pub(super) fn ordinary() -> Self {
        Self {
            client_ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)),
            helo: "out.sender.test",
            reverse_path: "ann@author.test",
            parameters: "",
            octets: b"",
        }
    }
}

impl Outcome {
    /// The methods of the node's Authentication-Results field, on one line.
    pub(super) fn results(&self) -> String {
        let results = self.fields("Authentication-Results");
        let ours = results.iter().find_map(|value| value.strip_prefix("email.relay.example;"));
        ours.map_or_else(String::new, |methods| methods.trim().to_owned())
    }

    /// The values of all fields of a name in what arrived, from the top, each on one line.
    pub(super) fn fields(&self, name: &str) -> Vec<String> {
        fields(self.arrived.as_deref().unwrap_or_default(), name)
    }
}

/// The values of all fields of a name in a message, from the top, white space folded into single spaces.
pub(super) fn fields(message: &[u8], name: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(message);
    let head = text.split_once("\r\n\r\n").map_or(&*text, |(head, _)| head);
    let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let named = unfolded.split("\r\n").filter_map(|field| field.split_once(':'));
    let named = named.filter(|(found, _)| found.trim_end().eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The octets that a text of the data stands for: a character up to U+00FF is an octet, as the escapes of the
/// openspf suites mean it.
pub(super) fn octets(text: &str) -> Vec<u8> {
    let mut octets = Vec::with_capacity(text.len());
    for character in text.chars() {
        match u8::try_from(character) {
            Ok(octet) => octets.push(octet),
            Err(_) => octets.extend(character.to_string().as_bytes()),
        }
    }
    octets
}

/// Publishes a record of a name that may hold any octet.
pub(super) fn publish(dns: &DnsServer, name: &str, data: &Data<'_>) {
    dns.publish(&octets(name), data).unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// Publishes the keys of an ARC suite, their lines joined: line feeds are the file's and not white space of the
/// record's (RFC 6376 §2.8).
pub(super) fn publish_keys(dns: &DnsServer, keys: &BTreeMap<String, String>) {
    for (name, text) in keys {
        publish(dns, name, &Data::Txt(&[text.replace('\n', "").as_bytes()]));
    }
}

/// A message of a suite as it is on the wire: lines end in CRLF.
pub(super) fn wire(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}
