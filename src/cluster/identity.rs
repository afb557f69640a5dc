//! Who this node is: `identity`, in the folder of what a node keeps of the cluster. It is written last of what a node needs
//! to take part, so that a folder without it holds nothing that was promised to anybody.
//!
//! # Format
//!
//! ```text
//! 8  magic
//! 4  version: 1, big-endian
//!    postroad.cluster.v1.Identity
//! 32 SHA-256 of all before
//! ```

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use prost::Message as _;
use thiserror::Error;

use super::founding::{ClusterId, NodeId, NodeName};
use crate::private_files;
use crate::proto::cluster::v1;
use crate::wal::{WalError, sync_dir};

/// The file.
const NAME: &str = "identity";
/// The file while it is written.
const UNFINISHED: &str = "identity.partial";
const MAGIC: [u8; 8] = [0x8f, b'P', b'R', b'I', b'\r', b'\n', 0x1a, b'\n'];
/// The version that is written; others are refused.
const VERSION: u32 = 1;
/// Largest file, in octets: a name has 63.
const MAX_OCTETS: u64 = 4 << 10;

/// Who a node is: of a cluster that it founded itself, because its file has no `[cluster]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Which cluster it is in.
    pub cluster: ClusterId,
    /// What it is called there, as long as this disk lives.
    pub node: NodeId,
    /// `node.name`, when the id was drawn.
    pub name: NodeName,
    /// The folder beside the identity in which log and snapshot stand.
    pub number: u32,
}

/// Why it is not known who the node is. Always ours.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The disk or the file system refused.
    #[error("cannot {doing} {}: {cause}", path.display())]
    Io {
        /// The verb.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file's name could not be made durable.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// A later version wrote it.
    #[error("{} is of a format that this version of Postroad does not know", .0.display())]
    Unknown(PathBuf),
    /// It is not what was written.
    #[error("{} is damaged", .0.display())]
    Damaged(PathBuf),
}

impl Identity {
    /// A new node, of a new cluster.
    #[must_use]
    pub fn draw(name: NodeName, number: u32) -> Self {
        Self { cluster: ClusterId(rand::random()), node: NodeId(rand::random()), name, number }
    }

    /// Where log and snapshot stand.
    #[must_use]
    pub fn dir(&self, folder: &Path) -> PathBuf {
        folder.join(self.number.to_string())
    }

    /// What stands in the folder; `None` where there is none, or no folder. Blocks on the disk.
    ///
    /// # Errors
    /// When there is one and it cannot be read.
    pub fn read(dir: &Path) -> Result<Option<Self>, IdentityError> {
        let path = dir.join(NAME);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(io_error("open", &path)(cause)),
        };
        let mut octets = Vec::new();
        file.take(MAX_OCTETS).read_to_end(&mut octets).map_err(io_error("read", &path))?;
        decode(&octets, &path).map(Some)
    }

    /// Writes it into the folder, durably. Blocks on the disk.
    ///
    /// # Errors
    /// When the disk fails: then there is none, or this one.
    pub fn write(&self, dir: &Path) -> Result<(), IdentityError> {
        let (unfinished, path) = (dir.join(UNFINISHED), dir.join(NAME));
        let file = private_files::options().write(true).create(true).truncate(true).open(&unfinished);
        let written = file.and_then(|mut file| {
            file.write_all(&self.encode())?;
            file.sync_all()
        });
        written.map_err(io_error("write", &unfinished))?;
        fs::rename(&unfinished, &path).map_err(io_error("rename to", &path))?;
        Ok(sync_dir(dir)?)
    }

    fn encode(&self) -> Vec<u8> {
        let identity = v1::Identity {
            cluster: self.cluster.0.to_be_bytes().to_vec(),
            node: self.node.0,
            name: self.name.to_string(),
            origin: v1::Origin::Alone.into(),
            number: self.number,
        };
        let mut octets = [&MAGIC[..], &VERSION.to_be_bytes(), &identity.encode_to_vec()].concat();
        let sum = digest(&SHA256, &octets);
        octets.extend_from_slice(sum.as_ref());
        octets
    }
}

fn decode(octets: &[u8], path: &Path) -> Result<Identity, IdentityError> {
    let damaged = || IdentityError::Damaged(path.to_owned());
    let rest = octets.strip_prefix(&MAGIC).ok_or_else(damaged)?;
    let (version, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
    if u32::from_be_bytes(*version) != VERSION {
        return Err(IdentityError::Unknown(path.to_owned()));
    }
    let (identity, _) = rest.split_last_chunk::<SHA256_OUTPUT_LEN>().ok_or_else(damaged)?;
    let (summed, sum) = octets.split_last_chunk::<SHA256_OUTPUT_LEN>().ok_or_else(damaged)?;
    if digest(&SHA256, summed).as_ref() != sum {
        return Err(damaged());
    }
    let identity = v1::Identity::decode(identity).map_err(|_| damaged())?;
    if identity.origin() != v1::Origin::Alone {
        return Err(IdentityError::Unknown(path.to_owned()));
    }
    let cluster = identity.cluster.as_slice().try_into().map_err(|_| damaged())?;
    Ok(Identity {
        cluster: ClusterId(u128::from_be_bytes(cluster)),
        node: NodeId(identity.node),
        name: identity.name.as_str().into(),
        number: identity.number,
    })
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IdentityError {
    let path = path.to_owned();
    move |cause| IdentityError::Io { doing, path, cause }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
