//! Whether a look at the file is quick enough to be done on the spot. Pure but for the places.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::clock::Micros;

/// A look at one document takes longer only if it has to wait for a slow disk, or for a core.
const QUICK_MAX_US: u64 = 5_000;
/// For how long the disk is not waited for on the spot once it is slow.
const SLOW_FOR_US: u64 = 1_000_000;

thread_local! {
    static MAY_WAIT: Cell<bool> = const { Cell::new(true) };
}

/// From now on this thread does not look at a file on the spot: others than those who ask would wait
/// for the disk, too.
pub fn never_wait_here() {
    MAY_WAIT.set(false);
}

/// How looks on the spot have gone so far.
#[derive(Debug)]
pub(super) struct Pace {
    /// Half as many as there are cores: a disk that hangs must not hold all threads that carry on
    /// requests.
    places: Semaphore,
    was_slow: AtomicBool,
    slow_until_us: AtomicU64,
}

impl Default for Pace {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new((cores / 2).max(1))
    }
}

/// A look that is being done on the spot.
#[derive(Debug)]
pub(super) struct OnTheSpot<'a> {
    pace: &'a Pace,
    began: Micros,
    _place: SemaphorePermit<'a>,
}

impl Pace {
    fn new(places: usize) -> Self {
        Self {
            places: Semaphore::new(places),
            was_slow: AtomicBool::new(false),
            slow_until_us: AtomicU64::new(0),
        }
    }

    /// Begins a look, unless the disk is slow, too many are at it, or this thread must not.
    pub(super) fn begin(&self, now: Micros) -> Option<OnTheSpot<'_>> {
        if !MAY_WAIT.get() || now.0 < self.slow_until_us.load(Ordering::Relaxed) {
            return None;
        }
        let place = self.places.try_acquire().ok()?;
        Some(OnTheSpot { pace: self, began: now, _place: place })
    }
}

impl OnTheSpot<'_> {
    /// The look is done. Two slow ones in a row are the disk's: one alone had to wait for a core,
    /// which happens all the time where there is much to do.
    pub(super) fn end(self, now: Micros) {
        let pace = self.pace;
        let is_slow = now.since(self.began) > QUICK_MAX_US;
        // Seldom written, so that threads do not take it from each other.
        if !is_slow && !pace.was_slow.load(Ordering::Relaxed) {
            return;
        }
        if pace.was_slow.swap(is_slow, Ordering::Relaxed) && is_slow {
            pace.slow_until_us.fetch_max(now.0.saturating_add(SLOW_FOR_US), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(pace: &Pace, from_us: u64, for_us: u64) {
        pace.begin(Micros(from_us)).unwrap().end(Micros(from_us + for_us));
    }

    #[test]
    fn two_slow_looks_in_a_row_tell_of_a_slow_disk() {
        let pace = Pace::new(1);
        let slow_us = QUICK_MAX_US + 1;
        look(&pace, 1, slow_us);
        look(&pace, 2, QUICK_MAX_US);
        look(&pace, 3, slow_us);
        look(&pace, 4, slow_us);
        let until_us = 4 + slow_us + SLOW_FOR_US;
        assert!(pace.begin(Micros(until_us - 1)).is_none());
        look(&pace, until_us, 1);
        look(&pace, until_us + 1, slow_us);
        assert!(pace.begin(Micros(until_us + 2)).is_some());
    }

    #[test]
    fn a_thread_that_must_not_wait_does_not_look() {
        let pace = Pace::new(1);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(pace.begin(Micros(1)).is_some());
                never_wait_here();
                assert!(pace.begin(Micros(2)).is_none());
            });
        });
        assert!(pace.begin(Micros(3)).is_some(), "others may");
    }

    #[test]
    fn a_disk_that_hangs_holds_only_some() {
        let pace = Pace::new(2);
        let held = [0, 1].map(|at| pace.begin(Micros(at)).unwrap());
        assert!(pace.begin(Micros(2)).is_none());
        let [one, other] = held;
        one.end(Micros(3));
        assert!(pace.begin(Micros(4)).is_some());
        drop(other);
    }
}
