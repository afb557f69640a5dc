use std::time::UNIX_EPOCH;

use super::*;
use crate::mail::{Address, RecipientRequest};
use crate::pipeline::parcel::{NoAnswer, Silence, TargetKind};
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
        request: RecipientRequest::default(),
    };
    let reverse_path = crate::mail::ReversePath::Null;
    Delivery { target, reverse_path, outcome }
}

/// An outcome by the letter: D delivered, P refused for good, T refused for now, N no answer, U unknown,
/// O open, E open since an earlier transaction, R recorded as delivered, Q in the queue since an earlier
/// transaction, L loop among our own hosts, I a fault of ours, B recorded as refused.
fn outcomes(letters: &str) -> Vec<Delivery> {
    let outcome = |letter| match letter {
        'D' => Outcome::Delivered(upstream(250, "taken")),
        'P' => Outcome::Refused(upstream(550, "no user")),
        'T' => Outcome::Refused(upstream(452, "full")),
        'N' => Outcome::NoAnswer(NoAnswer { silence: Silence::Unreachable, detail: "refused".into() }),
        'U' => Outcome::Unknown { host: "mx".into() },
        'O' => Outcome::AwaitingReply { host: "mx".into(), late: tokio::sync::oneshot::channel().1 },
        'R' => Outcome::Recorded(Recorded::Delivered(upstream(250, "taken before"))),
        'B' => Outcome::Recorded(Recorded::Refused(upstream(554, "refused before"))),
        'E' => Outcome::Recorded(Recorded::Open),
        'Q' => Outcome::Recorded(Recorded::Queued),
        'I' => Outcome::Undeliverable(Refusal::Internal),
        'L' => Outcome::Undeliverable(Refusal::Loop),
        _ => panic!(),
    };
    letters.chars().map(|letter| delivery(outcome(letter))).collect()
}

/// What a decision is, for a table: code, reason, fate, and by index what is recorded, queued, bounced.
type Row = (&'static str, u16, &'static str, Fate, &'static [usize], &'static [usize], &'static [usize]);

const NONE: &[usize] = &[];

/// For a sender that somebody vouches for, where an upstream 4xx is relayed, and the queue takes messages.
const VOUCHED: &[Row] = &[
    ("", 250, "accepted", Fate::Dropped, NONE, NONE, NONE),
    ("D", 250, "upstream", Fate::Forwarded, NONE, NONE, NONE),
    ("DD", 250, "upstream", Fate::Forwarded, NONE, NONE, NONE),
    ("R", 250, "upstream", Fate::Forwarded, NONE, NONE, NONE),
    ("Q", 250, "queued", Fate::Forwarded, NONE, NONE, NONE),
    ("RD", 250, "upstream", Fate::Forwarded, NONE, NONE, NONE),
    ("P", 550, "upstream", Fate::Rejected, NONE, NONE, NONE),
    ("PP", 550, "upstream", Fate::Rejected, NONE, NONE, NONE),
    ("L", 550, "loop", Fate::Rejected, NONE, NONE, NONE),
    ("T", 452, "upstream", Fate::Tempfailed, NONE, NONE, NONE),
    ("PT", 452, "upstream", Fate::Tempfailed, NONE, NONE, NONE),
    ("I", 451, "internal", Fate::Tempfailed, NONE, NONE, NONE),
    ("N", 250, "queued", Fate::Queued, NONE, &[0], NONE),
    ("PN", 250, "queued", Fate::Queued, NONE, &[1], &[0]),
    ("NT", 451, "no_answer", Fate::Tempfailed, NONE, NONE, NONE),
    ("TN", 452, "upstream", Fate::Tempfailed, NONE, NONE, NONE),
    ("DT", 250, "upstream", Fate::Queued, NONE, &[1], NONE),
    ("DP", 250, "upstream", Fate::Forwarded, NONE, NONE, &[1]),
    ("TD", 250, "upstream", Fate::Queued, NONE, &[0], NONE),
    ("PDTN", 250, "upstream", Fate::Queued, NONE, &[2, 3], &[0]),
    ("U", 250, "queued", Fate::Queued, NONE, &[0], NONE),
    ("DU", 250, "upstream", Fate::Queued, NONE, &[1], NONE),
    ("O", 250, "queued", Fate::Queued, NONE, &[0], NONE),
    ("OP", 250, "queued", Fate::Queued, NONE, &[0], &[1]),
    ("OD", 250, "upstream", Fate::Queued, NONE, &[0], NONE),
    ("E", 451, "late_answer", Fate::Tempfailed, NONE, NONE, NONE),
    ("ED", 451, "late_answer", Fate::Tempfailed, &[1], NONE, NONE),
];

/// For a sender that may be forged, or is null: nothing of it is queued before somebody has it, and no
/// refusal is told in a DSN.
const UNVOUCHED: &[Row] = &[
    ("D", 250, "upstream", Fate::Forwarded, NONE, NONE, NONE),
    ("P", 550, "upstream", Fate::Rejected, NONE, NONE, NONE),
    ("N", 451, "no_answer", Fate::Tempfailed, NONE, NONE, NONE),
    ("PN", 451, "no_answer", Fate::Tempfailed, NONE, NONE, NONE),
    ("T", 452, "upstream", Fate::Tempfailed, NONE, NONE, NONE),
    ("DN", 250, "upstream", Fate::Queued, NONE, &[1], NONE),
    ("DP", 250, "upstream", Fate::PartlyRefused, NONE, NONE, NONE),
    ("DPN", 250, "upstream", Fate::PartlyRefused, NONE, &[2], NONE),
    ("UL", 250, "queued", Fate::PartlyRefused, NONE, &[0], NONE),
    ("U", 250, "queued", Fate::Queued, NONE, &[0], NONE),
    ("O", 250, "queued", Fate::Queued, NONE, &[0], NONE),
];

/// Vouched for, and the queue has no room: what nobody has stays with the sender, and records answer for
/// what somebody has.
const NO_QUEUE: &[Row] = &[
    ("D", 250, "upstream", Fate::Forwarded, NONE, NONE, NONE),
    ("P", 550, "upstream", Fate::Rejected, NONE, NONE, NONE),
    ("N", 452, "storage", Fate::Tempfailed, NONE, NONE, NONE),
    ("PN", 452, "storage", Fate::Tempfailed, NONE, NONE, NONE),
    ("T", 452, "upstream", Fate::Tempfailed, NONE, NONE, NONE),
    ("DT", 451, "partly_delivered", Fate::Tempfailed, &[0], NONE, NONE),
    ("DP", 451, "partly_delivered", Fate::Tempfailed, &[0, 1], NONE, NONE),
    ("NRD", 451, "partly_delivered", Fate::Tempfailed, &[2], NONE, NONE),
    ("U", 451, "no_answer", Fate::Tempfailed, NONE, NONE, NONE),
    ("DU", 451, "no_answer", Fate::Tempfailed, &[0], NONE, NONE),
    ("O", 451, "late_answer", Fate::Tempfailed, &[0], NONE, NONE),
    ("OD", 451, "late_answer", Fate::Tempfailed, &[0, 1], NONE, NONE),
    ("OU", 451, "late_answer", Fate::Tempfailed, &[0], NONE, NONE),
];

/// As above, and the queue's disk fails: that is no lack of room (RFC 3463 §3.4).
const NO_DISK: &[Row] = &[
    ("N", 451, "internal", Fate::Tempfailed, NONE, NONE, NONE),
    ("PN", 451, "internal", Fate::Tempfailed, NONE, NONE, NONE),
    ("DT", 451, "partly_delivered", Fate::Tempfailed, &[0], NONE, NONE),
];

fn decided(letters: &str, queue: Queue, vouched: Vouched, on_tempfail: OnTempfail) -> Decision {
    let rules = vec![on_tempfail; letters.len()];
    let policy = Policy { queue, vouched, on_tempfail: &rules, postmaster_url: URL, trace: trace() };
    decide(&outcomes(letters), policy)
}

#[test]
fn one_reply_for_several_outcomes() {
    let tables = [
        (VOUCHED, Queue::Takes, Vouched::Yes),
        (UNVOUCHED, Queue::Takes, Vouched::No),
        (NO_QUEUE, Queue::Refuses(NotQueued::NoRoom), Vouched::Yes),
        (NO_DISK, Queue::Refuses(NotQueued::Failed), Vouched::Yes),
    ];
    for (table, queue, vouched) in tables {
        for (letters, code, reason, fate, recorded, queued, bounced) in table {
            let decision = decided(letters, queue, vouched, OnTempfail::Relay);
            let case = format!("{letters} {queue:?} {vouched:?}");
            assert_eq!((decision.reply.code, decision.reply.reason), (*code, *reason), "{case}");
            assert_eq!(decision.fate, *fate, "{case}");
            let indices: Vec<usize> = decision.records.iter().map(|(index, _)| *index).collect();
            assert_eq!(indices, *recorded, "{case}");
            assert_eq!((&decision.queued[..], &decision.bounced[..]), (*queued, *bounced), "{case}");
        }
    }
}

#[test]
fn on_tempfail_queues_an_upstream_4xx_for_senders_that_are_vouched_for() {
    for on_tempfail in [OnTempfail::Queue, OnTempfail::Verified] {
        let decision = decided("TPN", Queue::Takes, Vouched::Yes, on_tempfail);
        assert_eq!((decision.reply.code, decision.queued), (250, vec![0, 2]), "{on_tempfail:?}");
        let decision = decided("T", Queue::Takes, Vouched::No, on_tempfail);
        assert_eq!((decision.reply.code, decision.queued), (452, vec![]), "{on_tempfail:?}");
    }
}

#[test]
fn an_upstream_421_never_counts_as_a_word_about_the_message() {
    let outcome = [delivery(Outcome::Refused(upstream(421, "go away")))];
    let policy = Policy {
        queue: Queue::Takes,
        vouched: Vouched::Yes,
        on_tempfail: &[OnTempfail::Relay],
        postmaster_url: URL,
        trace: trace(),
    };
    let decision = decide(&outcome, policy);
    assert_eq!((decision.reply.code, decision.reply.reason), (451, "upstream_trouble"));
}

/// How a copy ends, as far as the decision says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Its upstream has it, or our queue since an earlier transaction.
    Delivered,
    /// The queue takes it.
    Queued,
    /// A DSN tells the sender.
    Bounced,
    /// Nobody tells the sender; the operator is told.
    Untold,
}

/// Every ending that the decision gives to a copy, where the client hears 250.
fn endings(decision: &Decision, copy: usize, letter: char) -> Vec<Ending> {
    let untold: Vec<usize> = decision.untold.iter().map(|(index, _)| *index).collect();
    let found = [
        (Ending::Delivered, "DRQ".contains(letter)),
        (Ending::Queued, decision.queued.contains(&copy)),
        (Ending::Bounced, decision.bounced.contains(&copy)),
        (Ending::Untold, untold.contains(&copy)),
    ];
    found.into_iter().filter(|(_, is_so)| *is_so).map(|(ending, _)| ending).collect()
}

/// Up to three copies with every outcome there is.
fn all_outcomes() -> Vec<String> {
    let mut all = vec![String::new()];
    for length in 0..3 {
        let longest: Vec<String> = all.iter().filter(|letters| letters.len() == length).cloned().collect();
        all.extend(
            longest.iter().flat_map(|letters| "DPTNUOREQILB".chars().map(move |l| format!("{letters}{l}"))),
        );
    }
    all
}

#[test]
fn no_copy_ends_without_an_ending_and_none_with_two() {
    let queues = [Queue::Takes, Queue::Refuses(NotQueued::NoRoom), Queue::Refuses(NotQueued::Failed)];
    let senders = [Vouched::Yes, Vouched::No];
    let rules = [OnTempfail::Relay, OnTempfail::Queue, OnTempfail::Verified];
    let mut decided_on = 0;
    for letters in all_outcomes() {
        for queue in queues {
            for vouched in senders {
                for on_tempfail in rules {
                    let decision = decided(&letters, queue, vouched, on_tempfail);
                    let wrong = wrong(&letters, &decision, vouched);
                    assert_eq!(wrong, None, "{letters} {queue:?} {vouched:?} {on_tempfail:?}: {decision:?}");
                    decided_on += 1;
                }
            }
        }
    }
    assert_eq!(decided_on, (1 + 12 + 144 + 1728) * 18);
}

/// What is wrong with a decision.
fn wrong(letters: &str, decision: &Decision, vouched: Vouched) -> Option<String> {
    let recorded: Vec<usize> = decision.records.iter().map(|(index, _)| *index).collect();
    if decision.fate == Fate::PartlyRefused && decision.untold.is_empty() {
        return Some("partly refused, and every refusal is told".into());
    }
    for (copy, letter) in letters.chars().enumerate() {
        let endings = endings(decision, copy, letter);
        let is_right = match decision.reply.code {
            250 => match endings[..] {
                [Ending::Untold] => vouched == Vouched::No && decision.fate == Fate::PartlyRefused,
                [Ending::Bounced] => vouched == Vouched::Yes,
                [Ending::Delivered | Ending::Queued] => true,
                _ => false,
            },
            // The reply tells of each copy that it was refused.
            500..600 => endings.is_empty() && "PLB".contains(letter),
            // The sender keeps the message: what somebody has, or may have soon, its retry does not reach.
            400..500 => match letter {
                'D' | 'O' => recorded.contains(&copy),
                _ => endings.is_empty() || "RQ".contains(letter),
            },
            _ => false,
        };
        if !is_right {
            return Some(format!("copy {copy}, {letter}: {endings:?}"));
        }
    }
    None
}
