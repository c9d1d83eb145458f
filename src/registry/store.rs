//! The storage contract: documents, expiring entries, series, leases and a feed of changes.
//!
//! Whatever flowgate keeps goes through these five primitives. Texts and numbers are bounded by
//! [`limits`]; what is over a limit is [`StoreError::Invalid`] and changes nothing.
//!
//! # Cancel safety
//!
//! A call that was acknowledged is durable. One that was dropped before its answer was carried out
//! as a whole or not at all, and possibly later than the drop.

use std::time::Duration;

use tokio::sync::watch;

pub mod embedded;
pub mod error;
pub mod limits;
pub mod types;

pub use embedded::Embedded;
pub use error::StoreError;
pub use types::{
    Bucket, Change, Document, Expected, FeedPage, Kind, Merge, Notice, SeriesUpdate, Write,
};

use limits::{
    FEED_PAGE_MAX, ID_BYTES_MAX, INDEX_BYTES_MAX, KEY_BYTES_MAX, KIND_BYTES_MAX, LIST_MAX,
    SERIES_BYTES_MAX, VALUE_BYTES_MAX, check_count, check_text, check_ttl, check_updates,
    check_writes,
};

/// A registry's store. Copies share it; the last one to go closes it, which takes as long as the
/// writes that are under way.
///
/// Every method can fail with [`StoreError::Unavailable`], [`StoreError::Corrupt`], when something
/// is over its limit with [`StoreError::Invalid`], and when it writes with [`StoreError::Unknown`].
#[derive(Clone, Debug)]
pub enum Store {
    /// In a file of this machine, for one process.
    Embedded(Embedded),
}

impl Store {
    /// Opens the store that the URL names: `file:PATH`, made if it is not there, or `memory:`, which
    /// is empty and gone with the last copy.
    ///
    /// # Errors
    /// The file is held by another process, is no registry, is of another format, or the system
    /// refuses it. It is then as it was before.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Embedded::open(url, embedded::Settings::default()).await.map(Self::Embedded)
    }

    /// The registry's random id, given when it was made.
    #[must_use]
    pub fn id(&self) -> u128 {
        let Self::Embedded(store) = self;
        store.id()
    }

    /// The revision of the last write; 0 before the first.
    ///
    /// # Errors
    /// See [`Store`].
    pub async fn last_revision(&self) -> Result<u64, StoreError> {
        let Self::Embedded(store) = self;
        store.last_revision().await
    }

    /// The document with this id.
    ///
    /// # Errors
    /// See [`Store`].
    pub async fn get(&self, kind: Kind, id: &str) -> Result<Option<Document>, StoreError> {
        check_text("a kind", kind.0, KIND_BYTES_MAX)?;
        check_text("an id", id, ID_BYTES_MAX)?;
        let Self::Embedded(store) = self;
        store.get(kind, id).await
    }

    /// The document with this index.
    ///
    /// # Errors
    /// See [`Store`].
    pub async fn find(&self, kind: Kind, index: &str) -> Result<Option<Document>, StoreError> {
        check_text("a kind", kind.0, KIND_BYTES_MAX)?;
        check_text("an index", index, INDEX_BYTES_MAX)?;
        let Self::Embedded(store) = self;
        store.find(kind, index).await
    }

    /// The documents of a kind by id, ascending byte by byte, from the first behind `after` on.
    /// Fewer than `limit` of them mean that there are no more. At most [`limits::LIST_MAX`].
    ///
    /// # Errors
    /// See [`Store`].
    pub async fn list(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        check_text("a kind", kind.0, KIND_BYTES_MAX)?;
        check_count("a list", limit, LIST_MAX, "documents")?;
        let Self::Embedded(store) = self;
        store.list(kind, after, limit).await
    }

    /// Writes all or nothing. Each write gets the next revision of the one registry-wide counter and
    /// a notice in the feed; the revisions are returned in the order of the writes. A document may
    /// appear once per call. What counts for indexes is the end: two documents can swap theirs.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::IndexTaken`]; else see [`Store`].
    pub async fn write(&self, writes: Vec<Write>) -> Result<Vec<u64>, StoreError> {
        check_writes(&writes)?;
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        let Self::Embedded(store) = self;
        store.write(writes).await
    }

    /// Keeps a value for `ttl`, in place of any that the key has.
    ///
    /// # Errors
    /// See [`Store`].
    pub async fn put_expiring(
        &self,
        key: &str,
        value: &[u8],
        ttl: Duration,
    ) -> Result<(), StoreError> {
        check_text("a key", key, KEY_BYTES_MAX)?;
        check_count("a value", value.len(), VALUE_BYTES_MAX, "bytes")?;
        let ttl_ms = check_ttl(ttl)?;
        let Self::Embedded(store) = self;
        store.put_expiring(key, value, ttl_ms).await
    }

    /// The value, unless it has expired.
    ///
    /// # Errors
    /// See [`Store`].
    pub async fn get_expiring(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        check_text("a key", key, KEY_BYTES_MAX)?;
        let Self::Embedded(store) = self;
        store.get_expiring(key).await
    }

    /// Takes the value out: of any number of callers one gets it.
    ///
    /// # Errors
    /// See [`Store`].
    pub async fn take_expiring(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        check_text("a key", key, KEY_BYTES_MAX)?;
        let Self::Embedded(store) = self;
        store.take_expiring(key).await
    }

    /// Counts this call and says how many there were, with it, in the window that began with the
    /// first. Counters have their keys to themselves: an expiring entry's is another.
    ///
    /// # Errors
    /// See [`Store`].
    pub async fn count(&self, key: &str, window: Duration) -> Result<u64, StoreError> {
        check_text("a key", key, KEY_BYTES_MAX)?;
        let window_ms = check_ttl(window)?;
        let Self::Embedded(store) = self;
        store.count(key, window_ms).await
    }

    /// Merges numbers into buckets. Buckets older than [`limits::SERIES_KEPT_MINUTES`] or more than
    /// [`limits::SERIES_AHEAD_MINUTES`] ahead, and fields beyond a bucket's [`limits::FIELDS_MAX`],
    /// are left out.
    ///
    /// # Errors
    /// See [`Store`].
    pub async fn merge(&self, updates: Vec<SeriesUpdate>) -> Result<(), StoreError> {
        check_updates(&updates)?;
        if updates.is_empty() {
            return Ok(());
        }
        let Self::Embedded(store) = self;
        store.merge(updates).await
    }

    /// The buckets of a series between two minutes, both included, ascending.
    ///
    /// # Errors
    /// See [`Store`].
    pub async fn series(
        &self,
        name: &str,
        from_minute: u64,
        to_minute: u64,
    ) -> Result<Vec<Bucket>, StoreError> {
        check_text("a series' name", name, SERIES_BYTES_MAX)?;
        let Self::Embedded(store) = self;
        store.series(name, from_minute, to_minute).await
    }

    /// Takes or renews a lease for `ttl` from now. A fence is greater than every earlier one of that
    /// name; a holder that renews in time keeps its own. `None` while somebody else holds it.
    ///
    /// # Errors
    /// See [`Store`].
    pub async fn acquire(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<u64>, StoreError> {
        check_text("a lease's name", name, KEY_BYTES_MAX)?;
        check_text("a lease's holder", holder, KEY_BYTES_MAX)?;
        let ttl_ms = check_ttl(ttl)?;
        let Self::Embedded(store) = self;
        store.acquire(name, holder, ttl_ms).await
    }

    /// Gives a lease back. Does nothing for who does not hold it.
    ///
    /// # Errors
    /// See [`Store`].
    pub async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        check_text("a lease's name", name, KEY_BYTES_MAX)?;
        check_text("a lease's holder", holder, KEY_BYTES_MAX)?;
        let Self::Embedded(store) = self;
        store.release(name, holder).await
    }

    /// The notices behind `after`. At most [`limits::FEED_PAGE_MAX`]; the feed keeps the last
    /// [`limits::FEED_KEPT`].
    ///
    /// # Errors
    /// See [`Store`].
    pub async fn feed(&self, after: u64, limit: usize) -> Result<FeedPage, StoreError> {
        check_count("a page", limit, FEED_PAGE_MAX, "notices")?;
        let Self::Embedded(store) = self;
        store.feed(after, limit).await
    }

    /// The last revision as it moves, to wake readers of the feed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        let Self::Embedded(store) = self;
        store.changes()
    }
}

#[cfg(test)]
mod tests;
