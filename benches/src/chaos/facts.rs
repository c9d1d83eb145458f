//! What may be true at a moment, where changes take time to begin, to be answered and to be heard of.

use std::time::{Duration, Instant};

/// A change to something that is either so or not.
#[derive(Clone, Copy, Debug)]
struct Change {
    to: bool,
    begun: Instant,
    /// When it was answered; until then it may have been made or not.
    answered: Option<Instant>,
}

/// Something that is either so or not. Changes of it come one after the other.
#[derive(Clone, Debug)]
pub struct Fact {
    initial: bool,
    changes: Vec<Change>,
}

impl Fact {
    /// It has been so for as long as anybody knows.
    pub fn always(value: bool) -> Self {
        Self { initial: value, changes: Vec::new() }
    }

    /// Somebody asks for a change.
    pub fn begin(&mut self, to: bool, at: Instant) {
        self.changes.push(Change { to, begun: at, answered: None });
    }

    /// The change that was begun last has been acknowledged.
    pub fn acknowledge(&mut self, at: Instant) {
        if let Some(last) = self.changes.last_mut().filter(|last| last.answered.is_none()) {
            last.answered = Some(at);
        }
    }

    /// The change that was begun last was not made, for certain.
    pub fn withdraw(&mut self) {
        self.changes.pop_if(|last| last.answered.is_none());
    }

    /// Whether it is known for certain, what it is now.
    pub fn settled(&self) -> Option<bool> {
        match self.changes.last() {
            None => Some(self.initial),
            Some(Change { answered: None, .. }) => None,
            Some(change) => Some(change.to),
        }
    }

    /// When it was acknowledged to be as it is; `None` if it always was, or is not settled.
    pub fn since(&self) -> Option<Instant> {
        self.changes.last().and_then(|change| change.answered)
    }

    /// Whether somebody who may be behind by `window` can have taken it for `value` at some moment
    /// between `from` and `to`.
    pub fn may_be(&self, value: bool, from: Instant, to: Instant, window: Duration) -> bool {
        let is_over =
            |change: &&Change| change.answered.is_some_and(|answered| answered + window < from);
        let settled = self.changes.iter().take_while(is_over).count();
        let before = self.changes[..settled].last().map_or(self.initial, |change| change.to);
        let mut later = self.changes[settled..].iter().filter(|change| change.begun <= to);
        before == value || later.any(|change| change.to == value)
    }
}

#[cfg(test)]
mod tests {
    use flowgate_bench::clock::now;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_change_is_both_until_everybody_must_know() {
        let start = now();
        let at = |seconds: u32| start + seconds * SECOND;
        let mut key = Fact::always(true);
        let may =
            |key: &Fact, value, seconds| key.may_be(value, at(seconds), at(seconds), 2 * SECOND);
        assert!(may(&key, true, 1) && !may(&key, false, 1));
        key.begin(false, at(10));
        assert!(may(&key, true, 9) && !may(&key, false, 9));
        assert!(may(&key, true, 100) && may(&key, false, 100), "nobody has answered");
        assert_eq!(key.settled(), None);
        key.acknowledge(at(11));
        assert!(may(&key, true, 13) && may(&key, false, 13));
        assert!(!may(&key, true, 14) && may(&key, false, 14));
        assert_eq!((key.settled(), key.since()), (Some(false), Some(at(11))));
    }

    #[test]
    fn what_was_not_made_never_was() {
        let start = now();
        let mut enabled = Fact::always(true);
        enabled.begin(false, start);
        enabled.withdraw();
        enabled.withdraw();
        assert!(!enabled.may_be(false, start, start + SECOND, SECOND));
        assert_eq!(enabled.settled(), Some(true));
    }

    #[test]
    fn back_and_forth_counts_as_both_for_as_long_as_somebody_is_behind() {
        let start = now();
        let at = |seconds: u32| start + seconds * SECOND;
        let mut enabled = Fact::always(true);
        for (second, to) in [(10, false), (12, true)] {
            enabled.begin(to, at(second));
            enabled.acknowledge(at(second + 1));
        }
        assert!(enabled.may_be(false, at(14), at(14), 2 * SECOND));
        assert!(enabled.may_be(true, at(14), at(14), 2 * SECOND));
        assert!(!enabled.may_be(false, at(16), at(16), 2 * SECOND));
    }
}
