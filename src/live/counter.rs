//! What a relay thread counts and others read.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Millis;

/// Counts with one writer, the relay thread; anybody may read them.
#[derive(Debug, Default)]
pub struct Counter {
    messages: AtomicU64,
    bytes: AtomicU64,
    last_data_ms: AtomicU64,
}

impl Counter {
    /// Adds what has come since; `data_at` is when a data frame began, if one did. Nobody else writes,
    /// so no addition gets lost.
    pub fn add(&self, messages: u32, bytes: u32, data_at: Option<Millis>) {
        let add = |count: &AtomicU64, more: u32| {
            let sum = count.load(Ordering::Relaxed).wrapping_add(more.into());
            count.store(sum, Ordering::Relaxed);
        };
        add(&self.messages, messages);
        add(&self.bytes, bytes);
        if let Some(data_at) = data_at {
            self.last_data_ms.store(data_at.0, Ordering::Relaxed);
        }
    }

    /// Whole data messages.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Bytes on the wire.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// When the last data frame began.
    pub fn last_data_at(&self) -> Millis {
        Millis(self.last_data_ms.load(Ordering::Relaxed))
    }
}
