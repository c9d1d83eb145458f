//! What is opened, what is refused, and what stays as it was.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use std::time::Duration;

use redb::{Database, TableDefinition};
use tokio::task::JoinSet;

use super::audit::audit;
use super::{BEGIN_MS, Place, TENANT, process, put};
use crate::registry::store::Expected::{Absent, Any};
use crate::registry::store::limits::SERIES_KEPT_MINUTES;
use crate::registry::store::{Merge, SeriesUpdate, Store, StoreError};

async fn open(path: &Path) -> Result<Store, StoreError> {
    Store::open(&format!("file:{}", path.display())).await
}

/// Opens what must be refused, and checks that it is as it was.
async fn refusal(path: &Path) -> StoreError {
    let before = fs::read(path).unwrap();
    let error = open(path).await.unwrap_err();
    assert!(before == fs::read(path).unwrap(), "{error}: the file was changed");
    assert_eq!(error.to_string().lines().count(), 1);
    error
}

#[tokio::test]
async fn a_registry_keeps_its_id_and_its_documents() {
    let place = Place::file();
    let store = place.open().await;
    let id = store.id();
    store.write(vec![put("1", Absent, &["a"], "{}")]).await.unwrap();
    assert!(place.path().with_extension("redb.holder").exists());
    drop(store);
    assert!(!place.path().with_extension("redb.holder").exists());
    let store = place.open().await;
    assert_eq!(store.id(), id);
    assert_eq!(*store.changes().borrow(), 1);
    assert_eq!(store.find(TENANT, "a").await.unwrap().unwrap().body, b"{}");
    assert_ne!(Place::file().open().await.id(), id);
}

#[tokio::test]
async fn files_are_their_owners_alone() {
    let place = Place::file();
    let _store = place.open().await;
    for entry in fs::read_dir(place.path().parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.file_name());
    }
}

#[tokio::test]
async fn a_url_must_be_one() {
    for url in ["", "flowgate.redb", "file:", "memory:x", "redis://", "FILE:x"] {
        assert!(matches!(Store::open(url).await, Err(StoreError::Invalid(_))), "{url}");
    }
    let missing = Store::open("file:/nowhere/at/all.redb").await.unwrap_err();
    assert!(missing.to_string().contains("/nowhere/at/all.redb"), "{missing}");
}

#[tokio::test]
async fn what_is_no_registry_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flowgate.redb");
    for bytes in [&b""[..], b"{\"tenants\": []}", &[0; 8192], b"redb\x1a\x0a\xa9\x0d\x0a"] {
        fs::write(&path, bytes).unwrap();
        let error = refusal(&path).await;
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
    fs::remove_file(&path).unwrap();
    const OTHER: TableDefinition<u64, u64> = TableDefinition::new("meta");
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(OTHER).unwrap().insert(1, 1).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(matches!(open(&path).await, Err(StoreError::Foreign(_))));
    fs::remove_file(&path).unwrap();
    drop(Database::create(&path).unwrap());
    assert!(matches!(open(&path).await, Err(StoreError::Foreign(_))));
}

#[tokio::test]
async fn another_format_is_refused() {
    const META: TableDefinition<&str, u128> = TableDefinition::new("meta");
    let place = Place::file();
    drop(place.open().await);
    let database = Database::open(place.path()).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert("format", 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = open(&place.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Foreign(_)));
    assert!(error.to_string().ends_with("format version 2; this flowgate reads version 1"));
}

#[tokio::test]
async fn what_has_ended_leaves_the_file() {
    const ENTRIES: u64 = 1_000;
    let place = Place::file();
    let store = place.open().await;
    let minute = Duration::from_secs(60);
    let entries: JoinSet<_> = (0..ENTRIES)
        .map(|number| {
            let store = store.clone();
            async move {
                let name = number.to_string();
                store.put_expiring(&name, b"", minute).await.unwrap();
                store.count(&name, minute).await.unwrap();
                store.acquire(&name, "me", minute).await.unwrap();
                let minute = BEGIN_MS / 60_000;
                let (field, merge) = ("n".to_owned(), Merge::Add(1));
                store.merge(vec![SeriesUpdate { name, minute, field, merge }]).await.unwrap();
            }
        })
        .collect();
    entries.join_all().await;
    place.wall.advance(minute * (u32::try_from(SERIES_KEPT_MINUTES).unwrap() + 1));
    for _ in 0..3 * ENTRIES / 100 {
        store.write(vec![put("1", Any, &[], "")]).await.unwrap();
    }
    drop(store);
    let audit = audit(&place.path());
    assert_eq!((audit.expiring, audit.series), (0, 0));
}

async fn filled() -> Place {
    let place = Place::file();
    let store = place.open().await;
    let body = "x".repeat(1_000);
    for round in 0..4 {
        let writes = (0..100).map(|id| put(&format!("{round}-{id}"), Any, &[], &body)).collect();
        store.write(writes).await.unwrap();
    }
    place
}

#[tokio::test]
async fn a_file_that_was_cut_short_is_refused() {
    let place = filled().await;
    let whole = fs::read(place.path()).unwrap();
    for part in 0..20 {
        fs::write(place.path(), &whole[..whole.len() * part / 20]).unwrap();
        refusal(&place.path()).await;
    }
}

/// Bits that turned: the file is refused, or they are where nothing is and everything is there.
#[tokio::test]
async fn a_damaged_file_is_refused() {
    let place = filled().await;
    let whole = fs::read(place.path()).unwrap();
    let mut refused = 0;
    for part in 0..100 {
        let mut damaged = whole.clone();
        damaged[whole.len() * part / 100 + part] ^= 0x55;
        fs::write(place.path(), &damaged).unwrap();
        match open(&place.path()).await {
            Err(_) => refused += 1,
            Ok(store) => {
                let documents = store.list(TENANT, None, 1_000).await.unwrap();
                assert_eq!(documents.len(), 400);
                let is_whole = |body: &[u8]| body.len() == 1_000 && body.iter().all(|b| *b == b'x');
                assert!(documents.iter().all(|document| is_whole(&document.body)));
            }
        }
    }
    assert!(refused > 10, "only {refused} of 100");
}

#[tokio::test]
async fn what_was_left_of_making_a_file_is_no_obstacle() {
    let place = Place::file();
    fs::write(place.path().with_extension("redb.new"), b"redb half").unwrap();
    place.open().await.write(vec![put("1", Absent, &[], "")]).await.unwrap();
    assert!(!place.path().with_extension("redb.new").exists());
    assert_eq!(place.open().await.last_revision().await, Ok(1));
}

#[tokio::test]
async fn many_who_make_a_file_at_once_make_one() {
    let place = Place::file();
    let openers: JoinSet<_> = (0..8)
        .map(|_| {
            let path = place.path();
            async move { open(&path).await }
        })
        .collect();
    // Kept open until all are through: one has it, the others are told so.
    let outcomes = openers.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(matches!(error, StoreError::Held(_)), "{error}");
    }
}

#[tokio::test]
async fn a_held_file_is_refused_and_its_holder_named() {
    let place = Place::file();
    let mut holder = process::start("registry::store::tests::opening::holds_a_file", &place.path());
    let mut said = process::Said::by(&mut holder);
    assert_eq!(said.next().as_deref(), Some("held"));
    let error = open(&place.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Held(_)));
    let line = error.to_string();
    assert!(line.contains(&format!("is held by pid {} (", holder.id())), "{line}");
    assert!(line.ends_with(": stop it, or use its API"), "{line}");

    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(place.path().with_extension("redb.holder").exists());
    let store = place.open().await;
    assert_eq!(store.last_revision().await, Ok(1));
    // The note is this process's now.
    let line = open(&place.path()).await.unwrap_err().to_string();
    assert!(line.contains(&format!("is held by pid {} (", std::process::id())), "{line}");
}

/// The other process of the test above.
#[tokio::test]
async fn holds_a_file() {
    let Some(file) = process::file() else { return };
    let store = Store::open(&format!("file:{file}")).await.unwrap();
    store.write(vec![put("1", Absent, &[], "")]).await.unwrap();
    process::say("held");
    // Until it is killed, or until the test ends.
    std::io::read_to_string(std::io::stdin()).unwrap();
}
