//! What is opened, what is made, and what is refused.

use tokio::task::JoinSet;

use super::*;

async fn refusal(url: &str, create: bool) -> StoreError {
    let options = Options { create, ..testing::options() };
    let error = Store::open_with(url, &options).await.unwrap_err();
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
    error
}

#[tokio::test]
async fn a_registry_is_made_only_when_asked_for() {
    let server = Server::start(&[]);
    let error = refusal(&server.socket_url(), false).await;
    assert!(matches!(error, StoreError::Foreign(_)), "{error:?}");
    assert!(error.to_string().contains("'flowgate registry create' makes one"), "{error}");
    assert_eq!(server.command(&["DBSIZE"]), redis::Value::Int(0));
    let made = open(&server.socket_url()).await;
    let found = Store::open(&server.socket_url()).await.unwrap();
    assert_eq!(found.id(), made.id());
    assert_eq!(open(&server.socket_url()).await.id(), made.id());
    assert!(made.is_shared());
    assert_eq!(server.command(&["DBSIZE"]), redis::Value::Int(1));
}

#[tokio::test]
async fn many_who_make_one_at_once_make_one() {
    let server = Server::start(&[]);
    let url = server.url();
    let mut all = JoinSet::new();
    for _ in 0..16 {
        let url = url.clone();
        all.spawn(async move { open(&url).await.id() });
    }
    let mut ids = all.join_all().await;
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn what_is_no_registry_is_left_alone() {
    let server = Server::start(&[]);
    server.command(&["SET", "flowgate:session", "x"]);
    server.command(&["SET", "flowgat?:", "x"]);
    for create in [false, true] {
        let error = refusal(&server.socket_url(), create).await;
        assert!(matches!(error, StoreError::Foreign(_)), "{error:?}");
    }
    server.command(&["DEL", "flowgate:session"]);
    // Another prefix is somebody else's, even one that looks like a pattern.
    open(&format!("{}?prefix=flowgat?%3A%3A", server.socket_url())).await;
    open(&server.socket_url()).await;
    server.command(&["HSET", "flowgate:meta", "format", "2"]);
    let error = refusal(&server.socket_url(), true).await;
    assert!(error.to_string().contains("format version \"2\""), "{error}");
    server.command(&["DEL", "flowgate:meta"]);
    server.command(&["SET", "flowgate:meta", "x"]);
    refusal(&server.socket_url(), true).await;
}

#[tokio::test]
async fn who_is_not_there_is_named() {
    let port = testing::free_port();
    for url in [
        format!("redis://mike:s3cret@127.0.0.1:{port}"),
        format!("rediss://mike:s3cret@127.0.0.1:{port}"),
        format!("redis+sentinel://mike:s3cret@127.0.0.1:{port}/main"),
        "redis://mike:s3cret@no-such-host.invalid".to_owned(),
        "unix:/no/such/socket".to_owned(),
    ] {
        let error = refusal(&url, true).await;
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        let line = error.to_string();
        assert!(!line.contains("s3cret"), "{line}");
        assert!(line.contains(&crate::registry::store::redacted(&url)), "{line}");
    }
}
