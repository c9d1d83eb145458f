//! The contract's tests run on every kind of store that a [`Place`] can make; the others are about
//! the embedded store's file. What Redis alone can do is in `redis/tests`.

use tempfile::TempDir;

use super::embedded::Settings;
use super::redis::{Options, testing};
use super::{Change, Embedded, Expected, Kind, Store, Write};
use crate::clock::Wall;

mod audit;
mod crash;
mod damage;
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
    whereabouts: Whereabouts,
}

enum Whereabouts {
    Memory,
    File(TempDir),
    /// The URL, with a prefix of its own.
    Redis(String),
}

impl Place {
    fn file() -> Self {
        Self::at(Whereabouts::File(tempfile::tempdir().unwrap()))
    }

    fn memory() -> Self {
        Self::at(Whereabouts::Memory)
    }

    fn redis() -> Self {
        Self::at(Whereabouts::Redis(testing::url()))
    }

    fn at(whereabouts: Whereabouts) -> Self {
        Self { wall: Wall::stopped_at(BEGIN_MS), whereabouts }
    }

    fn is_shared(&self) -> bool {
        matches!(self.whereabouts, Whereabouts::Redis(_))
    }

    fn path(&self) -> std::path::PathBuf {
        let Whereabouts::File(folder) = &self.whereabouts else { panic!("it is in no file") };
        folder.path().join("flowgate.redb")
    }

    /// Opens the store; one in memory is another each time.
    async fn open(&self) -> Store {
        let url = match &self.whereabouts {
            Whereabouts::Memory => "memory:".to_owned(),
            Whereabouts::File(_) => format!("file:{}", self.path().display()),
            Whereabouts::Redis(url) => {
                let wall = Some(self.wall.clone());
                let options = Options { wall, feed_kept: FEED_KEPT, ..testing::options() };
                return Store::open_with(url, &options).await.unwrap();
            }
        };
        let settings = Settings { wall: self.wall.clone(), feed_kept: FEED_KEPT };
        Store::from(Embedded::open(&url, settings).await.unwrap())
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
        mod redis {
            $(#[tokio::test]
            async fn $test() {
                super::$test(&crate::registry::store::tests::Place::redis()).await;
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
