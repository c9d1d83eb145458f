//! A Redis that is not what it was: empty, another's, or as it was some time ago.

use std::path::Path;
use std::process::Command;

use crate::support::flowgate::{Flowgate, program};
use crate::support::profiles::{MIKE_KEY, ROBERTO_KEY};
use crate::support::redis::Redis;
use crate::support::replicas::{
    Runtimes, acquaint, assert_alive, open, regenerate, regenerated, status, undisturbed,
    wait_for_standing,
};
use crate::support::wait_until;

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from.join("appendonlydir")).arg(to).status();
    assert!(copied.unwrap().success());
}

/// Tries to start one more replica; returns what it says as it stops.
fn refused_start(url: &str) -> String {
    let serve = program()
        .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .args(["--registry", url])
        .output()
        .unwrap();
    assert!(!serve.status.success());
    String::from_utf8_lossy(&serve.stderr).into_owned()
}

#[test]
fn an_empty_redis_is_no_registry() {
    let mut redis = Redis::start();
    let said = refused_start(&redis.url());
    assert!(said.contains("flowgate registry create"), "{said}");
    let _runtimes = Runtimes::in_registry(&redis.url());
    let replica = Flowgate::start_on(&redis.url(), &[]);
    acquaint(&replica);
    let traffic = undisturbed(&[&replica]);
    redis.kill();
    std::fs::remove_dir_all(redis.folder().join("appendonlydir")).unwrap();
    redis.restart();
    wait_for_standing(&replica, "away");
    wait_until("the log says why", || replica.raw_log().contains("is gone"));
    // Nobody is told that their credential is wrong, and nothing is written into it.
    assert_alive(&mut open(&replica, MIKE_KEY));
    assert_eq!(status(&replica, "a-key-that-nobody-knows-0123"), 503);
    assert_eq!(regenerate(&replica).0, 503);
    assert_eq!(redis.command(&["DBSIZE"]), ":0\r\n");
    let said = refused_start(&redis.url());
    assert!(said.contains("flowgate registry create"), "{said}");
    // Another registry in its place is not ours either.
    let _others = Runtimes::in_registry(&redis.url());
    assert_alive(&mut open(&replica, ROBERTO_KEY));
    assert_eq!(status(&replica, "a-key-that-nobody-knows-0123"), 503);
    assert_eq!(regenerate(&replica).0, 503);
    traffic.finish();
}

#[test]
fn an_old_snapshot_is_held_until_it_is_adopted() {
    let mut redis = Redis::start();
    let _runtimes = Runtimes::in_registry(&redis.url());
    let replicas: Vec<Flowgate> = (0..2).map(|_| Flowgate::start_on(&redis.url(), &[])).collect();
    replicas.iter().for_each(acquaint);
    let snapshot = tempfile::tempdir().unwrap();
    copy(redis.folder(), snapshot.path());
    let key = regenerated(&replicas[0]);
    for replica in &replicas {
        wait_until("the new key is known", || status(replica, &key) == 101);
    }
    let traffic = undisturbed(&replicas.iter().collect::<Vec<_>>());

    redis.kill();
    std::fs::remove_dir_all(redis.folder().join("appendonlydir")).unwrap();
    copy(snapshot.path(), redis.folder());
    redis.restart();
    for replica in &replicas {
        wait_for_standing(replica, "held");
        // What the replicas know is newer than what is stored.
        assert_eq!(status(replica, MIKE_KEY), 401, "that it was regenerated is known");
        assert_eq!(status(replica, "a-key-that-nobody-knows-0123"), 503, "who knows");
        assert_alive(&mut open(replica, &key));
        assert_eq!(regenerate(replica).0, 503);
    }
    let adopt = ["registry", "adopt", "--yes", "--registry", &redis.url()];
    let adopted = program().args(adopt).output().unwrap();
    assert!(adopted.status.success(), "{}", String::from_utf8_lossy(&adopted.stderr));
    for replica in &replicas {
        wait_for_standing(replica, "current");
        wait_until("what is stored counts again", || status(replica, MIKE_KEY) == 101);
        wait_until("and nothing newer does", || status(replica, &key) == 401);
    }
    let fresh = regenerated(&replicas[1]);
    for replica in &replicas {
        wait_until("the old key is refused", || status(replica, MIKE_KEY) == 401);
        wait_until("the new key is good", || status(replica, &fresh) == 101);
    }
    traffic.finish();
}
