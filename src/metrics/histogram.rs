//! How long things took, counted by fixed bounds.

use super::tally::Tally;

/// Upper bounds of what a request waits for, in microseconds.
const LATENCY_BOUNDS: [u64; 17] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000,
];

const SECOND: u64 = 1_000_000;

/// Upper bounds of how long connections live, in microseconds: a second to a month.
const LIFETIME_BOUNDS: [u64; 11] = [
    SECOND,
    10 * SECOND,
    60 * SECOND,
    300 * SECOND,
    1_800 * SECOND,
    3_600 * SECOND,
    6 * 3_600 * SECOND,
    24 * 3_600 * SECOND,
    3 * 24 * 3_600 * SECOND,
    7 * 24 * 3_600 * SECOND,
    30 * 24 * 3_600 * SECOND,
];

/// What somebody waited for.
pub type Latencies = Histogram<{ LATENCY_BOUNDS.len() + 2 }>;
/// What lasted.
pub type Lifetimes = Histogram<{ LIFETIME_BOUNDS.len() + 2 }>;

/// Spans by upper bounds. `N` is two more than there are bounds: for what is longer than all of them,
/// and for the sum.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: &'static [u64],
    counts: Tally<N>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { bounds: &LATENCY_BOUNDS, counts: Tally::default() }
    }
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { bounds: &LIFETIME_BOUNDS, counts: Tally::default() }
    }
}

impl<const N: usize> Histogram<N> {
    /// Notes a span, in microseconds.
    pub fn note(&self, span: u64) {
        self.counts.add(self.bounds.partition_point(|bound| *bound < span));
        self.counts.add_many(N - 1, span);
    }

    /// All that was noted so far.
    #[must_use]
    pub fn spans(&self) -> Spans {
        let counts = self.counts.sums();
        let bounds = self.bounds.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
        Spans { buckets: bounds.zip(counts).collect(), seconds: seconds(counts[N - 1]) }
    }
}

/// What a histogram has counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spans {
    /// Upper bounds in seconds, the last infinite, each with how many lie between the one before
    /// and it.
    pub buckets: Vec<(f64, u64)>,
    /// The sum of all, in seconds.
    pub seconds: f64,
}

impl Spans {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// Takes another's in; both have the same bounds, or this has none yet.
    pub fn add(&mut self, other: &Self) {
        if self.buckets.is_empty() {
            *self = other.clone();
            return;
        }
        for ((_, count), (_, more)) in self.buckets.iter_mut().zip(&other.buckets) {
            *count += more;
        }
        self.seconds += other.seconds;
    }
}

/// Microseconds as seconds.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "285 years fit")]
pub fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_counted_at_its_upper_bound() {
        let latencies = Latencies::default();
        for span in [0, 100, 101, 30_000_000, 30_000_001, 3_600_000_000] {
            latencies.note(span);
        }
        let spans = latencies.spans();
        let filled: Vec<_> = spans.buckets.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [&(0.0001, 2), &(0.00025, 1), &(30.0, 1), &(f64::INFINITY, 2)]);
        assert_eq!((spans.count(), spans.seconds), (6, 3_660.000_202));
        let mut both = Spans::default();
        both.add(&spans);
        both.add(&spans);
        assert_eq!((both.count(), both.buckets.last()), (12, Some(&(f64::INFINITY, 4))));
    }

    #[test]
    fn bounds_rise() {
        assert!(LATENCY_BOUNDS.is_sorted() && LIFETIME_BOUNDS.is_sorted());
    }
}
