//! Our ARC set (RFC 8617 §5.1), put on last, when nothing changes any more.
//!
//! The IETF is about to call ARC historic; large receivers still ask forwarders for it. So all mail is sealed by default,
//! or what needs it if the operator says so ([`is_wanted`]), and nothing of ours depends on it. Its successor (DKIM2)
//! would be composed in this module's place.

use super::fields;
use super::keys::SignError;
use super::sign::{Field, Signatures, Signer, complete, select};
use crate::config::Sealing;
use crate::mail::canonical::relaxed_field;
use crate::mail::dkim::arc;
use crate::mail::tags::Tags;
use crate::pipeline::parcel::{ArcState, BodyHash, ReceiverHelp};
use crate::telemetry::labels::Label as _;

/// RFC 8617 §4.2.1.
const MAX_INSTANCE: u8 = 50;

/// Whether a message that came with this chain is to get a set. A chain that began is continued whatever its receivers
/// need: whoever began it or went on with it wants its end to be read.
pub(super) fn is_wanted(sealing: Sealing, state: ArcState, help: ReceiverHelp) -> bool {
    match (sealing, help) {
        (Sealing::Off, _) => false,
        (Sealing::On, _) | (Sealing::Needed, ReceiverHelp::Needed) => true,
        (Sealing::Needed, ReceiverHelp::NotNeeded) => state != ArcState::None,
    }
}

/// The three fields, ARC-Seal first, with their CRLFs. `None` for a chain that is not to be continued.
///
/// # Errors
/// When the key makes no signature.
pub(super) fn set(
    fields: &[Field<'_>],
    body_hash: &BodyHash,
    (state, results): (ArcState, &str),
    signer: Signer<'_>,
) -> Result<Option<String>, SignError> {
    let Some((instance, validation)) = next(state) else { return Ok(None) };
    let Some(mut sealed) = covered(state, fields, instance) else { return Ok(None) };
    let Signer { domain, key, timestamp } = signer;
    let (algorithm, selector) = (key.algorithm().label(), &key.selector);

    let results =
        format!("ARC-Authentication-Results: i={instance}; {domain};\r\n\t{}\r\n", fields::methods(results));
    let (names, mut signed) = select(fields, Signatures::Included);
    let message_signature = format!(
        "ARC-Message-Signature: i={instance}; a={algorithm}; c=relaxed/relaxed;\r\n\td={domain}; s={selector};\r\n\t\
         t={timestamp}; h={names};\r\n\tbh={body_hash};\r\n\tb="
    );
    let message_signature = complete(message_signature, &mut signed, key)?;

    push_line(&results, &mut sealed);
    push_line(&message_signature, &mut sealed);
    let seal = format!(
        "ARC-Seal: i={instance}; a={algorithm}; t={timestamp}; cv={validation};\r\n\td={domain}; s={selector};\r\n\tb="
    );
    let seal = complete(seal, &mut sealed, key)?;
    Ok(Some([seal, message_signature, results].concat()))
}

/// The instance to add and its chain validation status (RFC 8617 §4.4, §5.1).
fn next(state: ArcState) -> Option<(u8, &'static str)> {
    match state {
        ArcState::None => Some((1, "none")),
        ArcState::Pass(sets) if sets < MAX_INSTANCE => Some((sets + 1, "pass")),
        ArcState::Fail(sets) if sets < MAX_INSTANCE => Some((sets + 1, "fail")),
        ArcState::Pass(_) | ArcState::Fail(_) | ArcState::Ended => None,
    }
}

/// The earlier sets that a seal covers. RFC 8617 §5.1.2: one that says cv=fail covers its own set only.
fn covered(state: ArcState, fields: &[Field<'_>], instance: u8) -> Option<Vec<u8>> {
    match state {
        ArcState::Pass(_) => sets_below(fields, instance),
        ArcState::None | ArcState::Fail(_) | ArcState::Ended => Some(Vec::new()),
    }
}

/// The relaxed form of all earlier sets, oldest first, each as results, signature, seal (RFC 8617 §5.1.1). `None`
/// unless each is there once. Every field is read once, however many sets there are.
fn sets_below(fields: &[Field<'_>], instance: u8) -> Option<Vec<u8>> {
    const ORDER: [&str; 3] = ["ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"];
    let mut sets = vec![[None; 3]; usize::from(instance.saturating_sub(1))];
    for (name, value) in fields {
        let part = ORDER.iter().position(|part| name.eq_ignore_ascii_case(part.as_bytes()));
        let place =
            part.and_then(|part| Some((usize::from(instance_of(name, value)?).checked_sub(1)?, part)));
        let slot = place.and_then(|(set, part)| sets.get_mut(set)?.get_mut(part));
        if slot.and_then(|slot| slot.replace((name, value))).is_some() {
            return None;
        }
    }
    let mut canonical = Vec::with_capacity(4096);
    for part in sets.into_iter().flatten() {
        let (name, value) = part?;
        relaxed_field(name, value, &mut canonical);
        canonical.extend_from_slice(b"\r\n");
    }
    Some(canonical)
}

/// The instance of an ARC field, as whoever verified the chain read it.
fn instance_of(name: &[u8], value: &[u8]) -> Option<u8> {
    if name.eq_ignore_ascii_case(b"ARC-Authentication-Results") {
        return arc::instance_of_results(value);
    }
    Tags::parse(value).ok()?.get("i")?.parse().ok()
}

fn push_line(field: &str, out: &mut Vec<u8>) {
    let (name, value) = field.split_once(':').unwrap_or((field, ""));
    relaxed_field(name.as_bytes(), value.as_bytes(), out);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "seal_suite_tests.rs"]
mod suite_tests;
