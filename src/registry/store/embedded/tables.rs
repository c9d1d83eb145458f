//! The tables of a registry file and one transaction's hold on them. `docs/registry.md` is their
//! description for people.

use redb::{
    CommitError, ReadableTable, StorageError, Table, TableDefinition, TableError, TransactionError,
    WriteTransaction,
};

use crate::registry::store::error::StoreError;

/// The version of everything below; a file of another one is refused.
pub(super) const FORMAT: u128 = 1;

/// What there is one of: [`META_FORMAT`] and so on.
pub(super) const META: TableDefinition<&str, u128> = TableDefinition::new("meta");
pub(super) const META_FORMAT: &str = "format";
pub(super) const META_ID: &str = "id";
pub(super) const META_REVISION: &str = "revision";
pub(super) const META_FENCE: &str = "fence";

/// Kind and id to revision, indexes, body.
pub(super) const DOCUMENTS: TableDefinition<(&str, &str), StoredDocument> =
    TableDefinition::new("documents");
type StoredDocument = (u64, Vec<&'static str>, &'static [u8]);
/// Kind and index to id.
pub(super) const INDEXES: TableDefinition<(&str, &str), &str> = TableDefinition::new("indexes");
/// Revision to kind and id.
pub(super) const FEED: TableDefinition<u64, (&str, &str)> = TableDefinition::new("feed");
/// Space and key to end (milliseconds since 1970), number, bytes.
pub(super) const EXPIRING: TableDefinition<(u8, &str), (u64, u64, &[u8])> =
    TableDefinition::new("expiring");
/// The entries of [`EXPIRING`] by their end.
pub(super) const ENDS: TableDefinition<(u64, u8, &str), ()> = TableDefinition::new("ends");
/// Name and minute to fields, by name.
pub(super) const SERIES: TableDefinition<(&str, u64), Vec<(&str, u64)>> =
    TableDefinition::new("series");
/// The entries of [`SERIES`] by their minute.
pub(super) const MINUTES: TableDefinition<(u64, &str), ()> = TableDefinition::new("minutes");

/// The entries of [`SERIES`] that go sooner than by their minute, with the first minute at which they
/// are gone. Later than the other tables: a file may lack it.
pub(super) const SERIES_ENDS: TableDefinition<(u64, &str, u64), ()> =
    TableDefinition::new("series_ends");

/// The kinds of expiring entries. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Space {
    /// Bytes.
    Value = 0,
    /// A number of calls.
    Count = 1,
    /// A fence and the holder's name.
    Lease = 2,
}

/// Everything that a writing transaction works on.
pub(super) struct Tables<'t> {
    meta: Table<'t, &'static str, u128>,
    pub(super) documents: Table<'t, (&'static str, &'static str), StoredDocument>,
    pub(super) indexes: Table<'t, (&'static str, &'static str), &'static str>,
    pub(super) feed: Table<'t, u64, (&'static str, &'static str)>,
    pub(super) expiring: Table<'t, (u8, &'static str), (u64, u64, &'static [u8])>,
    pub(super) ends: Table<'t, (u64, u8, &'static str), ()>,
    pub(super) series: Table<'t, (&'static str, u64), Vec<(&'static str, u64)>>,
    pub(super) minutes: Table<'t, (u64, &'static str), ()>,
    pub(super) series_ends: Table<'t, (u64, &'static str, u64), ()>,
    /// The time of day at the transaction's begin.
    pub(super) now_ms: u64,
    pub(super) last_revision: u64,
    pub(super) last_fence: u64,
    /// Whether there is anything to commit.
    pub(super) is_changed: bool,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction, now_ms: u64) -> Result<Self, StoreError> {
        let meta = transaction.open_table(META)?;
        let last_revision = counter(&meta, META_REVISION)?;
        let last_fence = counter(&meta, META_FENCE)?;
        Ok(Self {
            meta,
            documents: transaction.open_table(DOCUMENTS)?,
            indexes: transaction.open_table(INDEXES)?,
            feed: transaction.open_table(FEED)?,
            expiring: transaction.open_table(EXPIRING)?,
            ends: transaction.open_table(ENDS)?,
            series: transaction.open_table(SERIES)?,
            minutes: transaction.open_table(MINUTES)?,
            series_ends: transaction.open_table(SERIES_ENDS)?,
            now_ms,
            last_revision,
            last_fence,
            is_changed: false,
        })
    }

    /// Makes a new file a registry.
    pub(super) fn found(&mut self, id: u128) -> Result<(), StoreError> {
        self.meta.insert(META_FORMAT, FORMAT)?;
        self.meta.insert(META_ID, id)?;
        self.keep_counters()
    }

    pub(super) fn keep_counters(&mut self) -> Result<(), StoreError> {
        self.meta.insert(META_REVISION, u128::from(self.last_revision))?;
        self.meta.insert(META_FENCE, u128::from(self.last_fence))?;
        Ok(())
    }
}

/// A counter that began at 0.
pub(super) fn counter(
    meta: &impl ReadableTable<&'static str, u128>,
    name: &str,
) -> Result<u64, StoreError> {
    let number = meta.get(name)?.map_or(0, |number| number.value());
    u64::try_from(number).map_err(|_| StoreError::Corrupt(format!("meta {name:?} is {number}")))
}

impl From<StorageError> for StoreError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Corrupted(what) => Self::Corrupt(what),
            error => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<TableError> for StoreError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => error.into(),
            error => Self::Corrupt(error.to_string()),
        }
    }
}

impl From<TransactionError> for StoreError {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => error.into(),
            error => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<CommitError> for StoreError {
    fn from(error: CommitError) -> Self {
        Self::Unknown(error.to_string())
    }
}
