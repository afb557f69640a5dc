use std::time::UNIX_EPOCH;

use super::*;
use crate::mail::Address;
use crate::pipeline::parcel::{NoAnswer, TargetKind};
use crate::pipeline::refusal::Refusal;
use crate::smtp::reply::Enhanced;

const URL: &str = "https://relay.example/postmaster";

fn trace() -> TraceId {
    TraceId::new(UNIX_EPOCH, 7)
}

fn upstream(code: u16, text: &str) -> UpstreamReply {
    let class = u8::try_from(code / 100).unwrap();
    let reply =
        Reply { code, enhanced: Some(Enhanced(class, 1, 1)), reason: "upstream", lines: vec![text.into()] };
    UpstreamReply { host: "mx.dest.example".into(), reply }
}

/// A copy for ana@dest.example, known to the sender as info@example.com.
fn delivery(outcome: Outcome) -> Delivery {
    let target = Target {
        alias: Address::parse("info@example.com").unwrap(),
        destination: Address::parse("ana@dest.example").unwrap(),
        kind: TargetKind::Forward,
    };
    Delivery { target, outcome }
}

/// An outcome by the letter: D delivered, P refused for good, T refused for now, N no answer, U unknown,
/// O open, R recorded as delivered, L loop among our own hosts.
fn outcomes(letters: &str) -> Vec<Delivery> {
    let outcome = |letter| match letter {
        'D' => Outcome::Delivered(upstream(250, "taken")),
        'P' => Outcome::Refused(upstream(550, "no user")),
        'T' => Outcome::Refused(upstream(452, "full")),
        'N' => Outcome::NoAnswer(NoAnswer { detail: "refused".into() }),
        'U' => Outcome::Unknown { host: "mx".into() },
        'O' => Outcome::AwaitingReply { host: "mx".into(), late: tokio::sync::oneshot::channel().1 },
        'R' => Outcome::Recorded(Recorded::Delivered(upstream(250, "taken before"))),
        'L' => Outcome::Undeliverable(Refusal::Loop),
        _ => panic!(),
    };
    letters.chars().map(|letter| delivery(outcome(letter))).collect()
}

/// Outcomes, the reply's code, its reason, and which copies are recorded.
const TABLE: &[(&str, u16, &str, &[usize])] = &[
    ("", 250, "accepted", &[]),
    ("D", 250, "upstream", &[]),
    ("DD", 250, "upstream", &[]),
    ("R", 250, "upstream", &[]),
    ("RD", 250, "upstream", &[]),
    ("P", 550, "upstream", &[]),
    ("PP", 550, "upstream", &[]),
    ("L", 550, "loop", &[]),
    ("T", 452, "upstream", &[]),
    ("PT", 452, "upstream", &[]),
    ("N", 451, "no_answer", &[]),
    ("PN", 451, "no_answer", &[]),
    ("NT", 451, "no_answer", &[]),
    ("TN", 452, "upstream", &[]),
    ("DT", 451, "partly_delivered", &[0]),
    ("DP", 451, "partly_delivered", &[0, 1]),
    ("TD", 451, "partly_delivered", &[1]),
    ("NRD", 451, "partly_delivered", &[2]),
    ("U", 451, "no_answer", &[]),
    ("DU", 451, "no_answer", &[0]),
    ("O", 451, "late_answer", &[0]),
    ("OD", 451, "late_answer", &[0, 1]),
    ("OP", 451, "late_answer", &[0, 1]),
    ("OU", 451, "late_answer", &[0]),
];

#[test]
fn one_reply_for_several_outcomes() {
    for (letters, code, reason, recorded) in TABLE {
        let decision = decide(&outcomes(letters), URL, trace());
        assert_eq!((decision.reply.code, decision.reply.reason), (*code, *reason), "{letters}");
        let indices: Vec<usize> = decision.records.iter().map(|(index, _)| *index).collect();
        assert_eq!(indices, *recorded, "{letters}");
    }
}

#[test]
fn the_fate_follows_the_reply() {
    for (letters, fate) in
        [("", Fate::Dropped), ("D", Fate::Forwarded), ("P", Fate::Rejected), ("DT", Fate::Tempfailed)]
    {
        assert_eq!(decide(&outcomes(letters), URL, trace()).fate, fate, "{letters}");
    }
}

#[test]
fn an_upstream_421_never_counts_as_a_word_about_the_message() {
    let decision = decide(&[delivery(Outcome::Refused(upstream(421, "go away")))], URL, trace());
    assert_eq!((decision.reply.code, decision.reply.reason), (451, "upstream_trouble"));
}
