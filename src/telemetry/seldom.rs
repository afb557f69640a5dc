//! Log lines that strangers can cause, a few a minute.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// After this time as many lines may be written again.
const WINDOW: Duration = Duration::from_secs(60);

/// Says when a line may be written.
#[derive(Debug)]
pub struct Seldom {
    lines: u32,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    written: u32,
    left_out: u64,
}

impl Seldom {
    /// So many lines a minute.
    #[must_use]
    pub fn new(lines: u32) -> Self {
        Self { lines, window: Mutex::new(Window { began: Instant::now(), written: 0, left_out: 0 }) }
    }

    /// Whether this one may be, and then how many were left out since the last.
    #[must_use]
    pub fn due(&self) -> Option<u64> {
        let mut window = self.window.lock();
        if window.began.elapsed() >= WINDOW {
            (window.began, window.written) = (Instant::now(), 0);
        }
        if window.written >= self.lines {
            window.left_out += 1;
            return None;
        }
        window.written += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
#[path = "seldom_tests.rs"]
mod tests;
