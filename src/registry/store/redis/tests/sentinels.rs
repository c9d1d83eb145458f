//! A master that dies, with two replicas and three sentinels.

use std::process::{Child, ChildStdin};

use rustix::process::Signal;
use tempfile::TempDir;

use super::*;

/// Ends with this.
pub(super) struct Sentinel {
    watchdog: Child,
    input: Option<ChildStdin>,
    pub(super) port: u16,
    _folder: TempDir,
}

impl Sentinel {
    pub(super) fn watch(master: &Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sentinel.conf");
        for _ in 0..20 {
            let port = testing::free_port();
            let text = format!(
                "port {port}\nbind 127.0.0.1\ndir {}\n\
                 sentinel monitor main 127.0.0.1 {} 2\n\
                 sentinel down-after-milliseconds main 1000\n\
                 sentinel failover-timeout main 5000\n",
                folder.path().display(),
                master.port
            );
            std::fs::write(&file, text).unwrap();
            let arguments = [file.to_str().unwrap(), "--sentinel"];
            if let Some((watchdog, input, _)) =
                testing::launch(std::path::Path::new(""), &arguments)
            {
                return Self { watchdog, input, port, _folder: folder };
            }
        }
        panic!("no sentinel starts")
    }

    /// What it says of the master.
    fn ask(&self, command: &[&str]) -> redis::Value {
        self.try_ask(command).unwrap()
    }

    fn try_ask(&self, command: &[&str]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?;
        redis::cmd("SENTINEL").arg(command).query(&mut client.get_connection()?)
    }

    /// The port of the master that it leads to.
    fn master(&self) -> u16 {
        match self.ask(&["GET-MASTER-ADDR-BY-NAME", "main"]) {
            redis::Value::Array(items) => match &items[1] {
                redis::Value::BulkString(port) => String::from_utf8_lossy(port).parse().unwrap(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.watchdog.wait();
    }
}

/// One group at a time: sentinels that have to wait for the processor mistrust what they see for half
/// a minute.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

pub(super) struct Group {
    pub(super) master: Server,
    pub(super) replicas: Vec<Server>,
    sentinels: Vec<Sentinel>,
    _alone: tokio::sync::MutexGuard<'static, ()>,
}

impl Group {
    pub(super) async fn start() -> Self {
        let alone = ALONE.lock().await;
        let master = Server::start(&[]);
        let port = master.port.to_string();
        let replicas = [0, 1].map(|_| Server::start(&["--replicaof", "127.0.0.1", &port])).into();
        let sentinels: Vec<_> = (0..3).map(|_| Sentinel::watch(&master)).collect();
        let group = Self { master, replicas, sentinels, _alone: alone };
        eventually(|| {
            group.sentinels.iter().all(|sentinel| {
                let count = |what: &str| match sentinel.ask(&[what, "main"]) {
                    redis::Value::Array(items) => items.len(),
                    other => panic!("{other:?}"),
                };
                count("REPLICAS") == 2 && count("SENTINELS") == 2
            })
        })
        .await;
        eventually(|| group.master.command(&["WAIT", "2", "100"]) == redis::Value::Int(2)).await;
        group
    }

    /// Has the sentinels put another in place of the master, which stays there as a replica.
    pub(super) async fn fail_over(&self) {
        eventually(|| {
            let is_done = self.sentinels[0].master() != self.master.port;
            if !is_done {
                // It refuses while one is under way, and while it has not looked at the replicas; and
                // it may give up. Whichever it is, it is asked again.
                let _ = self.sentinels[0].try_ask(&["FAILOVER", "main"]);
            }
            is_done
        })
        .await;
        eventually(|| role(&self.master) == "slave").await;
    }

    pub(super) fn url(&self) -> String {
        let sentinels: Vec<_> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        format!("redis+sentinel://{}/main", sentinels.join(","))
    }
}

pub(super) async fn eventually(is_so: impl Fn() -> bool) {
    let asked = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("it never came to that");
}

/// What a server says that it is; nothing while it sends everybody away, as it does when that changes.
pub(super) fn role(server: &Server) -> String {
    match server.try_command(&["ROLE"]) {
        Ok(redis::Value::Array(items)) => match &items[0] {
            redis::Value::BulkString(role) => String::from_utf8_lossy(role).into_owned(),
            other => panic!("{other:?}"),
        },
        _ => String::new(),
    }
}

pub(super) fn options() -> Options {
    Options { command_timeout: Duration::from_secs(5), ..testing::options() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_master_dies() {
    let group = Group::start().await;
    let store = Store::open_with(&group.url(), &options()).await.unwrap();
    let other = Store::open_with(&group.url(), &options()).await.unwrap();
    for number in 1..=200_u64 {
        let text = number.to_string();
        store.write(vec![put("last", &text)]).await.unwrap();
    }
    group.master.signal(Signal::KILL);
    // Reads come back as soon as there is a master again, and of nothing older.
    let read = until(&other, async || body(&other, "last").await, Result::is_ok).await;
    assert_eq!(read.unwrap(), "200");
    let written = until(
        &store,
        async || store.write(vec![put("last", "201")]).await,
        |written| !matches!(written, Err(StoreError::Unavailable(_))),
    );
    // The dead master's other replica may not have come over yet.
    let written = written.await;
    assert!(matches!(written, Ok(_) | Err(StoreError::Unknown(_))), "{written:?}");
    until(&store, async || store.write(vec![put("last", "202")]).await, Result::is_ok)
        .await
        .unwrap();
    let read = until(
        &other,
        async || body(&other, "last").await,
        |read| read.as_ref().is_ok_and(|text| text == "202"),
    );
    read.await.unwrap();
    is_in_order(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_was_replaced_is_left() {
    let group = Group::start().await;
    let store = Store::open_with(&group.url(), &options()).await.unwrap();
    store.write(vec![put("last", "1"), put("other", "1")]).await.unwrap();
    // Nothing is written meanwhile: what a master takes in after its successor was chosen is lost.
    group.fail_over().await;
    let written = until(&store, async || store.write(vec![put("end", "x")]).await, Result::is_ok);
    assert_eq!(written.await, Ok(vec![3]));
    assert_eq!(body(&store, "last").await.unwrap(), "1");
    assert_eq!(group.replicas.iter().filter(|replica| role(replica) == "master").count(), 1);
    is_in_order(&store).await;
}

#[tokio::test]
async fn a_write_that_no_replica_has_is_no_success() {
    let group = Group::start().await;
    let options = Options { command_timeout: Duration::from_millis(500), ..testing::options() };
    let store = Store::open_with(&group.url(), &options).await.unwrap();
    for replica in &group.replicas {
        replica.signal(Signal::STOP);
    }
    let written = store.write(vec![put("1", "text")]).await;
    assert!(matches!(written, Err(StoreError::Unknown(_))), "{written:?}");
    // It is known all the same that it is there.
    assert_eq!(body(&store, "1").await.unwrap(), "text");
    for replica in &group.replicas {
        replica.signal(Signal::CONT);
    }
    let written = until(&store, async || store.write(vec![put("1", "more")]).await, Result::is_ok);
    written.await.unwrap();
}
