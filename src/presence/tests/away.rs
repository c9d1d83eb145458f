//! A registry that cannot be written: a disk that takes nothing, as a limit on the size of a
//! process's files. For that it takes a process of its own.

use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use super::*;
use crate::registry::store::Embedded;
use crate::registry::store::embedded::Settings as StoreSettings;

const AWAY: &str = "other replicas: the registry cannot be asked";
const FILE: &str = "FLOWGATE_TEST_PRESENCE_FILE";
/// Sent to a process that goes over the limit; its default is death.
const SIGXFSZ: i32 = 25;

#[test]
fn without_the_registry_a_replica_speaks_for_itself() {
    let folder = tempfile::tempdir().unwrap();
    let test = "presence::tests::away::speaks_for_itself";
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(FILE, folder.path().join("registry.redb"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("spoke for itself"), "{said}");
}

/// The other process of the test above.
#[tokio::test]
async fn speaks_for_itself() {
    let Ok(file) = std::env::var(FILE) else { return };
    let _ignored = signal(SignalKind::from_raw(SIGXFSZ)).unwrap();
    let wall = Wall::stopped_at(testing::BEGIN.0);
    let settings = StoreSettings { wall: wall.clone(), ..StoreSettings::default() };
    let store = Embedded::open(&format!("file:{file}"), settings).await.unwrap();
    let world = World { store: Store::from(store), wall };
    // Its own patience: what is not known whether it was asked is waited for.
    let replicas = world.start_all(2, Settings::new(true)).await;
    let (one, two) = (&replicas[0], &replicas[1]);
    let (here, there) = (one.connect(MIKE, "/here"), two.connect(MIKE, "/there"));
    sees_both(one).await;

    limit_files(Some(0));
    one.presence.flights.forget(MIKE);
    let listed = one.list(MIKE).await;
    assert_eq!((ids(&listed), listed.total), (vec![one.id(&here)], 1));
    assert_eq!(listed.incomplete.len(), 1, "{listed:?}");
    let refused = one.close(MIKE, two.id(&there)).await.unwrap_err();
    let is_away = matches!(refused, Refusal::RegistryAway(_) | Refusal::ReplicaSilent(_));
    assert!(is_away, "{refused:?}");
    assert_eq!(there.entry().closing(), None);
    assert_eq!(one.close(MIKE, one.id(&here)).await, Ok(true));
    // Who cannot look does not know who has come.
    one.presence.beat().await;
    assert!(one.list(MIKE).await.incomplete.contains(&AWAY.to_owned()));
    let strange = Numbered { replica: ReplicaId(7), number: 1 };
    assert!(matches!(one.close(MIKE, strange).await, Err(Refusal::RegistryAway(_))));

    limit_files(None);
    one.presence.beat().await;
    assert!(matches!(one.close(MIKE, strange).await, Err(Refusal::NotFound(_))));
    sees_both(one).await;
    println!("spoke for itself");
}

/// Until it does: an answer may take longer than the second that it has.
async fn sees_both(replica: &Process) {
    let seen = async {
        loop {
            replica.presence.flights.forget(MIKE);
            let listed = replica.list(MIKE).await;
            if (listed.total, listed.incomplete.len()) == (2, 0) {
                return;
            }
        }
    };
    timeout(PATIENCE, seen).await.unwrap();
}

fn limit_files(bytes: Option<u64>) {
    setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}
