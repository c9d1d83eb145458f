//! Changes of records and plans against what runs, without a handshake plane.

use std::net::Ipv4Addr;

use super::*;
use crate::client::{Client, RequestIds};
use crate::follow::follow;
use crate::grant::{Grant, KeyId};
use crate::live::{Kind, Registered};
use crate::plan::{Cost, Over, Plan, Quota};
use crate::presence::{Presence, Settings};
use crate::registry::record::{PLAN, TENANT, TenantRecord};
use crate::registry::store::{Change, Expected, Write};
use crate::registry::{put, testing};
use crate::tenant::OnChange;

const WAIT_MAX: Duration = Duration::from_secs(60);

struct World {
    live: Arc<LiveTable>,
    registry: Arc<Registry>,
    request_ids: RequestIds,
}

impl World {
    /// With mike, who has the plan "gold", and ann, who has "tin".
    async fn start() -> (Self, TenantId, TenantId) {
        let registry = Arc::new(testing::registry().await);
        let request_ids = RequestIds::new().unwrap();
        let world = Self { live: Arc::default(), registry, request_ids };
        world.put_plan("gold", None, None).await;
        world.put_plan("tin", None, None).await;
        let record = |name, plan: &str| TenantRecord {
            plan: Some(plan.to_owned()),
            keys: vec![testing::key(KeyId::DEFAULT, name)],
            ..testing::record(name)
        };
        let mike = testing::add(&world.registry, 1, &record("mike", "gold")).await;
        let ann = testing::add(&world.registry, 2, &record("ann", "tin")).await;
        (world, mike, ann)
    }

    /// As another process would.
    async fn put_plan(&self, name: &str, burst: Option<u64>, message_bytes: Option<u64>) {
        let messages_per_second = burst.map(|burst| Quota { limit: 1, burst: Some(burst) });
        let over = Over::Close;
        let plan = Plan { message_bytes, messages_per_second, over, ..Plan::default() };
        let body = serde_json::to_vec(&plan).unwrap();
        let change = Change::Put { indexes: Vec::new(), body };
        let store = self.registry.store();
        let expected = match store.get(PLAN, name).await.unwrap() {
            Some(document) => Expected::Revision(document.revision),
            None => Expected::Absent,
        };
        let write = Write { kind: PLAN, id: name.to_owned(), expected, change };
        store.write(vec![write]).await.unwrap();
    }

    async fn enter(&self, id: TenantId, key: KeyId) -> Registered {
        let tenant = testing::tenant(&self.registry, id).await;
        let secret = tenant.key(key).unwrap().digest.fingerprint();
        let grant = Grant::Key { id: key, secret };
        let client = Client {
            address: (Ipv4Addr::LOCALHOST, 1).into(),
            over_tls: false,
            request_id: self.request_ids.next(),
        };
        let now = self.registry.clock().now();
        self.live.enter(&tenant, Kind::Connection, grant, client, "/", now).unwrap()
    }

    async fn change(&self, id: TenantId, change: impl Fn(&mut TenantRecord)) -> Arc<Tenant> {
        let change = |record: &mut TenantRecord| {
            change(record);
            Ok::<_, std::convert::Infallible>(())
        };
        self.registry.change(id, change).await.unwrap().0
    }

    /// Follows the feed until something is so.
    async fn follow_until(&self, what: &str, condition: impl Fn() -> bool) {
        let (live, registry) = (Arc::clone(&self.live), Arc::clone(&self.registry));
        let clock = registry.clock();
        let presence =
            Presence::new(Arc::clone(&registry), Arc::clone(&live), clock, Settings::new(false));
        let feed = follow(live, registry, Arc::new(presence.unwrap()), 0);
        let wait = async {
            while !condition() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = feed => panic!("the feed has ended"),
            waited = tokio::time::timeout(WAIT_MAX, wait) => {
                waited.unwrap_or_else(|_| panic!("{what} has not come true"));
            }
        }
    }
}

fn takes(entry: &Entry, now: crate::clock::Millis) -> usize {
    (0..1000).take_while(|_| entry.accounts().take(Cost::message(1), now).is_ok()).count()
}

#[tokio::test]
async fn a_plans_change_reaches_exactly_the_tenants_who_have_it() {
    let (world, mike, ann) = World::start().await;
    let mikes = world.enter(mike, KeyId::DEFAULT).await;
    let anns = world.enter(ann, KeyId::DEFAULT).await;
    world.put_plan("gold", Some(3), Some(100)).await;
    assert_eq!(mikes.entry().message_bytes_max(), u64::MAX);
    world.follow_until("the new size", || mikes.entry().message_bytes_max() == 100).await;
    let now = world.registry.clock().now();
    assert_eq!((takes(mikes.entry(), now), takes(anns.entry(), now)), (3, 1000));
    assert_eq!(anns.entry().message_bytes_max(), u64::MAX);
    assert_eq!(testing::tenant(&world.registry, mike).await.plan.message_bytes, Some(100));
    world.put_plan("gold", None, None).await;
    world.follow_until("no size", || mikes.entry().message_bytes_max() == u64::MAX).await;
    assert_eq!(takes(mikes.entry(), now), 1000);
}

#[tokio::test]
async fn another_plan_counts_when_the_change_is_answered() {
    let (world, mike, ann) = World::start().await;
    world.put_plan("tin", Some(1), Some(10)).await;
    let mikes = world.enter(mike, KeyId::DEFAULT).await;
    let anns = world.enter(ann, KeyId::DEFAULT).await;
    let now = world.registry.clock().now();
    for (plan, size, messages) in [(Some("tin"), 10, 1), (None, u64::MAX, 1000)] {
        let changed = world.change(mike, |record| record.plan = plan.map(str::to_owned)).await;
        assert_eq!(revoke(&world.live, &world.registry, &changed).await, 0);
        assert_eq!(mikes.entry().message_bytes_max(), size);
        assert_eq!(takes(mikes.entry(), now), messages);
    }
    assert_eq!((anns.entry().message_bytes_max(), takes(anns.entry(), now)), (10, 1));
}

/// Two changes cross: the earlier one's look at the table comes last.
#[tokio::test]
async fn a_late_revoke_goes_by_the_record_of_then() {
    let (world, mike, _) = World::start().await;
    let earlier = world.change(mike, |record| record.plan = None).await;
    let later = world.change(mike, |record| {
        record.keys = vec![testing::key(KeyId(7), "another")];
        record.plan = Some("tin".to_owned());
        record.instance.as_mut().unwrap().port = 1999;
        record.instance.as_mut().unwrap().on_change = OnChange::Move;
    });
    later.await;
    world.put_plan("tin", None, Some(10)).await;
    for forgotten in [false, true] {
        if forgotten {
            world.registry.forget_all();
        }
        let right = world.enter(mike, KeyId(7)).await;
        assert_eq!(revoke(&world.live, &world.registry, &earlier).await, 0, "{forgotten}");
        assert_eq!(right.entry().closing(), None);
    }
    let right = world.enter(mike, KeyId(7)).await;
    assert_eq!(right.entry().message_bytes_max(), 10);
}

#[tokio::test]
async fn a_moved_instance_ends_what_is_elsewhere_and_counts_it() {
    let (world, mike, ann) = World::start().await;
    let mikes = [world.enter(mike, KeyId::DEFAULT).await, world.enter(mike, KeyId::DEFAULT).await];
    let anns = world.enter(ann, KeyId::DEFAULT).await;
    let change = |record: &mut TenantRecord| {
        let instance = record.instance.as_mut().unwrap();
        (instance.port, instance.on_change) = (1999, OnChange::Move);
    };
    let changed = world.change(mike, change).await;
    assert_eq!(revoke(&world.live, &world.registry, &changed).await, 2);
    for entry in mikes.iter().map(Registered::entry) {
        assert_eq!(entry.closing(), Some(Cause::RuntimeMoved));
    }
    assert_eq!(anns.entry().closing(), None);
    let stays = world.enter(mike, KeyId::DEFAULT).await;
    drop(mikes);
    assert_eq!(revoke(&world.live, &world.registry, &changed).await, 0);
    assert_eq!(stays.entry().closing(), None);
}

#[tokio::test]
async fn only_who_is_known_or_runs_is_read_anew() {
    let (world, mike, ann) = World::start().await;
    let mikes = world.enter(mike, KeyId::DEFAULT).await;
    let known = testing::add(&world.registry, 3, &testing::record("eve")).await;
    testing::tenant(&world.registry, known).await;
    for id in [ann, known] {
        // As another process would.
        let store = world.registry.store();
        let document = store.get(TENANT, &id.to_string()).await.unwrap().unwrap();
        let mut record = TenantRecord::from_body(&document.body).unwrap();
        record.disabled = true;
        let expected = Expected::Revision(document.revision);
        store.write(vec![put(id, expected, &record).unwrap()]).await.unwrap();
    }
    let is_read_anew = || world.registry.cached(known).is_some_and(|tenant| tenant.disabled);
    world.follow_until("the change of who was known", is_read_anew).await;
    assert!(world.registry.cached(ann).is_none());
    assert_eq!(mikes.entry().closing(), None);
}
