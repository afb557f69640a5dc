//! A record as a whole: which TXT record is one, and its terms.

use super::term::{Directive, Modifier, Term};
use super::{MacroString, SyntaxError};

/// How a record begins (RFC 7208 §4.5), in any case, as all literals of the grammar.
const VERSION: &[u8] = b"v=spf1";
/// Longest record that is read, in octets. RFC 7208 §3.4 wants one to fit in 512; the longest in use, lists of networks,
/// have a few thousand.
pub const MAX_RECORD_OCTETS: usize = 8192;

/// A record that follows the grammar (RFC 7208 §4.6.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The mechanisms with their qualifiers, in order.
    pub directives: Vec<Directive>,
    /// `redirect=` (§6.1).
    pub redirect: Option<MacroString>,
    /// `exp=` (§6.2).
    pub explanation: Option<MacroString>,
}

/// The SPF record among the TXT records of a name, each with its strings joined (RFC 7208 §3.3, §4.5); `None` when
/// there is none.
///
/// # Errors
/// When there are several, or the one is no record (§4.6).
pub fn select(records: &[Vec<u8>]) -> Result<Option<Record>, SyntaxError> {
    let mut found = records.iter().filter_map(|record| terms_of(record));
    match (found.next(), found.next()) {
        (Some(terms), None) => Record::parse(terms).map(Some),
        (Some(_), Some(_)) => Err(SyntaxError::SeveralRecords),
        (None, _) => Ok(None),
    }
}

/// What follows the version of an SPF record. RFC 7208 §4.5: "the version section is terminated by either an SP
/// character or the end of the record".
fn terms_of(record: &[u8]) -> Option<&[u8]> {
    let (version, terms) = record.split_at_checked(VERSION.len())?;
    let terminated = terms.first().is_none_or(|next| *next == b' ');
    (version.eq_ignore_ascii_case(VERSION) && terminated).then_some(terms)
}

impl Record {
    /// Reads the terms of a record, all of them: "if there are any syntax errors anywhere in the record,
    /// check_host() returns immediately with the result "permerror"" (RFC 7208 §4.6).
    fn parse(terms: &[u8]) -> Result<Self, SyntaxError> {
        if terms.len() > MAX_RECORD_OCTETS - VERSION.len() {
            return Err(SyntaxError::TooLong);
        }
        let mut record = Self { directives: Vec::new(), redirect: None, explanation: None };
        for term in terms.split(|b| *b == b' ').filter(|term| !term.is_empty()) {
            match Term::parse(term)? {
                Term::Directive(directive) => record.directives.push(directive),
                Term::Modifier(Modifier::Redirect(domain)) => set(&mut record.redirect, domain, "redirect")?,
                Term::Modifier(Modifier::Explanation(domain)) => {
                    set(&mut record.explanation, domain, "exp")?;
                }
                Term::Modifier(Modifier::Unknown) => {}
            }
        }
        Ok(record)
    }
}

fn set(slot: &mut Option<MacroString>, value: MacroString, name: &'static str) -> Result<(), SyntaxError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(SyntaxError::Twice(name)),
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
