//! Why a registry was not copied.

use std::fmt;

use crate::registry::store::{Kind, StoreError};

/// Why a copy ended before it was one. Its `Display` is one line for an operator.
#[derive(Debug)]
pub enum CopyError {
    /// The source could not be read.
    Source(StoreError),
    /// The target could not be read or written.
    Target(StoreError),
    /// Both are the same registry.
    Same,
    /// The source is itself what an interrupted copy left.
    SourceUnfinished,
    /// The target is, or is to become, the copy of another registry.
    OtherSource {
        /// Its id.
        source: String,
    },
    /// The target has documents that no copy has written.
    NotEmpty {
        /// Of this kind.
        kind: Kind,
    },
    /// Somebody else writes, or has written, to the target.
    Disturbed,
    /// The source changed while it was compared, again and again.
    SourceInUse {
        /// So often.
        rounds: usize,
    },
    /// The copy was finished earlier, and the two have differed since.
    Differ {
        /// In so many documents.
        documents: u64,
    },
    /// The source has documents of a kind that this flowgate does not know.
    UnknownKind {
        /// The kind.
        kind: String,
    },
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => write!(f, "the source: {error}"),
            Self::Target(error) => {
                write!(f, "the target: {error}; when it is there again, the same command goes on")
            }
            Self::Same => f.write_str("source and target are the same registry"),
            Self::SourceUnfinished => {
                f.write_str("the source is an unfinished copy itself: finish that one first")
            }
            Self::OtherSource { source } => write!(
                f,
                "the target is a copy of another registry, {source}: copy to an empty one"
            ),
            Self::NotEmpty { kind } => write!(
                f,
                "the target is not empty, it has documents of the kind {:?}: copy to an empty one",
                kind.0
            ),
            Self::Disturbed => f.write_str(
                "somebody else writes, or has written, to the target: stop what uses it, another \
                 copy perhaps, and give the same command again; if it says so again, copy to an \
                 empty one",
            ),
            Self::SourceInUse { rounds } => write!(
                f,
                "the source is in use: it changed while it was compared, {rounds} times; stop what \
                 uses it, then the same command goes on"
            ),
            Self::Differ { documents } => write!(
                f,
                "this copy was finished earlier, and since then {documents} documents have come to \
                 differ; nothing was written"
            ),
            Self::UnknownKind { kind } => write!(
                f,
                "the source has documents of the kind {kind:?}, which this flowgate does not know: \
                 copy it with the flowgate that wrote them"
            ),
        }
    }
}

impl std::error::Error for CopyError {}
