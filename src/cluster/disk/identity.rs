//! Who this node is, and to what it is bound: `identity`, in the folder of what a node keeps of the cluster. Each change of
//! it is one durable write. What it names is finished before: a folder that no identity names holds nothing that was
//! promised to anybody.
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

use super::super::founding::{ClusterId, Members, NodeId, NodeName, Origin, Table};
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
/// Largest file, in octets: a list of nine names of 63.
const MAX_OCTETS: u64 = 4 << 10;

/// Who a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// What it is called, as long as this disk lives.
    pub node: NodeId,
    /// `node.name`, when the id was drawn.
    pub name: NodeName,
    /// The folder beside the identity in which log and snapshot stand.
    pub number: u32,
    /// The founding to which this id consented before the consent was freed.
    pub spent: Option<ClusterId>,
    /// To what it is bound while the log has no entries.
    pub bound: Bound,
    /// The cluster whose entries the log takes; `None`: it takes those of any.
    pub adopted: Option<Adopted>,
    /// Whether the table in the folder was all that the cluster had, once.
    pub was_shown: bool,
}

/// To what a node is bound that has no entries yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// To nothing.
    Free,
    /// It consented to a founding.
    Consent {
        /// The cluster to be.
        cluster: ClusterId,
        /// Who founds it.
        founder: NodeName,
    },
    /// It founds.
    Founding {
        /// The cluster to be.
        cluster: ClusterId,
        /// Everyone that must consent, and this node.
        list: Members,
        /// What the cluster begins with.
        table: Table,
    },
}

/// A cluster, and how it came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adopted {
    /// Which.
    pub cluster: ClusterId,
    /// How.
    pub origin: Origin,
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
    /// A new node, bound to nothing.
    #[must_use]
    pub fn draw(name: NodeName) -> Self {
        let node = NodeId(rand::random());
        Self { node, name, number: 0, spent: None, bound: Bound::Free, adopted: None, was_shown: false }
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
        let mut octets = [&MAGIC[..], &VERSION.to_be_bytes(), &self.to_proto().encode_to_vec()].concat();
        let sum = digest(&SHA256, &octets);
        octets.extend_from_slice(sum.as_ref());
        octets
    }

    fn to_proto(&self) -> v1::Identity {
        let bound = match &self.bound {
            Bound::Free => None,
            Bound::Consent { cluster, founder } => Some(v1::identity::Bound::Consent(v1::Consent {
                cluster: cluster_octets(*cluster),
                founder: founder.to_string(),
            })),
            Bound::Founding { cluster, list, table } => {
                let member =
                    |(name, id): (&NodeName, &NodeId)| v1::Member { node: id.0, name: name.to_string() };
                Some(v1::identity::Bound::Founding(v1::Founding {
                    cluster: cluster_octets(*cluster),
                    list: list.iter().map(member).collect(),
                    old_table: *table == Table::Old,
                }))
            }
        };
        let adopted = |adopted: Adopted| v1::Adopted {
            cluster: cluster_octets(adopted.cluster),
            origin: match adopted.origin {
                Origin::Alone => v1::Origin::Alone,
                Origin::Cluster => v1::Origin::Cluster,
            }
            .into(),
        };
        v1::Identity {
            node: self.node.0,
            name: self.name.to_string(),
            number: self.number,
            spent: self.spent.map(cluster_octets).unwrap_or_default(),
            bound,
            adopted: self.adopted.map(adopted),
            was_shown: self.was_shown,
        }
    }

    /// `None` where it lacks something, or says what this version does not know.
    fn from_proto(identity: v1::Identity) -> Option<Self> {
        let bound = match identity.bound {
            None => Bound::Free,
            Some(v1::identity::Bound::Consent(consent)) => Bound::Consent {
                cluster: cluster(&consent.cluster)?,
                founder: consent.founder.as_str().into(),
            },
            Some(v1::identity::Bound::Founding(founding)) => Bound::Founding {
                cluster: cluster(&founding.cluster)?,
                list: founding
                    .list
                    .iter()
                    .map(|member| (member.name.as_str().into(), NodeId(member.node)))
                    .collect(),
                table: if founding.old_table { Table::Old } else { Table::Empty },
            },
        };
        let adopted = match identity.adopted {
            None => None,
            Some(adopted) => Some(Adopted {
                cluster: cluster(&adopted.cluster)?,
                origin: match adopted.origin() {
                    v1::Origin::Alone => Origin::Alone,
                    v1::Origin::Cluster => Origin::Cluster,
                    v1::Origin::Unspecified => return None,
                },
            }),
        };
        let spent = if identity.spent.is_empty() { None } else { Some(cluster(&identity.spent)?) };
        Some(Self {
            node: NodeId(identity.node),
            name: identity.name.as_str().into(),
            number: identity.number,
            spent,
            bound,
            adopted,
            was_shown: identity.was_shown,
        })
    }
}

fn cluster_octets(cluster: ClusterId) -> Vec<u8> {
    cluster.0.to_be_bytes().to_vec()
}

fn cluster(octets: &[u8]) -> Option<ClusterId> {
    Some(ClusterId(u128::from_be_bytes(octets.try_into().ok()?)))
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
    Identity::from_proto(identity).ok_or_else(|| IdentityError::Unknown(path.to_owned()))
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IdentityError {
    let path = path.to_owned();
    move |cause| IdentityError::Io { doing, path, cause }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
