//! What only the store in Redis can do, on servers of the tests' own.

use std::time::Duration;

use super::Options;
use super::testing::{self, Server};
use crate::registry::store::{Change, Expected, Kind, Store, StoreError, Write};

mod access;
mod adoption;
mod big;
mod check;
mod feed;
mod hanging;
mod losses;
mod majority;
mod opening;
mod restart;
mod sentinels;
mod tls;
mod under_load;

const TENANT: Kind = Kind("tenant");

fn put(id: &str, body: &str) -> Write {
    let change = Change::Put { indexes: vec![format!("name:{id}")], body: body.into() };
    Write { kind: TENANT, id: id.to_owned(), expected: Expected::Any, change }
}

async fn open(url: &str) -> Store {
    Store::open_with(url, &testing::options()).await.unwrap()
}

/// What a document says.
async fn body(store: &Store, id: &str) -> Result<String, StoreError> {
    let document = store.get(TENANT, id).await?;
    Ok(document.map_or_else(String::new, |document| String::from_utf8(document.body).unwrap()))
}

/// What everybody waits for at most; far more than anything takes.
const PATIENCE: Duration = Duration::from_secs(180);

/// Asks until the answer is the wanted one; whatever changes for the store wakes this up.
async fn until<T: std::fmt::Debug>(
    store: &Store,
    mut ask: impl AsyncFnMut() -> T,
    is_it: impl Fn(&T) -> bool,
) -> T {
    const PAUSE: Duration = Duration::from_millis(20);
    let mut changes = store.changes();
    let mut last = None;
    let asked = async {
        loop {
            let answer = ask().await;
            if is_it(&answer) {
                return answer;
            }
            last = Some(answer);
            let _ = tokio::time::timeout(PAUSE, changes.changed()).await;
        }
    };
    let asked = tokio::time::timeout(PATIENCE, asked).await;
    asked.unwrap_or_else(|_| panic!("it never came to that; at last: {last:?}"))
}

/// Checks that nothing contradicts itself.
async fn is_in_order(store: &Store) -> u64 {
    let mut lines = Vec::new();
    let documents = store.check(&mut |line| lines.push(line)).await.unwrap();
    assert_eq!(lines, [""; 0]);
    documents
}
