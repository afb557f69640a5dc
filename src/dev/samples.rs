//! Owns the four samples: what is sent, and what must become of it.

use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use super::DevError;
use super::check::{self, Check};
use super::client::{self, Exchange, Letter};
use super::keys::signature;
use super::sink::Kept;
use super::transcript::Transcript;
use super::world::{LISTED, SELECTOR, SENDER, SPOOFER, World, millis};
use crate::mail::{Address, date};

/// What a sample is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Forwarded,
    Spoofed,
    Listed,
    Tempfailed,
}

struct Sample {
    kind: Kind,
    title: &'static str,
    from_ip: IpAddr,
    helo: &'static str,
    reverse_path: &'static str,
    recipient: &'static str,
}

const SAMPLES: &[Sample] = &[
    Sample {
        kind: Kind::Forwarded,
        title: "a DKIM-signed message is forwarded",
        from_ip: SENDER,
        helo: "mail.sender.test",
        reverse_path: "alice@sender.test",
        recipient: "info@example.com",
    },
    Sample {
        kind: Kind::Spoofed,
        title: "a spoofed message is refused: sender.test publishes p=reject",
        from_ip: SPOOFER,
        helo: "spoofer.test",
        reverse_path: "ceo@sender.test",
        recipient: "info@example.com",
    },
    Sample {
        kind: Kind::Listed,
        title: "a listed client is refused",
        from_ip: LISTED,
        helo: "mail.sender.test",
        reverse_path: "alice@sender.test",
        recipient: "info@example.com",
    },
    Sample {
        kind: Kind::Tempfailed,
        title: "the destination is busy, and the sender hears it",
        from_ip: SENDER,
        helo: "mail.sender.test",
        reverse_path: "alice@sender.test",
        recipient: "busy@example.com",
    },
];

/// Sends every sample, in turn to every node, and prints what became of it. Answers how many went as they
/// must, and of how many.
pub(super) async fn run_all(world: &mut World, now: SystemTime) -> Result<(usize, usize), DevError> {
    let mut right = 0;
    for (number, sample) in SAMPLES.iter().enumerate() {
        let node = number % world.nodes.len().max(1);
        let (text, as_it_must) = run(world, sample, node, now).await?;
        println!("sample {}  {}\n{text}", number + 1, sample.title);
        right += usize::from(as_it_must);
    }
    Ok((right, SAMPLES.len()))
}

async fn run(
    world: &mut World,
    sample: &Sample,
    node: usize,
    now: SystemTime,
) -> Result<(String, bool), DevError> {
    let letter = sample.letter(world, now)?;
    let Some((name, node)) = world.nodes.get(node) else { return Ok((String::new(), false)) };
    let smtp = node.addresses().smtp.first().copied().ok_or(DevError::NoListener)?;
    let mut transcript = Transcript::new();
    transcript.way(sample.from_ip, name, smtp);
    let start = Instant::now();
    let exchanges = client::send(&letter, smtp).await?;
    let took = millis(start.elapsed());
    transcript.dialogue(&exchanges);
    if matches!(sample.kind, Kind::Forwarded | Kind::Tempfailed) {
        transcript.route(node, &Address::parse(sample.recipient)?);
    }
    let kept = world.sink.take();
    for check in sample.checks(world, &letter, &exchanges, &kept).await? {
        transcript.check(&check);
    }
    Ok(transcript.end(&took))
}

impl Sample {
    fn letter(&self, world: &World, now: SystemTime) -> Result<Letter, DevError> {
        let (from, to, kind) = (self.reverse_path, self.recipient, self.kind);
        let name = format!("{kind:?}");
        let text = text((from, to), (&name, &name), now);
        let signature = match kind {
            Kind::Forwarded => signature(&world.sender_key, "sender.test", SELECTOR, text.as_bytes())?,
            Kind::Spoofed | Kind::Listed | Kind::Tempfailed => String::new(),
        };
        Ok(Letter {
            from_ip: self.from_ip,
            helo: self.helo.to_owned(),
            reverse_path: from.to_owned(),
            recipient: to.to_owned(),
            message: (signature + &text).into_bytes(),
        })
    }

    async fn checks(
        &self,
        world: &World,
        letter: &Letter,
        exchanges: &[Exchange],
        kept: &[Kept],
    ) -> Result<Vec<Check>, DevError> {
        let reply = |code: u16, parts: &[&str]| check::reply(exchanges, code, parts);
        let nothing =
            Check { what: "the sink got", found: format!("{} messages", kept.len()), holds: kept.is_empty() };
        Ok(match self.kind {
            Kind::Forwarded => {
                let mut checks = vec![reply(250, &["sink kept", "upstream mx.dest.test"])];
                checks.extend(check::forwarded(&world.lookups, letter, kept).await?);
                checks
            }
            Kind::Spoofed => vec![reply(550, &["DMARC", "sender.test", "(trace "]), nothing],
            Kind::Listed => {
                vec![reply(554, &["127.0.0.66 found on one or more DNSBLs (dnsbl.test)"]), nothing]
            }
            Kind::Tempfailed => vec![reply(451, &["mailbox is busy", "upstream mx.dest.test"]), nothing],
        })
    }
}

/// The text of a message from one address to another, with this subject and local part of its Message-ID.
pub(super) fn text((from, to): (&str, &str), (subject, id): (&str, &str), now: SystemTime) -> String {
    format!(
        "From: <{from}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nDate: {}\r\nMessage-ID: <{id}@dev>\r\n\
         \r\nHello from the demo world of Postroad.\r\n",
        date::rfc5322(now)
    )
}
