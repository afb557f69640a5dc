//! Update masks (AIP-161).

use pbjson_types::FieldMask;
use tonic::Status;

use super::status;

/// Most paths in a mask.
const MAX_PATHS: usize = 64;

/// Which fields an update names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mask<'m> {
    /// All that are set in the resource.
    AllSet,
    /// These.
    Paths(&'m [String]),
}

impl<'m> Mask<'m> {
    /// Reads a mask; every path must be one of `known`, or `*` alone.
    pub(super) fn read(mask: Option<&'m FieldMask>, known: &[&str]) -> Result<Self, Status> {
        let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
        if paths.len() > MAX_PATHS {
            return Err(status::invalid("update_mask", format!("has more than {MAX_PATHS} paths")));
        }
        if paths.is_empty() || matches!(paths, [star] if star == "*") {
            return Ok(Self::AllSet);
        }
        match paths.iter().find(|path| !known.contains(&path.as_str())) {
            Some(path) => {
                let text = format!("\"{path}\" is not a field that can be changed: {}", known.join(", "));
                Err(status::invalid("update_mask", text))
            }
            None => Ok(Self::Paths(paths)),
        }
    }

    /// Whether a field is to be changed; `set` says whether the resource holds a value for it.
    pub(super) fn names(self, path: &str, set: bool) -> bool {
        match self {
            Self::AllSet => set,
            Self::Paths(paths) => paths.iter().any(|named| named == path),
        }
    }
}
