//! The model: the simplest thing that does what the contract says.

use std::collections::{BTreeMap, HashMap, HashSet};

use proptest::prelude::*;

use super::{FEED_KEPT, Name, kind};
use crate::registry::store::limits::SERIES_KEPT_MINUTES;
use crate::registry::store::{
    Bucket, Change, Document, Expected, FeedPage, Kind, Notice, SeriesUpdate, StoreError, Write,
};

/// A write whose expectation becomes a revision when its turn comes.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    session: bool,
    id: Name,
    expects: Expects,
    /// None removes.
    put: Option<(Vec<Name>, Name)>,
}

#[derive(Clone, Debug)]
enum Expects {
    Absent,
    Any,
    Present,
    Outdated,
}

pub(super) fn planned() -> impl Strategy<Value = Planned> {
    let expects = prop_oneof![
        2 => Just(Expects::Absent),
        6 => Just(Expects::Any),
        3 => Just(Expects::Present),
        1 => Just(Expects::Outdated),
    ];
    let put = prop::option::weighted(0.8, (prop::collection::vec(0..9_u8, 0..3), any::<u8>()));
    (any::<bool>(), 0..7_u8, expects, put).prop_map(|(session, id, expects, put)| Planned {
        session,
        id,
        expects,
        put,
    })
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) now_ms: u64,
    pub(super) values: HashMap<Name, (u64, Name)>,
    documents: BTreeMap<(Kind, String), Document>,
    notices: Vec<Notice>,
    counts: HashMap<Name, (u64, u64)>,
    leases: HashMap<Name, (u64, Name, u64)>,
    fences: HashMap<Name, u64>,
    series: BTreeMap<(String, u64), BTreeMap<String, u64>>,
}

impl Model {
    pub(super) fn last_revision(&self) -> u64 {
        self.notices.len() as u64
    }

    pub(super) fn write_of(&self, planned: &Planned) -> Write {
        let (kind, id) = (kind(planned.session), planned.id.to_string());
        let present = self.documents.get(&(kind, id.clone())).map(|document| document.revision);
        let expected = match planned.expects {
            Expects::Absent => Expected::Absent,
            Expects::Any => Expected::Any,
            Expects::Present => present.map_or(Expected::Absent, Expected::Revision),
            Expects::Outdated => Expected::Revision(present.map_or(1, |revision| revision - 1)),
        };
        let change = match &planned.put {
            None => Change::Remove,
            Some((indexes, body)) => {
                let indexes = indexes.iter().map(ToString::to_string).collect();
                Change::Put { indexes, body: vec![*body] }
            }
        };
        Write { kind, id, expected, change }
    }

    /// None is a call that is invalid.
    pub(super) fn write(&mut self, writes: &[Write]) -> Option<Result<Vec<u64>, StoreError>> {
        let key = |write: &Write| (write.kind, write.id.clone());
        let keys: HashSet<_> = writes.iter().map(key).collect();
        if keys.len() != writes.len() {
            return None;
        }
        for (place, write) in writes.iter().enumerate() {
            let present = self.documents.get(&key(write)).map(|document| document.revision);
            if !match write.expected {
                Expected::Any => true,
                Expected::Absent => present.is_none(),
                Expected::Revision(revision) => present == Some(revision),
            } {
                return Some(Err(StoreError::Conflict { place }));
            }
        }
        let mut after = self.documents.clone();
        after.retain(|key, _| !keys.contains(key));
        let mut notices = Vec::new();
        for (place, write) in writes.iter().enumerate() {
            let revision = self.last_revision() + place as u64 + 1;
            let (kind, id) = (write.kind.0.to_owned(), write.id.clone());
            notices.push(Notice { kind, id: id.clone(), revision });
            let Change::Put { indexes, body } = &write.change else { continue };
            let has =
                |index| after.iter().any(|(k, d)| k.0 == write.kind && d.indexes.contains(index));
            if let Some(index) = indexes.iter().find(|index| has(index)) {
                return Some(Err(StoreError::IndexTaken { place, index: index.clone() }));
            }
            let (indexes, body) = (indexes.clone(), body.clone());
            after.insert(key(write), Document { id, revision, indexes, body });
        }
        self.documents = after;
        let revisions = notices.iter().map(|notice| notice.revision).collect();
        self.notices.extend(notices);
        Some(Ok(revisions))
    }

    pub(super) fn find(&self, kind: Kind, index: &str) -> Option<Document> {
        let mut all = self.list(kind, None, usize::MAX).into_iter();
        all.find(|document| document.indexes.iter().any(|own| own == index))
    }

    pub(super) fn list(&self, kind: Kind, after: Option<&str>, limit: usize) -> Vec<Document> {
        let of_kind = self.documents.iter().filter(|(key, _)| key.0 == kind);
        let behind = of_kind.filter(|(key, _)| after.is_none_or(|after| key.1.as_str() > after));
        behind.map(|(_, document)| document.clone()).take(limit).collect()
    }

    pub(super) fn feed(&self, after: u64, limit: usize) -> FeedPage {
        let last_revision = self.last_revision();
        let kept = self.notices.iter().skip(last_revision.saturating_sub(FEED_KEPT) as usize);
        let notices = kept.filter(|notice| notice.revision > after).take(limit).cloned().collect();
        let gap = after > last_revision || after + FEED_KEPT < last_revision;
        FeedPage { notices, gap, last_revision }
    }

    pub(super) fn value(&self, key: Name) -> Option<Name> {
        let (_, value) = self.values.get(&key).filter(|(ends_ms, _)| self.now_ms < *ends_ms)?;
        Some(*value)
    }

    pub(super) fn count(&mut self, key: Name, window_ms: u64) -> u64 {
        let window = self.counts.entry(key).or_default();
        if window.0 <= self.now_ms {
            *window = (self.now_ms + window_ms, 0);
        }
        window.1 += 1;
        window.1
    }

    /// Checks what was acquired; which number a new fence has is the store's to say.
    pub(super) fn acquire(&mut self, name: Name, holder: Name, ttl_ms: u64, got: Option<u64>) {
        let held = self.leases.get(&name).filter(|(ends_ms, _, _)| self.now_ms < *ends_ms);
        match held {
            Some((_, other, _)) if *other != holder => {
                assert_eq!(got, None);
                return;
            }
            Some((_, _, fence)) => assert_eq!(got, Some(*fence)),
            // Whoever had it last may have it still.
            None if self.leases.get(&name).is_some_and(|(_, last, _)| *last == holder) => {
                assert!(got >= self.fences.get(&name).copied());
            }
            None => assert!(got > self.fences.get(&name).copied()),
        }
        let fence = got.unwrap();
        self.leases.insert(name, (self.now_ms + ttl_ms, holder, fence));
        self.fences.insert(name, fence);
    }

    pub(super) fn release(&mut self, name: Name, holder: Name) {
        if self.leases.get(&name).is_some_and(|(_, held_by, _)| *held_by == holder) {
            self.leases.remove(&name);
        }
    }

    pub(super) fn merge(&mut self, updates: &[SeriesUpdate]) {
        for update in updates {
            let bucket = self.series.entry((update.name.clone(), update.minute)).or_default();
            let number = bucket.entry(update.field.clone()).or_default();
            *number = update.merge.onto(*number);
        }
    }

    pub(super) fn series(&self, name: &str, from: u64, to: u64) -> Vec<Bucket> {
        let oldest = (self.now_ms / 60_000 - SERIES_KEPT_MINUTES).max(from);
        let buckets = self
            .series
            .iter()
            .filter(|((of, minute), _)| of == name && (oldest..=to).contains(minute));
        buckets.map(|(key, fields)| Bucket { minute: key.1, fields: fields.clone() }).collect()
    }
}
