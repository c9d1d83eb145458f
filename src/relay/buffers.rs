//! The buffers of one relay thread: one to read into, and a few to lend to connections whose peer
//! would not take everything at once.

use super::pair::HOLD_BYTES_MAX;

/// Bytes read from a socket at once. With held bytes before them, a little less than the 65,464 that the
/// loopback carries in one segment, so that a read leaves in one segment and not in a full one and a stub.
pub const READ_BYTES_MAX: usize = 64 * 1024 - 256;
/// Buffers kept for the next connection that needs one; more than that are given back to the system.
const SPARE_MAX: usize = 64;

/// One thread's buffers.
#[derive(Debug)]
pub struct Buffers {
    scratch: Box<[u8]>,
    spare: Vec<Vec<u8>>,
}

impl Default for Buffers {
    fn default() -> Self {
        Self {
            scratch: vec![0; HOLD_BYTES_MAX + READ_BYTES_MAX].into_boxed_slice(),
            spare: Vec::new(),
        }
    }
}

impl Buffers {
    /// The read buffer for the length of a turn, and the pool to borrow from meanwhile.
    pub fn split(&mut self) -> (&mut [u8], Pool<'_>) {
        (&mut self.scratch, Pool(&mut self.spare))
    }
}

/// Buffers to lend, all empty.
#[derive(Debug)]
pub struct Pool<'a>(&'a mut Vec<Vec<u8>>);

impl Pool<'_> {
    /// An empty buffer with room for what one read can leave behind.
    pub fn lend(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_else(|| Vec::with_capacity(HOLD_BYTES_MAX + READ_BYTES_MAX))
    }

    /// Takes a buffer back.
    pub fn give_back(&mut self, mut buffer: Vec<u8>) {
        if self.0.len() < SPARE_MAX {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}
