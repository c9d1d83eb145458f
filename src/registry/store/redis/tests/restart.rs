//! Servers that forget scripts, and servers that are killed.

use rustix::process::Signal;

use super::*;

#[tokio::test]
async fn forgotten_scripts_are_sent_again() {
    let server = Server::start(&[]);
    let store = open(&server.socket_url()).await;
    for round in 1..5 {
        server.command(&["SCRIPT", "FLUSH"]);
        assert_eq!(store.write(vec![put("1", "text")]).await, Ok(vec![round]));
        server.command(&["SCRIPT", "FLUSH"]);
        assert_eq!(body(&store, "1").await.unwrap(), "text");
        server.command(&["SCRIPT", "FLUSH"]);
        assert_eq!(store.count("k", PATIENCE).await, Ok(round));
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    const KEPT: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];
    const ROUNDS: u64 = 5;
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start_in(folder.path(), &KEPT);
    let store = open(&server.socket_url()).await;
    let mut acknowledged = 0;
    for _ in 0..ROUNDS {
        let writer = store.clone();
        let writing = tokio::spawn(async move {
            let mut last = acknowledged;
            loop {
                let text = (last + 1).to_string();
                match writer.write(vec![put("last", &text), put(&text, &text)]).await {
                    Ok(revisions) => last = revisions[0] / 2 + 1,
                    Err(error) => return (last, error),
                }
            }
        });
        let mut changes = store.changes();
        changes.wait_for(|last| *last > 2 * acknowledged + 40).await.unwrap();
        server.signal(Signal::KILL);
        let (last, error) = writing.await.unwrap();
        assert!(error.is_fault(), "{error:?}");
        server.stop();
        server = Server::start_in(folder.path(), &KEPT);
        let read = until(&store, async || body(&store, "last").await, Result::is_ok).await;
        // One that was not acknowledged may have been made, as a whole.
        let made: u64 = read.unwrap().parse().unwrap();
        assert!(made == last || made == last + 1, "{made} after {last}");
        assert_eq!(store.last_revision().await, Ok(2 * made));
        assert_eq!(is_in_order(&store).await, made + 1);
        acknowledged = made;
    }
}
