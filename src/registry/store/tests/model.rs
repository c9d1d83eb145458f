//! Random orders of everything that a store can do, restarts included, against a model in memory.

use std::time::Duration;

use proptest::prelude::*;

use super::audit::audit;
use super::{FEED_KEPT, Place, SESSION, TENANT, Whereabouts};
use crate::registry::store::{Kind, Merge, SeriesUpdate, Store, StoreError};
use memory::{Model, Planned};

mod memory;

const CASES: u32 = 100;
const STEPS_MAX: usize = 120;

/// Names from a small set, so that steps meet.
type Name = u8;

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<Planned>),
    Find { session: bool, index: Name },
    List { session: bool, after: Option<Name>, limit: usize },
    PutExpiring { key: Name, value: Name, seconds: u64 },
    GetExpiring { key: Name },
    TakeExpiring { key: Name },
    Count { key: Name, seconds: u64 },
    Acquire { name: Name, holder: Name, seconds: u64 },
    Release { name: Name, holder: Name },
    Merge(Vec<(Name, u64, Name, Merge)>),
    Series { name: Name, back: u64, span: u64 },
    Feed { back: u64, limit: usize },
    Advance { seconds: u64 },
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    use Step::*;
    let seconds = || 1..300_u64;
    let update = (0..2_u8, 0..4_u64, 0..3_u8, merge());
    let step = prop_oneof![
        8 => prop::collection::vec(memory::planned(), 0..5).prop_map(Write),
        2 => (any::<bool>(), 0..9_u8).prop_map(|(session, index)| Find { session, index }),
        2 => (any::<bool>(), prop::option::of(0..7_u8), 0..5_usize)
            .prop_map(|(session, after, limit)| List { session, after, limit }),
        2 => (0..3_u8, any::<u8>(), seconds())
            .prop_map(|(key, value, seconds)| PutExpiring { key, value, seconds }),
        1 => (0..3_u8).prop_map(|key| GetExpiring { key }),
        1 => (0..3_u8).prop_map(|key| TakeExpiring { key }),
        2 => (0..3_u8, seconds()).prop_map(|(key, seconds)| Count { key, seconds }),
        2 => (0..2_u8, 0..3_u8, seconds())
            .prop_map(|(name, holder, seconds)| Acquire { name, holder, seconds }),
        1 => (0..2_u8, 0..3_u8).prop_map(|(name, holder)| Release { name, holder }),
        2 => prop::collection::vec(update, 0..5).prop_map(Merge),
        1 => (0..2_u8, 0..60_000_u64, 0..60_000_u64)
            .prop_map(|(name, back, span)| Series { name, back, span }),
        2 => (prop_oneof![0..2 * FEED_KEPT, FEED_KEPT..FEED_KEPT + 5], 0..20_usize).prop_map(|(back, limit)| Feed { back, limit }),
        3 => seconds().prop_map(|seconds| Advance { seconds }),
        1 => (0..40 * 86_400_u64).prop_map(|seconds| Advance { seconds }),
        1 => Just(Restart),
    ];
    prop::collection::vec(step, 1..STEPS_MAX)
}

fn merge() -> impl Strategy<Value = Merge> {
    prop_oneof![(0..9_u64).prop_map(Merge::Add), (0..9_u64).prop_map(Merge::Max)]
}

fn kind(session: bool) -> Kind {
    if session { SESSION } else { TENANT }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: CASES, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn any_order_of_steps_does_what_the_model_does(steps in steps()) {
        block_on(run(&Place::file(), steps));
    }

    #[test]
    fn any_order_of_steps_does_in_redis_what_the_model_does(steps in steps()) {
        block_on(run(&Place::redis(), steps));
    }
}

fn block_on(run: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run);
}

/// Looks at everything, and closes the store.
async fn close(place: &Place, store: Store) {
    let mut lines = Vec::new();
    let documents = store.check(&mut |line| lines.push(line)).await.unwrap();
    assert_eq!(lines, [""; 0], "among {documents} documents");
    drop(store);
    if let Whereabouts::File(_) = place.whereabouts {
        audit(&place.path());
    }
}

async fn run(place: &Place, steps: Vec<Step>) {
    let mut store = place.open().await;
    let id = store.id();
    let mut model = Model::default();
    for step in steps {
        model.now_ms = place.wall.unix_ms();
        match step {
            Step::Restart => {
                close(place, store).await;
                store = place.open().await;
                assert_eq!(store.id(), id);
            }
            Step::Advance { seconds } => place.wall.advance(Duration::from_secs(seconds)),
            step => take(&store, &mut model, step).await,
        }
        assert_eq!(store.last_revision().await, Ok(model.last_revision()));
        assert_eq!(*store.changes().borrow(), model.last_revision());
    }
    for session in [false, true] {
        let documents = store.list(kind(session), None, 1_000).await;
        assert_eq!(documents, Ok(model.list(kind(session), None, 1_000)));
    }
    close(place, store).await;
}

async fn take(store: &Store, model: &mut Model, step: Step) {
    match step {
        Step::Write(planned) => {
            let writes: Vec<_> = planned.iter().map(|planned| model.write_of(planned)).collect();
            let expected = model.write(&writes);
            match store.write(writes).await {
                Err(StoreError::Invalid(_)) => assert_eq!(expected, None),
                outcome => assert_eq!(Some(outcome), expected),
            }
        }
        Step::Find { session, index } => {
            let index = index.to_string();
            let found = store.find(kind(session), &index).await.unwrap();
            assert_eq!(found, model.find(kind(session), &index));
            if let Some(found) = found {
                assert_eq!(store.get(kind(session), &found.id).await, Ok(Some(found)));
            }
        }
        Step::List { session, after, limit } => {
            let after = after.map(|after| after.to_string());
            let listed = store.list(kind(session), after.as_deref(), limit).await.unwrap();
            assert_eq!(listed, model.list(kind(session), after.as_deref(), limit));
        }
        Step::Feed { back, limit } => {
            let after = (model.last_revision() + 2).saturating_sub(back);
            assert_eq!(store.feed(after, limit).await, Ok(model.feed(after, limit)));
        }
        step => take_passing(store, model, step).await,
    }
}

/// The steps about what goes by itself.
async fn take_passing(store: &Store, model: &mut Model, step: Step) {
    let span = Duration::from_secs;
    match step {
        Step::PutExpiring { key, value, seconds } => {
            model.values.insert(key, (model.now_ms + seconds * 1_000, value));
            store.put_expiring(&key.to_string(), &[value], span(seconds)).await.unwrap();
        }
        Step::GetExpiring { key } => {
            let value = store.get_expiring(&key.to_string()).await.unwrap();
            assert_eq!(value, model.value(key).map(|value| vec![value]));
        }
        Step::TakeExpiring { key } => {
            let value = store.take_expiring(&key.to_string()).await.unwrap();
            assert_eq!(value, model.value(key).map(|value| vec![value]));
            model.values.remove(&key);
        }
        Step::Count { key, seconds } => {
            let count = store.count(&key.to_string(), span(seconds)).await.unwrap();
            assert_eq!(count, model.count(key, seconds * 1_000));
        }
        Step::Acquire { name, holder, seconds } => {
            let (lease, by) = (name.to_string(), holder.to_string());
            let acquired = store.acquire(&lease, &by, span(seconds)).await.unwrap();
            model.acquire(name, holder, seconds * 1_000, acquired);
        }
        Step::Release { name, holder } => {
            store.release(&name.to_string(), &holder.to_string()).await.unwrap();
            model.release(name, holder);
        }
        Step::Merge(updates) => {
            let now = model.now_ms / 60_000;
            let updates = updates.into_iter().map(|(name, back, field, merge)| {
                let (name, field) = (name.to_string(), field.to_string());
                SeriesUpdate { name, minute: now - back, field, merge }
            });
            let updates: Vec<_> = updates.collect();
            model.merge(&updates);
            store.merge(updates).await.unwrap();
        }
        Step::Series { name, back, span } => {
            let from = model.now_ms / 60_000 - back;
            let buckets = store.series(&name.to_string(), from, from + span).await.unwrap();
            assert_eq!(buckets, model.series(&name.to_string(), from, from + span));
        }
        step => unreachable!("{step:?} is taken elsewhere"),
    }
}
