//! A registry that comes back without its last writes, and what a store makes of that.

use std::path::Path;

use rustix::process::Signal;
use tempfile::TempDir;

use super::*;

const DUMP: &str = "dump.rdb";

/// A master with a replica, and a store that saw more than was confirmed.
struct Pair {
    folder: TempDir,
    master: Server,
    store: Store,
    /// The last revision that the replica has, which says "confirmed"; the next one says "lost".
    confirmed: u64,
}

fn url(server: &Server) -> String {
    format!("{}?wait_replicas=1", server.socket_url())
}

fn save(server: &Server, from: &Path, to: &Path) {
    server.command(&["SAVE"]);
    std::fs::copy(from.join(DUMP), to).unwrap();
}

impl Pair {
    async fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let master = Server::start_in(folder.path(), &[]);
        let replica = Server::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
        let options = Options { command_timeout: Duration::from_secs(3), ..testing::options() };
        let store = Store::open_with(&url(&master), &options).await.unwrap();
        let written = async || store.write(vec![put("2", "first")]).await;
        until(&store, written, Result::is_ok).await.unwrap();
        save(&master, folder.path(), &folder.path().join("first"));
        let written = async || store.write(vec![put("1", "confirmed")]).await;
        let confirmed = until(&store, written, Result::is_ok).await.unwrap()[0];
        save(&master, folder.path(), &folder.path().join("confirmed"));
        replica.signal(Signal::STOP);
        let lost = store.write(vec![put("1", "lost")]).await;
        assert!(matches!(lost, Err(StoreError::Unknown(_))), "{lost:?}");
        replica.signal(Signal::KILL);
        let pair = Self { folder, master, store, confirmed };
        // Whoever looks sees it; that nobody has confirmed it is another matter.
        assert_eq!(body(&pair.store, "1").await.unwrap(), "lost");
        assert_eq!(pair.store.last_revision().await, Ok(confirmed + 1));
        let page = pair.store.feed(confirmed, 10).await.unwrap();
        assert_eq!((page.notices.len(), page.gap), (1, false));
        pair
    }

    /// Goes on from a copy, in place of what is there.
    fn restore(mut self, name: &str) -> Self {
        self.master.stop();
        let folder = self.folder.path();
        std::fs::copy(folder.join(name), folder.join(DUMP)).unwrap();
        self.master = Server::start_in(folder, &[]);
        self
    }

    /// Has somebody else go on from the confirmed copy elsewhere, and keeps what comes of it.
    async fn make_other_history(&self, texts: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(self.folder.path().join("confirmed"), folder.path().join(DUMP)).unwrap();
        let server = Server::start_in(folder.path(), &[]);
        let other = open(&server.socket_url()).await;
        for text in texts {
            other.write(vec![put("1", text)]).await.unwrap();
        }
        save(&server, folder.path(), &self.folder.path().join("other"));
    }

    /// What the feed says behind the lost revision when it can be read again, and then once more.
    async fn assert_one_gap(&self, last: u64) {
        let feed = async |after| {
            let read = until(
                &self.store,
                async || self.store.feed(after, 10).await,
                |page| !matches!(page, Err(StoreError::Unavailable(_))),
            );
            read.await.unwrap()
        };
        let page = feed(self.confirmed + 1).await;
        assert_eq!((page.gap, page.last_revision), (true, last));
        let page = feed(last).await;
        assert_eq!((page.gap, page.notices.len()), (false, 0));
    }
}

#[tokio::test]
async fn a_tail_that_nobody_confirmed_is_given_up() {
    let pair = Pair::make().await.restore("confirmed");
    pair.assert_one_gap(pair.confirmed).await;
    assert_eq!(body(&pair.store, "1").await.unwrap(), "confirmed");
    assert_eq!(*pair.store.changes().borrow(), pair.confirmed);
    is_in_order(&pair.store).await;
}

#[tokio::test]
async fn another_tail_than_the_one_that_was_seen_is_a_gap_too() {
    // As long as the lost one, and longer: by its numbers alone nobody would notice.
    for texts in [&["other"][..], &["2", "3", "other"]] {
        let pair = Pair::make().await;
        pair.make_other_history(texts).await;
        let pair = pair.restore("other");
        pair.assert_one_gap(pair.confirmed + texts.len() as u64).await;
        assert_eq!(body(&pair.store, "1").await.unwrap(), "other");
    }
}

#[tokio::test]
async fn what_lacks_something_confirmed_is_held() {
    let pair = Pair::make().await.restore("first");
    let held = until(
        &pair.store,
        async || body(&pair.store, "1").await.unwrap_err(),
        |error| !matches!(error, StoreError::Unavailable(_)),
    );
    let error = held.await;
    assert!(matches!(error, StoreError::Stale(_)), "{error:?}");
    let feed = pair.store.feed(pair.confirmed + 1, 10).await;
    assert!(matches!(feed, Err(StoreError::Stale(_))), "{feed:?}");
    // With all that was confirmed it is good enough again.
    let pair = pair.restore("confirmed");
    pair.assert_one_gap(pair.confirmed).await;
}

#[tokio::test]
async fn who_only_read_knows_what_others_confirmed() {
    let pair = Pair::make().await;
    let reader = Store::open_with(&url(&pair.master), &testing::options()).await.unwrap();
    assert_eq!(body(&reader, "1").await.unwrap(), "lost");
    let meta = |field: &str| match pair.master.command(&["HGET", "flowgate:meta", field]) {
        redis::Value::BulkString(text) => String::from_utf8(text).unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(meta("confirmed"), pair.confirmed.to_string());
    assert_eq!(meta("revision"), (pair.confirmed + 1).to_string());
    let pair = pair.restore("first");
    let held = until(
        &reader,
        async || body(&reader, "1").await,
        |read| matches!(read, Err(StoreError::Stale(_))),
    );
    held.await.unwrap_err();
    let _pair = pair.restore("confirmed");
    let read = until(&reader, async || body(&reader, "1").await, Result::is_ok).await;
    assert_eq!(read.unwrap(), "confirmed");
    assert!(reader.feed(0, 10).await.unwrap().gap);
    assert!(!reader.feed(0, 10).await.unwrap().gap);
}

#[tokio::test]
async fn without_replicas_to_wait_for_all_that_was_seen_counts() {
    let pair = Pair::make().await;
    let store = open(&pair.master.socket_url()).await;
    assert_eq!(body(&store, "1").await.unwrap(), "lost");
    let _pair = pair.restore("confirmed");
    let held = until(
        &store,
        async || body(&store, "1").await.unwrap_err(),
        |error| !matches!(error, StoreError::Unavailable(_)),
    );
    let error = held.await;
    assert!(matches!(error, StoreError::Stale(_)), "{error:?}");
}
