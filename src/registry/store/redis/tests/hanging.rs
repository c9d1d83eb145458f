//! A server that does not answer, or not yet.

use rustix::process::Signal;
use tokio::task::JoinSet;

use super::*;

async fn impatient(server: &Server) -> Store {
    let command_timeout = Duration::from_millis(300);
    let options = Options { command_timeout, ..testing::options() };
    Store::open_with(&server.socket_url(), &options).await.unwrap()
}

#[tokio::test]
async fn a_write_that_was_given_up_is_not_made_later() {
    let server = Server::start(&[]);
    let store = impatient(&server).await;
    store.write(vec![put("1", "first")]).await.unwrap();
    server.signal(Signal::STOP);
    let given_up = store.write(vec![put("1", "second")]).await;
    assert!(matches!(given_up, Err(StoreError::Unknown(_))), "{given_up:?}");
    let ticket = store.take_expiring("ticket").await;
    assert!(matches!(ticket, Err(StoreError::Unavailable(_))), "{ticket:?}");
    let mut changes = store.changes();
    changes.mark_unchanged();
    server.signal(Signal::CONT);
    // Whoever reads is woken although nothing is new.
    tokio::time::timeout(PATIENCE, changes.changed()).await.unwrap().unwrap();
    let first = until(&store, async || body(&store, "1").await, Result::is_ok).await;
    assert_eq!(first.unwrap(), "first");
    assert_eq!(store.write(vec![put("1", "third")]).await, Ok(vec![2]));
    assert_eq!(store.feed(0, 10).await.unwrap().notices.len(), 2);
}

#[tokio::test]
async fn who_calls_a_server_that_hangs_is_told_so() {
    const MANY: usize = 10_000;
    let server = Server::start(&[]);
    let store = impatient(&server).await;
    server.signal(Signal::STOP);
    let mut calls = JoinSet::new();
    for number in 0..MANY {
        let store = store.clone();
        calls.spawn(async move {
            match number % 3 {
                0 => store.write(vec![put("1", "second")]).await.map(|_| ()),
                1 => store.get(TENANT, "1").await.map(|_| ()),
                _ => store.count("k", PATIENCE).await.map(|_| ()),
            }
        });
    }
    let told = calls.join_all().await;
    let is = |kind: fn(&StoreError) -> bool| {
        told.iter().filter(|told| told.as_ref().is_err_and(kind)).count()
    };
    let unknown = is(|error| matches!(error, StoreError::Unknown(_)));
    assert_eq!(is(|error| matches!(error, StoreError::Unavailable(_))) + unknown, MANY);
    // What never left is known not to have been made, and only so many are let in.
    assert!(unknown <= 64, "{unknown}");
    assert!(is(|error| error.to_string().contains("too many calls")) > 0);
    server.signal(Signal::CONT);
    let written =
        until(&store, async || store.write(vec![put("1", "third")]).await, Result::is_ok).await;
    assert_eq!(written, Ok(vec![1]));
    assert_eq!(store.last_revision().await, Ok(1));
}

#[tokio::test]
async fn who_goes_away_disturbs_nobody() {
    let server = Server::start(&[]);
    let store = open(&server.socket_url()).await;
    let mut others = JoinSet::new();
    for number in 0..300_usize {
        let store = store.clone();
        others.spawn(async move {
            let id = number.to_string();
            let write = store.write(vec![put(&id, &id)]);
            if number % 3 == 0 {
                // Polled once, and dropped.
                tokio::select! {
                    biased;
                    _ = write => {}
                    () = tokio::task::yield_now() => {}
                }
                return;
            }
            write.await.unwrap();
            assert_eq!(body(&store, &id).await.unwrap(), id);
        });
    }
    others.join_all().await;
    is_in_order(&store).await;
}
