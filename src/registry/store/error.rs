//! What a store can say instead of an answer.

use std::fmt;

/// Why a store did not do what it was asked. Its `Display` is one line for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The revision of a document is not the expected one. Nothing was written.
    Conflict {
        /// Which of the call's writes it is, from 0.
        place: usize,
    },
    /// Another document of that kind has the index. Nothing was written.
    IndexTaken {
        /// Which of the call's writes it is, from 0.
        place: usize,
        /// The index.
        index: String,
    },
    /// Over a limit, or without sense. Nothing was written.
    Invalid(String),
    /// The store is away or cannot do it now. Nothing was written.
    Unavailable(String),
    /// The store broke off while it made a write durable: it may be there later, or not.
    Unknown(String),
    /// What is stored contradicts itself.
    Corrupt(String),
    /// Another process has the registry's file.
    Held(String),
    /// What is there is no registry, another one than before, or one of another format.
    Foreign(String),
    /// The registry is the same, but lacks something of which this process knows that it was
    /// acknowledged, or its history is another one. Held until an operator adopts it.
    Stale(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict { place } => {
                write!(f, "write {place}: the document was changed by somebody else")
            }
            Self::IndexTaken { place, index } => {
                write!(f, "write {place}: {index:?} belongs to another document")
            }
            Self::Invalid(what) | Self::Held(what) | Self::Foreign(what) | Self::Stale(what) => {
                f.write_str(what)
            }
            Self::Unavailable(what) => write!(f, "the registry is unavailable: {what}"),
            Self::Unknown(what) => {
                write!(f, "the registry may or may not have kept the last write: {what}")
            }
            Self::Corrupt(what) => write!(f, "the registry is corrupt: {what}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl StoreError {
    /// Whether the store itself failed, and not merely the call.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_)
                | Self::Unknown(_)
                | Self::Corrupt(_)
                | Self::Foreign(_)
                | Self::Stale(_)
        )
    }
}
