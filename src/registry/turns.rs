//! Taking turns: one at a time for each key, and nothing kept for a key that nobody uses.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who takes turns, by key.
#[derive(Debug)]
pub struct Turns<K>(Mutex<HashMap<K, Crowd>>);

/// Those who use the same key. Counted under the lock: the last one's own hold on `alone` ends
/// outside of it.
#[derive(Debug, Default)]
struct Crowd {
    places: usize,
    alone: Arc<tokio::sync::Mutex<()>>,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// A place among those who use the same key. The last one to go takes the key along.
#[derive(Debug)]
pub struct Place<'a, K: Eq + Hash> {
    turns: &'a Turns<K>,
    key: &'a K,
    /// How many there were when it was taken, with it.
    pub number: usize,
    alone: Arc<tokio::sync::Mutex<()>>,
}

impl<K: Clone + Eq + Hash> Turns<K> {
    /// A place for this key; [`Place::turn`] waits for the turn.
    pub fn place<'a>(&'a self, key: &'a K) -> Place<'a, K> {
        let mut crowds = self.crowds();
        let crowd = crowds.entry(key.clone()).or_default();
        crowd.places += 1;
        Place { turns: self, key, number: crowd.places, alone: Arc::clone(&crowd.alone) }
    }
}

impl<K> Turns<K> {
    /// Whether nobody uses any key.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.crowds().is_empty()
    }

    fn crowds(&self) -> MutexGuard<'_, HashMap<K, Crowd>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Place<'_, K> {
    /// Waits until nobody else has the turn. Cancel safe.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.alone.lock().await
    }
}

/// A place whose turn it is, until it is dropped.
#[derive(Debug)]
pub struct Turn<'a, K: Eq + Hash> {
    _alone: tokio::sync::OwnedMutexGuard<()>,
    _place: Place<'a, K>,
}

impl<'a, K: Eq + Hash> Place<'a, K> {
    /// Waits as [`Place::turn`] does, and keeps the place with the turn.
    pub async fn into_turn(self) -> Turn<'a, K> {
        let alone = Arc::clone(&self.alone).lock_owned().await;
        Turn { _alone: alone, _place: self }
    }
}

impl<K: Eq + Hash> Drop for Place<'_, K> {
    fn drop(&mut self) {
        let mut crowds = self.turns.crowds();
        if let Some(crowd) = crowds.get_mut(self.key) {
            crowd.places -= 1;
            if crowd.places == 0 {
                crowds.remove(self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn nothing_is_kept_when_two_go_at_once() {
        let turns = Turns::<u32>::default();
        let arrived = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for key in 0..20_000 {
                        let place = turns.place(&key);
                        arrived.fetch_add(1, Ordering::SeqCst);
                        while arrived.load(Ordering::SeqCst) < 2 * (key as usize + 1) {
                            std::thread::yield_now();
                        }
                        drop(place);
                    }
                });
            }
        });
        assert!(turns.is_empty());
    }
}
