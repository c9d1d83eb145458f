use std::time::Duration;

use super::*;
use crate::grant::{ApiId, ApplicationId};
use crate::ledger::Caller;
use crate::registry::store::limits::{FIELDS_MAX, SERIES_BYTES_MAX};
use crate::registry::testing::{BEGIN, registry};

const NOW: u64 = BEGIN.0 / 60_000;
const MIKE: Option<TenantId> = Some(TenantId(1));

fn api(number: u64) -> What {
    What::Of { api: Some(ApiId(number)), caller: Caller::Nobody, plan: None }
}

fn sums(counts: &[(Measure, u64)]) -> Sums {
    let mut sums = Sums::default();
    counts.iter().for_each(|(measure, count)| sums.add(*measure, *count));
    sums
}

async fn write(registry: &Registry, id: &str, minute: u64, sums: &[(Key, Sums)]) {
    for batch in batches(id, minute, sums, 30) {
        registry.store().merge_once(batch).await.unwrap();
    }
}

async fn read(registry: &Registry, subject: &Subject, unit: Unit) -> Vec<(u64, Sums)> {
    let all = (0, NOW + 60);
    registry.analytics(subject, unit, all).await.unwrap().into_iter().collect()
}

#[test]
fn all_measures_of_a_bucket_have_a_place() {
    assert!(UNITS_PER_BUCKET as usize * Measure::COUNT <= FIELDS_MAX);
    let longest = What::Of {
        api: Some(ApiId(u64::MAX)),
        caller: Caller::Application(ApplicationId(u64::MAX)),
        plan: Some("p".repeat(64).into()),
    };
    assert!(longest.to_string().len() <= SERIES_BYTES_MAX);
    let series = Unit::Minute.series(&Subject::Key(Key { tenant: MIKE, what: longest }));
    assert!(series.len() <= SERIES_BYTES_MAX);
}

#[tokio::test]
async fn what_is_written_is_read_by_minutes_and_by_hours() {
    let registry = registry().await;
    let (one, other) = (api(1), api(2));
    let hour = NOW - NOW % 60;
    for minute in [hour - 60 * 13, hour - 1, hour, hour + 11, hour + 12] {
        let all = Measure::ALL.map(|measure| (measure, 10 + measure as u64));
        let mikes = Key { tenant: MIKE, what: one.clone() };
        let further = Key { tenant: MIKE, what: other.clone() };
        let nobodys = Key { tenant: None, what: What::Other };
        let written = [
            (mikes, sums(&all)),
            (further, sums(&[(Measure::Requests, 1)])),
            (nobodys, sums(&[(Measure::Refusals, 100)])),
        ];
        let id = format!("replica:{minute}");
        // As often as it is not known what became of it.
        write(&registry, &id, minute, &written).await;
        write(&registry, &id, minute, &written).await;
    }
    let mikes = Subject::Key(Key { tenant: MIKE, what: one });
    let minutes = read(&registry, &mikes, Unit::Minute).await;
    let expected = sums(&Measure::ALL.map(|measure| (measure, 10 + measure as u64)));
    let at = [hour - 60 * 13, hour - 1, hour, hour + 11, hour + 12];
    assert_eq!(minutes, at.map(|minute| (minute, expected)));
    let hours = read(&registry, &mikes, Unit::Hour).await;
    let requests: Vec<_> =
        hours.iter().map(|(minute, sums)| (*minute, sums.get(Measure::Requests))).collect();
    assert_eq!(requests, [(hour - 60 * 13, 11), (hour - 60, 11), (hour, 33)]);
    let of = async |subject| {
        let hours = read(&registry, &subject, Unit::Hour).await;
        let last = hours.last().unwrap().1;
        (last.get(Measure::Requests), last.get(Measure::Refusals))
    };
    assert_eq!(of(Subject::Tenant(MIKE)).await, (36, 48));
    assert_eq!(of(Subject::Tenant(None)).await, (0, 300));
    // A tenant's sum is kept by the hour alone.
    assert_eq!(read(&registry, &Subject::Tenant(MIKE), Unit::Minute).await, []);
    // Only what is asked for.
    let some = registry.analytics(&mikes, Unit::Minute, (hour - 1, hour)).await.unwrap();
    assert_eq!(some.into_keys().collect::<Vec<_>>(), [hour - 1, hour]);
}

#[tokio::test]
async fn a_days_list_is_full_at_its_limit_and_not_before() {
    let registry = registry().await;
    let most: Vec<What> = (1..=KEYS_PER_DAY_MAX as u64).map(api).collect();
    let listed = registry.list_keys("1", NOW, MIKE, &most[1..], 30).await.unwrap();
    assert_eq!(listed.len(), KEYS_PER_DAY_MAX);
    let listed = registry.list_keys("2", NOW, MIKE, &most[..1], 30).await.unwrap();
    assert!(listed.contains(&most[0]) && listed.contains(&What::Other), "at the limit");
    let listed = registry.list_keys("3", NOW, MIKE, &[api(0)], 30).await.unwrap();
    assert!(!listed.contains(&api(0)), "one past it");
    let listed = registry.list_keys("4", NOW, None, &[api(0)], 30).await.unwrap();
    assert!(listed.contains(&api(0)), "another's list is another");
    // The next day has a list of its own; both together are what there is.
    registry.wall().advance(Duration::from_secs(24 * 60 * 60));
    let tomorrow = NOW + MINUTES_PER_DAY;
    let listed = registry.list_keys("5", tomorrow, MIKE, &[api(0)], 30).await.unwrap();
    assert_eq!(listed, HashSet::from([api(0), What::Other]));
    assert_eq!(registry.keys(MIKE, NOW, tomorrow).await.unwrap().len(), FIELDS_MAX + 1);
}

#[tokio::test]
async fn minutes_go_before_hours() {
    let registry = registry().await;
    let key = Key { tenant: MIKE, what: api(1) };
    let written = [(key.clone(), sums(&[(Measure::Requests, 1)]))];
    write(&registry, "1", NOW, &written).await;
    let count = async |unit, days: u64| {
        let all = (0, NOW + days * MINUTES_PER_DAY);
        registry.analytics(&Subject::Key(key.clone()), unit, all).await.unwrap().len()
    };
    let day = Duration::from_secs(24 * 60 * 60);
    for (days, minutes, hours) in [(7, 1, 1), (9, 0, 1), (30, 0, 1), (32, 0, 0)] {
        let passed = (registry.wall().now().0 - BEGIN.0) / 86_400_000;
        registry.wall().advance(day * (days - passed as u32));
        // With whatever is written next.
        let others = Key { tenant: None, what: api(9) };
        let others = [(others, sums(&[(Measure::Requests, 1)]))];
        write(&registry, &format!("{days}"), NOW + u64::from(days) * MINUTES_PER_DAY, &others)
            .await;
        assert_eq!(count(Unit::Minute, days.into()).await, minutes, "after {days} days");
        assert_eq!(count(Unit::Hour, days.into()).await, hours, "after {days} days");
    }
}
