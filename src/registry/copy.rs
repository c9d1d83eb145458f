//! Copying a registry into an empty one, so that an interrupted copy can be gone on with.
//!
//! The target has a document of its own, the mark, which every batch of writes writes anew: it says
//! what the target is a copy of, keeps two copies from mixing, and shows by its revision whether
//! anybody else has written there.

use serde::{Deserialize, Serialize};

use super::record::{COPY, LASTING, PASSING};
use super::store::limits::{FEED_KEPT, FEED_PAGE_MAX};
use super::store::{Change, Document, Expected, Kind, Store, StoreError, Write};
use crate::clock::Wall;
use job::Job;

mod compare;
mod error;
mod job;
mod series;

pub use error::CopyError;

/// How often a source that changes is gone after.
const ROUNDS_MAX: usize = 5;
const MARK_ID: &str = "mark";

/// How far a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What it does.
    pub phase: Phase,
    /// Documents of the source that are done.
    pub done: u64,
    /// Documents that there are; 0 while that is being found out.
    pub of: u64,
}

/// What a copy does, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Counts what there is.
    Counting,
    /// Writes what the target does not have.
    Copying,
    /// Takes over when keys were last used.
    Usage,
    /// Compares all of both sides.
    Comparing,
}

/// What came of a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Documents that both sides have, compared.
    pub documents: u64,
    /// Writes that this call made; documents that were equal already needed none.
    pub written: u64,
    /// Numbers about the use of keys that this call merged.
    pub numbers: u64,
}

/// What is stored of a copy, at its target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    /// The source's id: 32 hexadecimal digits.
    source: String,
    /// The revision that the mark itself has, if nobody else wrote between two batches.
    revision: u64,
    is_finished: bool,
}

impl Mark {
    fn of(source: &Store) -> Self {
        Self { source: format!("{:032x}", source.id()), revision: 0, is_finished: false }
    }

    /// The target's, with its revision.
    async fn find(target: &Store) -> Result<Option<(Self, u64)>, StoreError> {
        let Some(document) = target.get(COPY, MARK_ID).await? else { return Ok(None) };
        let mark = serde_json::from_slice(&document.body)
            .map_err(|error| StoreError::Corrupt(format!("the copy's mark: {error}")))?;
        Ok(Some((mark, document.revision)))
    }

    fn write(&self, expected: Expected) -> Result<Write, StoreError> {
        let body = serde_json::to_vec(self).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let change = Change::Put { indexes: Vec::new(), body };
        Ok(Write { kind: COPY, id: MARK_ID.to_owned(), expected, change })
    }
}

/// The id, in 32 hexadecimal digits, of the registry whose copy this one is to become; `None` for a
/// registry that is whole.
///
/// # Errors
/// The store's.
pub async fn unfinished(store: &Store) -> Result<Option<String>, StoreError> {
    let mark = Mark::find(store).await?;
    Ok(mark.filter(|(mark, _)| !mark.is_finished).map(|(mark, _)| mark.source))
}

/// Copies all documents, with bodies and indexes as they are, and when keys were last used. The
/// target must be empty, or what an earlier copy from this source left when it was interrupted;
/// nothing of anybody else's is overwritten. At the end both sides have been compared as a whole,
/// and the source did not change meanwhile. A copy that is finished already is compared only.
///
/// Cancel safe: the same copy goes on where it ended.
///
/// # Errors
/// See [`CopyError`]; after most of them, the same copy goes on.
pub async fn copy(
    source: &Store,
    target: &Store,
    wall: &Wall,
    tell: &mut dyn FnMut(Progress),
) -> Result<Copied, CopyError> {
    if source.id() == target.id() {
        return Err(CopyError::Same);
    }
    if unfinished(source).await.map_err(CopyError::Source)?.is_some() {
        return Err(CopyError::SourceUnfinished);
    }
    check_kinds(source).await?;
    let mut job = begin(source, target, tell).await?;
    job.count().await?;
    if job.mark.is_finished {
        return job.compare_only().await;
    }
    job.pass(Phase::Copying).await?;
    series::copy(&mut job, wall).await?;
    for _ in 0..ROUNDS_MAX {
        job.follow().await?;
        let differences = job.pass(Phase::Comparing).await?;
        if differences == 0 && source.last_revision().await.map_err(CopyError::Source)? == job.seen
        {
            return job.finish().await;
        }
    }
    Err(CopyError::SourceInUse { rounds: ROUNDS_MAX })
}

/// Makes the target this source's copy, or finds that it is.
async fn begin<'a>(
    source: &'a Store,
    target: &'a Store,
    tell: &'a mut dyn FnMut(Progress),
) -> Result<Job<'a>, CopyError> {
    // Before anything of it is read: what changes from now on is in the feed behind it.
    let seen = source.last_revision().await.map_err(CopyError::Source)?;
    let last_revision = target.last_revision().await.map_err(CopyError::Target)?;
    let mark = Mark::of(source);
    let (mark, expected) = match Mark::find(target).await.map_err(CopyError::Target)? {
        Some((found, _)) if found.source != mark.source => {
            return Err(CopyError::OtherSource { source: found.source });
        }
        Some((found, revision)) => {
            // A finished one may be in use.
            let is_alone = found.revision == revision && revision == last_revision;
            if !found.is_finished && !is_alone {
                return Err(CopyError::Disturbed);
            }
            (found, Expected::Revision(revision))
        }
        None => {
            for kind in LASTING {
                let some = target.list(kind, None, 1).await.map_err(CopyError::Target)?;
                if !some.is_empty() {
                    return Err(CopyError::NotEmpty { kind });
                }
            }
            (mark, Expected::Absent)
        }
    };
    let mut job = Job::new(source, target, tell, mark, last_revision, seen);
    if !job.mark.is_finished {
        job.claim(expected).await?;
    }
    Ok(job)
}

/// A newer flowgate may keep what this one does not know of; it would be left behind.
async fn check_kinds(source: &Store) -> Result<(), CopyError> {
    let is_known = |name: &str| LASTING.iter().chain(&PASSING).any(|kind| kind.0 == name);
    let last_revision = source.last_revision().await.map_err(CopyError::Source)?;
    let mut after = last_revision.saturating_sub(FEED_KEPT);
    loop {
        let page = source.feed(after, FEED_PAGE_MAX).await.map_err(CopyError::Source)?;
        if let Some(notice) = page.notices.iter().find(|notice| !is_known(&notice.kind)) {
            return Err(CopyError::UnknownKind { kind: notice.kind.clone() });
        }
        match page.notices.last() {
            Some(last) => after = last.revision,
            None => return Ok(()),
        }
    }
}

/// The write that makes the target's document like the source's.
fn write_for(kind: Kind, present: Option<&Document>, wanted: Option<Document>, id: &str) -> Write {
    let expected = present.map_or(Expected::Absent, |it| Expected::Revision(it.revision));
    let change = match wanted {
        Some(Document { indexes, body, .. }) => Change::Put { indexes, body },
        None => Change::Remove,
    };
    Write { kind, id: id.to_owned(), expected, change }
}

#[cfg(test)]
mod tests;
