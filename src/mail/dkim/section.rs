//! The octets of a header section that a signature covers (RFC 6376 §3.7, §5.4.2).

use std::cmp::Ordering;
use std::ops::Range;

use super::{Form, Signature};
use crate::mail::canonical::relaxed_field;
use crate::mail::header::{self, Field};

/// A header section, its fields found once for all signatures. White space before a colon (RFC 5322 §4.5) is no part of
/// a name, in either form, and hashed as each form has it (RFC 6376 §3.4); reception leaves it out ([`header::check`]).
#[derive(Debug, Clone, Default)]
pub struct Section<'a> {
    octets: &'a [u8],
    fields: Vec<Field<'a>>,
    /// The places of the fields, sorted by name; those of one name from the bottom up.
    by_name: Vec<usize>,
}

impl<'a> Section<'a> {
    /// Finds the fields.
    #[must_use]
    pub fn new(octets: &'a [u8]) -> Self {
        let fields: Vec<_> = header::fields(octets).collect();
        let mut by_name: Vec<usize> = (0..fields.len()).rev().collect();
        by_name.sort_by(|a, b| match (fields.get(*a), fields.get(*b)) {
            (Some(a), Some(b)) => folded(a.name).cmp(folded(b.name)),
            (_, _) => Ordering::Equal,
        });
        Self { octets, fields, by_name }
    }

    /// The places of the fields of a name, from the bottom up.
    #[must_use]
    pub fn places(&self, name: &str) -> &[usize] {
        self.by_name.get(self.run(name)).unwrap_or_default()
    }

    /// Where in `by_name` the fields of a name stand.
    fn run(&self, name: &str) -> Range<usize> {
        equal_run(&self.by_name, |place| {
            let field = self.fields.get(*place);
            field.map_or(Ordering::Greater, |field| folded(field.name).cmp(folded(name.as_bytes())))
        })
    }

    /// What stands behind the colon of a field.
    #[must_use]
    pub fn value(&self, place: usize) -> &'a [u8] {
        self.fields.get(place).map_or(b"", |field| field.value)
    }

    /// What a signature covers that stands in this field: the fields that it names, the last one of a name first,
    /// then its own, which a name never means, without the value of `b=`.
    #[must_use]
    pub fn covered(&self, own: usize, signature: &Signature) -> Vec<u8> {
        let mut covered = Vec::with_capacity(2048);
        // How many fields are taken of the name whose first one stands here in `by_name`.
        let mut taken = vec![0; self.by_name.len()];
        for name in &signature.names {
            let run = self.run(name);
            let Some(taken) = taken.get_mut(run.start) else { continue };
            let mut places = self.by_name.get(run.start + *taken..run.end).unwrap_or_default().iter();
            let left = places.len();
            // One that is not there is empty, and so must it stay.
            if let Some(field) = places.find(|place| **place != own).and_then(|place| self.fields.get(*place))
            {
                self.push(field, signature.fields, &mut covered);
                covered.extend_from_slice(b"\r\n");
            }
            *taken += left - places.len();
        }
        self.push_own(own, signature.fields, &signature.signer.span, &mut covered);
        covered
    }

    /// Appends a field in its relaxed form, with its CRLF.
    pub fn push_relaxed(&self, place: usize, out: &mut Vec<u8>) {
        if let Some(field) = self.fields.get(place) {
            self.push(field, Form::Relaxed, out);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Appends the field that a signature stands in: without the value of `b=` and the white space around it, and
    /// without its CRLF.
    pub fn push_own(&self, place: usize, form: Form, span: &Range<usize>, out: &mut Vec<u8>) {
        let Some(field) = self.fields.get(place) else { return };
        let parts = [field.value.get(..span.start), field.value.get(span.end..)];
        let value = parts.into_iter().flatten().flatten().copied().collect::<Vec<_>>();
        match form {
            Form::Relaxed => relaxed_field(field.name, &value, out),
            Form::Simple => {
                let name = self.octets.get(field.range.start..field.range.end - field.value.len());
                out.extend_from_slice(name.unwrap_or_default());
                out.extend_from_slice(without_line_end(&value));
            }
        }
    }

    /// Appends a field without its CRLF.
    fn push(&self, field: &Field<'_>, form: Form, out: &mut Vec<u8>) {
        match form {
            Form::Relaxed => relaxed_field(field.name, field.value, out),
            Form::Simple => {
                let octets = self.octets.get(field.range.clone()).unwrap_or_default();
                out.extend_from_slice(without_line_end(octets));
            }
        }
    }
}

/// Where the items stand that are in order equal to what is looked for, in as many comparisons as halvings take.
fn equal_run<T>(sorted: &[T], mut order: impl FnMut(&T) -> Ordering) -> Range<usize> {
    let start = sorted.partition_point(|item| order(item).is_lt());
    let rest = sorted.get(start..).unwrap_or_default();
    start..start + rest.partition_point(|item| order(item).is_eq())
}

/// A name as names are compared (RFC 5322 §1.2.2).
fn folded(name: &[u8]) -> impl Iterator<Item = u8> {
    name.iter().map(u8::to_ascii_lowercase)
}

fn without_line_end(octets: &[u8]) -> &[u8] {
    octets.strip_suffix(b"\r\n").unwrap_or(octets)
}

#[cfg(test)]
#[path = "section_tests.rs"]
mod tests;
