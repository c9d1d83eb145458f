//! Taking turns: one at a time for each key, and nothing kept for a key that nobody uses.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

type Waiting<K> = HashMap<K, Weak<tokio::sync::Mutex<()>>>;

/// Who takes turns, by key.
#[derive(Debug)]
pub struct Turns<K>(Mutex<Waiting<K>>);

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
    alone: Arc<tokio::sync::Mutex<()>>,
}

impl<K: Clone + Eq + Hash> Turns<K> {
    /// A place for this key; [`Place::turn`] waits for the turn.
    pub fn place<'a>(&'a self, key: &'a K) -> Place<'a, K> {
        let mut waiting = self.waiting();
        let known = waiting.get(key).and_then(Weak::upgrade);
        let alone = known.unwrap_or_else(|| {
            let alone = Arc::default();
            waiting.insert(key.clone(), Arc::downgrade(&alone));
            alone
        });
        Place { turns: self, key, alone }
    }
}

impl<K> Turns<K> {
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.waiting().is_empty()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Place<'_, K> {
    /// Waits until nobody else has the turn. Cancel safe.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.alone.lock().await
    }
}

impl<K: Eq + Hash> Drop for Place<'_, K> {
    fn drop(&mut self) {
        let mut waiting = self.turns.waiting();
        if Arc::strong_count(&self.alone) == 1 {
            waiting.remove(self.key);
        }
    }
}
