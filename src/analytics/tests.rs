use super::*;
use crate::api::Owner;
use crate::grant::ApiId;
use crate::ledger::{Caller, KEYS_PER_TENANT_MAX, Ledger, Measure};
use crate::refusal::Refusal;
use crate::registry::analytics::KEYS_PER_DAY_MAX;
use crate::registry::testing;
use report::Scope;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Two replicas, and the registry that they share.
struct World {
    replicas: [Analytics; 2],
    mike: TenantId,
    ann: TenantId,
}

impl World {
    async fn new() -> Self {
        let registry = testing::registry().await;
        let mike = testing::add(&registry, 1, &testing::record("mike")).await;
        let ann = testing::add(&registry, 2, &testing::record("ann")).await;
        let registry = Arc::new(registry);
        let replica = |number| {
            let live = Arc::new(LiveTable::counting(Ledger::default()));
            Analytics::new(live, Arc::clone(&registry), ReplicaId(number), 30)
        };
        Self { replicas: [replica(1), replica(2)], mike, ann }
    }

    fn add(&self, replica: usize, tenant: TenantId, api: u64, requests: u64) {
        let ledger = self.replicas[replica].live.ledger().unwrap();
        let cell = ledger.cell(Some(tenant), Some(ApiId(api)), Caller::Nobody, Some("gold"));
        cell.add(Measure::Requests, requests);
    }

    fn advance(&self, span: Duration) {
        self.replicas[0].registry.wall().advance(span);
    }

    /// As the loop does it.
    async fn tick(&self, replica: usize) -> Result<(), StoreError> {
        let replica = &self.replicas[replica];
        let mut state = replica.state.lock().await;
        replica.pass_minute(&mut state);
        replica.write(&mut state).await
    }

    async fn report(&self, scope: Scope, question: Question) -> Report {
        let report = self.replicas[0].report(&scope, &question).await.unwrap();
        assert_eq!(report.incomplete, [""; 0]);
        report
    }

    async fn requests(&self, tenant: TenantId, by: By) -> Vec<(String, u64)> {
        let scope = Scope::Owner(Owner::Tenant(tenant));
        let report = self.report(scope, Question { by: Some(by), ..last("1h") }).await;
        let groups = report.groups.iter();
        groups.map(|group| (group.name.clone(), group.total.get(Measure::Requests))).collect()
    }
}

fn last(span: &str) -> Question {
    Question { last: Some(span.to_owned()), ..Question::default() }
}

#[tokio::test]
async fn replicas_add_up_and_minutes_are_told_apart() {
    let world = World::new().await;
    for replica in [0, 1] {
        world.tick(replica).await.unwrap();
        world.add(replica, world.mike, 7, 10);
    }
    world.add(1, world.mike, 8, 1);
    world.add(1, world.ann, 7, 100);
    world.advance(MINUTE);
    for replica in [0, 1] {
        world.tick(replica).await.unwrap();
        world.tick(replica).await.unwrap();
        world.add(replica, world.mike, 7, 5);
    }
    world.advance(MINUTE);
    world.tick(1).await.unwrap();
    let scope = Scope::Owner(Owner::Tenant(world.mike));
    let report = world.report(scope.clone(), last("1h")).await;
    assert_eq!((report.step, report.groups.len()), (Step::Minute, 1));
    let group = &report.groups[0];
    assert_eq!((group.name.as_str(), group.total.get(Measure::Requests)), ("mike", 31));
    let points: Vec<_> = group
        .points
        .iter()
        .map(|point| (point.at.as_str(), point.counts.get(Measure::Requests)))
        .collect();
    assert_eq!(points, [("2026-09-21T14:13:00Z", 21), ("2026-09-21T14:14:00Z", 10)]);
    assert_eq!(
        world.requests(world.mike, By::Api).await,
        [("(gone)".into(), 30), ("(gone)".into(), 1)]
    );
    assert_eq!(world.requests(world.mike, By::Plan).await, [("gold".into(), 31)]);
    assert_eq!(world.requests(world.ann, By::Tenant).await, [("ann".into(), 100)]);
    let all = world.report(Scope::All { after: None, limit: 10 }, last("1h")).await;
    let names: Vec<_> = all.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["ann", "mike"]);
    let hours = world.report(Scope::All { after: None, limit: 10 }, last("1day")).await;
    let totals = |report: &Report| report.groups.iter().map(|it| it.total).collect::<Vec<_>>();
    assert_eq!(totals(&hours), totals(&all));
    let only = Question { api: Some("0000000000000008".into()), by: Some(By::Api), ..last("1day") };
    let report = world.report(scope, only).await;
    assert_eq!((report.step, report.groups.len()), (Step::Hour, 1));
    assert_eq!(report.groups[0].total.get(Measure::Requests), 1);
}

#[tokio::test]
async fn what_was_sent_and_not_answered_counts_once() {
    let world = World::new().await;
    let replica = &world.replicas[0];
    world.tick(0).await.unwrap();
    world.add(0, world.mike, 7, 10);
    {
        let mut state = replica.state.lock().await;
        replica.collect(&mut state);
        let Some(Waiting::Counted { minute, sums }) = state.waiting.pop_front() else { panic!() };
        let sums = replica.place(&mut state, minute, sums).await.unwrap();
        let batches = batches("analytics:1:1", minute, &sums, 30);
        // All of it arrives, and nobody hears of it.
        for batch in &batches {
            replica.registry.store().merge_once(batch.clone()).await.unwrap();
        }
        state.waiting.push_back(Waiting::Ready(batches.into()));
    }
    world.tick(0).await.unwrap();
    assert_eq!(world.requests(world.mike, By::Tenant).await, [("mike".into(), 10)]);
}

#[tokio::test]
async fn what_is_kept_for_an_hour_waits_and_no_more() {
    let world = World::new().await;
    let replica = &world.replicas[0];
    world.tick(0).await.unwrap();
    for _ in 0..=WAITING_MAX {
        world.add(0, world.mike, 7, 1);
        world.advance(MINUTE);
        replica.pass_minute(&mut *replica.state.lock().await);
    }
    assert_eq!(replica.state.lock().await.waiting.len(), WAITING_MAX);
    world.tick(0).await.unwrap();
    let scope = Scope::Owner(Owner::Tenant(world.mike));
    let report = world.report(scope, last("2h")).await;
    assert_eq!(
        report.groups[0].total.get(Measure::Requests),
        WAITING_MAX as u64,
        "the oldest went"
    );
}

/// Whoever asks while the registry is away has what was counted collected: that pushes out nothing.
#[tokio::test]
async fn whoever_asks_again_and_again_has_nothing_forgotten() {
    let world = World::new().await;
    let replica = &world.replicas[0];
    world.tick(0).await.unwrap();
    world.add(0, world.ann, 7, 100);
    world.advance(MINUTE);
    replica.pass_minute(&mut *replica.state.lock().await);
    for _ in 0..2 * WAITING_MAX {
        world.add(0, world.mike, 7, 1);
        replica.collect(&mut *replica.state.lock().await);
    }
    assert_eq!(replica.state.lock().await.waiting.len(), 2, "of each minute one");
    world.tick(0).await.unwrap();
    let asked = 2 * WAITING_MAX as u64;
    assert_eq!(world.requests(world.mike, By::Tenant).await, [("mike".into(), asked)]);
    assert_eq!(world.requests(world.ann, By::Tenant).await, [("ann".into(), 100)]);
}

#[tokio::test]
async fn while_something_waits_not_everybody_who_asks_has_it_tried_again() {
    let world = World::new().await;
    let replica = &world.replicas[0];
    world.add(0, world.mike, 7, 1);
    {
        let mut state = replica.state.lock().await;
        replica.collect(&mut state);
        // Somebody has just asked.
        state.fresh_at = Some(replica.registry.clock().now().plus(MINUTE));
    }
    world.add(0, world.mike, 7, 1);
    let missing = replica.freshen().await;
    assert_eq!(missing.as_deref(), Some("what was counted last is not written yet"));
    assert_eq!(replica.state.lock().await.waiting.len(), 1);
    replica.state.lock().await.fresh_at = None;
    assert_eq!(replica.freshen().await, None);
    assert_eq!(world.requests(world.mike, By::Tenant).await, [("mike".into(), 2)]);
}

/// However many keys there are, nothing is left out of a tenant's sum, and every group is found.
#[tokio::test]
async fn what_is_too_much_is_summed_up_with_the_rest() {
    let world = World::new().await;
    let mut api = 0;
    for _ in 0..3 {
        for _ in 0..KEYS_PER_TENANT_MAX {
            api += 1;
            world.add(0, world.mike, api, 1);
        }
        world.advance(MINUTE);
        world.tick(0).await.unwrap();
    }
    assert!(api as usize > KEYS_PER_DAY_MAX);
    let scope = Scope::Owner(Owner::Tenant(world.mike));
    let report = world.report(scope, Question { by: Some(By::Api), ..last("1h") }).await;
    let sum: u64 = report.groups.iter().map(|group| group.total.get(Measure::Requests)).sum();
    assert_eq!(sum, api);
    let rest = report.groups.last().unwrap();
    assert_eq!((rest.name.as_str(), report.groups.len()), ("(other)", 51));
    assert_eq!(rest.total.get(Measure::Requests), api - 50);
    // Within a minute the ledger itself has no more room.
    for api in 1000..1000 + KEYS_PER_TENANT_MAX as u64 + 1 {
        world.add(0, world.ann, api, 1);
    }
    world.advance(MINUTE);
    world.tick(0).await.unwrap();
    let sum = world.requests(world.ann, By::Api).await.iter().map(|(_, count)| count).sum::<u64>();
    assert_eq!(sum, KEYS_PER_TENANT_MAX as u64 + 1);
}

#[tokio::test]
async fn numbers_go_after_their_days() {
    let world = World::new().await;
    world.add(0, world.mike, 7, 10);
    world.tick(0).await.unwrap();
    let count = async |last: &str| {
        let scope = Scope::Owner(Owner::Tenant(world.mike));
        world.report(scope, super::tests::last(last)).await.groups.len()
    };
    assert_eq!(count("1h").await, 1);
    for (days, groups) in [(29_u32, 1), (4, 0)] {
        world.advance(DAY * days);
        // With whatever is written next.
        world.add(0, world.ann, 7, 1);
        world.tick(0).await.unwrap();
        assert_eq!(count("33days").await, groups);
    }
}

#[tokio::test]
async fn nobody_asks_for_what_makes_no_sense() {
    let world = World::new().await;
    let replica = &world.replicas[0];
    let all = Scope::All { after: None, limit: 10 };
    let one = Scope::Owner(Owner::Tenant(world.mike));
    for (scope, question) in [
        (&all, Question { by: Some(By::Api), ..last("1h") }),
        (
            &Scope::All { after: None, limit: 1000 },
            Question { step: Some(Step::Minute), ..last("4h") },
        ),
        (&one, Question { api: Some("mine".into()), ..last("1h") }),
        (&one, last("-1h")),
    ] {
        let refused = replica.report(scope, &question).await;
        assert!(matches!(refused, Err(Refusal::BadInput(_))), "{question:?}");
    }
}

#[tokio::test]
async fn without_days_nothing_is_written() {
    let registry = Arc::new(testing::registry().await);
    let live = Arc::new(LiveTable::default());
    let off = Analytics::new(live, Arc::clone(&registry), ReplicaId(1), 0);
    off.flush().await.unwrap();
    let question = last("1h");
    let report = off.report(&Scope::All { after: None, limit: 1 }, &question).await.unwrap();
    assert_eq!((report.kept_days, report.groups.len()), (0, 0));
    assert!(timeout(Duration::ZERO, off.attend()).await.is_err());
}
