//! Latencies, counted in buckets that are at most 1.6 % wide.

const FINE_BITS: u32 = 6;
const BUCKETS: usize = 64 << FINE_BITS;

/// How often which latency was seen, in nanoseconds.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0 }
    }
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, nanoseconds: u64) {
        self.counts[bucket(nanoseconds)] += 1;
        self.total += 1;
    }

    /// Takes over what another has counted.
    pub fn add(&mut self, other: &Self) {
        self.total += other.total;
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    /// Of `share` (0 to 1) of them, none took longer than this, in microseconds; `None` without any.
    pub fn quantile_us(&self, share: f64) -> Option<f64> {
        let wanted = (share * self.total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        self.counts.iter().enumerate().find_map(|(index, count)| {
            seen += count;
            (seen >= wanted && self.total > 0).then(|| highest(index) as f64 / 1000.0)
        })
    }
}

fn bucket(value: u64) -> usize {
    let coarse = (u64::BITS - value.leading_zeros()).saturating_sub(FINE_BITS + 1);
    ((u64::from(coarse) << FINE_BITS) + (value >> coarse)) as usize
}

/// The highest value of a bucket.
fn highest(index: usize) -> u64 {
    let coarse = (index >> FINE_BITS).saturating_sub(1);
    let fine = (index - (coarse << FINE_BITS)) as u64;
    ((fine + 1) << coarse) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_a_bucket_that_is_hardly_wider() {
        for value in
            (0..60).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) + (1 << bit) / 3])
        {
            let top = highest(bucket(value));
            assert!(top >= value, "{value} {top}");
            assert!(top as f64 <= value as f64 * 1.016 + 1.0, "{value} {top}");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile_us(0.5), None);
        for value in 1..=1000 {
            histogram.record(value * 1000);
        }
        for (share, expected_us) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = histogram.quantile_us(share).unwrap();
            assert!((found - expected_us).abs() / expected_us < 0.017, "{share}: {found}");
        }
    }
}
