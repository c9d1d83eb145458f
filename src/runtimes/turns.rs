//! Whose turn it is to start: a start takes the machine's processors for a while, and many at once take
//! them from whoever is served.

use std::future::{Future, pending};
use std::pin::pin;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Starts that have a turn at once; others wait for theirs.
const TURNS: usize = 4;
/// How long a start keeps its turn: one that does not get ready must not keep the others from it.
pub(super) const TURN_MAX: Duration = Duration::from_secs(10);

/// How a start stands among those that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It gets ready soon, for all that is known.
    Good,
    /// The last one failed, or took longer than a turn.
    Doubtful,
}

/// The turns of one flowgate.
#[derive(Debug)]
pub(super) struct Turns {
    all: Semaphore,
    /// Those that starts may have which are doubtful or which nobody waits for.
    lesser: Semaphore,
    turn_max: Duration,
}

impl Turns {
    pub(super) fn new(turn_max: Duration) -> Self {
        Self { all: Semaphore::new(TURNS), lesser: Semaphore::new(TURNS / 2), turn_max }
    }

    /// Starts something when it has its turn; `called` ends once somebody waits for it.
    pub(super) async fn start<T>(
        &self,
        standing: Standing,
        called: impl Future<Output = ()>,
        start: impl Future<Output = T>,
    ) -> T {
        let turn = self.take(standing, called).await;
        let mut start = pin!(start);
        match timeout(self.turn_max, start.as_mut()).await {
            Ok(started) => started,
            Err(_) => {
                drop(turn);
                start.await
            }
        }
    }

    async fn take(
        &self,
        standing: Standing,
        called: impl Future<Output = ()>,
    ) -> [Option<SemaphorePermit<'_>>; 2] {
        let goes_first = async {
            match standing {
                Standing::Good => called.await,
                Standing::Doubtful => pending().await,
            }
        };
        let lesser = tokio::select! {
            biased;
            () = goes_first => None,
            lesser = self.lesser.acquire() => lesser.ok(),
        };
        [lesser, self.all.acquire().await.ok()]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use tokio::task::{JoinSet, yield_now};

    const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Starts that are never ready, of which each counts once it has begun.
    fn begin_mute(
        turns: &Arc<Turns>,
        count: usize,
        standing: Standing,
        is_called: bool,
    ) -> (JoinSet<()>, Arc<AtomicUsize>) {
        let (mut tasks, begun) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
        for _ in 0..count {
            let (turns, begun) = (Arc::clone(turns), Arc::clone(&begun));
            tasks.spawn(async move {
                let called = async {
                    if !is_called {
                        pending::<()>().await;
                    }
                };
                let start = async {
                    begun.fetch_add(1, Ordering::SeqCst);
                    pending::<()>().await;
                };
                turns.start(standing, called, start).await;
            });
        }
        (tasks, begun)
    }

    async fn settle() {
        for _ in 0..100 {
            yield_now().await;
        }
    }

    async fn start_good(turns: &Turns) {
        let started = turns.start(Standing::Good, async {}, async {});
        timeout(PATIENCE, started).await.unwrap();
    }

    #[tokio::test]
    async fn those_that_are_never_ready_lose_their_turns() {
        let turns = Arc::new(Turns::new(Duration::from_millis(50)));
        let (_tasks, begun) = begin_mute(&turns, 3 * TURNS, Standing::Good, true);
        settle().await;
        start_good(&turns).await;
        assert_eq!(begun.load(Ordering::SeqCst), 3 * TURNS, "who was there before came before");
    }

    #[tokio::test]
    async fn half_of_the_turns_are_for_those_that_are_called_and_good() {
        for (standing, is_called) in
            [(Standing::Doubtful, true), (Standing::Good, false), (Standing::Doubtful, false)]
        {
            let turns = Arc::new(Turns::new(FOR_EVER));
            let (_tasks, begun) = begin_mute(&turns, 10 * TURNS, standing, is_called);
            settle().await;
            start_good(&turns).await;
            assert_eq!(begun.load(Ordering::SeqCst), TURNS / 2, "{standing:?} {is_called}");
        }
    }

    #[tokio::test]
    async fn one_that_is_called_meanwhile_waits_no_longer_than_others() {
        let turns = Arc::new(Turns::new(FOR_EVER));
        let (_tasks, _) = begin_mute(&turns, 10 * TURNS, Standing::Good, false);
        settle().await;
        let (call, called) = tokio::sync::oneshot::channel::<()>();
        let own = Arc::clone(&turns);
        let late = tokio::spawn(async move {
            own.start(Standing::Good, async { called.await.unwrap() }, async {}).await;
        });
        settle().await;
        assert!(!late.is_finished());
        call.send(()).unwrap();
        timeout(PATIENCE, late).await.unwrap().unwrap();
    }
}
