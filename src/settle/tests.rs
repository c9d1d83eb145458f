use super::*;
use crate::client::{Client, RequestIds};
use crate::grant::Grant;
use crate::live::{Kind, Registered, Subscriber};
use crate::plan::{Plan, Quota};
use crate::registry::testing;
use crate::tenant::{Tenant, sample};

const START: Millis = Millis(1_000_000);

/// Replicas over one registry, each with a connection of one tenant's.
struct World {
    registry: Arc<Registry>,
    tenant: Tenant,
    replicas: Vec<(Settler, Registered)>,
}

impl World {
    async fn start(replicas: usize, limit: u64, burst: u64) -> Self {
        let messages_per_second = Some(Quota { limit, burst: Some(burst) });
        let plan = Plan { messages_per_second, ..Plan::default() };
        let tenant = Tenant { id: TenantId(7), plan: Arc::new(plan), ..sample("mike") };
        let registry = Arc::new(testing::registry().await);
        let mut world = Self { registry, tenant, replicas: Vec::new() };
        (0..replicas).for_each(|_| world.join());
        world
    }

    fn join(&mut self) {
        let live = Arc::<LiveTable>::default();
        let request_id = RequestIds::new().unwrap().next();
        let client = Client { address: ([127, 0, 0, 1], 1).into(), over_tls: false, request_id };
        let entered =
            live.enter(&self.tenant, Kind::Connection, Grant::Anonymous, client, "/", START);
        let id = ReplicaId(self.replicas.len() as u64);
        self.replicas.push((Settler::new(id, live, Arc::clone(&self.registry)), entered.unwrap()));
        let replicas = self.replicas.len() as u32;
        for (settler, _) in &self.replicas {
            settler.live.set_share(Share { replicas, is_apart: false }, START);
        }
    }

    /// Takes as much as there is; returns how much that was.
    fn flood(&self, place: usize, now: Millis) -> u64 {
        let accounts = self.replicas[place].1.entry().accounts();
        (0..100_000).take_while(|_| accounts.take(Cost::message(3), now).is_ok()).count() as u64
    }

    async fn round(&mut self, now: Millis) {
        let ids: Vec<ReplicaId> = self.replicas.iter().map(|(settler, _)| settler.id).collect();
        for (settler, _) in &mut self.replicas {
            let others: Vec<_> = ids.iter().copied().filter(|id| *id != settler.id).collect();
            settler.round(&others, now).await.unwrap();
        }
    }
}

/// The bound of the module's description, with everybody at the limit all the time.
#[tokio::test]
async fn all_together_keep_the_bound() {
    for (replicas, limit, burst) in [(1, 100, 50), (2, 100, 300), (3, 1000, 1000), (5, 40, 5)] {
        let mut world = World::start(replicas, limit, burst).await;
        let (mut now, mut given) = (START, 0);
        world.round(now).await;
        for step in 0..2000_u64 {
            given += (0..replicas).map(|place| world.flood(place, now)).sum::<u64>();
            let (passed_ms, others) = (now.0 - START.0, replicas as u64 - 1);
            let delay_ms = 2 * ROUND_EVERY.as_millis() as u64;
            // And for each what a tick gives in advance, and one for the rounding.
            let extra = replicas as u64 * (1 + limit / 100);
            let bound = burst + limit * (passed_ms + others * delay_ms) / 1000 + extra;
            assert!(given <= bound, "{replicas}: {given} of {bound} after {passed_ms} ms");
            now = Millis(now.0 + 10);
            if step % 50 == 49 {
                world.round(now).await;
            }
        }
        // Nor is anything lost.
        let due = limit * (now.0 - START.0) / 1000;
        assert!(given >= due * 9 / 10, "{replicas}: {given} of {due}");
    }
}

#[tokio::test]
async fn one_that_is_used_alone_gets_the_whole_rate() {
    let mut world = World::start(3, 100, 30).await;
    let (mut now, mut given) = (START, 0);
    for step in 0..1000_u64 {
        given += world.flood(0, now);
        now = Millis(now.0 + 10);
        if step % 50 == 49 {
            world.round(now).await;
        }
    }
    assert!((990..=1025).contains(&given), "{given}");
}

/// What had been used before one came is not held against the tenant there.
#[tokio::test]
async fn who_comes_later_starts_with_its_part() {
    let mut world = World::start(2, 10, 1000).await;
    world.round(START).await;
    assert_eq!(world.flood(0, START), 500);
    world.round(START).await;
    assert_eq!(world.flood(1, START), 0, "the other's 500 are charged here");
    world.join();
    world.round(START).await;
    assert_eq!(world.flood(2, START), 334);
}

/// Owners who are quiet are not told any more; what they use later is heard in full.
#[tokio::test]
async fn a_quiet_owner_is_forgotten_and_heard_of_again() {
    let mut world = World::start(2, 100, 100).await;
    world.round(START).await;
    assert_eq!(world.flood(0, START), 50);
    let mut now = START;
    for _ in 0..2 * QUIET_ROUNDS_MAX {
        now = now.plus(ROUND_EVERY);
        world.round(now).await;
    }
    let page = world.registry.uses_of(ReplicaId(0), 0).await.unwrap().unwrap();
    assert_eq!(page.uses, []);
    assert_eq!(world.flood(0, now), 50);
    world.round(now).await;
    world.round(now).await;
    assert_eq!(world.flood(1, now), 0);
}

#[tokio::test]
async fn many_owners_take_several_pages() {
    let mut world = World::start(2, 100, 100).await;
    world.round(START).await;
    let plan = Plan { bytes_per_day: Some(1000.into()), ..Plan::default() };
    let account = |world: &World, place: usize, id: usize| {
        let id = SubscriberId::from_number(id as u128);
        world.replicas[place].0.live.subscriber(id, &plan, START)
    };
    let ids = 0..USES_PER_PAGE * 2 + 1;
    for id in ids.clone() {
        let _there = account(&world, 1, id);
        account(&world, 0, id).account.take(Cost::message(100), START).unwrap();
    }
    world.round(START).await;
    for id in ids {
        // Half of the burst is this one's, and 100 bytes are gone.
        let standing = account(&world, 1, id).account.standings(START)[0];
        assert_eq!(standing.left, 400, "{id}");
    }
}

/// What an account has left of 1000 bytes a day, of which half are this replica's.
struct Bytes(Arc<Subscriber>);

impl Bytes {
    fn new(world: &World, place: usize, id: u128) -> Self {
        let plan = Plan { bytes_per_day: Some(1000.into()), ..Plan::default() };
        let id = SubscriberId::from_number(id);
        Self(world.replicas[place].0.live.subscriber(id, &plan, START))
    }

    fn left(&self) -> u64 {
        self.0.account.standings(START)[0].left
    }
}

/// A page: its round, and owners with the round from which on so many bytes were counted.
type Page<'a> = (u64, &'a [(u128, u64, u64)]);

/// Has the first replica of the world say this, page by page, and the second one hear it.
async fn hear(world: &mut World, pages: &[Page<'_>]) {
    let first = world.replicas[0].0.id;
    for (place, (round, uses)) in pages.iter().enumerate() {
        let used = |&(id, since, bytes)| {
            let owner = name(Owner::Subscriber(SubscriberId::from_number(id)));
            Used { owner, since, units: [0, bytes, 0, 0] }
        };
        let uses = uses.iter().map(used).collect();
        let page = UsePage { round: *round, pages: pages.len(), uses };
        world.registry.publish_uses(first, place, &page).await.unwrap();
    }
    world.replicas[1].0.hear(first, START).await.unwrap();
}

#[tokio::test]
async fn who_is_missing_from_a_read_is_not_charged_again() {
    let mut world = World::start(2, 100, 100).await;
    let account = Bytes::new(&world, 1, 5);
    hear(&mut world, &[(1, &[])]).await;
    hear(&mut world, &[(3, &[(5, 2, 400)])]).await;
    assert_eq!(account.left(), 100);
    for round in 4..14 {
        hear(&mut world, &[(round, &[])]).await;
        assert_eq!(account.left(), 100);
    }
    hear(&mut world, &[(14, &[(5, 2, 404)])]).await;
    assert_eq!(account.left(), 96);
    // Quiet for long, and told anew.
    for round in 15..100 {
        hear(&mut world, &[(round, &[])]).await;
    }
    assert!(world.replicas[1].0.heard.values().all(|heard| heard.uses.is_empty()));
    hear(&mut world, &[(100, &[(5, 100, 6)])]).await;
    assert_eq!(account.left(), 90);
}

#[tokio::test]
async fn pages_of_two_rounds_charge_what_is_new_once() {
    let mut world = World::start(2, 100, 100).await;
    let account = Bytes::new(&world, 1, 5);
    hear(&mut world, &[(1, &[]), (1, &[])]).await;
    hear(&mut world, &[(2, &[(5, 2, 10)]), (3, &[(5, 2, 14)])]).await;
    assert_eq!(account.left(), 486);
    // The older page behind the newer one.
    hear(&mut world, &[(4, &[(5, 2, 17)]), (3, &[(5, 2, 14)])]).await;
    assert_eq!(account.left(), 483);
    hear(&mut world, &[(4, &[(5, 2, 17)]), (5, &[(5, 2, 18)])]).await;
    assert_eq!(account.left(), 482);
    // It was quiet in between, and is counted from 0 again.
    hear(&mut world, &[(31, &[(5, 31, 3)]), (6, &[(5, 2, 18)])]).await;
    assert_eq!(account.left(), 479);
    hear(&mut world, &[(6, &[(5, 2, 18)]), (32, &[(5, 31, 4)])]).await;
    assert_eq!(account.left(), 478);
}

#[tokio::test]
async fn owners_keep_their_pages() {
    let mut world = World::start(1, 100, 100).await;
    let accounts: Vec<_> =
        (0..USES_PER_PAGE * 2).map(|id| Bytes::new(&world, 0, id as u128)).collect();
    let mut before = None;
    for _ in 0..3 {
        accounts.iter().for_each(|it| it.0.account.take(Cost::message(10), START).unwrap());
        world.round(START).await;
        let page = world.registry.uses_of(ReplicaId(0), 1).await.unwrap().unwrap();
        let owners: Vec<_> = page.uses.into_iter().map(|used| used.owner).collect();
        assert_eq!(owners.len(), USES_PER_PAGE);
        assert_eq!(before.get_or_insert_with(|| owners.clone()), &owners);
    }
}

#[tokio::test]
async fn who_is_told_stays_so_when_there_are_too_many() {
    let mut world = World::start(1, 100, 100).await;
    let settler = &mut world.replicas[0].0;
    let plan = Plan { bytes_per_day: Some(1000.into()), ..Plan::default() };
    let mut accounts = Vec::new();
    let mut told = |settler: &mut Settler, ids: std::ops::Range<usize>| {
        let subscriber = |id| SubscriberId::from_number(id as u128);
        accounts.extend(ids.map(|id| settler.live.subscriber(subscriber(id), &plan, START)));
        accounts.iter().for_each(|it| it.account.take(Cost::message(10), START).unwrap());
        settler.round += 1;
        settler.look();
        let told = settler.own.iter().filter(|(_, own)| own.told.is_some());
        told.map(|(owner, own)| (*owner, own.told.unwrap().0)).collect::<HashMap<_, _>>()
    };
    let first = told(settler, 0..OWNERS_MAX - 1);
    assert_eq!(first.len(), OWNERS_MAX - 1);
    let all = told(settler, OWNERS_MAX..OWNERS_MAX + 100);
    assert_eq!(all.len(), OWNERS_MAX);
    assert!(first.iter().all(|(owner, since)| all.get(owner) == Some(since)));
    assert_eq!(told(settler, 0..0), all);
}

/// The others take one that is cut off for dead, as they must.
#[tokio::test]
async fn one_that_is_cut_off_adds_its_part_of_the_rate() {
    let world = World::start(3, 120, 12).await;
    let set = |place: usize, replicas, is_apart| {
        world.replicas[place].0.live.set_share(Share { replicas, is_apart }, START);
    };
    set(0, 3, true);
    // The others settle with each other; here one of them is used.
    set(1, 2, false);
    set(2, 2, false);
    let given: u64 = (0..6000)
        .map(|step| [0, 1].map(|place| world.flood(place, Millis(START.0 + 10 * step))))
        .map(|given| given.iter().sum::<u64>())
        .sum();
    let due = 120 * 60 * 4 / 3;
    assert!((due..=due + 24).contains(&given), "{given} of {due}");
}
