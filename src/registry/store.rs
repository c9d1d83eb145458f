//! The storage contract: documents, expiring entries, series, leases and a feed of changes.
//!
//! Whatever flowgate keeps goes through these five primitives. Texts and numbers are bounded by
//! [`limits`]; what is over a limit is [`StoreError::Invalid`] and changes nothing.
//!
//! # Cancel safety
//!
//! A call that was acknowledged is durable. One that was dropped before its answer was carried out
//! as a whole or not at all, and possibly later than the drop.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

pub mod embedded;
pub mod error;
pub mod limits;
mod meter;
pub mod redis;
pub mod types;

pub use self::redis::{Redis, redacted};
pub use embedded::Embedded;
pub use error::StoreError;
pub use meter::Use;
use meter::{Group, Meter};
pub use types::{
    Bucket, Change, Document, Expected, FeedPage, Kind, Merge, Notice, SeriesBatch, SeriesUpdate,
    Write,
};

use limits::{
    FEED_PAGE_MAX, ID_BYTES_MAX, INDEX_BYTES_MAX, KEY_BYTES_MAX, KIND_BYTES_MAX, LIST_MAX,
    SERIES_BYTES_MAX, VALUE_BYTES_MAX, check_batch, check_count, check_text, check_ttl,
    check_updates, check_writes,
};

/// A registry's store. Copies share it; the last one to go closes it, which takes as long as the
/// writes that are under way.
///
/// Every method can fail with [`StoreError::Unavailable`], [`StoreError::Corrupt`], when something
/// is over its limit with [`StoreError::Invalid`], and when it writes with [`StoreError::Unknown`].
#[derive(Clone, Debug)]
pub struct Store {
    place: Place,
    meter: Arc<Meter>,
}

#[derive(Clone, Debug)]
enum Place {
    /// In a file of this machine, for one process.
    Embedded(Embedded),
    /// In Redis, for many processes.
    Redis(Redis),
}

impl From<Embedded> for Store {
    fn from(embedded: Embedded) -> Self {
        Self { place: Place::Embedded(embedded), meter: Arc::default() }
    }
}

impl From<Redis> for Store {
    fn from(redis: Redis) -> Self {
        Self { place: Place::Redis(redis), meter: Arc::default() }
    }
}

/// Asks whichever store it is.
macro_rules! on {
    ($store:expr, $name:ident => $call:expr) => {
        match &$store.place {
            Place::Embedded($name) => $call,
            Place::Redis($name) => $call,
        }
    };
}

/// The same, measured.
macro_rules! timed {
    ($store:expr, $group:ident, $name:ident => $call:expr) => {{
        let began = $store.meter.begin();
        let outcome = on!($store, $name => $call);
        $store.meter.end(Group::$group, began, &outcome);
        outcome
    }};
}

impl Store {
    /// Opens the store that the URL names, with the default options for Redis.
    ///
    /// # Errors
    /// See [`Store::open_with`].
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Self::open_with(url, &self::redis::Options::default()).await
    }

    /// Opens the store that the URL names: `file:PATH`, made if it is not there; `memory:`, which is
    /// empty and gone with the last copy; or one in Redis (`redis:`, `rediss:`, `redis+sentinel:`,
    /// `unix:`), made only where the options say so.
    ///
    /// # Errors
    /// The file is held by another process, is no registry, is of another format, or the system
    /// refuses it. It is then as it was before. Redis is away, or has no registry or another
    /// format's.
    pub async fn open_with(url: &str, options: &self::redis::Options) -> Result<Self, StoreError> {
        if self::redis::is_one(url) {
            return Redis::open(url, options).await.map(Self::from);
        }
        Embedded::open(url, embedded::Settings::default()).await.map(Self::from)
    }

    /// Whether other processes may have it as well.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.place, Place::Redis(_))
    }

    /// How it has answered so far, by what was asked.
    pub fn uses(&self) -> impl Iterator<Item = Use> {
        self.meter.uses()
    }

    /// The registry's random id, given when it was made.
    #[must_use]
    pub fn id(&self) -> u128 {
        on!(self, store => store.id())
    }

    /// The revision of the last write; 0 before the first.
    ///
    /// # Errors
    /// See [`Store`].
    pub async fn last_revision(&self) -> Result<u64, StoreError> {
        timed!(self, Read, store => store.last_revision().await)
    }

    /// The document with this id.
    ///
    /// # Errors
    /// See [`Store`].
    pub async fn get(&self, kind: Kind, id: &str) -> Result<Option<Document>, StoreError> {
        check_text("a kind", kind.0, KIND_BYTES_MAX)?;
        check_text("an id", id, ID_BYTES_MAX)?;
        timed!(self, Read, store => store.get(kind, id).await)
    }

    /// The document with this index.
    ///
    /// # Errors
    /// See [`Store`].
    pub async fn find(&self, kind: Kind, index: &str) -> Result<Option<Document>, StoreError> {
        check_text("a kind", kind.0, KIND_BYTES_MAX)?;
        check_text("an index", index, INDEX_BYTES_MAX)?;
        timed!(self, Read, store => store.find(kind, index).await)
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
        timed!(self, Read, store => store.list(kind, after, limit).await)
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
        timed!(self, Write, store => store.write(writes).await)
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
        timed!(self, Expiring, store => store.put_expiring(key, value, ttl_ms).await)
    }

    /// The value, unless it has expired.
    ///
    /// # Errors
    /// See [`Store`].
    pub async fn get_expiring(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        check_text("a key", key, KEY_BYTES_MAX)?;
        timed!(self, Expiring, store => store.get_expiring(key).await)
    }

    /// Takes the value out: of any number of callers one gets it.
    ///
    /// # Errors
    /// See [`Store`].
    pub async fn take_expiring(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        check_text("a key", key, KEY_BYTES_MAX)?;
        timed!(self, Expiring, store => store.take_expiring(key).await)
    }

    /// Counts this call and says how many there were, with it, in the window that began with the
    /// first. Counters have their keys to themselves: an expiring entry's is another.
    ///
    /// # Errors
    /// See [`Store`].
    pub async fn count(&self, key: &str, window: Duration) -> Result<u64, StoreError> {
        check_text("a key", key, KEY_BYTES_MAX)?;
        let window_ms = check_ttl(window)?;
        timed!(self, Expiring, store => store.count(key, window_ms).await)
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
        timed!(self, Series, store => store.merge(updates).await)
    }

    /// Merges a batch, unless one of this id was merged within the last [`limits::BATCH_KNOWN`]: it can
    /// be asked for again when it is not known what became of it. Its buckets are kept for as long as
    /// it says, and no longer.
    ///
    /// # Errors
    /// See [`Store`].
    pub async fn merge_once(&self, batch: SeriesBatch) -> Result<(), StoreError> {
        check_batch(&batch)?;
        timed!(self, Series, store => store.merge_once(batch).await)
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
        timed!(self, Series, store => store.series(name, from_minute, to_minute).await)
    }

    /// Takes or renews a lease for `ttl` from now. A fence is greater than every earlier one of that
    /// name; a holder that renews in time keeps its own, and in Redis also one that comes at most a minute
    /// late, if nobody else has had the lease meanwhile. `None` while somebody else holds it.
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
        timed!(self, Lease, store => store.acquire(name, holder, ttl_ms).await)
    }

    /// Gives a lease back. Does nothing for who does not hold it.
    ///
    /// # Errors
    /// See [`Store`].
    pub async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        check_text("a lease's name", name, KEY_BYTES_MAX)?;
        check_text("a lease's holder", holder, KEY_BYTES_MAX)?;
        timed!(self, Lease, store => store.release(name, holder).await)
    }

    /// The notices behind `after`. At most [`limits::FEED_PAGE_MAX`]; the feed keeps the last
    /// [`limits::FEED_KEPT`].
    ///
    /// # Errors
    /// See [`Store`].
    pub async fn feed(&self, after: u64, limit: usize) -> Result<FeedPage, StoreError> {
        check_count("a page", limit, FEED_PAGE_MAX, "notices")?;
        timed!(self, Feed, store => store.feed(after, limit).await)
    }

    /// Takes the registry as it is now for the one to go by, even if it is older than what was seen of
    /// it, and returns its new revision, which is ahead of every earlier one. Every process that holds
    /// it for older goes over to it.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for an embedded store; else see [`Store`].
    pub async fn adopt(&self) -> Result<u64, StoreError> {
        match &self.place {
            Place::Redis(store) => store.adopt().await,
            Place::Embedded(_) => {
                let what = "there is nothing to adopt: a registry can be older only in Redis";
                Err(StoreError::Invalid(what.to_owned()))
            }
        }
    }

    /// Looks at everything that is stored and reports each contradiction in a line of its own.
    /// Returns how many documents there are. For operators: it takes its time.
    ///
    /// # Errors
    /// See [`Store`].
    pub async fn check(&self, report: &mut dyn FnMut(String)) -> Result<u64, StoreError> {
        on!(self, store => store.check(report).await)
    }

    /// The last revision as it moves, to wake readers of the feed. It goes back only when writes are
    /// lost that were never acknowledged. It is also marked as changed when a
    /// store that was away is back.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        on!(self, store => store.changes())
    }
}

/// Whether a URL names a registry; without I/O.
///
/// # Errors
/// One line that says what is wrong with it, without its password.
pub fn check_url(url: &str) -> Result<(), String> {
    if self::redis::is_one(url) {
        return self::redis::check_url(url);
    }
    embedded::check_url(url)
}

#[cfg(test)]
mod tests;
