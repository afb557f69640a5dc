//! What is said on a link, as messages. Nothing of a message is believed before it is within its bounds.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::link::Progress;
use crate::blocklist::{Finding, Question, ZoneId};
use crate::proto::cluster::v1;
use crate::proto::cluster::v1::{fact, fact_answer, fact_question};

/// Facts of a message: with all their codes some 32 KiB.
pub(super) const MAX_FACTS: usize = 256;
/// Questions of a message.
pub(super) const MAX_QUESTIONS: usize = 256;
/// Answers of a message.
pub(super) const MAX_ANSWERS: usize = 256;

/// What is said at once. A question of a kind that is not known here is none, and is answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Part<Q = Question> {
    pub(super) facts: Vec<(Question, Finding)>,
    pub(super) questions: Vec<(u64, Q)>,
    pub(super) answers: Vec<(u64, Progress)>,
}

/// A message that is none: the peer's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} of a message about facts cannot be")]
pub(super) struct Malformed(&'static str);

impl Part {
    pub(super) fn is_empty(&self) -> bool {
        self.facts.is_empty() && self.questions.is_empty() && self.answers.is_empty()
    }
}

pub(super) fn encode(part: &Part) -> v1::FactsPart {
    let facts = part.facts.iter().filter_map(|(question, finding)| encode_fact(*question, finding));
    let questions = part.questions.iter().map(|(number, question)| v1::FactQuestion {
        number: *number,
        about: Some(fact_question::About::Dnsbl(encode_question(*question))),
    });
    let answers = part
        .answers
        .iter()
        .map(|(number, progress)| v1::FactAnswer { number: *number, answer: Some(encode_answer(progress)) });
    v1::FactsPart {
        header: None,
        facts: facts.collect(),
        questions: questions.collect(),
        answers: answers.collect(),
    }
}

fn encode_question(question: Question) -> v1::DnsblQuestion {
    v1::DnsblQuestion { zone: question.zone.0.to_vec(), address: address(question.ip) }
}

/// Nothing where it is over by now.
fn encode_fact(question: Question, finding: &Finding) -> Option<v1::Fact> {
    let kind = v1::DnsblFinding { question: Some(encode_question(question)), codes: codes(finding) };
    Some(v1::Fact { remaining_ms: remaining_ms(finding)?, kind: Some(fact::Kind::Dnsbl(kind)) })
}

/// An answer's question is known by its number.
fn encode_answer(progress: &Progress) -> fact_answer::Answer {
    let fact = |finding: &Finding| {
        let kind = v1::DnsblFinding { question: None, codes: codes(finding) };
        Some(v1::Fact { remaining_ms: remaining_ms(finding)?, kind: Some(fact::Kind::Dnsbl(kind)) })
    };
    match progress {
        Progress::Asked | Progress::UnderWay => fact_answer::Answer::UnderWay(v1::Blank {}),
        Progress::Answered(finding) => {
            let unknown = fact_answer::Answer::Unknown(v1::Blank {});
            finding.as_ref().and_then(fact).map_or(unknown, fact_answer::Answer::Fact)
        }
    }
}

fn codes(finding: &Finding) -> Vec<u32> {
    finding.codes().iter().map(|code| code.to_bits()).collect()
}

fn remaining_ms(finding: &Finding) -> Option<u64> {
    let left = u64::try_from(finding.remaining()?.as_millis()).unwrap_or(u64::MAX);
    (left > 0).then_some(left)
}

/// The octets of an address.
pub(super) fn address(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

pub(super) fn decode(part: v1::FactsPart) -> Result<Part<Option<Question>>, Malformed> {
    let v1::FactsPart { header, facts, questions, answers } = part;
    if header.is_some() {
        return Err(Malformed("a header within a stream"));
    }
    if facts.len() > MAX_FACTS || questions.len() > MAX_QUESTIONS || answers.len() > MAX_ANSWERS {
        return Err(Malformed("a list"));
    }
    let mut part = Part { facts: Vec::new(), questions: Vec::new(), answers: Vec::new() };
    for fact in facts {
        part.facts.extend(decode_fact(fact)?);
    }
    for v1::FactQuestion { number, about } in questions {
        let question = match about {
            Some(fact_question::About::Dnsbl(question)) => Some(decode_question(&question)?),
            None => None,
        };
        part.questions.push((number, question));
    }
    for v1::FactAnswer { number, answer } in answers {
        part.answers.push((number, decode_answer(answer)?));
    }
    Ok(part)
}

/// Nothing of a later version's kind, and of what is over.
fn decode_fact(fact: v1::Fact) -> Result<Option<(Question, Finding)>, Malformed> {
    let Some(fact::Kind::Dnsbl(v1::DnsblFinding { question, codes })) = fact.kind else { return Ok(None) };
    let question = decode_question(&question.ok_or(Malformed("what a fact is about"))?)?;
    Ok(decode_finding(&codes, fact.remaining_ms)?.map(|finding| (question, finding)))
}

fn decode_answer(answer: Option<fact_answer::Answer>) -> Result<Progress, Malformed> {
    Ok(match answer {
        Some(fact_answer::Answer::UnderWay(_)) => Progress::UnderWay,
        Some(fact_answer::Answer::Fact(v1::Fact {
            remaining_ms,
            kind: Some(fact::Kind::Dnsbl(v1::DnsblFinding { codes, .. })),
        })) => Progress::Answered(decode_finding(&codes, remaining_ms)?),
        Some(fact_answer::Answer::Unknown(_) | fact_answer::Answer::Fact(_)) | None => {
            Progress::Answered(None)
        }
    })
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

fn decode_finding(codes: &[u32], remaining_ms: u64) -> Result<Option<Finding>, Malformed> {
    if remaining_ms == 0 {
        return Ok(None);
    }
    let codes: Vec<Ipv4Addr> = codes.iter().copied().map(Ipv4Addr::from_bits).collect();
    let finding = Finding::new(&codes, Duration::from_millis(remaining_ms));
    finding.map(Some).ok_or(Malformed("an answer's list"))
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
