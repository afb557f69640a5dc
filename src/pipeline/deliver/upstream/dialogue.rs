//! The dialogue with upstreams, kept for the operator: of attempts from the queue, whose messages can be shown.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Arc;

use parking_lot::Mutex;

/// Lines kept of an attempt's start, and as many of its end: how it began and how it ended is what an operator
/// looks for.
const MAX_LINES: usize = 99;
/// Octets kept of the start, and as many of the end. The whole is in the state of every copy that was tried.
const MAX_OCTETS: usize = 8000;
/// Characters kept of one line: RFC 5321 §4.5.3.1.5 bounds a reply line at 512 octets.
const MAX_LINE_CHARACTERS: usize = 512;

/// The lines so far. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dialogue {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    start: Vec<String>,
    start_octets: usize,
    end: VecDeque<String>,
    end_octets: usize,
    left_out: usize,
}

impl Dialogue {
    /// Notes a line with the mark of who said it: `>` we, `<` the upstream, `*` what happened.
    pub(crate) fn note(&self, mark: char, line: impl Display) {
        self.kept.lock().take(format!("{mark} {line}").chars().take(MAX_LINE_CHARACTERS).collect());
    }

    /// The lines; where some were left out, one says how many.
    pub(crate) fn lines(&self) -> Vec<String> {
        let kept = self.kept.lock();
        let left_out = (kept.left_out > 0).then(|| format!("* {} lines left out", kept.left_out));
        kept.start.iter().cloned().chain(left_out).chain(kept.end.iter().cloned()).collect()
    }
}

impl Kept {
    fn take(&mut self, line: String) {
        let fits = self.start.len() < MAX_LINES && self.start_octets + line.len() <= MAX_OCTETS;
        if self.end.is_empty() && fits {
            self.start_octets += line.len();
            return self.start.push(line);
        }
        self.end_octets += line.len();
        self.end.push_back(line);
        while self.end.len() > MAX_LINES || self.end_octets > MAX_OCTETS {
            let Some(oldest) = self.end.pop_front() else { break };
            self.end_octets -= oldest.len();
            self.left_out += 1;
        }
    }
}

#[cfg(test)]
#[path = "dialogue_tests.rs"]
mod tests;
