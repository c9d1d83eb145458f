//! Counts that many threads add to at once: each thread has a cache line of its own, as far as there
//! are enough, and the sum is made by whoever asks.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const STRIPES: usize = 16;

#[derive(Debug)]
#[repr(align(128))]
struct Stripe<const N: usize>([AtomicU64; N]);

/// `N` counts. They only rise.
#[derive(Debug)]
pub struct Tally<const N: usize>([Stripe<N>; STRIPES]);

impl<const N: usize> Default for Tally<N> {
    fn default() -> Self {
        let stripe = |_| Stripe(std::array::from_fn(|_| AtomicU64::new(0)));
        Self(std::array::from_fn(stripe))
    }
}

thread_local! {
    static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
}

fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    STRIPE.with(|stripe| {
        if stripe.get() == usize::MAX {
            stripe.set(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
        }
        stripe.get()
    })
}

impl<const N: usize> Tally<N> {
    /// One more of the count at this place; nothing if there is no such place.
    pub fn add(&self, place: usize) {
        self.add_many(place, 1);
    }

    /// So many more of it.
    pub fn add_many(&self, place: usize, more: u64) {
        if let Some(count) = self.0[stripe()].0.get(place) {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// All counts.
    pub fn sums(&self) -> [u64; N] {
        let sum = |place: usize| {
            let counts = self.0.iter().filter_map(|stripe| stripe.0.get(place));
            counts.map(|count| count.load(Ordering::Relaxed)).sum()
        };
        std::array::from_fn(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_lose_no_count() {
        let tally = Tally::<3>::default();
        std::thread::scope(|scope| {
            for thread in 0..20 {
                let tally = &tally;
                scope.spawn(move || (0..10_000).for_each(|_| tally.add(thread % 2)));
            }
        });
        tally.add(2);
        tally.add(3);
        assert_eq!(tally.sums(), [100_000, 100_000, 1]);
    }
}
