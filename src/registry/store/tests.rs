//! The contract's tests run on every kind of store that a [`Place`] can make; the others are about
//! the embedded store's file.

use tempfile::TempDir;

use super::embedded::Settings;
use super::{Change, Embedded, Expected, Kind, Store, Write};
use crate::clock::Wall;

mod audit;
mod crash;
mod documents;
mod expiring;
mod feed;
mod full;
mod leases;
mod model;
mod opening;
mod process;
mod series;
mod together;

const TENANT: Kind = Kind("tenant");
const SESSION: Kind = Kind("session");
/// Notices that stores under test keep.
const FEED_KEPT: u64 = 16;
/// When stopped clocks stand: some time in 2026.
const BEGIN_MS: u64 = 1_790_000_000_000;

/// Where a store under test is, and its clock.
struct Place {
    wall: Wall,
    /// None is memory.
    folder: Option<TempDir>,
}

impl Place {
    fn file() -> Self {
        Self { folder: Some(tempfile::tempdir().unwrap()), ..Self::memory() }
    }

    fn memory() -> Self {
        Self { wall: Wall::stopped_at(BEGIN_MS), folder: None }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.as_ref().unwrap().path().join("flowgate.redb")
    }

    fn url(&self) -> String {
        match &self.folder {
            Some(_) => format!("file:{}", self.path().display()),
            None => "memory:".to_owned(),
        }
    }

    /// Opens the store; one in memory is another each time.
    async fn open(&self) -> Store {
        let settings = Settings { wall: self.wall.clone(), feed_kept: FEED_KEPT };
        Store::Embedded(Embedded::open(&self.url(), settings).await.unwrap())
    }
}

/// Makes a test on each kind of store of every function that takes one.
macro_rules! on_every_store {
    ($($test:ident),+ $(,)?) => {
        mod file {
            $(#[tokio::test]
            async fn $test() {
                super::$test(&crate::registry::store::tests::Place::file()).await;
            })+
        }
        mod memory {
            $(#[tokio::test]
            async fn $test() {
                super::$test(&crate::registry::store::tests::Place::memory()).await;
            })+
        }
    };
}
use on_every_store;

fn put(id: &str, expected: Expected, indexes: &[&str], body: &str) -> Write {
    let indexes = indexes.iter().map(ToString::to_string).collect();
    let change = Change::Put { indexes, body: body.as_bytes().to_vec() };
    Write { kind: TENANT, id: id.to_owned(), expected, change }
}

fn remove(id: &str, expected: Expected) -> Write {
    Write { kind: TENANT, id: id.to_owned(), expected, change: Change::Remove }
}
