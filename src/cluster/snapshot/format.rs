//! A snapshot as octets: written and read as a stream, so that a table is in memory once.

use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use prost::Message as _;

use super::super::encoding::{decode_log_id, decode_membership, encode_meta};
use super::super::proposal::{MAX_PROPOSAL_OCTETS, Part};
use super::super::staging::Staging;
use super::super::types::{SnapshotMeta, StoredMembership};
use super::Agreed;
use super::error::Fault;
use crate::proto::cluster::v1;
use crate::routing::{Decoded, MAX_RECORD_OCTETS, MAX_REVISION_OCTETS, Rebuilt, RoutingOptions};

const MAGIC: [u8; 8] = [0x8f, b'P', b'R', b'T', b'\r', b'\n', 0x1a, b'\n'];
/// The version of a table without a history.
const WITHOUT_HISTORY: u32 = 1;
/// The version of one that has some.
const WITH_HISTORY: u32 = 2;
/// The version of one that has a key of deliveries, too; later ones are refused.
const WITH_DELIVERY_KEY: u32 = 3;
/// Largest beginning, in octets: a log id and some hundred octets a member.
const MAX_META_OCTETS: usize = 1 << 20;
/// Records that are passed on at once.
const BATCH: usize = 256;
/// How many batches are read ahead.
const BATCHES_AHEAD: usize = 4;
/// Octets that are read, and written, at once.
const BUFFER_OCTETS: usize = 64 << 10;

/// Writes a snapshot.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write(to: impl Write, meta: &SnapshotMeta, agreed: &Agreed) -> io::Result<()> {
    let mut writer = Writer { to: BufWriter::with_capacity(BUFFER_OCTETS, to), sum: Context::new(&SHA256) };
    writer.put(&MAGIC)?;
    let mut history = agreed.table.history_records().peekable();
    let version = match (history.peek(), agreed.table.delivery_key()) {
        (None, None) => WITHOUT_HISTORY,
        (Some(_), None) => WITH_HISTORY,
        (_, Some(_)) => WITH_DELIVERY_KEY,
    };
    writer.put(&version.to_be_bytes())?;
    writer.piece(&encode_meta(meta).encode_to_vec())?;
    for record in agreed.table.records() {
        writer.piece(&record)?;
    }
    writer.piece(&[])?;
    for part in agreed.staging.parts() {
        writer.piece(&part.encode().encode_to_vec())?;
    }
    writer.piece(&[])?;
    if version != WITHOUT_HISTORY {
        for revision in history {
            writer.piece(&revision)?;
        }
        writer.piece(&[])?;
    }
    writer.to.write_all(writer.sum.finish().as_ref())?;
    writer.to.flush()
}

struct Writer<W: Write> {
    to: BufWriter<W>,
    sum: Context,
}

impl<W: Write> Writer<W> {
    fn put(&mut self, octets: &[u8]) -> io::Result<()> {
        self.sum.update(octets);
        self.to.write_all(octets)
    }

    fn piece(&mut self, octets: &[u8]) -> io::Result<()> {
        let length = u32::try_from(octets.len()).map_err(io::Error::other)?;
        self.put(&length.to_be_bytes())?;
        self.put(octets)
    }
}

/// Reads a snapshot to its end. Its beginning and its content are to be believed only then.
///
/// # Errors
/// With what is wrong, and the offset behind what was read before that was found.
pub(super) fn read(from: impl Read, options: RoutingOptions) -> Result<(SnapshotMeta, Agreed), (u64, Fault)> {
    let from = BufReader::with_capacity(BUFFER_OCTETS, from);
    let mut reader = Reader { from, sum: Context::new(&SHA256), offset: 0 };
    reader.snapshot(options).map_err(|fault| (reader.offset, fault))
}

struct Reader<R: Read> {
    from: BufReader<R>,
    sum: Context,
    offset: u64,
}

impl<R: Read> Reader<R> {
    fn snapshot(&mut self, options: RoutingOptions) -> Result<(SnapshotMeta, Agreed), Fault> {
        if self.array()? != MAGIC {
            return Err(Fault::NoSnapshot);
        }
        let version = u32::from_be_bytes(self.array()?);
        if !(WITHOUT_HISTORY..=WITH_DELIVERY_KEY).contains(&version) {
            return Err(Fault::Version(version));
        }
        let mut piece = Vec::new();
        self.piece(&mut piece, MAX_META_OCTETS)?;
        let meta = decode_meta(v1::SnapshotMeta::decode(piece.as_slice())?)?;
        let mut rebuilt = self.table(options)?;
        let staging = self.staging()?;
        if version != WITHOUT_HISTORY {
            self.history(&mut rebuilt)?;
        }
        self.end()?;
        Ok((meta, Agreed { table: rebuilt.finish()?, staging }))
    }

    /// The records of the table. A thread of its own makes the table of them while more are read and decoded.
    fn table(&mut self, options: RoutingOptions) -> Result<Rebuilt, Fault> {
        let (decoded, records) = sync_channel(BATCHES_AHEAD);
        thread::scope(|scope| {
            let making = move || rebuild(Rebuilt::new(options), &records);
            let making = thread::Builder::new().name("table".to_owned()).spawn_scoped(scope, making);
            let making = making.map_err(Fault::Io)?;
            let read = self.records(decoded);
            match making.join() {
                Ok(Ok(rebuilt)) => read.map(|()| rebuilt),
                // It stands before whatever was read since.
                Ok(Err((offset, fault))) => {
                    self.offset = offset;
                    Err(fault)
                }
                Err(panic) => resume_unwind(panic),
            }
        })
    }

    /// Passes on the records of the table, each with the offset behind it, until nobody takes them any more.
    fn records(&mut self, to: SyncSender<Vec<(u64, Decoded)>>) -> Result<(), Fault> {
        let (mut piece, mut batch) = (Vec::new(), Vec::with_capacity(BATCH));
        loop {
            self.piece(&mut piece, MAX_RECORD_OCTETS)?;
            let is_end = piece.is_empty();
            if !is_end {
                batch.push((self.offset, Decoded::of(&piece)?));
            }
            if is_end || batch.len() == BATCH {
                let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
                if to.send(full).is_err() || is_end {
                    return Ok(());
                }
            }
        }
    }

    fn staging(&mut self) -> Result<Staging, Fault> {
        let (mut staging, mut piece) = (Staging::default(), Vec::new());
        loop {
            self.piece(&mut piece, MAX_PROPOSAL_OCTETS)?;
            if piece.is_empty() {
                return Ok(staging);
            }
            let part = Part::decode(v1::Part::decode(piece.as_slice())?).map_err(Fault::Part)?;
            staging.add(part).map_err(Fault::Staging)?;
        }
    }

    fn history(&mut self, rebuilt: &mut Rebuilt) -> Result<(), Fault> {
        let mut piece = Vec::new();
        loop {
            self.piece(&mut piece, MAX_REVISION_OCTETS)?;
            if piece.is_empty() {
                return Ok(());
            }
            rebuilt.add_revision(&piece)?;
        }
    }

    fn end(&mut self) -> Result<(), Fault> {
        let sum = self.sum.clone().finish();
        if self.array::<SHA256_OUTPUT_LEN>()? != sum.as_ref() {
            return Err(Fault::Sum);
        }
        match self.from.read(&mut [0]).map_err(Fault::Io)? {
            0 => Ok(()),
            _ => Err(Fault::Trailing),
        }
    }

    fn piece(&mut self, into: &mut Vec<u8>, limit: usize) -> Result<(), Fault> {
        let octets = u32::from_be_bytes(self.array()?) as usize;
        if octets > limit {
            return Err(Fault::TooLong { octets, limit });
        }
        into.resize(octets, 0);
        self.take(into)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut octets = [0; N];
        self.take(&mut octets)?;
        Ok(octets)
    }

    fn take(&mut self, into: &mut [u8]) -> Result<(), Fault> {
        let missing = |cause: &io::Error| cause.kind() == ErrorKind::UnexpectedEof;
        let read = self.from.read_exact(into);
        read.map_err(|cause| if missing(&cause) { Fault::Cut } else { Fault::Io(cause) })?;
        self.sum.update(into);
        self.offset += into.len() as u64;
        Ok(())
    }
}

fn rebuild(mut rebuilt: Rebuilt, records: &Receiver<Vec<(u64, Decoded)>>) -> Result<Rebuilt, (u64, Fault)> {
    for (offset, record) in records.iter().flatten() {
        rebuilt.add(record).map_err(|cause| (offset, cause.into()))?;
    }
    Ok(rebuilt)
}

fn decode_meta(meta: v1::SnapshotMeta) -> Result<SnapshotMeta, Fault> {
    let stored = meta.membership.ok_or(Fault::Lacks("who is a member"))?;
    let membership = decode_membership(stored.membership.ok_or(Fault::Lacks("who is a member"))?);
    Ok(SnapshotMeta {
        last_log_id: meta.last.as_ref().map(decode_log_id),
        last_membership: StoredMembership::new(stored.id.as_ref().map(decode_log_id), membership),
        snapshot_id: meta.snapshot_id,
    })
}
