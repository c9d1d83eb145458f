//! Copies that are dropped anywhere, of a source whose documents move their indexes about.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use proptest::prelude::*;

use super::*;

const CASES: u32 = 64;

/// What happens to the source.
#[derive(Clone, Debug)]
enum Step {
    /// A document gets these indexes, taken from whoever has them.
    Put {
        id: u8,
        indexes: Vec<u8>,
        body: u8,
    },
    Remove {
        id: u8,
    },
    /// A copy that is dropped when it waits for the so-manieth time.
    Copy {
        waits: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let indexes = prop::collection::btree_set(0..6_u8, 0..4)
        .prop_map(|indexes| indexes.into_iter().collect::<Vec<_>>());
    let step = prop_oneof![
        6 => (0..8_u8, indexes, any::<u8>())
            .prop_map(|(id, indexes, body)| Step::Put { id, indexes, body }),
        2 => (0..8_u8).prop_map(|id| Step::Remove { id }),
        3 => (0..200_usize).prop_map(|waits| Step::Copy { waits }),
    ];
    prop::collection::vec(step, 1..60)
}

async fn dropped_after<F: Future>(waits: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = waits;
    poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Writes the document and takes its indexes from the others, at once.
async fn put_and_take(store: &Store, id: u8, indexes: &[u8], body: u8) {
    let name = |id: u8| format!("{id:032x}");
    let texts: Vec<String> = indexes.iter().map(ToString::to_string).collect();
    let mut writes = Vec::new();
    for other in store.list(TENANT, None, 100).await.unwrap() {
        let kept = other.indexes.iter().filter(|index| !texts.contains(index));
        let kept: Vec<String> = kept.cloned().collect();
        if other.id != name(id) && kept != other.indexes {
            let changed = Document { indexes: kept, ..other.clone() };
            writes.push(write_for(TENANT, Some(&other), Some(changed), &other.id));
        }
    }
    let change = Change::Put { indexes: texts, body: body.to_string().into_bytes() };
    writes.push(Write { kind: TENANT, id: name(id), expected: Expected::Any, change });
    store.write(writes).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: CASES, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn copies_that_were_interrupted_are_gone_on_with(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(steps));
    }
}

async fn run(steps: Vec<Step>) {
    let pair = self::Pair::new().await;
    for step in steps {
        match step {
            Step::Put { id, indexes, body } => {
                put_and_take(&pair.source, id, &indexes, body).await;
            }
            Step::Remove { id } => {
                let id = format!("{id:032x}");
                let present = pair.source.get(TENANT, &id).await.unwrap();
                let write = write_for(TENANT, present.as_ref(), None, &id);
                pair.source.write(vec![write]).await.unwrap();
            }
            Step::Copy { waits } => {
                let done = dropped_after(waits, pair.copy()).await;
                // What was dropped may still be carried out; this comes behind it.
                pair.target.count("queue", Duration::from_secs(1)).await.unwrap();
                if let Some(done) = done {
                    done.unwrap();
                }
                // Its last write may be what was dropped. A finished copy is a registry of its own.
                let mark = Mark::find(&pair.target).await.unwrap();
                if mark.is_some_and(|(mark, _)| mark.is_finished) {
                    assert!(pair.is_equal().await);
                    return;
                }
            }
        }
    }
    pair.copy().await.unwrap();
    assert!(pair.is_equal().await);
    assert_eq!(unfinished(&pair.target).await, Ok(None));
}
