//! What the owner of a domain has to say about a fail (RFC 7208 §6.2).

use super::TIME_LIMIT;
use super::evaluation::{Evaluation, Unexpanded, found};
use crate::clock;
use crate::dns::{Dns, DnsName};
use crate::smtp::reply;
use crate::spf::{Context, Explained, MacroString, Sender};

/// Longest text that is shown, in characters: a reply line or so. It is the words of a stranger.
const MAX_CHARS: usize = 400;

/// Where the explanation of a fail is to be had.
#[derive(Debug, Clone)]
pub struct Explanation {
    sender: Sender,
    found: Unexpanded,
}

impl Explanation {
    pub(super) fn new(sender: Sender, found: Unexpanded) -> Self {
        Self { sender, found }
    }

    /// Who explains: the domain whose record the fail is from. Printable ASCII.
    #[must_use]
    pub fn domain(&self) -> String {
        reply::clean(&String::from_utf8_lossy(&self.found.domain))
    }

    /// Looks the text up and fills in its macros, on behalf of `receiver` (our host name). Printable ASCII, at most 400
    /// characters. `None` when there is none, or several, or none that follows the grammar: "the explanation
    /// string" is then "as if no "exp" modifier was provided" (RFC 7208 §6.2).
    pub async fn fetch(&self, dns: &Dns, receiver: &str) -> Option<String> {
        tokio::time::timeout(TIME_LIMIT, self.look_up(dns, receiver)).await.ok().flatten()
    }

    async fn look_up(&self, dns: &Dns, receiver: &str) -> Option<String> {
        let Self { sender, found: Unexpanded { name, domain } } = self;
        let mut evaluation = Evaluation::new(dns, sender);
        let name = DnsName::from_octets(&evaluation.expand(Some(name), domain).await)?;
        let records = found(dns.txt(&name).await).ok()?;
        let [record] = records.as_slice() else { return None };
        let text = MacroString::explanation(record)?;
        let validated = if text.names_the_client() { evaluation.validated_name(domain).await } else { None };
        let explained = Some(Explained { receiver, at: clock::now() });
        let text = text.text(&Context { sender, domain, validated: validated.as_deref(), explained });
        // RFC 7208 §6.2 wants US-ASCII; what a client said of itself may be anything.
        let text = reply::clean(&String::from_utf8_lossy(&text));
        let text: String = text.trim().chars().take(MAX_CHARS).collect();
        (!text.is_empty()).then_some(text)
    }
}
