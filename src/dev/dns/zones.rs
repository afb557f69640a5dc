//! The records of the server: read from master text, found as RFC 1034 §4.3.2 says. Pure.

use std::collections::BTreeMap;

use hickory_resolver::proto::ProtoError;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::SOA;
use hickory_resolver::proto::rr::{LowerName, Name, RData, Record, RecordType};
use hickory_resolver::proto::serialize::txt::{ParseError, Parser};
use thiserror::Error;

/// Seconds that a record lives whose text has no TTL.
const DEFAULT_TTL: u32 = 300;
/// Seconds that a negative answer lives in a zone without SOA record.
const DEFAULT_NEGATIVE_TTL: u32 = 60;
/// CNAMEs followed within one answer.
const MAX_CNAMES: usize = 16;

/// What is wrong with a zone.
#[derive(Debug, Error)]
pub enum ZoneError {
    /// The text is not a name.
    #[error("\"{name}\" is not a name in the DNS")]
    Name {
        /// The text.
        name: String,
        /// Why.
        #[source]
        source: ProtoError,
    },
    /// The records are not master text.
    #[error("records of zone \"{origin}\"")]
    Records {
        /// The zone's origin.
        origin: String,
        /// Why.
        #[source]
        source: ParseError,
    },
    /// The text is not a record type.
    #[error("\"{0}\" is not a record type")]
    RecordType(String),
    /// A record belongs to none of the zones.
    #[error("\"{name}\" is in none of the zones")]
    Elsewhere {
        /// The record's name.
        name: String,
    },
}

type RecordSets = BTreeMap<RecordType, Vec<Record>>;

/// Zones and their records.
#[derive(Default)]
pub(super) struct Zones {
    origins: Vec<LowerName>,
    /// In canonical order (RFC 4034 §6.1): what is below a name follows it at once.
    names: BTreeMap<LowerName, RecordSets>,
}

/// What is to be answered.
pub(super) struct Found {
    pub(super) response_code: ResponseCode,
    pub(super) answers: Vec<Record>,
    /// The zone's SOA record, with a negative answer (RFC 2308 §3).
    pub(super) authority: Option<Record>,
}

/// Reads an absolute name, with trailing dot or without.
pub(super) fn name(text: &str) -> Result<LowerName, ZoneError> {
    let mut name =
        Name::from_ascii(text).map_err(|source| ZoneError::Name { name: text.to_owned(), source })?;
    name.set_fqdn(true);
    Ok(LowerName::from(name))
}

/// Reads the word for a record type.
pub(super) fn record_type(text: &str) -> Result<RecordType, ZoneError> {
    text.parse().map_err(|_| ZoneError::RecordType(text.to_owned()))
}

impl Zones {
    /// Adds a zone.
    pub(super) fn add(&mut self, origin: &str, records: &str) -> Result<(), ZoneError> {
        let zone = name(origin)?;
        let parsed = parse(&zone, records)?;
        self.origins.push(zone.clone());
        self.insert(parsed)?;
        let apex = self.names.entry(zone.clone()).or_default();
        apex.entry(RecordType::SOA).or_insert_with(|| vec![made_up_soa(&zone)]);
        Ok(())
    }

    /// Replaces the record sets that the text has records for; names are absolute.
    pub(super) fn replace(&mut self, records: &str) -> Result<(), ZoneError> {
        let parsed = parse(&LowerName::from(Name::root()), records)?;
        self.insert(parsed)
    }

    /// Adds one record to those that the name has.
    pub(super) fn publish(&mut self, name: &Name, data: RData) -> Result<(), ZoneError> {
        let key = LowerName::new(name);
        if self.origin(&key).is_none() {
            return Err(ZoneError::Elsewhere { name: name.to_string() });
        }
        let record = Record::from_rdata(name.clone(), DEFAULT_TTL, data);
        let sets = self.names.entry(key).or_default();
        sets.entry(record.record_type()).or_default().push(record);
        Ok(())
    }

    /// Removes all records of a name.
    pub(super) fn remove(&mut self, name: &LowerName) {
        self.names.remove(name);
    }

    /// Finds the records of a type, following CNAMEs inside the zones.
    pub(super) fn find(&self, name: &LowerName, record_type: RecordType) -> Found {
        let mut found = Found { response_code: ResponseCode::NoError, answers: Vec::new(), authority: None };
        let mut name = name.clone();
        for _ in 0..MAX_CNAMES {
            let Some(origin) = self.origin(&name) else {
                // Where a CNAME leads out of our zones, the client asks on.
                if found.answers.is_empty() {
                    found.response_code = ResponseCode::NXDomain;
                }
                return found;
            };
            let sets = self.at(&name, origin);
            if let Some(records) = sets.and_then(|sets| sets.get(&record_type)) {
                found.answers.extend(records.iter().map(|record| named(record, &name)));
                return found;
            }
            let Some(alias) = sets.and_then(|sets| sets.get(&RecordType::CNAME)?.first()) else {
                if sets.is_none() {
                    found.response_code = ResponseCode::NXDomain;
                }
                found.authority = self.soa(origin);
                return found;
            };
            found.answers.push(named(alias, &name));
            let RData::CNAME(target) = &alias.data else { return found };
            name = LowerName::new(&target.0);
        }
        found
    }

    fn insert(&mut self, records: Vec<(LowerName, RecordType, Vec<Record>)>) -> Result<(), ZoneError> {
        if let Some((name, ..)) = records.iter().find(|(name, ..)| self.origin(name).is_none()) {
            return Err(ZoneError::Elsewhere { name: name.to_string() });
        }
        for (name, record_type, set) in records {
            self.names.entry(name).or_default().insert(record_type, set);
        }
        Ok(())
    }

    /// The closest zone above a name.
    fn origin(&self, name: &LowerName) -> Option<&LowerName> {
        self.origins.iter().filter(|origin| origin.zone_of(name)).max_by_key(|origin| origin.num_labels())
    }

    /// The record sets of a name, empty when only names below it exist (RFC 8020 §2), or those of the
    /// wildcard that covers it (RFC 4592 §3.3.1).
    fn at(&self, name: &LowerName, origin: &LowerName) -> Option<&RecordSets> {
        static NOTHING: RecordSets = RecordSets::new();
        if let Some(sets) = self.names.get(name) {
            return Some(sets);
        }
        if self.exists(name) {
            return Some(&NOTHING);
        }
        let mut below = name.clone();
        while below != *origin {
            if let Some(sets) = self.names.get(&below.clone().into_wildcard()) {
                return Some(sets);
            }
            below = below.base_name();
            if self.exists(&below) {
                return None;
            }
        }
        None
    }

    fn exists(&self, name: &LowerName) -> bool {
        self.names.range(name.clone()..).next().is_some_and(|(next, _)| name.zone_of(next))
    }

    fn soa(&self, origin: &LowerName) -> Option<Record> {
        self.names.get(origin)?.get(&RecordType::SOA)?.first().cloned()
    }
}

fn parse(origin: &LowerName, records: &str) -> Result<Vec<(LowerName, RecordType, Vec<Record>)>, ZoneError> {
    let text = format!("$TTL {DEFAULT_TTL}\n{records}\n");
    let (_, sets) = Parser::new(text, None, Some(Name::from(origin)))
        .parse()
        .map_err(|source| ZoneError::Records { origin: origin.to_string(), source })?;
    Ok(sets
        .into_iter()
        .map(|(key, set)| {
            (key.name, key.record_type, set.records_without_rrsigs().cloned().collect::<Vec<_>>())
        })
        .collect())
}

/// The record as an answer to this name: a wildcard's takes the name asked for.
fn named(record: &Record, name: &LowerName) -> Record {
    let mut record = record.clone();
    record.name = Name::from(name);
    record
}

fn made_up_soa(origin: &LowerName) -> Record {
    let origin = Name::from(origin);
    let soa = SOA::new(origin.clone(), origin.clone(), 1, 3600, 600, 86_400, DEFAULT_NEGATIVE_TTL);
    Record::from_rdata(origin, DEFAULT_NEGATIVE_TTL, RData::SOA(soa))
}
