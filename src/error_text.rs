//! An error with everything that caused it, as one line.

use std::error::Error;

/// The texts of the error and of its sources, with colons between them; one that says no more than the one before it
/// is left out.
#[must_use]
pub fn error_text(error: &(dyn Error + 'static)) -> String {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
        cause = error.source();
    }
    texts.join(": ")
}
