//! A map with room for so many: what was put in longest ago makes room.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Entries in the order in which they were last put.
#[derive(Debug)]
pub struct Bounded<K, V> {
    entries: HashMap<K, (u64, V)>,
    /// The oldest first. A key that was put again is in it again; its first place counts no more.
    order: VecDeque<(u64, K)>,
    puts: u64,
    entries_max: usize,
}

impl<K: Copy + Eq + Hash, V> Bounded<K, V> {
    /// An empty one; at least one entry has room.
    #[must_use]
    pub fn new(entries_max: usize) -> Self {
        let (entries, order) = (HashMap::new(), VecDeque::new());
        Self { entries, order, puts: 0, entries_max: entries_max.max(1) }
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What was put there last.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// The same, to be changed; that makes it no younger.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|(_, value)| value)
    }

    /// Puts a value, as the youngest.
    pub fn put(&mut self, key: K, value: V) {
        if self.order.len() >= 2 * self.entries_max {
            let entries = &self.entries;
            self.order.retain(|(put, key)| entries.get(key).is_some_and(|(last, _)| last == put));
        }
        self.puts += 1;
        self.entries.insert(key, (self.puts, value));
        self.order.push_back((self.puts, key));
        while self.entries.len() > self.entries_max {
            let Some((put, oldest)) = self.order.pop_front() else { return };
            if self.entries.get(&oldest).is_some_and(|(last, _)| *last == put) {
                self.entries.remove(&oldest);
            }
        }
    }

    /// Takes one out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.entries.remove(key).map(|(_, value)| value)
    }

    /// Entries, and places in their order.
    #[cfg(test)]
    pub fn sizes(&self) -> (usize, usize) {
        (self.entries.len(), self.order.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let mut map = Bounded::new(3);
        for key in 0..3 {
            map.put(key, key * 10);
        }
        map.put(0, 5);
        map.put(3, 30);
        assert_eq!(map.get(&1), None, "0 was put again: 1 is the oldest");
        assert_eq!([0, 2, 3].map(|key| map.get(&key).copied()), [Some(5), Some(20), Some(30)]);
        assert_eq!(map.remove(&2), Some(20));
        map.put(4, 40);
        assert_eq!(map.sizes().0, 3);
    }

    #[test]
    fn it_stays_within_bounds_whatever_is_put() {
        let mut map = Bounded::new(4);
        for number in 0..10_000_u32 {
            map.put(number % 7 * (number % 3), number);
            if number % 5 == 0 {
                map.remove(&(number % 7));
            }
            let (entries, places) = map.sizes();
            assert!(entries <= 4 && places <= 8 && entries <= places);
        }
        let mut map = Bounded::new(4);
        map.put(0, 0);
        for number in 0..100 {
            map.put(1, number);
        }
        assert_eq!(
            (map.get(&0), map.get(&1)),
            (Some(&0), Some(&99)),
            "one makes no room for itself"
        );
    }
}
