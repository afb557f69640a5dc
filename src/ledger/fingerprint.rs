//! What makes two messages the same one: the fields a sender does not change between retries, and the body.

use std::io;
use std::os::unix::fs::FileExt;

use aws_lc_rs::digest;

use crate::mail::{Body, Message, header};

/// Octets read from a file at a time.
const PIECE_OCTETS: usize = 256 * 1024;

/// Date, From, Message-ID, Subject and the body, as a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Takes the fingerprint of the message as received. Reads the body's file, if there is one: call it
    /// where blocking is allowed then.
    ///
    /// # Errors
    /// When the body's file cannot be read.
    pub fn of(message: &Message) -> io::Result<Self> {
        let mut context = digest::Context::new(&digest::SHA256);
        for field in header::fields(message.head()) {
            if ["Date", "From", "Message-ID", "Subject"].iter().any(|name| field.is(name)) {
                context.update(&field.name.to_ascii_lowercase());
                context.update(&(field.value.len() as u64).to_be_bytes());
                context.update(field.value);
            }
        }
        match message.body() {
            Body::Memory(octets) => context.update(octets),
            Body::File { file, offset, octets } => {
                let mut piece = vec![0; PIECE_OCTETS];
                let end = offset + octets;
                let mut at = *offset;
                while at < end {
                    let want = usize::try_from(end - at).unwrap_or(PIECE_OCTETS).min(PIECE_OCTETS);
                    let piece = piece.get_mut(..want).unwrap_or_default();
                    file.read_exact_at(piece, at)?;
                    context.update(piece);
                    at += want as u64;
                }
            }
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.finish().as_ref());
        Ok(Self(fingerprint))
    }

    /// The digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
