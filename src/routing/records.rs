//! A table as a sequence of records, for a snapshot, and its digest. Each record is encoded by itself, when it is asked
//! for: a table of a million rules is never in memory a second time.
//!
//! ```text
//! head, destinations by address, domains by name, rules by domain and rank, suspensions by domain, listings by network
//! ```
//!
//! - Equal tables give equal records, in this order: what a node's configuration says is not part of them.
//! - The head says how many records of each kind follow, so that one that has gone is missed.
//! - What a later version adds to a resource is not in the octets while it has its default value, so that digests of
//!   two versions are equal until it is used.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use prost::Message as _;

use super::delivery_key::DeliveryKey;
use super::encoding::{
    EncodingError, address, check_length, decode_action, decode_matcher, domain, encode_action,
    encode_matcher, given, id, network, optional_time, tempfail, tempfail_code, time, unreadable,
};
use super::model::{Access, Destination, DomainEntry, Listing, MAX_BARRED, Rule, Suspension};
use super::requests::{Request, decode_request, encode_request};
use super::table::{Coverage, RoutingOptions, Table};
use super::wire::to_millis;
use crate::proto::routing::v1;
use crate::proto::routing::v1::record::Kind;

/// Largest record, in octets: a rule has at most 20 destinations of 384 octets as they are written, a local part, a
/// domain and 200 octets each of label and text, together less than 9 KiB.
pub const MAX_RECORD_OCTETS: usize = 16 << 10;

/// The format that is written; others are refused.
const FORMAT: u32 = 1;

impl Table {
    /// The table as records, the head first.
    pub fn records(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        let destinations = self.destinations().map(|entry| Kind::Destination(encode_destination(entry)));
        let domains = self.domains().map(|entry| Kind::Domain(encode_domain(entry)));
        let rules = self.domains().flat_map(|entry| self.rules(&entry.name));
        let rules = rules.map(|rule| Kind::Rule(encode_rule(rule)));
        let suspensions = self.suspensions().map(|entry| Kind::Suspension(encode_suspension(entry)));
        let listings = self.listings().map(|entry| Kind::Listing(encode_listing(entry)));
        let head = std::iter::once_with(|| Kind::Head(head(self)));
        let requests = self.requests().map(|request| Kind::Request(encode_request(request)));
        let resources = destinations.chain(domains).chain(rules).chain(suspensions).chain(listings);
        head.chain(resources).chain(requests).map(|kind| v1::Record { kind: Some(kind) }.encode_to_vec())
    }

    /// SHA-256 over the table's revision and all that changes can write: equal for equal tables. Reads the whole table:
    /// off the runtime's threads.
    #[must_use]
    pub fn digest(&self) -> [u8; SHA256_OUTPUT_LEN] {
        let mut context = Context::new(&SHA256);
        for record in self.records() {
            // Where each ends is part of what is summed.
            context.update(&(record.len() as u64).to_be_bytes());
            context.update(&record);
        }
        let mut digest = [0; SHA256_OUTPUT_LEN];
        digest.copy_from_slice(context.finish().as_ref());
        digest
    }
}

/// A record of a table, as it was read.
#[derive(Debug)]
pub struct Decoded(Part);

#[derive(Debug)]
enum Part {
    Head(v1::Head),
    Destination(Destination),
    Domain(DomainEntry),
    Rule(Rule),
    Suspension(Suspension),
    Listing(Listing),
    Request(Request),
}

impl Decoded {
    /// What [`Table::records`] has.
    ///
    /// # Errors
    /// When it cannot be read, or is not known.
    pub fn of(record: &[u8]) -> Result<Self, EncodingError> {
        const WHAT: &str = "a record of the table";
        check_length(WHAT, record.len(), MAX_RECORD_OCTETS)?;
        let record =
            v1::Record::decode(record).map_err(|cause| EncodingError::Malformed { what: WHAT, cause })?;
        Ok(Self(match record.kind.ok_or(EncodingError::UnknownKind(WHAT))? {
            Kind::Head(head) => Part::Head(head),
            Kind::Destination(entry) => Part::Destination(decode_destination(&entry)?),
            Kind::Domain(entry) => Part::Domain(decode_domain(&entry)?),
            Kind::Rule(rule) => Part::Rule(decode_rule(rule)?),
            Kind::Suspension(entry) => Part::Suspension(decode_suspension(entry)?),
            Kind::Listing(entry) => Part::Listing(decode_listing(entry)?),
            Kind::Request(request) => Part::Request(decode_request(request)?),
        }))
    }
}

/// A table that is made again from its records. How many come is for their reader to bound.
#[derive(Debug)]
pub struct Rebuilt {
    table: Table,
    head: Option<v1::Head>,
    /// How many rules came, two of one id among them.
    rules: u64,
}

impl Rebuilt {
    /// Nothing yet.
    #[must_use]
    pub fn new(options: RoutingOptions) -> Self {
        Self { table: Table::new(options), head: None, rules: 0 }
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// When it needs one that did not come before it.
    pub fn add(&mut self, Decoded(part): Decoded) -> Result<(), EncodingError> {
        match part {
            Part::Head(head) => return self.begin(head),
            _ if self.head.is_none() => return Err(EncodingError::NoHead),
            Part::Destination(entry) => self.table.put_destination(Arc::new(entry)),
            Part::Domain(entry) => self.table.put_domain(Arc::new(entry)),
            Part::Rule(rule) => self.add_rule(rule)?,
            Part::Suspension(entry) => self.table.put_suspension(Arc::new(entry)),
            Part::Listing(entry) => self.table.put_listing(Arc::new(entry)),
            Part::Request(request) => self.table.put_request(request),
        }
        Ok(())
    }

    /// Takes the next revision of [`Table::history_records`].
    ///
    /// # Errors
    /// When it cannot be read, or does not follow the one before it.
    pub fn add_revision(&mut self, record: &[u8]) -> Result<(), EncodingError> {
        self.table.history.add(record)
    }

    /// The table.
    ///
    /// # Errors
    /// When there was no head, there are not as many records as it says, or its history is another's.
    pub fn finish(self) -> Result<Table, EncodingError> {
        let Self { table, head, rules } = self;
        let said = head.ok_or(EncodingError::NoHead)?;
        let found = self::head(&table);
        for (what, said, found) in [
            ("destinations", said.destinations, found.destinations),
            ("domains", said.domains, found.domains),
            ("rules", said.rules, found.rules),
            ("records of rules", said.rules, rules),
            ("suspensions", said.suspensions, found.suspensions),
            ("listings", said.listings, found.listings),
            ("requests", said.requests, found.requests),
        ] {
            if said != found {
                return Err(EncodingError::Count { what, said, found });
            }
        }
        if !table.history.leads_to(said.revision) {
            let detail = format!("it does not end with revision {}", said.revision);
            return Err(unreadable("the history of the table", detail));
        }
        if said.greatest_id != found.greatest_id {
            let detail = format!("record {} has a greater one", table.greatest_id());
            return Err(unreadable("the greatest id of the table", detail));
        }
        Ok(table)
    }

    fn begin(&mut self, head: v1::Head) -> Result<(), EncodingError> {
        if self.head.is_some() {
            return Err(EncodingError::SecondHead);
        }
        if head.format != FORMAT {
            return Err(EncodingError::Format { found: head.format, known: FORMAT });
        }
        self.table.set_revision(head.revision);
        self.table.set_suspensions_revision(head.revision);
        self.table.set_coverage(coverage(head.coverage)?);
        self.table.raise_greatest_id(id("the greatest id of the table", &head.greatest_id)?);
        if head.barred.len() > MAX_BARRED {
            return Err(unreadable("the barred nodes", format!("{} are too many", head.barred.len())));
        }
        head.barred.iter().for_each(|node| self.table.bar(node));
        if !head.delivery_key.is_empty() {
            self.table.agree_on_delivery_key(&DeliveryKey::decode(&head.delivery_key)?);
        }
        self.head = Some(head);
        Ok(())
    }

    fn add_rule(&mut self, mut rule: Rule) -> Result<(), EncodingError> {
        let table = &mut self.table;
        let missing = |missing| EncodingError::Dangling { rule: rule.id, missing };
        // One name for all rules of a domain, not a copy each.
        let name = match table.domain(&rule.domain) {
            Some(domain) => domain.name.clone(),
            None => return Err(missing(format!("domain {}", rule.domain))),
        };
        if let Some(address) = rule.destinations().iter().find(|to| table.destination(to).is_none()) {
            return Err(missing(format!("destination {address}")));
        }
        rule.domain = name;
        table.add_rule(Arc::new(rule));
        self.rules += 1;
        Ok(())
    }
}

fn head(table: &Table) -> v1::Head {
    v1::Head {
        format: FORMAT,
        revision: table.revision(),
        coverage: coverage_code(table.coverage()),
        greatest_id: table.greatest_id().to_bytes().to_vec(),
        destinations: table.destination_count() as u64,
        domains: table.domain_count() as u64,
        rules: table.rules_count() as u64,
        suspensions: table.suspension_count() as u64,
        listings: table.listing_count() as u64,
        requests: table.request_count() as u64,
        barred: table.barred().map(str::to_owned).collect(),
        delivery_key: table.delivery_key().map(|key| key.as_bytes().to_vec()).unwrap_or_default(),
    }
}

pub(super) fn coverage_code(coverage: Coverage) -> u32 {
    match coverage {
        Coverage::Empty => 1,
        Coverage::Lost => 2,
        Coverage::Whole => 3,
    }
}

pub(super) fn coverage(code: u32) -> Result<Coverage, EncodingError> {
    match code {
        1 => Ok(Coverage::Empty),
        2 => Ok(Coverage::Lost),
        3 => Ok(Coverage::Whole),
        _ => Err(unreadable("the coverage of the table", format!("{code} is not known"))),
    }
}

pub(super) fn encode_destination(entry: &Destination) -> v1::Destination {
    v1::Destination {
        id: entry.id.to_bytes().to_vec(),
        address: entry.address.to_string(),
        verified_at_ms: entry.verified_at.map(to_millis),
        created_at_ms: to_millis(entry.created_at),
        revision: entry.revision,
    }
}

pub(super) fn decode_destination(entry: &v1::Destination) -> Result<Destination, EncodingError> {
    Ok(Destination {
        id: id("the id of a destination", &entry.id)?,
        address: address("the address of a destination", &entry.address)?,
        verified_at: optional_time("the time at which a destination was verified", entry.verified_at_ms)?,
        created_at: time("the time of a destination", entry.created_at_ms)?,
        revision: entry.revision,
    })
}

pub(super) fn encode_domain(entry: &DomainEntry) -> v1::Domain {
    v1::Domain {
        id: entry.id.to_bytes().to_vec(),
        name: entry.name.to_string(),
        enabled: entry.enabled,
        on_tempfail: tempfail_code(entry.on_tempfail),
        subaddressing: entry.subaddressing,
        created_at_ms: to_millis(entry.created_at),
        updated_at_ms: to_millis(entry.updated_at),
        revision: entry.revision,
    }
}

pub(super) fn decode_domain(entry: &v1::Domain) -> Result<DomainEntry, EncodingError> {
    const TIME: &str = "a time of a domain";
    Ok(DomainEntry {
        id: id("the id of a domain", &entry.id)?,
        name: domain("the name of a domain", &entry.name)?,
        enabled: entry.enabled,
        on_tempfail: tempfail("on_tempfail of a domain", entry.on_tempfail)?,
        subaddressing: entry.subaddressing,
        created_at: time(TIME, entry.created_at_ms)?,
        updated_at: time(TIME, entry.updated_at_ms)?,
        revision: entry.revision,
    })
}

pub(super) fn encode_rule(rule: &Rule) -> v1::Rule {
    v1::Rule {
        id: rule.id.to_bytes().to_vec(),
        domain: rule.domain.to_string(),
        matcher: Some(encode_matcher(&rule.matcher)),
        action: Some(encode_action(&rule.action)),
        priority: rule.priority,
        label: rule.label.clone(),
        enabled: rule.enabled,
        created_at_ms: to_millis(rule.created_at),
        updated_at_ms: to_millis(rule.updated_at),
        revision: rule.revision,
    }
}

pub(super) fn decode_rule(rule: v1::Rule) -> Result<Rule, EncodingError> {
    const TIME: &str = "a time of a rule";
    Ok(Rule {
        id: id("the id of a rule", &rule.id)?,
        domain: domain("the domain of a rule", &rule.domain)?,
        matcher: decode_matcher(given("the matcher of a rule", rule.matcher)?)?,
        action: decode_action(given("the action of a rule", rule.action)?)?,
        priority: rule.priority,
        label: rule.label,
        enabled: rule.enabled,
        created_at: time(TIME, rule.created_at_ms)?,
        updated_at: time(TIME, rule.updated_at_ms)?,
        revision: rule.revision,
    })
}

pub(super) fn encode_suspension(entry: &Suspension) -> v1::Suspension {
    v1::Suspension {
        domain: entry.domain.to_string(),
        since_ms: to_millis(entry.since),
        until_ms: entry.until.map(to_millis),
        reason: entry.reason.clone(),
        revision: entry.revision,
    }
}

pub(super) fn decode_suspension(entry: v1::Suspension) -> Result<Suspension, EncodingError> {
    Ok(Suspension {
        domain: domain("the domain of a suspension", &entry.domain)?,
        since: time("the time of a suspension", entry.since_ms)?,
        until: optional_time("the end of a suspension", entry.until_ms)?,
        reason: entry.reason,
        revision: entry.revision,
    })
}

pub(super) fn encode_listing(entry: &Listing) -> v1::Listing {
    v1::Listing {
        network: entry.network.to_string(),
        access: match entry.access {
            Access::Blocked => 1,
            Access::Allowed => 2,
        },
        reason: entry.reason.clone(),
        since_ms: to_millis(entry.since),
        until_ms: entry.until.map(to_millis),
        revision: entry.revision,
    }
}

pub(super) fn decode_listing(entry: v1::Listing) -> Result<Listing, EncodingError> {
    Ok(Listing {
        network: network("the network of a listing", &entry.network)?,
        access: match entry.access {
            1 => Access::Blocked,
            2 => Access::Allowed,
            code => return Err(unreadable("the access of a listing", format!("{code} is not known"))),
        },
        reason: entry.reason,
        since: time("the time of a listing", entry.since_ms)?,
        until: optional_time("the end of a listing", entry.until_ms)?,
        revision: entry.revision,
    })
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
