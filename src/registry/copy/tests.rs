use std::time::Duration;

use super::*;
use crate::grant::{Grant, KeyId};
use crate::registry::Registry;
use crate::registry::put;
use crate::registry::record::{PLAN, SESSION, TENANT};
use crate::registry::testing;
use crate::registry::usage::Usage;
use crate::tenant::TenantId;

mod model;

/// A source and a target that share a clock.
struct Pair {
    wall: Wall,
    source: Store,
    target: Store,
}

impl Pair {
    async fn new() -> Self {
        let wall = Wall::stopped_at(testing::BEGIN.0);
        let (source, target) = (testing::store(&wall).await, testing::store(&wall).await);
        Self { wall, source, target }
    }

    /// A source with plans, tenants and sessions; more of them than a page has.
    async fn filled() -> Self {
        let pair = Self::new().await;
        for number in 0..300_u32 {
            let mut record = testing::record(&format!("t{number}"));
            record.keys.push(testing::key(KeyId(7), &format!("secret {number}")));
            let id = TenantId(u128::from(number) + 1);
            let tenant = put(id, Expected::Absent, &record).unwrap();
            let plan = document(PLAN, &format!("plan {number}"), &[], "{}");
            let session = document(SESSION, &format!("{number:064x}"), &[], "{\"of\":1}");
            pair.source.write(vec![tenant, plan, session]).await.unwrap();
        }
        pair
    }

    async fn copy(&self) -> Result<Copied, CopyError> {
        copy(&self.source, &self.target, &self.wall, &mut |_| {}).await
    }

    async fn is_equal(&self) -> bool {
        contents(&self.source).await == contents(&self.target).await
    }
}

fn document(kind: Kind, id: &str, indexes: &[&str], body: &str) -> Write {
    let indexes = indexes.iter().map(ToString::to_string).collect();
    let change = Change::Put { indexes, body: body.as_bytes().to_vec() };
    Write { kind, id: id.to_owned(), expected: Expected::Any, change }
}

/// Everything but the revisions.
async fn contents(store: &Store) -> Vec<(Kind, String, Vec<String>, Vec<u8>)> {
    let mut all = Vec::new();
    for kind in LASTING {
        let mut after = None;
        loop {
            let page = store.list(kind, after.as_deref(), 1000).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            for Document { id, indexes, body, .. } in page {
                for index in &indexes {
                    assert_eq!(store.find(kind, index).await.unwrap().unwrap().id, id);
                }
                all.push((kind, id, indexes, body));
            }
        }
    }
    all
}

#[tokio::test]
async fn everything_is_copied_as_it_is() {
    let pair = Pair::filled().await;
    let mut told = Vec::new();
    let mut tell = |progress| told.push(progress);
    let done = copy(&pair.source, &pair.target, &pair.wall, &mut tell).await.unwrap();
    assert_eq!((done.documents, done.written), (900, 900));
    assert!(pair.is_equal().await);
    assert_eq!(unfinished(&pair.target).await, Ok(None));
    let last =
        |phase| told.iter().rfind(|told| told.phase == phase).map(|told| (told.done, told.of));
    assert_eq!(last(Phase::Counting), Some((900, 0)));
    assert_eq!(last(Phase::Copying), Some((900, 900)));
    assert_eq!(last(Phase::Usage), Some((300, 900)));
    assert_eq!(last(Phase::Comparing), Some((900, 900)));
}

#[tokio::test]
async fn an_empty_registry_is_copied_too() {
    let pair = Pair::new().await;
    assert_eq!(pair.copy().await.unwrap(), Copied::default());
    assert_eq!(pair.copy().await.unwrap(), Copied::default());
}

#[tokio::test]
async fn when_keys_were_used_is_copied_once() {
    let pair = Pair::filled().await;
    let registry = |store: &Store| {
        Registry::new(
            store.clone(),
            crate::registry::testing::CACHING,
            crate::clock::Clock::start(),
            pair.wall.clone(),
        )
    };
    let (source, target) = (registry(&pair.source), registry(&pair.target));
    let usage = Usage::default();
    let grant = |id: u64| Grant::Key { id: KeyId(id), secret: 0 };
    for (tenant, key) in [(1, 7), (2, 7), (300, 7), (1, 99)] {
        let from = std::net::Ipv4Addr::LOCALHOST.into();
        usage.note(TenantId(tenant), &grant(key), from, pair.wall.now());
        pair.wall.advance(Duration::from_secs(86_400));
        usage.flush(&source).await.unwrap();
    }
    // The key 99 is in no record: its use is of no use.
    // For each of the others when, and from where in five parts.
    assert_eq!(pair.copy().await.unwrap().numbers, 3 * 6);
    for tenant in [1, 2, 300, 3] {
        let (tenant, key) = (TenantId(tenant), KeyId(7));
        let before = usage.last_used(&source, tenant, key).await.unwrap();
        assert_eq!(usage.last_used(&target, tenant, key).await.unwrap(), before);
        assert_eq!(before.is_some(), tenant != TenantId(3));
    }
    assert_eq!(usage.last_used(&target, TenantId(1), KeyId(99)).await.unwrap(), None);
}

#[tokio::test]
async fn a_finished_copy_is_compared_and_never_written() {
    let pair = Pair::filled().await;
    pair.copy().await.unwrap();
    let revision = pair.target.last_revision().await.unwrap();
    let again = pair.copy().await.unwrap();
    assert_eq!((again.documents, again.written, again.numbers), (900, 0, 0));
    // It is in use now, and so may the source be.
    pair.target.write(vec![document(PLAN, "plan 1", &[], "{\"changed\":1}")]).await.unwrap();
    pair.target.write(vec![document(PLAN, "plan new", &[], "{}")]).await.unwrap();
    pair.source.write(vec![document(PLAN, "plan 2", &[], "{\"changed\":1}")]).await.unwrap();
    let error = pair.copy().await.unwrap_err();
    assert!(matches!(error, CopyError::Differ { documents: 3 }), "{error}");
    assert_eq!(pair.target.last_revision().await.unwrap(), revision + 2);
}

#[tokio::test]
async fn what_is_not_empty_is_left_alone() {
    let pair = Pair::filled().await;
    for kind in LASTING {
        let target = testing::store(&pair.wall).await;
        target.write(vec![document(kind, "of somebody", &["index"], "{}")]).await.unwrap();
        let error = copy(&pair.source, &target, &pair.wall, &mut |_| {}).await.unwrap_err();
        assert!(matches!(error, CopyError::NotEmpty { kind: it } if it == kind), "{error}");
        assert_eq!(target.last_revision().await.unwrap(), 1);
    }
    // What was emptied is empty.
    let removed = Write {
        kind: PLAN,
        id: "gone".to_owned(),
        expected: Expected::Any,
        change: Change::Remove,
    };
    pair.target.write(vec![removed]).await.unwrap();
    pair.copy().await.unwrap();
    assert!(pair.is_equal().await);
}

#[tokio::test]
async fn the_copy_of_another_is_left_alone() {
    let pair = Pair::filled().await;
    let other = Pair::filled().await;
    for is_finished in [false, true] {
        let mark = Mark { is_finished, ..Mark::of(&other.source) };
        pair.target.write(vec![mark.write(Expected::Any).unwrap()]).await.unwrap();
        let revision = pair.target.last_revision().await.unwrap();
        let error = pair.copy().await.unwrap_err();
        assert!(matches!(&error, CopyError::OtherSource { source } if *source == mark.source));
        assert_eq!(pair.target.last_revision().await.unwrap(), revision);
    }
    let error = copy(&pair.source, &pair.source, &pair.wall, &mut |_| {}).await.unwrap_err();
    assert!(matches!(error, CopyError::Same), "{error}");
}

#[tokio::test]
async fn an_unfinished_copy_is_no_source() {
    let pair = Pair::new().await;
    let mark = Mark { source: "0".repeat(32), revision: 1, is_finished: false };
    pair.source.write(vec![mark.write(Expected::Any).unwrap()]).await.unwrap();
    assert_eq!(unfinished(&pair.source).await, Ok(Some(mark.source)));
    let error = pair.copy().await.unwrap_err();
    assert!(matches!(error, CopyError::SourceUnfinished), "{error}");
    assert_eq!(pair.target.last_revision().await, Ok(0));
}

#[tokio::test]
async fn kinds_of_a_later_flowgate_are_not_left_behind() {
    let pair = Pair::filled().await;
    pair.source.write(vec![document(Kind("gateway"), "1", &[], "{}")]).await.unwrap();
    let error = pair.copy().await.unwrap_err();
    assert!(matches!(&error, CopyError::UnknownKind { kind } if kind == "gateway"), "{error}");
    assert_eq!(pair.target.last_revision().await, Ok(0));
}

/// Lets the copy come to where it tells of this phase, drops it there, and writes to the target.
#[tokio::test]
async fn whoever_else_writes_to_the_target_is_noticed() {
    let pair = Pair::filled().await;
    let stranger = vec![document(PLAN, "of a stranger", &[], "{}")];
    for phase in [Phase::Counting, Phase::Copying, Phase::Comparing] {
        let target = testing::store(&pair.wall).await;
        let handle = tokio::runtime::Handle::current();
        let (during, strange) = (target.clone(), stranger.clone());
        let mut is_done = false;
        // The callback cannot wait: the stranger does, on a thread of its own.
        let mut tell = |progress: Progress| {
            if progress.phase == phase && !std::mem::replace(&mut is_done, true) {
                let (handle, store, writes) = (handle.clone(), during.clone(), strange.clone());
                let writing = std::thread::spawn(move || handle.block_on(store.write(writes)));
                writing.join().unwrap().unwrap();
            }
        };
        let error = copy(&pair.source, &target, &pair.wall, &mut tell).await.unwrap_err();
        assert!(matches!(error, CopyError::Disturbed), "{phase:?}: {error}");
        let error = copy(&pair.source, &target, &pair.wall, &mut |_| {}).await.unwrap_err();
        assert!(matches!(error, CopyError::Disturbed), "again, {phase:?}: {error}");
        assert!(target.get(PLAN, "of a stranger").await.unwrap().is_some());
        assert!(unfinished(&target).await.unwrap().is_some());
    }
}

/// A change of the source for every comparison, so many times.
async fn copy_while_changing(pair: &Pair, changes: usize) -> Result<Copied, CopyError> {
    let handle = tokio::runtime::Handle::current();
    let (mut changed, mut last) = (0, Phase::Counting);
    let mut tell = |progress: Progress| {
        // Once in each comparison: its last word is told of as many as there are.
        let is_new = progress.phase == Phase::Comparing && progress.done <= 100;
        if is_new && changed < changes || progress.phase == Phase::Copying && last != Phase::Copying
        {
            changed += 1;
            let body = format!("{{\"changed\":{changed}}}");
            let writes = vec![
                document(PLAN, "plan 0", &[], &body),
                document(PLAN, &format!("plan new {changed}"), &[], &body),
                document(SESSION, "of nobody", &["moving"], &body),
            ];
            let (handle, store) = (handle.clone(), pair.source.clone());
            let writing = std::thread::spawn(move || handle.block_on(store.write(writes)));
            writing.join().unwrap().unwrap();
        }
        last = progress.phase;
    };
    copy(&pair.source, &pair.target, &pair.wall, &mut tell).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_changes_meanwhile_is_followed() {
    let pair = Pair::filled().await;
    copy_while_changing(&pair, 3).await.unwrap();
    assert!(pair.is_equal().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_never_rests_is_told_and_gone_on_with_later() {
    let pair = Pair::filled().await;
    let error = copy_while_changing(&pair, usize::MAX).await.unwrap_err();
    assert!(matches!(error, CopyError::SourceInUse { rounds: ROUNDS_MAX }), "{error}");
    assert!(unfinished(&pair.target).await.unwrap().is_some());
    let done = pair.copy().await.unwrap();
    assert!(done.written < 100, "what is equal is not written again: {done:?}");
    assert!(pair.is_equal().await);
}
