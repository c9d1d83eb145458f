//! Failovers while two stores write all the time and read the feed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::process::Signal;
use tokio::task::JoinHandle;

use super::sentinels::{Group, eventually, options, role};
use super::*;

/// Documents that each writer writes over and over, so that lost ones are followed by others with
/// the same revision.
const SLOTS: u64 = 200;
/// Acknowledged writes by each store that show that it goes on.
const SOME: u64 = 100;

/// One store, with a writer and a reader of the feed.
struct Station {
    store: Store,
    writer_ends: Arc<AtomicBool>,
    reader_ends: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    writer: JoinHandle<Written>,
    reader: JoinHandle<Mirror>,
}

/// The number of the last acknowledged write to each document.
type Written = HashMap<String, u64>;

/// What a reader of the feed believes, as a cache would.
#[derive(Default)]
struct Mirror {
    bodies: HashMap<String, Option<String>>,
    gaps: u64,
}

impl Station {
    async fn open(url: &str, name: &'static str) -> Self {
        let store = Store::open_with(url, &options()).await.unwrap();
        let (writer_ends, reader_ends) = (Arc::<AtomicBool>::default(), Arc::default());
        let acknowledged = Arc::<AtomicU64>::default();
        let writer =
            write(store.clone(), name, Arc::clone(&writer_ends), Arc::clone(&acknowledged));
        let reader = mirror(store.clone(), Arc::clone(&reader_ends));
        let (writer, reader) = (tokio::spawn(writer), tokio::spawn(reader));
        Self { store, writer_ends, reader_ends, acknowledged, writer, reader }
    }

    /// Waits until more writes are acknowledged.
    async fn goes_on(&self) {
        let before = self.acknowledged.load(Ordering::SeqCst);
        eventually(|| {
            // Whoever was held has ended.
            assert!(!self.writer.is_finished() && !self.reader.is_finished());
            self.acknowledged.load(Ordering::SeqCst) >= before + SOME
        })
        .await;
    }
}

/// A moment, or less if something happens.
async fn pause(store: &Store) {
    let mut changes = store.changes();
    let _ = tokio::time::timeout(Duration::from_millis(20), changes.changed()).await;
}

/// Two documents at a time, without pause.
async fn write(
    store: Store,
    name: &'static str,
    ends: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
) -> Written {
    let mut written = Written::new();
    for number in 1.. {
        if ends.load(Ordering::SeqCst) {
            break;
        }
        let ids = [format!("{name}-{}", number % SLOTS), format!("{name}-{}'", number % SLOTS)];
        let text = number.to_string();
        match store.write(ids.iter().map(|id| put(id, &text)).collect()).await {
            Ok(_) => {
                written.extend(ids.map(|id| (id, number)));
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            Err(StoreError::Unavailable(_) | StoreError::Unknown(_)) => pause(&store).await,
            Err(error) => panic!("{name}: {error}"),
        }
    }
    written
}

async fn mirror(store: Store, ends: Arc<AtomicBool>) -> Mirror {
    let mut mirror = Mirror::default();
    let mut after = 0;
    loop {
        // Asked first: what was written by then is in the last page.
        let is_last = ends.load(Ordering::SeqCst);
        match mirror.read(&store, after).await {
            Ok((next, is_all)) => {
                after = next;
                if is_last && is_all {
                    return mirror;
                }
                if is_all {
                    pause(&store).await;
                }
            }
            Err(StoreError::Unavailable(_)) => pause(&store).await,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Mirror {
    /// Returns where to go on, and whether that is the end.
    async fn read(&mut self, store: &Store, after: u64) -> Result<(u64, bool), StoreError> {
        let page = store.feed(after, 1000).await?;
        if page.gap {
            self.gaps += 1;
            self.bodies.clear();
            return Ok((page.last_revision, true));
        }
        let next = page.notices.last().map_or(after, |notice| notice.revision);
        for notice in page.notices {
            self.bodies.insert(notice.id, None);
        }
        for (id, body) in self.bodies.iter_mut().filter(|(_, body)| body.is_none()) {
            let document = store.get(TENANT, id).await?;
            *body = document.map(|document| String::from_utf8(document.body).unwrap());
        }
        Ok((next, next == page.last_revision))
    }
}

/// Has two stores write through what happens.
async fn go_on_through(wait_replicas: u32, happens: impl AsyncFnOnce(&Group, &[Station; 2])) {
    let group = Group::start().await;
    let url = format!("{}?wait_replicas={wait_replicas}", group.url());
    let stations = [Station::open(&url, "a").await, Station::open(&url, "b").await];
    for station in &stations {
        station.goes_on().await;
    }
    happens(&group, &stations).await;
    for station in &stations {
        station.goes_on().await;
    }
    let mut written = Written::new();
    let mut mirrors = Vec::new();
    let mut stores = Vec::new();
    let mut readers = Vec::new();
    for station in &stations {
        station.writer_ends.store(true, Ordering::SeqCst);
    }
    for station in stations {
        written.extend(tokio::time::timeout(PATIENCE, station.writer).await.unwrap().unwrap());
        stores.push(station.store);
        readers.push((station.reader_ends, station.reader));
    }
    // Nobody writes any more: what they read now is all.
    for (ends, reader) in readers {
        ends.store(true, Ordering::SeqCst);
        mirrors.push(tokio::time::timeout(PATIENCE, reader).await.unwrap().unwrap());
    }
    assert_all_is_well(&stores, &written, mirrors).await;
}

async fn assert_all_is_well(stores: &[Store], written: &Written, mirrors: Vec<Mirror>) {
    for (id, number) in written {
        let there: u64 = body(&stores[0], id).await.unwrap().parse().unwrap();
        // A later one that was not acknowledged may have been made.
        assert!(there >= *number, "{id}: {there}, but {number} was acknowledged");
        let twin = format!("{}'", id.trim_end_matches('\''));
        for store in stores {
            assert_eq!(body(store, id).await.unwrap(), there.to_string(), "{id}");
            assert_eq!(body(store, &twin).await.unwrap(), there.to_string(), "{twin}");
        }
    }
    for mut mirror in mirrors {
        println!("{} gaps, {} documents in the mirror", mirror.gaps, mirror.bodies.len());
        for (id, believed) in mirror.bodies.drain() {
            assert_eq!(believed.unwrap(), body(&stores[0], &id).await.unwrap(), "{id}");
        }
    }
    is_in_order(&stores[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_master_is_survived() {
    go_on_through(1, async |group, _| group.master.signal(Signal::KILL)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_hung_and_was_replaced_is_survived() {
    let happens = async |group: &Group, stations: &[Station; 2]| {
        group.master.signal(Signal::STOP);
        eventually(|| group.replicas.iter().any(|replica| role(replica) == "master")).await;
        for station in stations {
            station.goes_on().await;
        }
        group.master.signal(Signal::CONT);
        eventually(|| role(&group.master) == "slave").await;
    };
    go_on_through(1, happens).await;
}

/// Until its end, the old master takes in writes that the new one never gets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_replaced_while_it_is_written_to_is_survived() {
    // Both have to have it: the old master stays one after one of the two has been made the master.
    go_on_through(2, async |group, _| group.fail_over().await).await;
}
