//! Memory in which something waits for a peer that does not take it. What waits in all connections is
//! added up, so that there is a limit to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is held in all.
#[derive(Debug)]
pub struct Held {
    bytes: AtomicU64,
    max: AtomicU64,
}

impl Default for Held {
    fn default() -> Self {
        Self { bytes: AtomicU64::new(0), max: AtomicU64::new(u64::MAX) }
    }
}

impl Held {
    /// Above so many bytes it is full.
    pub fn limit(&self, max: u64) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// How much it is.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether there is more than there should be.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes() > self.max.load(Ordering::Relaxed)
    }

    /// Somebody who held `before` holds `now`.
    pub fn change(&self, before: u64, now: u64) {
        // Around zero and back, where it is less.
        self.bytes.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
    }
}

/// What one holds; given back when it is dropped.
#[derive(Debug)]
pub struct Part {
    held: Arc<Held>,
    bytes: u64,
}

impl Part {
    /// So many bytes.
    #[must_use]
    pub fn of(held: &Arc<Held>, bytes: usize) -> Self {
        let bytes = bytes as u64;
        held.change(0, bytes);
        Self { held: Arc::clone(held), bytes }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.held.change(self.bytes, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_full_above_its_limit_until_somebody_gives_back() {
        let held = Arc::<Held>::default();
        held.limit(100);
        let part = Part::of(&held, 60);
        held.change(0, 40);
        assert!(!held.is_full(), "exactly as much as may be");
        held.change(40, 41);
        assert!(held.is_full());
        held.change(41, 7);
        assert_eq!((held.bytes(), held.is_full()), (67, false));
        drop(part);
        assert_eq!(held.bytes(), 7);
    }
}
