//! Reads a closed registry file with nothing but redb and checks that its tables agree.

use std::collections::BTreeSet;
use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

const META: TableDefinition<&str, u128> = TableDefinition::new("meta");
const DOCUMENTS: TableDefinition<(&str, &str), StoredDocument> = TableDefinition::new("documents");
type StoredDocument = (u64, Vec<&'static str>, &'static [u8]);
const INDEXES: TableDefinition<(&str, &str), &str> = TableDefinition::new("indexes");
const FEED: TableDefinition<u64, (&str, &str)> = TableDefinition::new("feed");
const EXPIRING: TableDefinition<(u8, &str), (u64, u64, &[u8])> = TableDefinition::new("expiring");
const ENDS: TableDefinition<(u64, u8, &str), ()> = TableDefinition::new("ends");
const SERIES: TableDefinition<(&str, u64), Vec<(&str, u64)>> = TableDefinition::new("series");
const MINUTES: TableDefinition<(u64, &str), ()> = TableDefinition::new("minutes");

/// What a registry file holds, in numbers.
pub(super) struct Audit {
    pub(super) expiring: u64,
    pub(super) series: u64,
}

pub(super) fn audit(path: &Path) -> Audit {
    let mut database = Database::open(path).unwrap();
    assert!(database.check_integrity().unwrap());
    let view = database.begin_read().unwrap();
    let last_revision = view.open_table(META).unwrap().get("revision").unwrap().unwrap().value();

    let documents = view.open_table(DOCUMENTS).unwrap();
    let feed = view.open_table(FEED).unwrap();
    let oldest = feed.first().unwrap().map_or(1, |(revision, _)| revision.value());
    let mut expected = BTreeSet::new();
    for entry in documents.iter().unwrap() {
        let (key, stored) = entry.unwrap();
        let (kind, id) = key.value();
        let (revision, indexes, _) = stored.value();
        for index in indexes {
            expected.insert((kind.to_owned(), index.to_owned(), id.to_owned()));
        }
        if revision >= oldest {
            assert_eq!(feed.get(revision).unwrap().unwrap().value(), (kind, id));
        }
    }
    let indexes = view.open_table(INDEXES).unwrap();
    let found = indexes.iter().unwrap().map(|entry| {
        let (key, id) = entry.unwrap();
        let (kind, index) = key.value();
        (kind.to_owned(), index.to_owned(), id.value().to_owned())
    });
    assert_eq!(found.collect::<BTreeSet<_>>(), expected);

    let revisions = feed.iter().unwrap().map(|entry| entry.unwrap().0.value());
    let last_revision = u64::try_from(last_revision).unwrap();
    assert!(revisions.eq(oldest..=last_revision), "the feed has holes");

    let expiring = view.open_table(EXPIRING).unwrap();
    let ends = view.open_table(ENDS).unwrap();
    for entry in expiring.iter().unwrap() {
        let (key, stored) = entry.unwrap();
        let (space, key) = key.value();
        assert!(ends.get((stored.value().0, space, key)).unwrap().is_some());
    }
    assert_eq!(ends.len().unwrap(), expiring.len().unwrap());

    let series = view.open_table(SERIES).unwrap();
    let minutes = view.open_table(MINUTES).unwrap();
    for entry in series.iter().unwrap() {
        let (name, minute) = entry.as_ref().unwrap().0.value();
        assert!(minutes.get((minute, name)).unwrap().is_some());
    }
    assert_eq!(minutes.len().unwrap(), series.len().unwrap());
    Audit { expiring: expiring.len().unwrap(), series: series.len().unwrap() }
}
