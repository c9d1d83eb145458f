//! What goes into a store and comes out of it.

use std::collections::BTreeMap;

/// A kind of document: "tenant", "session", …
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub &'static str);

/// A document as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Unique among its kind.
    pub id: String,
    /// The revision that its last write got.
    pub revision: u64,
    /// Keys by which it can be found; no other document of its kind has one of them.
    pub indexes: Vec<String>,
    /// JSON, which a store does not look into.
    pub body: Vec<u8>,
}

/// What a write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No document with that id.
    Absent,
    /// The document at this revision.
    Revision(u64),
    /// Whatever is there, or nothing.
    Any,
}

/// What a write leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This document, in place of any before it.
    Put {
        /// All its indexes; those that it had before and that are not among these are free again.
        indexes: Vec<String>,
        /// Its body.
        body: Vec<u8>,
    },
    /// No document. Removing what is not there is a write, too, with a revision and a notice.
    Remove,
}

/// One write of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The document's kind.
    pub kind: Kind,
    /// The document's id.
    pub id: String,
    /// The condition.
    pub expected: Expected,
    /// The change.
    pub change: Change,
}

/// A number to be merged into a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesUpdate {
    /// The series.
    pub name: String,
    /// The bucket: whole minutes since 1970.
    pub minute: u64,
    /// Which of the bucket's numbers.
    pub field: String,
    /// How, and with what.
    pub merge: Merge,
}

/// Updates that are carried out together, and once only however often they are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesBatch {
    /// Names the batch; no other one has this name.
    pub id: String,
    /// For how many days its buckets are kept, from their minute on. The same for all batches that
    /// write to a series, but for changed settings: then a bucket may go by the earlier one.
    pub kept_days: u32,
    /// What is to be merged.
    pub updates: Vec<SeriesUpdate>,
}

/// How a number joins the one that is there. A number that is not there is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// The sum; stops at the largest number.
    Add(u64),
    /// The larger one.
    Max(u64),
}

impl Merge {
    /// The number after this merge, where `present` was.
    #[must_use]
    pub fn onto(self, present: u64) -> u64 {
        match self {
            Self::Add(more) => present.saturating_add(more),
            Self::Max(other) => present.max(other),
        }
    }
}

/// One minute of a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Whole minutes since 1970.
    pub minute: u64,
    /// The numbers by name.
    pub fields: BTreeMap<String, u64>,
}

/// Says that a document was written or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The document's kind.
    pub kind: String,
    /// The document's id.
    pub id: String,
    /// The write's revision.
    pub revision: u64,
}

/// A part of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedPage {
    /// By revision, ascending, each one more than the one before.
    pub notices: Vec<Notice>,
    /// What follows the asked revision is no longer all there, or the registry never got as far, or
    /// something that may have been read before is lost. The last is said once: a store has one reader
    /// of its feed.
    pub gap: bool,
    /// The registry's last revision at the same moment.
    pub last_revision: u64,
}
