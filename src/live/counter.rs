//! What a relay thread counts and others read.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::Entry;
use crate::clock::Millis;

/// What was relayed over one connection, or over many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Whole data messages.
    pub messages_from_client: u64,
    /// Whole data messages.
    pub messages_from_runtime: u64,
    /// Bytes on the wire.
    pub bytes_from_client: u64,
    /// Bytes on the wire.
    pub bytes_from_runtime: u64,
}

impl Counts {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    /// What has been added to `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        self.zip(before, u64::saturating_sub)
    }

    /// In both directions.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.bytes_from_client.saturating_add(self.bytes_from_runtime)
    }

    fn zip(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            messages_from_client: with(self.messages_from_client, other.messages_from_client),
            messages_from_runtime: with(self.messages_from_runtime, other.messages_from_runtime),
            bytes_from_client: with(self.bytes_from_client, other.bytes_from_client),
            bytes_from_runtime: with(self.bytes_from_runtime, other.bytes_from_runtime),
        }
    }
}

impl Entry {
    /// What has been relayed over it.
    pub fn counts(&self) -> Counts {
        Counts {
            messages_from_client: self.from_client.messages(),
            messages_from_runtime: self.from_runtime.messages(),
            bytes_from_client: self.from_client.bytes(),
            bytes_from_runtime: self.from_runtime.bytes(),
        }
    }
}

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
