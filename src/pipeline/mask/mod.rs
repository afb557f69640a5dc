//! An upstream's words without the private destination: the alias stands in its place, whatever its case, with `@` or
//! `%40`, and for its bare local part where that is a word of its own. What names it in any other disguise is looked for
//! in the line as somebody would read it ([`Reading`]), and left out: a text is not taken apart and put together again.
//! Who writes a reply knows the destination and can say it in ways that nobody looks for; this is about those that mail
//! systems use.
//!
//! The destination's domain alone may be named. We name its host ourselves.

mod reading;

use self::reading::Reading;
use crate::mail::Address;
use crate::smtp::reply::{self, Reply};

/// The lines with the alias in the place of the private destination.
#[must_use]
pub(super) fn mask(lines: &[String], alias: &Address, private: &Address) -> Vec<String> {
    masked(lines.to_vec(), [(alias, private)])
}

/// The reply without the private destinations of any of these copies, each an alias and its destination: a
/// reply to a whole transaction is given to all its copies, whose senders need not know of each other's.
#[must_use]
pub(super) fn mask_all<'a>(
    reply: Reply,
    copies: impl IntoIterator<Item = (&'a Address, &'a Address)>,
) -> Reply {
    Reply { lines: masked(reply.lines, copies), ..reply }
}

/// The lines are read once for all copies; only a destination that is found has them looked at one by one.
fn masked<'a>(
    mut lines: Vec<String>,
    copies: impl IntoIterator<Item = (&'a Address, &'a Address)>,
) -> Vec<String> {
    let mut heard = Heard::of(&lines);
    for (alias, private) in copies {
        // A subaddress may have been taken off on the way to the mailbox.
        let names = [Some(private.clone()), private.without_subaddress()];
        for name in names.iter().flatten().filter(|name| name.folded() != alias.folded()) {
            let disguise = Disguise { alias, name };
            if disguise.is_in(&heard) {
                lines = disguise.put_on(&lines);
                heard = Heard::of(&lines);
            }
        }
    }
    lines
}

/// A text of some lines, in every way that it may be read; a name may go over the end of a line.
struct Heard(Vec<Reading>);

impl Heard {
    fn of(lines: &[String]) -> Self {
        let apart = Reading::all_of(&lines.join(" ")).into_iter();
        let together = (lines.len() > 1).then(|| Reading::all_of(&lines.concat()));
        Self(apart.chain(together.into_iter().flatten()).collect())
    }
}

/// What stands for a name that nobody is to hear.
struct Disguise<'a> {
    alias: &'a Address,
    name: &'a Address,
}

impl Disguise<'_> {
    fn put_on(&self, lines: &[String]) -> Vec<String> {
        // Without what is masked: what is left of the name there cannot be masked.
        let rest = |line: &String| {
            let rest = [self.replaced(line, " ", " ")];
            if self.is_in(&Heard::of(&rest)) { String::new() } else { rest.concat() }
        };
        let rests: Vec<String> = lines.iter().map(rest).collect();
        if self.is_in(&Heard::of(&rests)) {
            return vec![reply::LEFT_OUT.to_owned()];
        }
        let told = lines.iter().zip(&rests).map(|(line, rest)| {
            if rest.is_empty() && !line.is_empty() {
                return reply::LEFT_OUT.to_owned();
            }
            self.replaced(line, &self.alias.to_string(), self.alias.local())
        });
        let mut told: Vec<String> = told.collect();
        told.dedup_by(|one, other| one == other && one == reply::LEFT_OUT);
        told
    }

    /// The line with other words for the name, and for its local part where it is a word.
    fn replaced(&self, line: &str, address: &str, local: &str) -> String {
        let mut line = line.to_owned();
        for spelling in self.spellings() {
            line = replace(&line, &spelling, address, Boundary::Any);
        }
        if self.is_local_known() {
            return line;
        }
        replace(&line, self.name.local(), local, Boundary::Word)
    }

    /// How the name is written where it can be replaced.
    fn spellings(&self) -> [String; 2] {
        ["@", "%40"].map(|at| format!("{}{at}{}", self.name.local(), self.name.domain()))
    }

    /// Whether the sender wrote the same local part: then it is no secret by itself.
    fn is_local_known(&self) -> bool {
        self.alias.folded().local() == self.name.folded().local()
    }

    fn is_in(&self, heard: &Heard) -> bool {
        let spellings = self.spellings().map(|spelling| spelling.to_lowercase());
        // As it stands in a reply, where nothing but ASCII is left, and as a reader makes of it what he makes of the line.
        let mut locals = vec![self.name.local().to_owned(), reply::clean(self.name.local())];
        locals.dedup();
        let locals: Vec<Reading> = locals.iter().flat_map(|local| Reading::all_of(local)).collect();
        let is_local_known = self.is_local_known();
        heard.0.iter().any(|reading| {
            let names = |local: &Reading| {
                reading.names(local, self.name.domain())
                    || !is_local_known && has_word(reading.as_str(), local.as_str())
            };
            spellings.iter().any(|spelling| reading.as_str().contains(spelling)) || locals.iter().any(names)
        })
    }
}

/// Where a match counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Boundary {
    Any,
    Word,
}

/// Replaces every occurrence of an ASCII needle, case folded.
fn replace(line: &str, needle: &str, by: &str, boundary: Boundary) -> String {
    let (folded, needle) = (line.to_ascii_lowercase(), needle.to_ascii_lowercase());
    let mut out = String::with_capacity(line.len());
    let mut done = 0;
    for at in places(&folded, &needle, boundary) {
        out.push_str(line.get(done..at).unwrap_or_default());
        out.push_str(by);
        done = at + needle.len();
    }
    out.push_str(line.get(done..).unwrap_or_default());
    out
}

/// Whether a text has a word, in the same case.
fn has_word(text: &str, word: &str) -> bool {
    places(text, word, Boundary::Word).next().is_some()
}

/// Where a needle is in a text.
fn places<'a>(text: &'a str, needle: &'a str, boundary: Boundary) -> impl Iterator<Item = usize> + 'a {
    let within_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || "-_.".contains(c));
    let is_word = move |at: usize| {
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        let mut after = text.get(at + needle.len()..).unwrap_or_default().chars();
        let next = after.next();
        let dot_ends_sentence = next == Some('.') && !within_word(after.next());
        !within_word(before) && (!within_word(next) || dot_ends_sentence)
    };
    let matches = text.match_indices(needle).map(|(at, _)| at).filter(|_| !needle.is_empty());
    matches.filter(move |at| boundary == Boundary::Any || is_word(*at))
}

#[cfg(test)]
mod tests;
