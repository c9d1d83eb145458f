//! The limits of every store, and the checks on what goes in.

use std::collections::HashSet;
use std::time::Duration;

use super::error::StoreError;
use super::types::{Change, SeriesBatch, SeriesUpdate, Write};

/// Bytes of a kind.
pub const KIND_BYTES_MAX: usize = 32;
/// Bytes of a document's id.
pub const ID_BYTES_MAX: usize = 256;
/// Bytes of an index.
pub const INDEX_BYTES_MAX: usize = 256;
/// Indexes of a document.
pub const INDEXES_MAX: usize = 256;
/// Bytes of a document's body.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// Writes in one call.
pub const WRITES_MAX: usize = 4_096;
/// Bytes of bodies in one call.
pub const CALL_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Documents that one call lists.
pub const LIST_MAX: usize = 1_000;
/// Bytes of an expiring entry's key, a counter's key, a lease's name and a lease's holder.
pub const KEY_BYTES_MAX: usize = 256;
/// Bytes of an expiring entry's value.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// How long an entry, a window or a lease may last.
pub const TTL_MAX: Duration = Duration::from_secs(400 * 24 * 60 * 60);
/// Bytes of a series' name and of a field's.
pub const SERIES_BYTES_MAX: usize = 128;
/// Numbers in a bucket; more are not kept.
pub const FIELDS_MAX: usize = 128;
/// Updates in one call.
pub const UPDATES_MAX: usize = 16_384;
/// For how long buckets are kept.
pub const SERIES_KEPT_MINUTES: u64 = SERIES_KEPT_DAYS as u64 * MINUTES_PER_DAY;
/// The same in days.
pub const SERIES_KEPT_DAYS: u32 = 32;
/// Minutes of a day.
pub const MINUTES_PER_DAY: u64 = 24 * 60;
/// For how long it is known that a batch was merged.
pub const BATCH_KNOWN: Duration = Duration::from_secs(2 * 60 * 60);
/// What the entry that knows it begins with.
pub(super) const BATCH_PREFIX: &str = "merged:";
/// How far ahead of the store's clock a bucket may be.
pub const SERIES_AHEAD_MINUTES: u64 = 60;
/// Notices that the feed keeps.
pub const FEED_KEPT: u64 = 100_000;
/// Notices that one call reads.
pub const FEED_PAGE_MAX: usize = 10_000;

pub(super) fn check_text(what: &str, text: &str, bytes_max: usize) -> Result<(), StoreError> {
    match text.len() {
        0 => Err(StoreError::Invalid(format!("{what} must not be empty"))),
        bytes if bytes > bytes_max => Err(too_much(what, bytes, bytes_max, "bytes")),
        _ => Ok(()),
    }
}

pub(super) fn check_count(
    what: &str,
    count: usize,
    max: usize,
    unit: &str,
) -> Result<(), StoreError> {
    if count > max { Err(too_much(what, count, max, unit)) } else { Ok(()) }
}

fn too_much(what: &str, count: usize, max: usize, unit: &str) -> StoreError {
    StoreError::Invalid(format!("{what} has {count} {unit}; at most {max} are allowed"))
}

/// The span in milliseconds.
pub(super) fn check_ttl(ttl: Duration) -> Result<u64, StoreError> {
    let is_good = ttl <= TTL_MAX && ttl.as_millis() > 0;
    u64::try_from(ttl.as_millis()).ok().filter(|_| is_good).ok_or_else(|| {
        StoreError::Invalid(format!("{ttl:?} is not between a millisecond and 400 days"))
    })
}

pub(super) fn check_writes(writes: &[Write]) -> Result<(), StoreError> {
    check_count("a call", writes.len(), WRITES_MAX, "writes")?;
    let mut seen = HashSet::with_capacity(writes.len());
    let mut bytes = 0;
    for Write { kind, id, change, .. } in writes {
        check_text("a kind", kind.0, KIND_BYTES_MAX)?;
        check_text("an id", id, ID_BYTES_MAX)?;
        if !seen.insert((kind, id)) {
            let twice = format!("{} {id:?} is in one call twice", kind.0);
            return Err(StoreError::Invalid(twice));
        }
        if let Change::Put { indexes, body } = change {
            check_count("a document", indexes.len(), INDEXES_MAX, "indexes")?;
            check_count("a body", body.len(), BODY_BYTES_MAX, "bytes")?;
            for index in indexes {
                check_text("an index", index, INDEX_BYTES_MAX)?;
            }
            bytes += body.len();
        }
    }
    check_count("a call", bytes, CALL_BYTES_MAX, "bytes")
}

pub(super) fn check_updates(updates: &[SeriesUpdate]) -> Result<(), StoreError> {
    check_count("a call", updates.len(), UPDATES_MAX, "updates")?;
    for update in updates {
        check_text("a series' name", &update.name, SERIES_BYTES_MAX)?;
        check_text("a field's name", &update.field, SERIES_BYTES_MAX)?;
    }
    Ok(())
}

pub(super) fn check_batch(batch: &SeriesBatch) -> Result<(), StoreError> {
    check_text("a batch's id", &batch.id, KEY_BYTES_MAX - BATCH_PREFIX.len())?;
    if !(1..=SERIES_KEPT_DAYS).contains(&batch.kept_days) {
        let what = format!("buckets cannot be kept for {} days, but for 1 to 32", batch.kept_days);
        return Err(StoreError::Invalid(what));
    }
    check_updates(&batch.updates)
}
