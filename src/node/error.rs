//! Why a node does not start.

use std::error::Error as StdError;
use std::io;

use thiserror::Error;

use crate::error_text::error_text;

/// Why a node does not start.
#[derive(Debug, Error)]
pub enum NodeError {
    /// The runtime, a thread, a socket or a folder.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A part of the node; the text names it.
    #[error("{0}")]
    Part(String),
}

/// A part's error with all its causes.
pub(super) fn part(error: &(dyn StdError + 'static)) -> NodeError {
    NodeError::Part(error_text(error))
}
