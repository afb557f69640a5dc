//! What a node says of itself in Hello.

use std::time::{Duration, SystemTime};

use super::super::super::founding::{
    Answer, Disk, LogId, Membership, Origin, Seen, Stage, Standing, State, Table, Terms,
};
use super::super::node::{Greeting, Report, TableDigest};
use super::{
    Malformed, bounded, decode_cluster, decode_digest, decode_members, decode_name, decode_optional_cluster,
    encode_cluster, encode_members,
};
use crate::proto::cluster::v1;
use crate::proto::cluster::v1::disk_summary as summary;

/// Longest version of Postroad, and longest key of a setting, in octets.
const MAX_WORD_OCTETS: usize = 128;

pub(in super::super) fn encode_greeting(greeting: &Greeting) -> v1::Greeting {
    let Greeting { answer, report } = greeting;
    v1::Greeting {
        disk: Some(encode_disk(&answer.disk)),
        terms: Some(encode_terms(&answer.terms)),
        incarnation: answer.incarnation,
        seen: answer.seen.as_ref().map(encode_seen),
        report: Some(encode_report(report)),
    }
}

pub(in super::super) fn decode_greeting(greeting: Option<v1::Greeting>) -> Result<Greeting, Malformed> {
    let greeting = greeting.ok_or(Malformed("what a node says of itself"))?;
    let answer = Answer {
        disk: decode_disk(greeting.disk)?,
        terms: decode_terms(greeting.terms)?,
        incarnation: greeting.incarnation,
        seen: greeting.seen.map(|seen| decode_seen(&seen)).transpose()?,
    };
    Ok(Greeting { answer, report: decode_report(greeting.report.unwrap_or_default())? })
}

pub(in super::super) fn encode_terms(terms: &Terms) -> v1::Terms {
    let names = terms.names.iter().map(ToString::to_string).collect();
    v1::Terms { names, domain: terms.domain.to_vec() }
}

pub(in super::super) fn decode_terms(terms: Option<v1::Terms>) -> Result<Terms, Malformed> {
    let terms = terms.ok_or(Malformed("what a file says"))?;
    let names = bounded(&terms.names, "a list of names")?.iter();
    let names = names.map(|name| decode_name(name)).collect::<Result<_, _>>()?;
    Ok(Terms { names, domain: decode_digest(&terms.domain)? })
}

fn encode_disk(disk: &Disk) -> v1::DiskSummary {
    let standing = match &disk.standing {
        Standing::Blank => summary::Standing::Blank(v1::Blank {}),
        Standing::OldTable => summary::Standing::OldTable(summary::OldTable {}),
        Standing::Consenting { cluster, founder } => summary::Standing::Consenting(summary::Consenting {
            cluster: encode_cluster(*cluster),
            founder: founder.to_string(),
        }),
        Standing::Founding { cluster, list, table } => summary::Standing::Founding(summary::Founding {
            cluster: encode_cluster(*cluster),
            list: encode_members(list),
            with_old_table: *table == Table::Old,
        }),
        Standing::State(state) => summary::Standing::State(encode_state(state)),
    };
    v1::DiskSummary {
        id: disk.id.0,
        vote: disk.vote,
        spent: disk.spent.map(encode_cluster).unwrap_or_default(),
        standing: Some(standing),
    }
}

fn encode_state(state: &State) -> summary::State {
    let Membership { voters, learners, stage } = &state.membership;
    let (proposed, before) = match stage {
        Stage::Committed => (false, Vec::new()),
        Stage::Proposed { over } => (true, encode_members(over)),
    };
    summary::State {
        cluster: encode_cluster(state.cluster),
        founded_alone: state.origin == Origin::Alone,
        last: Some(encode_place(state.last)),
        voters: encode_members(voters),
        learners: encode_members(learners),
        proposed,
        voters_before: before,
        barred: state.barred.iter().map(ToString::to_string).collect(),
        revision: state.revision,
    }
}

fn decode_disk(disk: Option<v1::DiskSummary>) -> Result<Disk, Malformed> {
    let disk = disk.ok_or(Malformed("what a disk says"))?;
    let standing = match disk.standing.ok_or(Malformed("what a disk says"))? {
        summary::Standing::Blank(_) => Standing::Blank,
        summary::Standing::OldTable(_) => Standing::OldTable,
        summary::Standing::Consenting(consenting) => Standing::Consenting {
            cluster: decode_cluster(&consenting.cluster)?,
            founder: decode_name(&consenting.founder)?,
        },
        summary::Standing::Founding(founding) => Standing::Founding {
            cluster: decode_cluster(&founding.cluster)?,
            list: decode_members(&founding.list)?,
            table: if founding.with_old_table { Table::Old } else { Table::Empty },
        },
        summary::Standing::State(state) => Standing::State(decode_state(&state)?),
    };
    let spent = decode_optional_cluster(&disk.spent)?;
    Ok(Disk { id: disk.id.into(), vote: disk.vote, spent, standing })
}

fn decode_state(state: &summary::State) -> Result<State, Malformed> {
    let stage = if state.proposed {
        Stage::Proposed { over: decode_members(&state.voters_before)? }
    } else {
        Stage::Committed
    };
    let barred = bounded(&state.barred, "a list of names")?.iter();
    Ok(State {
        cluster: decode_cluster(&state.cluster)?,
        origin: if state.founded_alone { Origin::Alone } else { Origin::Cluster },
        last: decode_place(state.last),
        membership: Membership {
            voters: decode_members(&state.voters)?,
            learners: decode_members(&state.learners)?,
            stage,
        },
        barred: barred.map(|name| decode_name(name)).collect::<Result<_, _>>()?,
        revision: state.revision,
    })
}

fn encode_place(last: LogId) -> summary::Place {
    summary::Place { term: last.term, index: last.index }
}

fn decode_place(place: Option<summary::Place>) -> LogId {
    let summary::Place { term, index } = place.unwrap_or_default();
    LogId { term, index }
}

fn encode_seen(seen: &Seen) -> v1::Seen {
    let last = Some(encode_place(seen.last));
    v1::Seen { cluster: encode_cluster(seen.cluster), last, vote: seen.vote }
}

fn decode_seen(seen: &v1::Seen) -> Result<Seen, Malformed> {
    let cluster = decode_cluster(&seen.cluster)?;
    Ok(Seen { cluster, last: decode_place(seen.last), vote: seen.vote })
}

pub(in super::super) fn encode_report(report: &Report) -> v1::Report {
    let digests = report.digests.iter().map(|(key, digest)| (key.clone(), digest.to_vec()));
    let ends = report.certificate_ends.and_then(|ends| ends.duration_since(SystemTime::UNIX_EPOCH).ok());
    let table = report.table.as_ref();
    v1::Report {
        software: report.software.clone(),
        digests: digests.collect(),
        queue: report.queue,
        certificate_ends_s: ends.map(|since| since.as_secs()),
        revision: table.map(|table| table.revision).unwrap_or_default(),
        table: table.map(|table| table.digest.to_vec()).unwrap_or_default(),
        leads: report.leads,
        sessions: report.sessions,
        drained: report.drained,
    }
}

pub(in super::super) fn decode_report(report: v1::Report) -> Result<Report, Malformed> {
    let v1::Report {
        software,
        digests,
        queue,
        certificate_ends_s,
        revision,
        table,
        leads,
        sessions,
        drained,
    } = report;
    let digests: Vec<_> = digests.into_iter().collect();
    bounded(&digests, "a list of settings")?;
    if !is_word(&software) || !digests.iter().all(|(key, _)| is_word(key)) {
        return Err(Malformed("a word"));
    }
    let digests = digests.into_iter().map(|(key, digest)| Ok((key, decode_digest(&digest)?)));
    let ends = certificate_ends_s.map(|seconds| {
        let ends = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        ends.ok_or(Malformed("the end of a certificate"))
    });
    let table = match table.as_slice() {
        [] => None,
        digest => Some(TableDigest { revision, digest: decode_digest(digest)? }),
    };
    Ok(Report {
        software,
        digests: digests.collect::<Result<_, _>>()?,
        queue,
        certificate_ends: ends.transpose()?,
        table,
        leads,
        sessions,
        drained,
    })
}

/// What may stand in the log as it is.
fn is_word(text: &str) -> bool {
    text.len() <= MAX_WORD_OCTETS && text.bytes().all(|octet| octet.is_ascii_graphic() || octet == b' ')
}
