//! Chance that can be had again: everything that is decided by it follows from one number.

use std::time::Duration;

/// A generator of numbers (SplitMix64: Steele, Lea, Flood, OOPSLA 2014); not for secrets.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// One that always says the same.
    pub fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// Another one for a purpose of its own, so that who rolls more often changes nothing for others.
    pub fn split(&mut self) -> Self {
        Self(self.next())
    }

    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// True `percent` times in a hundred.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// A span, in milliseconds from `least` to `most`.
    pub fn span_ms(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.next() % (most - least + 1))
    }

    /// One of these; `None` if there are none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }

    /// Puts them into another order.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_says_the_same() {
        let (mut first, mut second) = (Dice::from_seed(7), Dice::from_seed(7));
        assert!((0..100).all(|_| first.next() == second.next()));
        assert_ne!(Dice::from_seed(8).next(), Dice::from_seed(7).next());
    }

    #[test]
    fn an_order_keeps_everything() {
        let mut all: Vec<usize> = (0..50).collect();
        Dice::from_seed(1).shuffle(&mut all);
        assert_ne!(all, (0..50).collect::<Vec<_>>());
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
    }
}
