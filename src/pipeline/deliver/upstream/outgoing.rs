//! The message as it is sent: looked at once for what it asks of an upstream, then streamed through the
//! dot-stuffer as often as it must be.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

use crate::mail::{Body, BodyFile, Message};
use crate::smtp::client::DotStuffer;

/// Octets read from a file, or handed to the network, at once.
const BLOCK_OCTETS: usize = 64 * 1024;

/// Whether octets with the eighth bit set occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Octets {
    /// They do not.
    SevenBit,
    /// They do.
    EightBit,
}

/// The octets to send and what is known of them.
#[derive(Debug)]
pub(crate) struct Content {
    head: Vec<Bytes>,
    body: Body,
    /// Size as sent, in octets, before dot-stuffing (RFC 1870 §5).
    pub(crate) octets: u64,
    /// Of the header section.
    pub(crate) head_octets: Octets,
    /// Of the whole message.
    pub(crate) all_octets: Octets,
}

impl Content {
    /// Looks at the message. A body in a file is read once.
    pub(crate) async fn survey(message: &Message) -> io::Result<Self> {
        let mut content = Self {
            head: message.emitted_head(),
            body: message.body().clone(),
            octets: message.emitted_octets(),
            head_octets: Octets::SevenBit,
            all_octets: Octets::SevenBit,
        };
        if !content.head.iter().all(|slice| slice.is_ascii()) {
            content.head_octets = Octets::EightBit;
            content.all_octets = Octets::EightBit;
            return Ok(content);
        }
        let mut blocks = Blocks::new(Vec::new(), &content.body);
        while let Some(block) = blocks.next().await? {
            if !block.is_ascii() {
                content.all_octets = Octets::EightBit;
                break;
            }
        }
        Ok(content)
    }

    /// Starts sending it.
    pub(crate) fn outgoing(&self) -> Outgoing {
        let blocks = Blocks::new(self.head.clone(), &self.body);
        Outgoing { blocks, stuffer: Some(DotStuffer::default()) }
    }
}

/// A message on its way out: filled buffers, one after the other.
pub(crate) struct Outgoing {
    blocks: Blocks,
    /// Gone once the end of data has been written.
    stuffer: Option<DotStuffer>,
}

impl Outgoing {
    /// Fills the buffer with the next octets of the wire form, at least 64 KiB unless the message ends
    /// with them: a small message is one buffer, and one write. Says whether the end of data is in it.
    pub(crate) async fn fill(&mut self, buffer: &mut Vec<u8>) -> io::Result<Rest> {
        buffer.clear();
        while let Some(stuffer) = &mut self.stuffer {
            match self.blocks.next().await? {
                Some(block) => stuffer.stuff(&block, buffer),
                None => self.stuffer.take().into_iter().for_each(|stuffer| stuffer.finish(buffer)),
            }
            if buffer.len() >= BLOCK_OCTETS {
                break;
            }
        }
        Ok(if self.stuffer.is_none() { Rest::Ended } else { Rest::More })
    }
}

/// Whether more of a message follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// It does.
    More,
    /// The end of data was reached.
    Ended,
}

/// The raw octets in blocks of at most [`BLOCK_OCTETS`].
struct Blocks {
    memory: VecDeque<Bytes>,
    file: Option<(Arc<BodyFile>, u64, u64)>,
}

impl Blocks {
    fn new(head: Vec<Bytes>, body: &Body) -> Self {
        let mut memory = VecDeque::from(head);
        match body {
            Body::Memory(octets) => {
                memory.push_back(octets.clone());
                Self { memory, file: None }
            }
            Body::File { file, offset, octets } => {
                Self { memory, file: Some((file.clone(), *offset, offset + octets)) }
            }
        }
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while let Some(slice) = self.memory.front_mut() {
            if slice.is_empty() {
                self.memory.pop_front();
                continue;
            }
            return Ok(Some(slice.split_to(slice.len().min(BLOCK_OCTETS))));
        }
        let Some((file, at, end)) = self.file.as_mut().filter(|(_, at, end)| at < end) else {
            return Ok(None);
        };
        let octets = usize::try_from(*end - *at).unwrap_or(BLOCK_OCTETS).min(BLOCK_OCTETS);
        let (source, from) = (file.clone(), *at);
        *at += octets as u64;
        let read = tokio::task::spawn_blocking(move || {
            let mut block = vec![0; octets];
            source.read_exact_at(&mut block, from).map(|()| Bytes::from(block))
        });
        read.await.map_err(io::Error::other)?.map(Some)
    }
}

#[cfg(test)]
#[path = "outgoing_tests.rs"]
mod tests;
