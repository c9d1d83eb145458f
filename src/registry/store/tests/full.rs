//! A disk that is full for a while, as a limit on the size of a process's files.

use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use super::Expected::Any;
use super::{Place, TENANT, process, put};
use crate::registry::store::{Store, StoreError};

/// Sent to a process that goes over the limit; its default is death.
const SIGXFSZ: i32 = 25;
const FILE_BYTES_MAX: u64 = 3_000_000;

fn limit_files(bytes: Option<u64>) {
    setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

#[tokio::test]
async fn a_disk_that_is_full_for_a_while_is_survived() {
    let place = Place::file();
    let mut other = process::start("registry::store::tests::full::fills_the_disk", &place.path());
    let said: Vec<_> = process::Said::by(&mut other).collect();
    assert!(other.wait().unwrap().success());
    let last_revision: u64 = said[0].parse().unwrap();
    super::audit::audit(&place.path());
    assert_eq!(place.open().await.last_revision().await, Ok(last_revision));
}

/// The other process of the test above.
#[tokio::test]
async fn fills_the_disk() {
    let Some(file) = process::file() else { return };
    let _ignored = signal(SignalKind::from_raw(SIGXFSZ)).unwrap();
    let store = Store::open(&format!("file:{file}")).await.unwrap();
    let body = "x".repeat(10_000);
    let mut written = 0;
    limit_files(Some(FILE_BYTES_MAX));
    let refused = loop {
        match store.write(vec![put(&written.to_string(), Any, &[], &body)]).await {
            Ok(revisions) => written = revisions[0],
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::Unavailable(_) | StoreError::Unknown(_)), "{refused}");
    for _ in 0..3 {
        assert!(store.write(vec![put("more", Any, &[], &body)]).await.is_err());
        assert!(store.get(TENANT, "0").await.unwrap().is_some());
    }
    limit_files(None);
    let revision = store.write(vec![put("again", Any, &[], &body)]).await.unwrap()[0];
    assert_eq!(revision, written + 1);
    drop(store);
    process::say(&revision.to_string());
}
