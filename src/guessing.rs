//! Guessing passwords: who was wrong too often waits, longer each time, before another password of
//! theirs is looked at.
//!
//! Failures are counted by (name, address), so that a guesser makes nobody wait but themselves, and by
//! address over all names. An address is an IPv4 address or an IPv6 /64. A name counts as it was given,
//! whether there is such a tenant or not: the answers and their times are the same.
//!
//! # Bounds
//!
//! [`ENTRIES_MAX`] counts of passwords; the one that rose longest ago makes room. Only a password that bcrypt has
//! found wrong makes an entry, so to have one forgotten takes as many wrong passwords for other names or
//! from other addresses, at the pool's pace: far more than the few free ones that it gives back.
//! Attempts under way are counted beside that, and are as many as have a place in the pool's queue.
//!
//! # Other replicas
//!
//! A count that matters is told to the others through the registry, and asked for whenever one of its
//! passwords is checked: never for attempts that are turned away. See [`crate::registry::guesses`].

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use crate::client::network;
use crate::clock::Millis;

pub mod bounded;
pub mod count;

use bounded::Bounded;
use count::{Count, Law, Told};

/// Counts of passwords that are kept.
pub const ENTRIES_MAX: usize = 65_536;
/// For how long an address from which a name was logged in counts as known for it.
const KNOWN_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// (name, address) that are known.
const KNOWN_MAX: usize = 65_536;
/// Counts that wait for the registry; it need not hear of more.
const NEWS_MAX: usize = 1024;

/// Who wants to be whom.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The username as it was given.
    pub name: &'a str,
    /// From where.
    pub client: IpAddr,
}

/// What a count is of, the same on every replica. It tells neither name nor address.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    law: Law,
    digest: [u8; 16],
}

impl Key {
    fn new(law: Law, name: &str, client: IpAddr) -> Self {
        let mut hash = Sha256::new();
        hash.update([law as u8]);
        hash.update(network(client).to_string());
        hash.update([0]);
        hash.update(name);
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash.finalize()[..16]);
        Self { law, digest }
    }

    /// Tells names apart, wherever they are claimed.
    #[must_use]
    pub fn of_name(name: &str) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&Sha256::digest(name)[..8]);
        u64::from_be_bytes(first)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.law)
    }
}

/// A password that is about to be looked at.
#[derive(Clone, Copy, Debug)]
pub struct Guess {
    pair: Key,
    address: Key,
    /// Tells passwords of this claim apart, and changes with the stored hash.
    mark: u64,
}

impl Guess {
    /// The mark is of stored hash and password, and keyed: see [`crate::passwords`].
    #[must_use]
    pub fn new(claim: Claim<'_>, mark: u64) -> Self {
        Self {
            pair: Key::new(Law::Pair, claim.name, claim.client),
            address: Key::new(Law::Address, "", claim.client),
            mark,
        }
    }

    /// The same for the same password of the same name from the same address.
    #[must_use]
    pub fn flight(&self) -> (Key, u64) {
        (self.pair, self.mark)
    }
}

/// What is to be done about a password.
#[derive(Debug)]
pub enum Ruling {
    /// Look at it.
    Look(Attempt),
    /// It has just been wrong, and still is.
    Wrong,
    /// Do not look at it before that time is over.
    Later(Duration),
}

/// The counts of a process.
#[derive(Debug)]
pub struct Guessing {
    counts: Mutex<Bounded<Key, Count>>,
    pending: Mutex<HashMap<Key, u32>>,
    known: Mutex<Bounded<Key, Millis>>,
    news: Mutex<News>,
    /// There is something for the registry.
    pub told: Notify,
    is_shared: AtomicBool,
}

#[derive(Debug, Default)]
struct News {
    order: VecDeque<Key>,
    keys: HashSet<Key>,
    /// Those that are to be forgotten by all.
    forgiven: HashSet<Key>,
}

impl Default for Guessing {
    fn default() -> Self {
        Self::with_room(ENTRIES_MAX, KNOWN_MAX)
    }
}

impl Guessing {
    /// One that keeps so many counts, and so many (name, address) that are known.
    #[must_use]
    pub fn with_room(entries_max: usize, known_max: usize) -> Self {
        Self {
            counts: Mutex::new(Bounded::new(entries_max)),
            pending: Mutex::default(),
            known: Mutex::new(Bounded::new(known_max)),
            news: Mutex::default(),
            told: Notify::new(),
            is_shared: AtomicBool::new(false),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Guessing {
    /// The count as it is now; an empty one if there is none.
    fn count(&self, key: Key, now: Millis) -> Count {
        let mut count = lock(&self.counts).get(&key).copied().unwrap_or_default();
        count.age(key.law, now);
        count
    }

    /// Whether nobody was ever wrong, so that nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        lock(&self.counts).is_empty()
    }

    /// Whether this name was logged in from this address lately.
    #[must_use]
    pub fn is_known(&self, guess: &Guess, now: Millis) -> bool {
        lock(&self.known).get(&guess.pair).is_some_and(|until| now < *until)
    }

    /// Whether a password of this claim that was right lately need not wait: where the name was logged in
    /// before, unless so many have come too early that it would be found out in this way.
    #[must_use]
    pub fn may_be_remembered(&self, guess: &Guess, now: Millis) -> bool {
        self.is_known(guess, now) && self.count(guess.pair, now).has_early_left(now)
    }

    /// A password that is not remembered came in a wait.
    pub fn come_early(&self, guess: &Guess, now: Millis) {
        if let Some(count) = lock(&self.counts).get_mut(&guess.pair) {
            count.come_early(guess.mark, now);
        }
    }

    /// The name was logged in from there, or its password was set.
    pub fn welcome(&self, claim: Claim<'_>, now: Millis) {
        let pair = Key::new(Law::Pair, claim.name, claim.client);
        lock(&self.known).put(pair, now.plus(KNOWN_FOR));
    }

    /// How often this address was wrong lately, over all names: who was less often goes first. That is
    /// not forgiven as soon as a limit is: a thousand addresses take turns for minutes.
    #[must_use]
    pub fn tries(&self, guess: &Guess, now: Millis) -> u32 {
        self.count(guess.address, now).lately(now)
    }

    /// How long an attempt would have to wait; `None` for not at all. Counts nothing.
    #[must_use]
    pub fn wait(&self, guess: &Guess, now: Millis) -> Option<Duration> {
        let pending = |key: Key| lock(&self.pending).get(&key).copied().unwrap_or_default();
        let pair = self.count(guess.pair, now).wait(Law::Pair, pending(guess.pair), now);
        pair.or_else(|| match self.is_known(guess, now) {
            // What others do at this address is not theirs.
            true => None,
            false => self.count(guess.address, now).wait(Law::Address, pending(guess.address), now),
        })
    }

    /// Decides about a password. One that `was_right` lately is looked at in any case.
    pub fn rule(self: &Arc<Self>, guess: Guess, was_right: bool, now: Millis) -> Ruling {
        if !was_right {
            let mut counts = lock(&self.counts);
            if let Some(count) = counts.get_mut(&guess.pair) {
                count.age(Law::Pair, now);
                if count.is_known(guess.mark) {
                    return match count.repeat(now) {
                        Ok(()) => Ruling::Wrong,
                        Err(wait) => Ruling::Later(wait),
                    };
                }
            }
            drop(counts);
            if let Some(wait) = self.wait(&guess, now) {
                return Ruling::Later(wait);
            }
        }
        let mut pending = lock(&self.pending);
        for key in [guess.pair, guess.address] {
            *pending.entry(key).or_default() += 1;
        }
        Ruling::Look(Attempt { guessing: Arc::clone(self), guess, was_right })
    }

    fn fail(&self, guess: &Guess, now: Millis) {
        for key in [guess.pair, guess.address] {
            let mut counts = lock(&self.counts);
            let mut count = counts.get(&key).copied().unwrap_or_default();
            count.age(key.law, now);
            count.fail(key.law, guess.mark, now);
            counts.put(key, count);
            drop(counts);
            if count.is_news(key.law) {
                self.note(key, false);
            }
        }
    }

    /// The right password makes the (name, address) known.
    fn succeed(&self, guess: &Guess, now: Millis) {
        lock(&self.known).put(guess.pair, now.plus(KNOWN_FOR));
    }

    /// The (name, address) begins anew. The address does not: an account of one's own must not buy
    /// guesses at others'.
    fn forgive(&self, guess: &Guess) {
        let forgiven = lock(&self.counts).remove(&guess.pair);
        if forgiven.is_some_and(|count| count.is_told() || count.is_news(Law::Pair)) {
            self.note(guess.pair, true);
        }
    }
}

/// Counts as under way until it is dropped.
#[derive(Debug)]
pub struct Attempt {
    guessing: Arc<Guessing>,
    guess: Guess,
    was_right: bool,
}

impl Attempt {
    /// The password is being checked now: what other replicas know is of use soon.
    pub fn begin(&self) {
        self.guessing.note(self.guess.pair, false);
        self.guessing.note(self.guess.address, false);
    }

    /// What came of it.
    pub fn settle(self, is_right: bool, now: Millis) {
        if !is_right {
            self.guessing.fail(&self.guess, now);
            return;
        }
        self.guessing.succeed(&self.guess, now);
        // A device that logs in all day must not give guesses back to whoever shares its address.
        if !self.was_right {
            self.guessing.forgive(&self.guess);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut pending = lock(&self.guessing.pending);
        for key in [self.guess.pair, self.guess.address] {
            if let Some(count) = pending.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    pending.remove(&key);
                }
            }
        }
    }
}

/// What has to do with other replicas.
impl Guessing {
    /// There are others from now on.
    pub fn share(&self) {
        self.is_shared.store(true, Ordering::Relaxed);
    }

    fn note(&self, key: Key, is_forgiven: bool) {
        if !self.is_shared.load(Ordering::Relaxed) {
            return;
        }
        let mut news = lock(&self.news);
        if news.keys.len() >= NEWS_MAX && !news.keys.contains(&key) {
            return;
        }
        if news.keys.insert(key) {
            news.order.push_back(key);
        }
        if is_forgiven {
            news.forgiven.insert(key);
        }
        drop(news);
        self.told.notify_one();
    }

    /// The next count for the registry, and whether all should forget it.
    pub fn next_news(&self) -> Option<(Key, bool)> {
        let mut news = lock(&self.news);
        let key = news.order.pop_front()?;
        news.keys.remove(&key);
        let is_forgiven = news.forgiven.remove(&key);
        Some((key, is_forgiven))
    }

    /// Takes in what the registry says. Returns what it should say instead, with the failures that are
    /// new in it.
    pub fn learn(&self, key: Key, told: Option<Told>, now: Millis) -> Option<(Told, u32)> {
        let mut counts = lock(&self.counts);
        if let Some(count) = counts.get_mut(&key) {
            count.age(key.law, now);
            return count.learn(key.law, told, now);
        }
        let told = told?;
        let mut count = Count::default();
        count.learn(key.law, Some(told), now);
        if count.failures() > 0 {
            counts.put(key, count);
        }
        None
    }

    /// The registry did not take it.
    pub fn untell(&self, key: Key, failures: u32) {
        if let Some(count) = lock(&self.counts).get_mut(&key) {
            count.untell(failures);
        }
    }
}

#[cfg(test)]
mod tests;
