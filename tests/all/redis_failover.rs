//! A master that dies and the replica that Sentinel puts in its place.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::flowgate::Flowgate;
use crate::support::profiles::MIKE_KEY;
use crate::support::redis::Cluster;
use crate::support::replicas::{
    Runtimes, acquaint, open, regenerate, status, undisturbed, wait_for_standing,
};
use crate::support::wait_until;
use crate::support::websocket::WebSocket;

#[test]
fn a_failover_loses_no_acknowledged_change() {
    let mut cluster = Cluster::start();
    let _runtimes = Runtimes::in_registry(&cluster.url());
    let replicas: Vec<Flowgate> = (0..3).map(|_| Flowgate::start_on(&cluster.url(), &[])).collect();
    replicas.iter().for_each(acquaint);
    let traffic = undisturbed(&replicas.iter().collect::<Vec<_>>());
    let mut key = MIKE_KEY.to_owned();
    for _ in 0..2 {
        let mut live: Vec<WebSocket> = replicas.iter().map(|one| open(one, &key)).collect();
        let master = cluster.master();
        let (code, said) = regenerate(&replicas[0]);
        assert_eq!(code, 200, "{said}");
        // Acknowledged, and at once the master is gone.
        let place = cluster.servers.iter().position(|one| one.address == master).unwrap();
        cluster.servers[place].kill();
        let fresh = said["api_key"].as_str().unwrap().to_owned();
        for websocket in &mut live {
            assert_eq!(websocket.receive_close(), (1008, "API key regenerated".to_owned()));
        }
        wait_until("there is a new master", || cluster.master() != master);
        for replica in &replicas {
            wait_for_standing(replica, "current");
            wait_until("the old key is refused", || status(replica, &key) == 401);
            wait_until("the new key is good", || status(replica, &fresh) == 101);
        }
        traffic.goes_on("after a failover");
        cluster.servers[place].restart();
        wait_until("the old master follows the new one", || {
            let info = cluster.servers[place].command(&["INFO", "replication"]);
            info.contains("role:slave") && info.contains("master_link_status:up")
        });
        key = fresh;
    }
    traffic.finish();
}

/// Regenerates mike's key over and over, on one replica after the other, until it shall end and the
/// last one was acknowledged. Returns those that were.
fn regenerate_until(
    replicas: &[Flowgate],
    acknowledged: &AtomicUsize,
    ends: &AtomicBool,
) -> Vec<String> {
    let mut keys = Vec::new();
    for replica in replicas.iter().cycle() {
        let (code, said) = regenerate(replica);
        match code {
            200 => {
                keys.push(said["api_key"].as_str().unwrap().to_owned());
                acknowledged.store(keys.len(), Ordering::SeqCst);
                if ends.load(Ordering::SeqCst) {
                    break;
                }
            }
            503 => {}
            other => panic!("{other}: {said}"),
        }
    }
    keys
}

#[test]
fn a_failover_while_keys_are_regenerated_all_the_time_needs_no_operator() {
    /// Changes that show that they go on; and older keys that are looked at.
    const SOME: usize = 30;
    let mut cluster = Cluster::start();
    let _runtimes = Runtimes::in_registry(&cluster.url());
    let replicas: Vec<Flowgate> = (0..3).map(|_| Flowgate::start_on(&cluster.url(), &[])).collect();
    replicas.iter().for_each(acquaint);
    let traffic = undisturbed(&replicas.iter().collect::<Vec<_>>());
    let (acknowledged, ends) = (AtomicUsize::new(0), AtomicBool::new(false));
    let keys = std::thread::scope(|scope| {
        let changing = scope.spawn(|| regenerate_until(&replicas, &acknowledged, &ends));
        let goes_on = |what: &str| {
            let before = acknowledged.load(Ordering::SeqCst);
            wait_until(what, || {
                let has_failed = changing.is_finished();
                has_failed || acknowledged.load(Ordering::SeqCst) >= before + SOME
            });
        };
        goes_on("keys are regenerated");
        let master = cluster.master();
        let place = cluster.servers.iter().position(|one| one.address == master).unwrap();
        cluster.servers[place].kill();
        wait_until("there is a new master", || cluster.master() != master);
        goes_on("keys are regenerated after the failover");
        ends.store(true, Ordering::SeqCst);
        changing.join().unwrap()
    });
    let (last, older) = keys.split_last().unwrap();
    for replica in &replicas {
        wait_for_standing(replica, "current");
        wait_until("the last acknowledged key is good", || status(replica, last) == 101);
        for key in older.iter().rev().take(SOME) {
            wait_until("an older key is refused", || status(replica, key) == 401);
        }
        wait_until("the first key is refused", || status(replica, MIKE_KEY) == 401);
    }
    traffic.goes_on("after a failover");
    traffic.finish();
}
