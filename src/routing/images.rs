//! What stands in one place of a table: a resource, or that there is none. What a change found where it wrote is kept in
//! these ([`super::history`]), and put back by these ([`super::rollback`]).

use std::sync::Arc;
use std::time::SystemTime;

use ipnet::IpNet;
use prost::Message as _;
use ulid::Ulid;

use super::encoding::{EncodingError, address, domain, id, network};
use super::model::{Destination, DomainEntry, Listing, Rule, Suspension};
use super::records::{
    coverage, coverage_code, decode_destination, decode_domain, decode_listing, decode_rule,
    decode_suspension, encode_destination, encode_domain, encode_listing, encode_rule, encode_suspension,
};
use super::table::{Coverage, Table};
use crate::mail::{Address, Domain};
use crate::proto::routing::v1;
use crate::proto::routing::v1::image::Kind;

/// A place of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Domain(Domain),
    Rule(Ulid),
    /// By the address in lower case.
    Destination(Address),
    Suspension(Domain),
    Listing(IpNet),
    Coverage,
}

/// What stands in one place of a table; `None`: nothing does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// A domain, by its name.
    Domain(Domain, Option<Arc<DomainEntry>>),
    /// A rule, by its id.
    Rule(Ulid, Option<Arc<Rule>>),
    /// A destination, by its address in lower case.
    Destination(Address, Option<Arc<Destination>>),
    /// A suspension, by its destination domain.
    Suspension(Domain, Option<Arc<Suspension>>),
    /// A listing, by its network.
    Listing(IpNet, Option<Arc<Listing>>),
    /// What it means that the table does not hold something.
    Coverage(Coverage),
}

impl Image {
    /// Of a table as it is.
    pub(super) fn of(table: &Table, place: Place) -> Self {
        match place {
            Place::Domain(name) => {
                let found = table.domain(&name).cloned();
                Self::Domain(name, found)
            }
            Place::Rule(id) => Self::Rule(id, table.rule(&id).cloned()),
            Place::Destination(folded) => {
                let found = table.destination(&folded).cloned();
                Self::Destination(folded, found)
            }
            Place::Suspension(domain) => {
                let found = table.suspension(&domain).cloned();
                Self::Suspension(domain, found)
            }
            Place::Listing(network) => Self::Listing(network, table.listing_of(&network).cloned()),
            Place::Coverage => Self::Coverage(table.coverage()),
        }
    }

    pub(super) fn place(&self) -> Place {
        match self {
            Self::Domain(name, _) => Place::Domain(name.clone()),
            Self::Rule(id, _) => Place::Rule(*id),
            Self::Destination(folded, _) => Place::Destination(folded.clone()),
            Self::Suspension(domain, _) => Place::Suspension(domain.clone()),
            Self::Listing(network, _) => Place::Listing(*network),
            Self::Coverage(_) => Place::Coverage,
        }
    }

    /// What stands in this place of a table.
    #[must_use]
    pub fn now(&self, table: &Table) -> Self {
        Self::of(table, self.place())
    }

    /// As a change of this time writes it that makes this revision.
    pub(super) fn written(self, at: SystemTime, revision: u64) -> Self {
        match self {
            Self::Domain(name, Some(entry)) => Self::Domain(
                name,
                Some(Arc::new(DomainEntry { updated_at: at, revision, ..(*entry).clone() })),
            ),
            Self::Rule(id, Some(rule)) => {
                Self::Rule(id, Some(Arc::new(Rule { updated_at: at, revision, ..(*rule).clone() })))
            }
            Self::Destination(folded, Some(entry)) => {
                Self::Destination(folded, Some(Arc::new(Destination { revision, ..(*entry).clone() })))
            }
            Self::Suspension(domain, Some(entry)) => {
                Self::Suspension(domain, Some(Arc::new(Suspension { revision, ..(*entry).clone() })))
            }
            Self::Listing(network, Some(entry)) => {
                Self::Listing(network, Some(Arc::new(Listing { revision, ..(*entry).clone() })))
            }
            Self::Domain(_, None)
            | Self::Rule(_, None)
            | Self::Destination(_, None)
            | Self::Suspension(_, None)
            | Self::Listing(_, None)
            | Self::Coverage(_) => self,
        }
    }

    pub(super) fn encode(&self) -> v1::Image {
        let kind = match self {
            Self::Domain(_, Some(entry)) => Kind::Domain(encode_domain(entry)),
            Self::Domain(name, None) => Kind::NoDomain(name.to_string()),
            Self::Rule(_, Some(rule)) => Kind::Rule(encode_rule(rule)),
            Self::Rule(id, None) => Kind::NoRule(id.to_bytes().to_vec()),
            Self::Destination(_, Some(entry)) => Kind::Destination(encode_destination(entry)),
            Self::Destination(folded, None) => Kind::NoDestination(folded.to_string()),
            Self::Suspension(_, Some(entry)) => Kind::Suspension(encode_suspension(entry)),
            Self::Suspension(domain, None) => Kind::NoSuspension(domain.to_string()),
            Self::Listing(_, Some(entry)) => Kind::Listing(encode_listing(entry)),
            Self::Listing(network, None) => Kind::NoListing(network.to_string()),
            Self::Coverage(of) => Kind::Coverage(coverage_code(*of)),
        };
        v1::Image { kind: Some(kind) }
    }

    pub(super) fn decode(image: v1::Image) -> Result<Self, EncodingError> {
        Ok(match image.kind.ok_or(EncodingError::UnknownKind("an image of a resource"))? {
            Kind::Domain(entry) => {
                let entry = decode_domain(&entry)?;
                Self::Domain(entry.name.clone(), Some(Arc::new(entry)))
            }
            Kind::NoDomain(name) => Self::Domain(domain("the image of a domain", &name)?, None),
            Kind::Rule(rule) => {
                let rule = decode_rule(rule)?;
                Self::Rule(rule.id, Some(Arc::new(rule)))
            }
            Kind::NoRule(rule) => Self::Rule(id("the image of a rule", &rule)?, None),
            Kind::Destination(entry) => {
                let entry = decode_destination(&entry)?;
                Self::Destination(entry.address.folded(), Some(Arc::new(entry)))
            }
            Kind::NoDestination(to) => {
                Self::Destination(address("the image of a destination", &to)?.folded(), None)
            }
            Kind::Suspension(entry) => {
                let entry = decode_suspension(entry)?;
                Self::Suspension(entry.domain.clone(), Some(Arc::new(entry)))
            }
            Kind::NoSuspension(of) => Self::Suspension(domain("the image of a suspension", &of)?, None),
            Kind::Listing(entry) => {
                let entry = decode_listing(entry)?;
                Self::Listing(entry.network, Some(Arc::new(entry)))
            }
            Kind::NoListing(of) => Self::Listing(network("the image of a listing", &of)?, None),
            Kind::Coverage(code) => Self::Coverage(coverage(code)?),
        })
    }
}

/// None where they take more octets than that: what is kept of a change, and made on the way to it, has its bound.
pub(super) fn encode_images(images: impl Iterator<Item = Image>, most: usize) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    for image in images {
        // Lists one behind the other are one list.
        octets.extend(v1::Images { images: vec![image.encode()] }.encode_to_vec());
        if octets.len() > most {
            return None;
        }
    }
    Some(octets)
}

pub(super) fn decode_images(octets: &[u8]) -> Result<Vec<Image>, EncodingError> {
    const WHAT: &str = "what a change found";
    let images =
        v1::Images::decode(octets).map_err(|cause| EncodingError::Malformed { what: WHAT, cause })?.images;
    images.into_iter().map(Image::decode).collect()
}
