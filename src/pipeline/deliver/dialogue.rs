//! The dialogue with upstreams, kept for the operator: of attempts from the queue, whose messages can be shown.

use std::fmt::Display;
use std::sync::Arc;

use parking_lot::Mutex;

/// Lines kept of one attempt; further ones are not.
const MAX_LINES: usize = 200;
/// Characters kept of one line: RFC 5321 §4.5.3.1.5 bounds a reply line at 512 octets.
const MAX_LINE_CHARACTERS: usize = 512;

/// The lines so far. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Dialogue {
    lines: Arc<Mutex<Vec<String>>>,
}

impl Dialogue {
    /// Notes a line with the mark of who said it: `>` we, `<` the upstream, `*` what happened.
    pub(super) fn note(&self, mark: char, line: impl Display) {
        let mut lines = self.lines.lock();
        if lines.len() < MAX_LINES {
            lines.push(format!("{mark} {line}").chars().take(MAX_LINE_CHARACTERS).collect());
        }
    }

    /// The lines.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.lock().clone()
    }
}
