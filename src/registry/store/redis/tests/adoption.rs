//! A registry that is not what it was.

use std::path::Path;

use tempfile::TempDir;

use super::*;

/// Two copies of one registry: after the first write, and after the second. Which store saw what is
/// up to the test.
struct Copies {
    folder: TempDir,
}

const DUMP: &str = "dump.rdb";

impl Copies {
    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a server, with a store that sees "first" at revision 1 and "second" at revision 2.
    async fn make() -> (Self, Server, Store) {
        let copies = Self { folder: tempfile::tempdir().unwrap() };
        let server = Server::start_in(copies.path(), &[]);
        let store = open(&server.socket_url()).await;
        store.write(vec![put("1", "first")]).await.unwrap();
        copies.keep(&server, "first");
        store.write(vec![put("1", "second")]).await.unwrap();
        copies.keep(&server, "second");
        (copies, server, store)
    }

    fn keep(&self, server: &Server, name: &str) {
        server.command(&["SAVE"]);
        std::fs::copy(self.path().join(DUMP), self.path().join(name)).unwrap();
    }

    /// A server that goes on from that copy, in place of the one that runs.
    fn restore(&self, server: Server, name: &str) -> Server {
        server.stop();
        std::fs::copy(self.path().join(name), self.path().join(DUMP)).unwrap();
        Server::start_in(self.path(), &[])
    }
}

/// Never another answer on the way: what is not held may only be away.
async fn until_held(store: &Store) -> StoreError {
    let held = until(
        store,
        async || body(store, "1").await.unwrap_err(),
        |error| !matches!(error, StoreError::Unavailable(_)),
    );
    let error = held.await;
    assert!(matches!(error, StoreError::Stale(_)), "{error:?}");
    assert!(error.to_string().contains("flowgate registry adopt"), "{error}");
    error
}

#[tokio::test]
async fn an_older_registry_is_held_until_the_right_one_is_back() {
    let (copies, server, store) = Copies::make().await;
    let server = copies.restore(server, "first");
    until_held(&store).await;
    let refused = store.write(vec![put("1", "third")]).await;
    assert!(matches!(refused, Err(StoreError::Stale(_))), "{refused:?}");
    assert!(matches!(store.feed(0, 10).await, Err(StoreError::Stale(_))));
    assert!(matches!(store.find(TENANT, "name:1").await, Err(StoreError::Stale(_))));
    assert!(matches!(store.count("k", PATIENCE).await, Err(StoreError::Stale(_))));
    assert_eq!(*store.changes().borrow(), 2);
    let _server = copies.restore(server, "second");
    let read = until(&store, async || body(&store, "1").await, Result::is_ok).await;
    assert_eq!(read.unwrap(), "second");
    assert_eq!(store.write(vec![put("1", "third")]).await, Ok(vec![3]));
}

#[tokio::test]
async fn another_history_is_held_even_when_it_is_longer() {
    let (copies, server, store) = Copies::make().await;
    let _server = copies.restore(server, "first");
    until_held(&store).await;
    // Who did not see the second revision makes another one of it.
    let other = open(&_server.socket_url()).await;
    for (revision, text) in [(2, "other second"), (3, "third"), (4, "fourth")] {
        assert_eq!(other.write(vec![put("1", text)]).await, Ok(vec![revision]));
        until_held(&store).await;
    }
    assert_eq!(other.adopt().await, Ok(1_000_004));
    assert_eq!(body(&store, "1").await.unwrap(), "fourth");
}

#[tokio::test]
async fn what_an_operator_adopts_is_gone_on_with() {
    let (copies, server, store) = Copies::make().await;
    let _server = copies.restore(server, "first");
    until_held(&store).await;
    let mut changes = store.changes();
    changes.mark_unchanged();
    let operators = open(&_server.socket_url()).await;
    let adopted = operators.adopt().await.unwrap();
    assert!(adopted > 1_000_000, "{adopted}");
    // It finds out by itself, and looks at everything anew.
    tokio::time::timeout(PATIENCE, changes.wait_for(|last| *last == adopted))
        .await
        .unwrap()
        .unwrap();
    let page = store.feed(2, 10).await.unwrap();
    assert_eq!((page.gap, page.notices.len(), page.last_revision), (true, 0, adopted));
    assert_eq!(body(&store, "1").await.unwrap(), "first");
    assert_eq!(store.write(vec![put("1", "third")]).await, Ok(vec![adopted + 1]));
    assert_eq!(body(&operators, "1").await.unwrap(), "third");
    let page = store.feed(adopted, 10).await.unwrap();
    assert_eq!((page.gap, page.notices.len()), (false, 1));
    assert!(store.feed(2, 10).await.unwrap().gap);
    is_in_order(&store).await;
}

/// Not only after the next look at the server, which sets the clock by which a write may begin.
#[tokio::test]
async fn whoever_finds_the_adoption_may_write_at_once() {
    let (copies, server, store) = Copies::make().await;
    let _server = copies.restore(server, "first");
    until_held(&store).await;
    let operators = open(&_server.socket_url()).await;
    let adopted = operators.adopt().await.unwrap();
    assert_eq!(body(&store, "1").await.unwrap(), "first");
    assert_eq!(store.write(vec![put("1", "third")]).await, Ok(vec![adopted + 1]));
}

#[tokio::test]
async fn who_holds_it_can_adopt_it() {
    let (copies, server, store) = Copies::make().await;
    let _server = copies.restore(server, "first");
    until_held(&store).await;
    let adopted = store.adopt().await.unwrap();
    assert_eq!(adopted, 1_000_002);
    assert_eq!(body(&store, "1").await.unwrap(), "first");
    assert_eq!(store.last_revision().await, Ok(adopted));
    assert_eq!(*store.changes().borrow(), adopted);
    let memory = Store::open("memory:").await.unwrap();
    assert!(matches!(memory.adopt().await, Err(StoreError::Invalid(_))));
}

#[tokio::test]
async fn a_copy_from_before_an_adoption_is_held() {
    let (copies, server, store) = Copies::make().await;
    store.adopt().await.unwrap();
    assert_eq!(body(&store, "1").await.unwrap(), "second");
    let _server = copies.restore(server, "second");
    until_held(&store).await;
}

#[tokio::test]
async fn an_emptied_redis_and_another_registry_are_foreign() {
    let server = Server::start(&[]);
    let store = open(&server.socket_url()).await;
    store.write(vec![put("1", "first")]).await.unwrap();
    server.command(&["FLUSHALL"]);
    let error = body(&store, "1").await.unwrap_err();
    assert!(matches!(error, StoreError::Foreign(_)), "{error:?}");
    assert!(error.is_fault());
    let refused = store.write(vec![put("1", "second")]).await;
    assert!(matches!(refused, Err(StoreError::Foreign(_))), "{refused:?}");
    assert!(matches!(store.adopt().await, Err(StoreError::Foreign(_))));
    let other = open(&server.socket_url()).await;
    assert_ne!(other.id(), store.id());
    let error = body(&store, "1").await.unwrap_err();
    assert!(error.to_string().contains("another registry"), "{error}");
    assert!(matches!(store.adopt().await, Err(StoreError::Foreign(_))));
    server.command(&["HSET", "flowgate:meta", "format", "2"]);
    let error = body(&other, "1").await.unwrap_err();
    assert!(matches!(&error, StoreError::Foreign(what) if what.contains("\"2\"")), "{error:?}");
}
