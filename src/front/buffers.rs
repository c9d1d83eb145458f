//! The memory of one front thread: what it reads into, and a few buffers to lend.

use std::sync::Arc;

use http::HeaderMap;

use crate::held::{Held, Part};

/// Bytes read from a runtime at once, unless a head may be longer.
const READ_BYTES: usize = 64 * 1024;
/// Bytes of a body read at once, which are sent at once: a little less than the loopback carries in one
/// segment. 64 KiB would leave in two.
pub const BODY_READ_BYTES: usize = READ_BYTES - 256;
/// Room before and behind what is read, to make a chunk of it.
pub const CHUNK_ROOM: usize = 16;
/// Buffers kept for the next one that is needed.
const SPARE_MAX: usize = 256;
/// A buffer that grew beyond this is given back to the system.
const SPARE_BYTES_MAX: usize = 16 * 1024;

/// One thread's buffers.
#[derive(Debug)]
pub struct Buffers {
    /// What is read, with [`CHUNK_ROOM`] on both sides.
    pub scratch: Box<[u8]>,
    /// Bytes that are read at once.
    pub read_bytes: usize,
    /// What is written.
    pub out: Vec<u8>,
    /// The memory of the headers that are looked at.
    pub map: HeaderMap,
    spare: Vec<Vec<u8>>,
    held: Arc<Held>,
}

impl Buffers {
    /// Buffers that take any head.
    #[must_use]
    pub fn new(header_bytes_max: usize, held: &Arc<Held>) -> Self {
        let held = Arc::clone(held);
        let read_bytes = READ_BYTES.max(header_bytes_max + 1);
        let scratch = vec![0; CHUNK_ROOM + read_bytes + CHUNK_ROOM].into_boxed_slice();
        Self {
            scratch,
            read_bytes,
            out: Vec::new(),
            map: HeaderMap::new(),
            spare: Vec::new(),
            held,
        }
    }

    /// An empty buffer.
    pub fn lend(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub fn give_back(&mut self, mut buffer: Vec<u8>) {
        let is_worth_it = (1..=SPARE_BYTES_MAX).contains(&buffer.capacity());
        if is_worth_it && self.spare.len() < SPARE_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// The beginning of what was read, in a lent buffer.
    pub fn copy_of_scratch(&mut self, length: usize) -> Vec<u8> {
        let mut buffer = self.lend();
        buffer.extend_from_slice(&self.scratch[..length]);
        buffer
    }

    /// A copy in a lent buffer, of what waits for a peer.
    pub fn copy_to_wait(&mut self, bytes: &[u8]) -> (Vec<u8>, Part) {
        let mut buffer = self.lend();
        buffer.extend_from_slice(bytes);
        let part = self.hold(&buffer);
        (buffer, part)
    }

    /// What a buffer takes while it waits for a peer.
    pub fn hold(&self, buffer: &Vec<u8>) -> Part {
        Part::of(&self.held, buffer.capacity())
    }
}
