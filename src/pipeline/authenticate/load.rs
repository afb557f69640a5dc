//! The body of a message as one piece of memory, which hashing and signing need.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tracing::error;

use crate::mail::{Body, Message};
use crate::pipeline::parcel::Loaded;
use crate::pipeline::refusal::Refusal;

/// Longest wait for memory: what is not free by then is not soon (conventions: 452 after 10 s).
const PERMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Loads the body. One that is in memory costs nothing; one in a file takes permits of its size, a permit an
/// octet.
///
/// # Errors
/// When there is no memory for it, or the file cannot be read.
pub(super) async fn load(message: &Message, contiguous: &Arc<Semaphore>) -> Result<Loaded, Refusal> {
    let (file, offset, octets) = match message.body() {
        Body::Memory(body) => return Ok(Loaded { body: body.clone(), permit: None }),
        Body::File { file, offset, octets } => (file.clone(), *offset, *octets),
    };
    let permits = u32::try_from(octets).map_err(|_| Refusal::NoStorage)?;
    let permit = tokio::time::timeout(PERMIT_TIMEOUT, contiguous.clone().acquire_many_owned(permits)).await;
    let permit = permit.ok().and_then(Result::ok).ok_or(Refusal::NoStorage)?;
    let body = tokio::task::spawn_blocking(move || read(&file, offset, permits as usize)).await;
    match body {
        Ok(Ok(body)) => Ok(Loaded { body, permit: Some(permit) }),
        Ok(Err(cause)) => {
            error!(%cause, "a message's temporary file cannot be read");
            Err(Refusal::Internal)
        }
        Err(_panic) => Err(Refusal::Internal),
    }
}

fn read(file: &File, offset: u64, octets: usize) -> std::io::Result<Bytes> {
    let mut body = vec![0; octets];
    file.read_exact_at(&mut body, offset)?;
    Ok(body.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn in_file(content: &[u8], offset: u64) -> Message {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        let octets = content.len() as u64 - offset;
        Message::new(Bytes::from_static(b"A: b\r\n\r\n"), Body::File { file: Arc::new(file), offset, octets })
    }

    #[tokio::test]
    async fn a_body_in_a_file_holds_permits_of_its_size_until_dropped() {
        let contiguous = Arc::new(Semaphore::new(10));
        let loaded = load(&in_file(b"A: b\r\n\r\nbody\r\n", 8), &contiguous).await.unwrap();
        assert_eq!(loaded.body, "body\r\n");
        assert_eq!(contiguous.available_permits(), 4);
        drop(loaded);
        assert_eq!(contiguous.available_permits(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn without_memory_the_sender_keeps_the_message() {
        let contiguous = Arc::new(Semaphore::new(3));
        assert_eq!(load(&in_file(b"body", 0), &contiguous).await.unwrap_err(), Refusal::NoStorage);
    }
}
