//! Documents, their indexes, and the feed.

use std::collections::HashMap;
use std::ops::Bound;

use redb::{ReadTransaction, ReadableTable};

use super::tables::{DOCUMENTS, FEED, INDEXES, META, META_REVISION, Tables, counter};
use crate::registry::store::error::StoreError;
use crate::registry::store::types::{Change, Document, Expected, FeedPage, Kind, Notice, Write};

pub(super) fn last_revision(view: &ReadTransaction) -> Result<u64, StoreError> {
    counter(&view.open_table(META)?, META_REVISION)
}

pub(super) fn get(
    view: &ReadTransaction,
    kind: Kind,
    id: &str,
) -> Result<Option<Document>, StoreError> {
    let documents = view.open_table(DOCUMENTS)?;
    Ok(documents.get((kind.0, id))?.map(|stored| document(id, stored.value())))
}

pub(super) fn find(
    view: &ReadTransaction,
    kind: Kind,
    index: &str,
) -> Result<Option<Document>, StoreError> {
    let indexes = view.open_table(INDEXES)?;
    let Some(id) = indexes.get((kind.0, index))? else { return Ok(None) };
    let id = id.value();
    match get(view, kind, id)? {
        Some(document) => Ok(Some(document)),
        None => {
            let what = format!("index {index:?} leads to {} {id:?}, which is not there", kind.0);
            Err(StoreError::Corrupt(what))
        }
    }
}

pub(super) fn list(
    view: &ReadTransaction,
    kind: Kind,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Document>, StoreError> {
    let documents = view.open_table(DOCUMENTS)?;
    // No id is empty.
    let first = Bound::Excluded((kind.0, after.unwrap_or("")));
    let mut listed = Vec::new();
    for entry in documents.range::<(&str, &str)>((first, Bound::Unbounded))?.take(limit) {
        let (key, stored) = entry?;
        let (of_kind, id) = key.value();
        if of_kind != kind.0 {
            break;
        }
        listed.push(document(id, stored.value()));
    }
    Ok(listed)
}

pub(super) fn feed(
    view: &ReadTransaction,
    after: u64,
    limit: usize,
) -> Result<FeedPage, StoreError> {
    let last_revision = last_revision(view)?;
    let feed = view.open_table(FEED)?;
    let oldest = feed.first()?.map(|(revision, _)| revision.value());
    let next = after.saturating_add(1);
    let is_all_there = match oldest {
        Some(oldest) => oldest <= next && after <= last_revision,
        None => after == last_revision,
    };
    let mut notices = Vec::new();
    for entry in feed.range(next..)?.take(limit) {
        let (revision, of) = entry?;
        let (kind, id) = of.value();
        let revision = revision.value();
        notices.push(Notice { kind: kind.to_owned(), id: id.to_owned(), revision });
    }
    Ok(FeedPage { notices, gap: !is_all_there, last_revision })
}

fn document(id: &str, (revision, indexes, body): (u64, Vec<&str>, &[u8])) -> Document {
    let indexes = indexes.into_iter().map(str::to_owned).collect();
    Document { id: id.to_owned(), revision, indexes, body: body.to_owned() }
}

impl Tables<'_> {
    /// Checks every write before it makes the first.
    pub(super) fn write(&mut self, writes: &[Write]) -> Result<Vec<u64>, StoreError> {
        self.check_expected(writes)?;
        self.check_indexes(writes)?;
        self.is_changed = true;
        // What all of them give up goes first, since they may take it from each other.
        for write in writes {
            self.remove(write.kind.0, &write.id)?;
        }
        let mut revisions = Vec::with_capacity(writes.len());
        for Write { kind: Kind(kind), id, change, .. } in writes {
            self.last_revision += 1;
            if let Change::Put { indexes, body } = change {
                let indexes: Vec<&str> = indexes.iter().map(String::as_str).collect();
                for index in &indexes {
                    self.indexes.insert((*kind, *index), id.as_str())?;
                }
                let stored = (self.last_revision, indexes, body.as_slice());
                self.documents.insert((*kind, id.as_str()), stored)?;
            }
            self.feed.insert(self.last_revision, (*kind, id.as_str()))?;
            revisions.push(self.last_revision);
        }
        Ok(revisions)
    }

    fn check_expected(&self, writes: &[Write]) -> Result<(), StoreError> {
        for (place, write) in writes.iter().enumerate() {
            let stored = self.documents.get((write.kind.0, write.id.as_str()))?;
            let revision = stored.map(|stored| stored.value().0);
            let is_expected = match write.expected {
                Expected::Absent => revision.is_none(),
                Expected::Revision(expected) => revision == Some(expected),
                Expected::Any => true,
            };
            if !is_expected {
                return Err(StoreError::Conflict { place });
            }
        }
        Ok(())
    }

    fn check_indexes(&self, writes: &[Write]) -> Result<(), StoreError> {
        let rewritten: HashMap<_, _> =
            writes.iter().map(|write| ((write.kind.0, write.id.as_str()), &write.change)).collect();
        let mut claimed = HashMap::new();
        for (place, Write { kind: Kind(kind), id, change, .. }) in writes.iter().enumerate() {
            let Change::Put { indexes, .. } = change else { continue };
            for index in indexes {
                let claimant = *claimed.entry((*kind, index)).or_insert(id);
                let owner = self.indexes.get((*kind, index.as_str()))?;
                // A document of this call that has it will either give it up or claims it, too.
                let is_taken = claimant != id
                    || owner.is_some_and(|owner| !rewritten.contains_key(&(*kind, owner.value())));
                if is_taken {
                    return Err(StoreError::IndexTaken { place, index: index.clone() });
                }
            }
        }
        Ok(())
    }

    fn remove(&mut self, kind: &str, id: &str) -> Result<(), StoreError> {
        if let Some(stored) = self.documents.remove((kind, id))? {
            for index in stored.value().1 {
                self.indexes.remove((kind, index))?;
            }
        }
        Ok(())
    }

    /// Forgets the notices that are too many.
    pub(super) fn trim_feed(&mut self, kept: u64) -> Result<(), StoreError> {
        let forgotten = self.last_revision.saturating_sub(kept);
        let first = self.feed.first()?.map(|(revision, _)| revision.value());
        if first.is_some_and(|first| first <= forgotten) {
            self.feed.retain_in(..=forgotten, |_, _| false)?;
        }
        Ok(())
    }
}
