//! A copy under way.

use std::collections::HashSet;

use super::compare::{Comparison, Pair};
use super::{Copied, CopyError, Mark, Phase, Progress, write_for};
use crate::registry::record::LASTING;
use crate::registry::store::limits::{FEED_PAGE_MAX, WRITES_MAX};
use crate::registry::store::{Document, Expected, Kind, Store, StoreError, Write};
use crate::registry::walk::Walk;

/// Documents written at once; each time is a commit to disk. Few under test, as with pages.
const DOCUMENTS_PER_WRITE: usize = if cfg!(test) { 2 } else { 500 };
/// A store takes some more at once.
const BYTES_PER_WRITE: usize = 8 * 1024 * 1024;
/// Documents between two words about the progress.
const TELL_EVERY: u64 = 100;

pub(super) struct Job<'a> {
    pub(super) source: &'a Store,
    pub(super) target: &'a Store,
    tell: &'a mut dyn FnMut(Progress),
    pub(super) mark: Mark,
    /// The mark's revision, or the target's last one before there is a mark: whatever is written
    /// next gets the next one, unless somebody else has written.
    revision: u64,
    /// Up to where the source's feed has been followed.
    pub(super) seen: u64,
    documents: u64,
    writes: Vec<Write>,
    bytes: usize,
    pub(super) done: Copied,
}

impl<'a> Job<'a> {
    pub(super) fn new(
        source: &'a Store,
        target: &'a Store,
        tell: &'a mut dyn FnMut(Progress),
        mark: Mark,
        revision: u64,
        seen: u64,
    ) -> Self {
        let (writes, done) = (Vec::new(), Copied::default());
        Self { source, target, tell, mark, revision, seen, documents: 0, writes, bytes: 0, done }
    }

    pub(super) fn tell(&mut self, phase: Phase, done: u64) {
        (self.tell)(Progress { phase, done, of: self.documents });
    }

    /// Writes the mark over the one that is expected: from now on the target is this copy's alone.
    pub(super) async fn claim(&mut self, expected: Expected) -> Result<(), CopyError> {
        self.write(Vec::new(), expected).await
    }

    /// Finds out how many documents there are.
    pub(super) async fn count(&mut self) -> Result<(), CopyError> {
        let mut documents = 0;
        for kind in LASTING {
            let mut walk = Walk::new(self.source, kind);
            loop {
                let page = walk.page().await.map_err(CopyError::Source)?;
                if page.is_empty() {
                    break;
                }
                documents += page.len() as u64;
                self.tell(Phase::Counting, documents);
            }
        }
        self.documents = documents;
        Ok(())
    }

    /// Compares all documents and writes where they differ. Returns the number of differences.
    pub(super) async fn pass(&mut self, phase: Phase) -> Result<u64, CopyError> {
        let (mut differences, mut documents) = (0, 0);
        for kind in LASTING {
            let mut comparison = Comparison::new(self.source, self.target, kind);
            while let Some(pair) = comparison.next().await? {
                if pair.source.is_some() {
                    documents += 1;
                }
                if documents % TELL_EVERY == 0 {
                    self.tell(phase, documents);
                }
                if !pair.is_equal() {
                    differences += 1;
                    self.settle(kind, pair).await?;
                }
            }
            // What was written of one kind need not wait for the next.
            self.flush().await?;
        }
        self.documents = self.documents.max(documents);
        self.done.documents = documents;
        self.tell(phase, documents);
        Ok(differences)
    }

    /// Compares a copy that was finished earlier, and writes nothing.
    pub(super) async fn compare_only(mut self) -> Result<Copied, CopyError> {
        let (mut differences, mut documents) = (0, 0);
        for kind in LASTING {
            let mut comparison = Comparison::new(self.source, self.target, kind);
            while let Some(pair) = comparison.next().await? {
                documents += 1;
                differences += u64::from(!pair.is_equal());
                if documents % TELL_EVERY == 0 {
                    self.tell(Phase::Comparing, documents);
                }
            }
        }
        self.tell(Phase::Comparing, documents);
        match differences {
            0 => Ok(Copied { documents, ..self.done }),
            _ => Err(CopyError::Differ { documents: differences }),
        }
    }

    /// Copies what has changed at the source since it was last looked at, up to the present.
    pub(super) async fn follow(&mut self) -> Result<(), CopyError> {
        let end = self.source.last_revision().await.map_err(CopyError::Source)?;
        while self.seen < end {
            let page = self.source.feed(self.seen, FEED_PAGE_MAX).await;
            let page = page.map_err(CopyError::Source)?;
            let last = page.notices.last().map(|notice| notice.revision);
            let Some(last) = last.filter(|_| !page.gap) else {
                // What is missing will be found when all is compared.
                self.seen = page.last_revision;
                return Ok(());
            };
            let mut changed = HashSet::new();
            for notice in &page.notices {
                let kind = LASTING.into_iter().find(|kind| kind.0 == notice.kind);
                if let Some(kind) = kind
                    && changed.insert((kind, &notice.id))
                {
                    let source = self.source.get(kind, &notice.id).await;
                    let source = source.map_err(CopyError::Source)?;
                    let target = self.target.get(kind, &notice.id).await;
                    let pair = Pair { source, target: target.map_err(CopyError::Target)? };
                    if !pair.is_equal() && (pair.source.is_some() || pair.target.is_some()) {
                        self.settle(kind, pair).await?;
                    }
                }
            }
            self.flush().await?;
            self.seen = last;
        }
        Ok(())
    }

    /// Makes the target's document like the source's, with the next batch.
    async fn settle(&mut self, kind: Kind, pair: Pair) -> Result<(), CopyError> {
        self.check_own(pair.target.as_ref())?;
        let id = pair.id().to_owned();
        let Pair { source, target } = pair;
        self.bytes += source.as_ref().map_or(0, size);
        self.writes.push(write_for(kind, target.as_ref(), source, &id));
        match self.writes.len() >= DOCUMENTS_PER_WRITE || self.bytes >= BYTES_PER_WRITE {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    /// What has come to the target behind this copy's last batch is somebody else's.
    fn check_own(&self, document: Option<&Document>) -> Result<(), CopyError> {
        match document {
            Some(document) if document.revision > self.revision => Err(CopyError::Disturbed),
            _ => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<(), CopyError> {
        self.bytes = 0;
        let writes = std::mem::take(&mut self.writes);
        if writes.is_empty() {
            return Ok(());
        }
        self.write(writes, Expected::Revision(self.revision)).await
    }

    /// Marks the target as whole. From now on it is a registry like any other.
    pub(super) async fn finish(mut self) -> Result<Copied, CopyError> {
        let last_revision = self.target.last_revision().await.map_err(CopyError::Target)?;
        if last_revision != self.revision {
            return Err(CopyError::Disturbed);
        }
        self.mark.is_finished = true;
        self.write(Vec::new(), Expected::Revision(self.revision)).await?;
        Ok(self.done)
    }

    /// Writes a batch and the mark: both or neither.
    async fn write(&mut self, mut writes: Vec<Write>, mark: Expected) -> Result<(), CopyError> {
        loop {
            let mut batch = writes.clone();
            self.mark.revision = self.revision + batch.len() as u64 + 1;
            batch.push(self.mark.write(mark).map_err(CopyError::Target)?);
            match self.target.write(batch).await {
                Ok(revisions) => {
                    let first = revisions.first().copied();
                    if first != Some(self.revision + 1) {
                        return Err(CopyError::Disturbed);
                    }
                    self.revision = revisions.last().copied().unwrap_or(self.revision);
                    self.done.written += writes.len() as u64;
                    return Ok(());
                }
                // It has made way since it was read. The next comparison finds it.
                Err(StoreError::Conflict { place }) if place < writes.len() => {
                    writes.remove(place);
                }
                Err(StoreError::Conflict { .. }) => return Err(CopyError::Disturbed),
                Err(StoreError::IndexTaken { place, index }) => {
                    self.make_way(&mut writes, place, &index).await?;
                }
                Err(error) => return Err(CopyError::Target(error)),
            }
        }
    }

    /// An index has moved at the source from one document to another since the first was copied. It
    /// is taken from the one that has it; what is missing then is found by the next comparison.
    async fn make_way(
        &self,
        writes: &mut Vec<Write>,
        place: usize,
        index: &str,
    ) -> Result<(), CopyError> {
        let Some(Write { kind, .. }) = writes.get(place) else { return Err(CopyError::Disturbed) };
        let kind = *kind;
        let owner = self.target.find(kind, index).await.map_err(CopyError::Target)?;
        self.check_own(owner.as_ref())?;
        match owner {
            Some(owner)
                if writes.len() + 1 < WRITES_MAX
                    && !writes.iter().any(|write| write.kind == kind && write.id == owner.id) =>
            {
                writes.push(write_for(kind, Some(&owner), None, &owner.id));
            }
            // Two of this batch claim it, each as it was when it was read.
            _ => {
                writes.remove(place);
            }
        }
        Ok(())
    }
}

/// Bytes of a document's body.
fn size(document: &Document) -> usize {
    document.body.len()
}
