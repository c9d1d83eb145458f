//! The buffers of one relay thread: one to read into, and a few to lend to connections whose peer
//! would not take everything at once.

use super::pair::HOLD_BYTES_MAX;

/// Bytes read from a socket at once. With held bytes before them, a little less than the 65,464 that the
/// loopback carries in one segment, so that a read leaves in one segment and not in a full one and a stub.
pub const READ_BYTES_MAX: usize = 64 * 1024 - 256;
/// A buffer that takes whatever one read leaves behind.
const WHOLE_BYTES: usize = HOLD_BYTES_MAX + READ_BYTES_MAX;
/// What is read at once while there is more in all connections' buffers than there should be: what a
/// peer does not take costs no more than that then.
const SCARCE_BYTES: usize = 4 * 1024;
/// Buffers kept for the next connection that needs one; more than that are given back to the system.
const SPARE_MAX: usize = 64;

/// One thread's buffers.
#[derive(Debug)]
pub struct Buffers {
    scratch: Box<[u8]>,
    spare: Vec<Vec<u8>>,
    is_scarce: bool,
}

impl Default for Buffers {
    fn default() -> Self {
        Self {
            scratch: vec![0; HOLD_BYTES_MAX + READ_BYTES_MAX].into_boxed_slice(),
            spare: Vec::new(),
            is_scarce: false,
        }
    }
}

impl Buffers {
    /// Whether there is more in use than there should be.
    pub fn set_scarce(&mut self, is_scarce: bool) {
        self.is_scarce = is_scarce;
        if is_scarce {
            self.spare.clear();
        }
    }

    /// The read buffer for the length of a turn, and the pool to borrow from meanwhile.
    pub fn split(&mut self) -> (&mut [u8], Pool<'_>) {
        (&mut self.scratch, Pool { spare: &mut self.spare, is_scarce: self.is_scarce })
    }
}

/// Buffers to lend, all empty.
#[derive(Debug)]
pub struct Pool<'a> {
    spare: &'a mut Vec<Vec<u8>>,
    is_scarce: bool,
}

impl Pool<'_> {
    /// How much is to be read at once, `least` being what the socket needs for that.
    #[must_use]
    pub fn read_bytes(&self, least: usize) -> usize {
        if self.is_scarce { least.max(SCARCE_BYTES) } else { READ_BYTES_MAX }
    }

    /// An empty buffer with room for these bytes, and, while there is enough, for all that one read can
    /// leave behind.
    pub fn lend(&mut self, bytes: usize) -> Vec<u8> {
        match self.is_scarce {
            true => Vec::with_capacity(bytes),
            false => self.spare.pop().unwrap_or_else(|| Vec::with_capacity(WHOLE_BYTES)),
        }
    }

    /// Takes a buffer back.
    pub fn give_back(&mut self, mut buffer: Vec<u8>) {
        if !self.is_scarce && buffer.capacity() >= WHOLE_BYTES && self.spare.len() < SPARE_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}
