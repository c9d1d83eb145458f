//! Replicas with tables of their own on one store.

use std::net::Ipv4Addr;

use tokio::task::JoinHandle;

use super::*;
use crate::client::{Client, RequestIds};
use crate::clock::Wall;
use crate::close::Cause;
use crate::follow::follow;
use crate::grant::{Grant, KeyId};
use crate::live::Registered;
use crate::refusal::Refusal;
use crate::registry::replicas::{HEARTBEAT_TTL, Numbered};
use crate::registry::store::Store;
use crate::registry::testing;
use crate::tenant::{Tenant, sample};

mod asking;
mod away;
mod coming_and_going;

const MIKE: TenantId = TenantId(1);
const ROBERTO: TenantId = TenantId(2);
/// After this long a test that waits has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENT: Settings = Settings {
    is_shared: true,
    answer_max: PATIENCE,
    kept_for: Duration::ZERO,
    closing_max: PATIENCE,
};
const ABSENT: Result<bool, Refusal> = Err(Refusal::NotFound("no such connection"));

/// The store that replicas share, and its time.
struct World {
    store: Store,
    wall: Wall,
}

/// A replica. It dies when it is dropped.
struct Process {
    presence: Arc<Presence>,
    live: Arc<LiveTable>,
    /// Following the feed, and keeping itself known.
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl World {
    async fn new() -> Self {
        let wall = Wall::stopped_at(testing::BEGIN.0);
        Self { store: testing::store(&wall).await, wall }
    }

    /// A replica that nobody knows of.
    fn stranger(&self, settings: Settings) -> Process {
        let clock = Clock::start();
        let registry =
            Registry::new(self.store.clone(), testing::CACHING, clock, self.wall.clone());
        let live = Arc::<LiveTable>::default();
        let presence = Presence::new(Arc::new(registry), Arc::clone(&live), clock, settings);
        Process { presence: Arc::new(presence.unwrap()), live, tasks: Vec::new() }
    }

    /// A replica that is known, and does nothing more.
    async fn silent(&self, pid: u32, settings: Settings) -> Process {
        let process = self.stranger(settings);
        process.presence.enter(about(pid)).await;
        process
    }

    /// A replica that does all that it should.
    async fn start(&self, pid: u32, settings: Settings) -> Process {
        let after = self.store.last_revision().await.unwrap();
        let mut process = self.silent(pid, settings).await;
        let (live, presence) = (Arc::clone(&process.live), Arc::clone(&process.presence));
        let registry = Arc::clone(&presence.registry);
        process.tasks.push(tokio::spawn(follow(live, registry, Arc::clone(&presence), after)));
        process.tasks.push(tokio::spawn(async move { presence.attend().await }));
        process
    }

    /// So many replicas, each of which knows all others.
    async fn start_all(&self, count: u32, settings: Settings) -> Vec<Process> {
        let mut all = Vec::new();
        for pid in 1..=count {
            all.push(self.start(pid, settings).await);
        }
        for process in &all {
            process.knows(all.len() - 1).await;
        }
        all
    }

    async fn revision(&self) -> u64 {
        self.store.last_revision().await.unwrap()
    }

    /// Notices of a kind.
    async fn notices(&self, kind: &str) -> usize {
        let page = self.store.feed(0, 10_000).await.unwrap();
        page.notices.iter().filter(|notice| notice.kind == kind).count()
    }
}

impl Process {
    /// A live connection here.
    fn connect(&self, tenant: TenantId, path: &str) -> Registered {
        let tenant = Tenant { id: tenant, ..sample("mike") };
        let request_id = RequestIds::new().unwrap().next();
        let client =
            Client { address: (Ipv4Addr::LOCALHOST, 7).into(), over_tls: false, request_id };
        let grant = Grant::Key { id: KeyId(9), secret: 0x5ec2e7 };
        let now = self.presence.clock.now();
        self.live.enter(&tenant, Kind::Connection, grant, client, path, now).unwrap()
    }

    fn id(&self, connection: &Registered) -> Numbered {
        Numbered { replica: self.presence.id, number: connection.entry().id }
    }

    /// Waits until this replica knows so many others.
    async fn knows(&self, others: usize) {
        wait_until("the others are known", || {
            let known = self.presence.others();
            known.known.len() == others && known.known.iter().all(|it| it.heartbeat.is_some())
        })
        .await;
    }

    /// Stops in order.
    async fn stop(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            let _ = task.await;
        }
        self.presence.leave().await.unwrap();
    }

    async fn list(&self, tenant: TenantId) -> Connections {
        self.presence.connections(tenant).await
    }

    async fn close(&self, tenant: TenantId, connection: Numbered) -> Result<bool, Refusal> {
        self.presence.close(tenant, connection, Cause::ClosedByOwner).await
    }
}

fn about(pid: u32) -> About {
    About { host: "host".to_owned(), pid, ..About::default() }
}

fn ids(connections: &Connections) -> Vec<Numbered> {
    let mut ids: Vec<_> = connections.shown.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    ids
}

async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, holds).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}
