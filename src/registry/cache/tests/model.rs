//! Fetches, writes, late replacements and invalidations in random orders, against a model of what
//! may be seen.

use std::collections::VecDeque as Queue;
use std::sync::Mutex as StdMutex;

use proptest::prelude::*;
use tokio::task::JoinHandle;

use super::*;

const TENANTS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// Somebody looks for a tenant: by id, or by name.
    Ask(usize, bool),
    /// Fetches that have read may answer.
    Answer(usize),
    /// A writer writes, and has yet to tell the cache.
    Write(usize),
    /// One of those writers tells it, in any order.
    Tell(usize),
    Invalidate(usize),
    /// Somebody else comes in, and pushes one out.
    Crowd,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..TENANTS, any::<bool>()).prop_map(|(id, by_name)| Step::Ask(id, by_name)),
        3 => (1..3_usize).prop_map(Step::Answer),
        3 => (0..TENANTS).prop_map(Step::Write),
        3 => any::<usize>().prop_map(Step::Tell),
        1 => (0..TENANTS).prop_map(Step::Invalidate),
        1 => Just(Step::Crowd),
    ];
    proptest::collection::vec(step, 1..60)
}

struct World {
    cache: Cache,
    /// What the store has.
    revisions: StdMutex<[u64; TENANTS]>,
    gate: Semaphore,
}

fn lookup(id: usize, by_name: bool) -> Lookup {
    match by_name {
        true => Lookup::Username(username(&format!("t{id}"))),
        false => Lookup::Id(TenantId(id as u128)),
    }
}

impl World {
    fn stored(&self, id: usize) -> Tenant {
        tenant(id as u128, self.revisions.lock().unwrap()[id])
    }

    /// Reads the store, and answers when it may.
    async fn ask(&self, id: usize, by_name: bool) -> u64 {
        let fetch = || async {
            let read = self.stored(id);
            self.gate.acquire().await.unwrap().forget();
            Ok::<_, Infallible>(Some(read))
        };
        self.cache.get(lookup(id, by_name), fetch).await.unwrap().unwrap().revision
    }
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Somebody who asks, and the revision that they must at least be told.
type Asking = (u64, JoinHandle<u64>);

async fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let world = Arc::new(World {
        cache: Cache::new(TENANTS, Clock::start()),
        revisions: StdMutex::new([1; TENANTS]),
        gate: Semaphore::new(0),
    });
    let mut told = [0; TENANTS];
    let mut untold: Queue<Tenant> = Queue::new();
    let mut asking: Vec<Asking> = Vec::new();
    for step in steps {
        match step {
            Step::Ask(id, by_name) => {
                let asked = Arc::clone(&world);
                let answer = tokio::spawn(async move { asked.ask(id, by_name).await });
                asking.push((told[id], answer));
            }
            Step::Answer(fetches) => world.gate.add_permits(fetches),
            Step::Write(id) => {
                world.revisions.lock().unwrap()[id] += 1;
                untold.push_back(world.stored(id));
            }
            Step::Tell(which) if !untold.is_empty() => {
                let written = untold.remove(which % untold.len()).unwrap();
                let id = usize::try_from(written.id.0).unwrap();
                told[id] = told[id].max(written.revision);
                world.cache.replace(Arc::new(written), world.cache.plans());
            }
            Step::Tell(_) => {}
            Step::Invalidate(id) => world.cache.invalidate(TenantId(id as u128)),
            Step::Crowd => {
                fetch(&world.cache, Lookup::Id(TenantId(77)), Some(&tenant(77, 1))).await;
                world.cache.invalidate(TenantId(77));
            }
        }
        settle().await;
        check(&world, &told)?;
    }
    world.gate.add_permits(1_000_000);
    for (at_least, answer) in asking {
        prop_assert!(answer.await.unwrap() >= at_least, "who asked later than a replacement");
    }
    check(&world, &told)?;
    for (id, at_least) in told.into_iter().enumerate() {
        prop_assert!(world.ask(id, false).await >= at_least);
    }
    prop_assert!(world.cache.flights.is_empty());
    Ok(())
}

/// The cache says nothing older than the last replacement.
fn check(world: &World, told: &[u64; TENANTS]) -> Result<(), TestCaseError> {
    for (id, at_least) in told.iter().enumerate() {
        for by_name in [true, false] {
            if let Knowledge::Tenant(known) = world.cache.peek(&lookup(id, by_name)) {
                prop_assert!(known.revision >= *at_least, "{} < {at_least}", known.revision);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_is_told_what_is_older_than_the_last_replacement(steps in steps()) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(steps))?;
    }
}
