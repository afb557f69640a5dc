//! What is said on a link, as messages. Nothing of a message is believed before it is within its bounds.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::kept::Lasting;
use super::kinds::{About, Fact, Found, Lasted};
use super::link::{Answer, Progress};
use super::records::{decode_record, encode_record};
use crate::blocklist::{Finding, Question, ZoneId};
use crate::mail::Address;
use crate::proto::cluster::v1;
use crate::proto::cluster::v1::{fact, fact_answer, fact_question};
use crate::srs::AliasToken;

/// Facts of a message: with all their text some 256 KiB.
pub(super) const MAX_FACTS: usize = 256;
/// Questions of a message.
pub(super) const MAX_QUESTIONS: usize = 256;
/// Answers of a message.
pub(super) const MAX_ANSWERS: usize = 256;

/// What is said at once. A question of a kind that is not known here is none, and is answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Part<Q = About> {
    pub(super) facts: Vec<Fact>,
    pub(super) questions: Vec<(u64, Q)>,
    pub(super) answers: Vec<(u64, Progress)>,
    /// Whose it is.
    pub(super) process: u64,
}

/// A message that is none: the peer's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} of a message about facts cannot be")]
pub(super) struct Malformed(pub(super) &'static str);

impl Part {
    pub(super) fn is_empty(&self) -> bool {
        self.facts.is_empty() && self.questions.is_empty() && self.answers.is_empty()
    }
}

pub(super) fn encode(part: &Part) -> v1::FactsPart {
    let questions = part
        .questions
        .iter()
        .map(|(number, about)| v1::FactQuestion { number: *number, about: Some(encode_about(about)) });
    let answers = part
        .answers
        .iter()
        .map(|(number, progress)| v1::FactAnswer { number: *number, answer: Some(encode_answer(progress)) });
    v1::FactsPart {
        header: None,
        facts: part.facts.iter().filter_map(encode_fact).collect(),
        questions: questions.collect(),
        answers: answers.collect(),
        process: part.process,
    }
}

fn encode_about(about: &About) -> fact_question::About {
    match about {
        About::Verdict(question) => fact_question::About::Dnsbl(encode_question(*question)),
        About::Original(token) => fact_question::About::ReturnAddress(token.as_str().to_owned()),
    }
}

fn encode_question(question: Question) -> v1::DnsblQuestion {
    v1::DnsblQuestion { zone: question.zone.0.to_vec(), address: address(question.ip) }
}

/// Nothing where it is over by now.
fn encode_fact(fact: &Fact) -> Option<v1::Fact> {
    let (remaining, kind) = match fact {
        Fact::Verdict(question, finding) => {
            let question = Some(encode_question(*question));
            let found = v1::DnsblFinding { question, codes: codes(finding) };
            (Lasting::remaining(finding), fact::Kind::Dnsbl(found))
        }
        Fact::Delivery(key, told) => (told.remaining(), fact::Kind::Delivery(encode_record(*key, told))),
        Fact::Original(token, lasted) => {
            let (token, original) = (token.as_str().to_owned(), lasted.original.to_string());
            (lasted.remaining(), fact::Kind::ReturnAddress(v1::ReturnAddress { token, original }))
        }
    };
    Some(v1::Fact { remaining_ms: millis(remaining?)?, kind: Some(kind) })
}

/// An answer's question is known by its number.
fn encode_answer(progress: &Progress) -> fact_answer::Answer {
    let unknown = || fact_answer::Answer::Unknown(v1::Blank {});
    match progress {
        Progress::Asked | Progress::UnderWay => fact_answer::Answer::UnderWay(v1::Blank {}),
        Progress::Answered(Answer::Unknown) => unknown(),
        Progress::Answered(Answer::NotLooked) => fact_answer::Answer::NotLooked(v1::Blank {}),
        Progress::Answered(Answer::Found(found)) => {
            encode_found(found).map_or_else(unknown, fact_answer::Answer::Fact)
        }
    }
}

/// Nothing where it is over by now.
fn encode_found(found: &Found) -> Option<v1::Fact> {
    let (remaining_ms, kind) = match found {
        Found::Verdict(finding) => {
            let kind = v1::DnsblFinding { question: None, codes: codes(finding) };
            (millis(finding.remaining()?)?, fact::Kind::Dnsbl(kind))
        }
        // Whoever asks keeps it for as long as such an address is good.
        Found::Original(original) => {
            let (token, original) = (String::new(), original.to_string());
            (u64::MAX, fact::Kind::ReturnAddress(v1::ReturnAddress { token, original }))
        }
    };
    Some(v1::Fact { remaining_ms, kind: Some(kind) })
}

fn codes(finding: &Finding) -> Vec<u32> {
    finding.codes().iter().map(|code| code.to_bits()).collect()
}

/// Nothing where it is none.
fn millis(remaining: Duration) -> Option<u64> {
    let left = u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX);
    (left > 0).then_some(left)
}

/// The octets of an address.
pub(super) fn address(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

pub(super) fn decode(part: v1::FactsPart) -> Result<Part<Option<About>>, Malformed> {
    let v1::FactsPart { header, facts, questions, answers, process } = part;
    if header.is_some() {
        return Err(Malformed("a header within a stream"));
    }
    if facts.len() > MAX_FACTS || questions.len() > MAX_QUESTIONS || answers.len() > MAX_ANSWERS {
        return Err(Malformed("a list"));
    }
    let mut part = Part { facts: Vec::new(), questions: Vec::new(), answers: Vec::new(), process };
    for fact in facts {
        part.facts.extend(decode_fact(fact)?);
    }
    for v1::FactQuestion { number, about } in questions {
        let about = match about {
            Some(fact_question::About::Dnsbl(question)) => Some(About::Verdict(decode_question(&question)?)),
            Some(fact_question::About::ReturnAddress(token)) => Some(About::Original(decode_token(&token)?)),
            None => None,
        };
        part.questions.push((number, about));
    }
    for v1::FactAnswer { number, answer } in answers {
        part.answers.push((number, decode_answer(answer)?));
    }
    Ok(part)
}

/// Nothing of a later version's kind, and of what is over.
fn decode_fact(fact: v1::Fact) -> Result<Option<Fact>, Malformed> {
    let remaining = Duration::from_millis(fact.remaining_ms);
    Ok(match fact.kind {
        Some(fact::Kind::Dnsbl(v1::DnsblFinding { question, codes })) => {
            let question = decode_question(&question.ok_or(Malformed("what a fact is about"))?)?;
            decode_finding(&codes, remaining)?.map(|finding| Fact::Verdict(question, finding))
        }
        Some(fact::Kind::Delivery(record)) => {
            decode_record(record, remaining)?.map(|(key, told)| Fact::Delivery(key, told))
        }
        Some(fact::Kind::ReturnAddress(v1::ReturnAddress { token, original })) => {
            let token = decode_token(&token)?;
            let lasted = Lasted::new(decode_original(&original)?, remaining);
            lasted.map(|lasted| Fact::Original(token, lasted))
        }
        None => None,
    })
}

fn decode_answer(answer: Option<fact_answer::Answer>) -> Result<Progress, Malformed> {
    let answer = match answer {
        Some(fact_answer::Answer::UnderWay(_)) => return Ok(Progress::UnderWay),
        Some(fact_answer::Answer::Fact(fact)) => decode_found(fact)?,
        Some(fact_answer::Answer::Unknown(_)) => Answer::Unknown,
        Some(fact_answer::Answer::NotLooked(_)) | None => Answer::NotLooked,
    };
    Ok(Progress::Answered(answer))
}

fn decode_found(fact: v1::Fact) -> Result<Answer, Malformed> {
    let found = match fact.kind {
        Some(fact::Kind::Dnsbl(v1::DnsblFinding { codes, .. })) => {
            decode_finding(&codes, Duration::from_millis(fact.remaining_ms))?.map(Found::Verdict)
        }
        Some(fact::Kind::ReturnAddress(v1::ReturnAddress { original, .. })) => {
            Some(Found::Original(decode_original(&original)?))
        }
        Some(fact::Kind::Delivery(_)) | None => return Ok(Answer::NotLooked),
    };
    Ok(found.map_or(Answer::Unknown, Answer::Found))
}

fn decode_question(question: &v1::DnsblQuestion) -> Result<Question, Malformed> {
    let zone = question.zone.as_slice().try_into().map_err(|_| Malformed("a zone"))?;
    let octets = question.address.as_slice();
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let ip = v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from));
    let ip = ip.map_err(|_| Malformed("an address"))?;
    // A mapped address is the IPv4 address that it is, everywhere.
    Ok(Question { zone: ZoneId(zone), ip: ip.to_canonical() })
}

fn decode_finding(codes: &[u32], remaining: Duration) -> Result<Option<Finding>, Malformed> {
    if remaining.is_zero() {
        return Ok(None);
    }
    let codes: Vec<Ipv4Addr> = codes.iter().copied().map(Ipv4Addr::from_bits).collect();
    Finding::new(&codes, remaining).map(Some).ok_or(Malformed("an answer's list"))
}

fn decode_token(token: &str) -> Result<AliasToken, Malformed> {
    AliasToken::parse(token).ok_or(Malformed("the token of a return address"))
}

fn decode_original(original: &str) -> Result<Address, Malformed> {
    Address::parse(original).map_err(|_| Malformed("the original of a return address"))
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
