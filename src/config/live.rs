//! How the parts of a node follow its configuration: each makes ready what it needs of a new one, and when all of
//! them could, all of them take it; when one could not, none does. Owns the order of the two steps; what a part
//! makes of a configuration is its own.
//!
//! ```text
//! file ─▶ Config ─▶ prepare (every part; may read files, may fail) ─▶ swap (every part; cannot fail)
//!                      └─ one fails: the file is refused as a whole
//! ```

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;

use crate::config::Config;
use crate::error_text::error_text;

/// A part that follows the configuration.
pub trait Live: Send + Sync + 'static {
    /// What [`Live::prepare`] makes for [`Live::swap`].
    type Prepared: 'static;
    /// Why a configuration cannot be followed.
    type Error: Error + 'static;

    /// Makes ready what a new configuration asks for, and changes nothing. Called off the runtime's threads: it may
    /// block on the disk.
    ///
    /// # Errors
    /// When the part could not work with it.
    fn prepare(&self, next: &Arc<Config>) -> Result<Self::Prepared, Self::Error>;

    /// Works with it from now on. Called only when every part is prepared; within the runtime, so that it may spawn.
    fn swap(&self, prepared: Self::Prepared);
}

/// A part that is handed what `of` makes of each configuration, and needs nothing else to follow it.
#[must_use]
pub fn taking<T: 'static>(of: fn(&Arc<Config>) -> T, take: impl Fn(T) + Send + Sync + 'static) -> impl Live {
    Taking { of, take }
}

struct Taking<T, F> {
    of: fn(&Arc<Config>) -> T,
    take: F,
}

impl<T: 'static, F: Fn(T) + Send + Sync + 'static> Live for Taking<T, F> {
    type Prepared = T;
    type Error = Infallible;

    fn prepare(&self, next: &Arc<Config>) -> Result<T, Infallible> {
        Ok((self.of)(next))
    }

    fn swap(&self, prepared: T) {
        (self.take)(prepared);
    }
}

/// Swaps one part.
type Swap<'a> = Box<dyn FnOnce() + 'a>;

/// A part, whatever it prepares.
trait Part: Send + Sync {
    fn ready(&self, next: &Arc<Config>) -> Result<Swap<'_>, String>;
}

impl<L: Live> Part for L {
    fn ready(&self, next: &Arc<Config>) -> Result<Swap<'_>, String> {
        let prepared = self.prepare(next).map_err(|error| error_text(&error))?;
        Ok(Box::new(move || self.swap(prepared)))
    }
}

/// All parts of a node that follow its configuration.
#[derive(Default)]
pub struct Parts(Vec<Box<dyn Part>>);

impl Parts {
    /// These and one more; it is swapped after them.
    #[must_use]
    pub fn with(mut self, part: impl Live) -> Self {
        self.0.push(Box::new(part));
        self
    }

    /// Has every part follow, or none.
    ///
    /// # Errors
    /// Why, for each part that cannot.
    pub(super) fn follow(&self, next: &Arc<Config>) -> Result<(), Vec<String>> {
        let (mut swaps, mut causes) = (Vec::new(), Vec::new());
        for part in &self.0 {
            match part.ready(next) {
                Ok(swap) => swaps.push(swap),
                Err(cause) => causes.push(cause),
            }
        }
        if !causes.is_empty() {
            return Err(causes);
        }
        swaps.into_iter().for_each(|swap| swap());
        Ok(())
    }
}
