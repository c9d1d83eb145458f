//! Sentinels that do not agree.

use super::sentinels::Sentinel;
use super::*;

#[tokio::test]
async fn the_master_is_the_one_that_most_sentinels_name() {
    let (old, new) = (Server::start(&[]), Server::start(&[]));
    let at = |server: &Server| format!("redis://127.0.0.1:{}", server.port);
    let (old_id, new_id) = (open(&at(&old)).await.id(), open(&at(&new)).await.id());
    assert_ne!(old_id, new_id);
    let cut_off = Sentinel::watch(&old);
    let others = [Sentinel::watch(&new), Sentinel::watch(&new)];
    let ports = [cut_off.port, others[0].port, others[1].port];
    let opened = async |order: &[usize]| {
        let hosts: Vec<_> =
            order.iter().map(|place| format!("127.0.0.1:{}", ports[*place])).collect();
        let url = format!("redis+sentinel://{}/main?wait_replicas=0", hosts.join(","));
        let options = Options { create: false, ..testing::options() };
        Store::open_with(&url, &options).await.map(|store| store.id())
    };
    for order in [[0, 1, 2], [1, 0, 2], [2, 1, 0]] {
        assert_eq!(opened(&order).await, Ok(new_id), "{order:?}");
    }
    assert_eq!(opened(&[0]).await, Ok(old_id));
    // Half of them are not most of them, nor is what is left when most are gone.
    let refused = |opened: Result<u128, StoreError>| {
        let line = opened.unwrap_err().to_string();
        assert!(line.contains("only some sentinels say"), "{line}");
    };
    refused(opened(&[0, 1]).await);
    refused(opened(&[1, 0]).await);
    drop(others);
    refused(opened(&[1, 0, 2]).await);
}
