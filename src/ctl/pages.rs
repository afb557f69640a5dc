//! Owns following the pages of a list (AIP-158), where a page may be short, or empty, with more to come.

use super::failure::Failure;

/// Asks for one page after the other. `ask` is given the token of the page, empty for the first, and answers
/// with what is on it and the token of the next.
pub(super) async fn all<T>(
    ask: impl AsyncFnMut(String) -> Result<(Vec<T>, String), Failure>,
) -> Result<Vec<T>, Failure> {
    first(usize::MAX, ask).await
}

/// As [`all`], until so many are there.
pub(super) async fn first<T>(
    limit: usize,
    mut ask: impl AsyncFnMut(String) -> Result<(Vec<T>, String), Failure>,
) -> Result<Vec<T>, Failure> {
    let mut all = Vec::new();
    let mut token = String::new();
    loop {
        let (page, next) = ask(token).await?;
        all.extend(page);
        if next.is_empty() || all.len() >= limit {
            all.truncate(limit);
            return Ok(all);
        }
        token = next;
    }
}
