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
        Store::open_with(&url, &options).await.unwrap().id()
    };
    for order in [[0, 1, 2], [1, 0, 2], [2, 1, 0]] {
        assert_eq!(opened(&order).await, new_id, "{order:?}");
    }
    assert_eq!(opened(&[0]).await, old_id);
    for _ in 0..10 {
        assert_eq!((opened(&[0, 1]).await, opened(&[1, 0]).await), (old_id, new_id));
    }
    // Without most of them, what is left counts.
    drop(others);
    assert_eq!(opened(&[1, 0, 2]).await, old_id);
}
