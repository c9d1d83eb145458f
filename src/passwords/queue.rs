//! Who waits for bcrypt, and who is next.
//!
//! - Checks of names from addresses where they are known go before strangers', though every fourth turn
//!   is a stranger's.
//! - Within both, who was wrong less often lately goes first, but for each fifth turn, and of those who
//!   were as often, addresses take turns (start-time fair queueing).
//! - Whoever wants to be one tenant has a share of the pool's time and no more: all strangers one, all who
//!   are known another.
//! - Within a lane, the name that used least of it lately goes first: who wants to be somebody else does
//!   not wait behind a crowd of guesses at one.
//! - Where there is no room, a check of the name that most wait for goes, of an address that was wrong most
//!   often lately: guesses at one name cannot take the places of all others, nor a crowd of guessers the
//!   place of somebody who has not guessed.
//! - The same password of the same name from the same address is checked once for all who wait for it.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::Verdict;
use super::memory::Digest;
use crate::clock::{Clock, Micros};
use crate::guessing::{Attempt, Key};
use crate::secret::Secret;

/// Checks and hashes of each lane that may wait.
pub(super) const LANE_MAX: usize = 128;
/// Of those, from one address.
pub(super) const PER_ADDRESS_MAX: usize = 8;
/// Who may wait for one check.
const WAITERS_MAX: usize = 1024;
/// One part in so many of the pool's processor time is what a lane may use for one name.
const SHARE: u64 = 4;
/// What it may use at once, for each thread.
const SHARE_BURST_MICROS: u64 = 2_000_000;
/// Whoever has waited for so long is told that there is too much to do.
const WAIT_MICROS_MAX: u64 = 30_000_000;
/// Addresses whose last turn is remembered, in each lane.
const LAST_MAX: usize = 4 * LANE_MAX;
/// Every so many-th turn is a stranger's, if there is one.
const STRANGERS_TURN: u32 = 4;
/// Every so many-th turn goes by without asking how often anybody was wrong.
const ANYBODYS_TURN: u32 = 5;
/// How often it is looked again whether a name's share allows it.
const SHARE_LOOK: Duration = Duration::from_millis(50);

pub(super) type Flight = (Key, u64);
/// Whose share of the pool's time a check uses: strangers' or not, and the name.
pub(super) type Share = (bool, u64);
pub(super) type Done = oneshot::Sender<Verdict>;
pub(super) type Hashed = Result<String, &'static str>;

/// What the pool does.
#[derive(Debug)]
pub(super) enum Work {
    Check(Check),
    Hash { password: Secret, done: oneshot::Sender<Hashed> },
}

#[derive(Debug)]
pub(super) struct Check {
    pub hash: std::sync::Arc<str>,
    pub password: Secret,
    pub digest: Digest,
    pub flight: Flight,
    pub waiters: Vec<Done>,
    /// `None` for a check that is no guess of anybody's.
    pub attempt: Option<Attempt>,
}

/// Work with all that decides when it is its turn.
#[derive(Debug)]
pub(super) struct Job {
    pub network: IpAddr,
    /// Whose password is guessed; `None` if it is no guess.
    pub name: Option<u64>,
    pub is_stranger: bool,
    /// How often the address was wrong lately.
    pub tries: u32,
    /// Its turn in its lane; the queue gives it.
    pub turn: u64,
    /// When it came; the queue notes that.
    pub came: Micros,
    pub work: Work,
}

impl Job {
    /// Work for an address that has not been wrong.
    pub(super) fn new(network: IpAddr, is_stranger: bool, work: Work) -> Self {
        Self { network, name: None, is_stranger, tries: 0, turn: 0, came: Micros(0), work }
    }

    /// Nobody waits for it any more, or they have waited for too long.
    fn is_over(&self, now: Micros) -> bool {
        let is_left = match &self.work {
            Work::Check(check) => check.waiters.iter().all(oneshot::Sender::is_closed),
            Work::Hash { done, .. } => done.is_closed(),
        };
        is_left || now.since(self.came) >= WAIT_MICROS_MAX
    }

    pub(super) fn share(&self) -> Option<Share> {
        self.name.map(|name| (self.is_stranger, name))
    }

    fn flight(&self) -> Option<Flight> {
        match &self.work {
            Work::Check(check) => Some(check.flight),
            Work::Hash { .. } => None,
        }
    }
}

/// What became of a check that was brought.
#[derive(Debug)]
pub(super) enum Entered<T> {
    /// It waits, maybe with others for the same.
    Waits,
    /// There is no room for it.
    Full,
    /// It was not to be looked at.
    Ruled(T),
}

/// The turns of one lane.
#[derive(Debug, Default)]
struct Lane {
    /// The turn of the job that was taken last.
    now: u64,
    /// The last turn of each address that has one to come.
    last: HashMap<IpAddr, u64>,
}

impl Lane {
    fn turn(&self, job: &Job) -> u64 {
        let last = self.last.get(&job.network).copied().unwrap_or_default();
        last.max(self.now) + 1
    }

    fn reach(&mut self, turn: u64) {
        self.now = self.now.max(turn);
        self.last.retain(|_, last| *last > turn);
    }
}

#[derive(Debug, Default)]
struct State {
    /// In the order of their arrival.
    waiting: Vec<Job>,
    /// Of those who are known, and of strangers.
    lanes: [Lane; 2],
    running: Vec<(Flight, Vec<Done>)>,
    /// Processor time that was used, as of a moment; drains by itself.
    used: HashMap<Share, (u64, Micros)>,
    turns: u32,
    is_closed: bool,
}

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    came: Condvar,
    clock: Clock,
    threads: u64,
}

impl Queue {
    pub(super) fn new(clock: Clock, threads: usize) -> Self {
        let state = Mutex::default();
        Self { state, came: Condvar::new(), clock, threads: threads.max(1) as u64 }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings a check. If the same is under way, `done` waits for that one; else `rule` makes the job,
    /// one at a time, or says why not.
    pub(super) fn enter<T>(
        &self,
        flight: Flight,
        done: Done,
        rule: impl FnOnce(Done) -> Result<Job, T>,
    ) -> Entered<T> {
        let mut state = self.lock();
        if let Some(waiters) = state.waiters_of(flight) {
            if waiters.len() >= WAITERS_MAX {
                return Entered::Full;
            }
            waiters.push(done);
            return Entered::Waits;
        }
        match rule(done) {
            Err(why) => Entered::Ruled(why),
            Ok(job) => self.push(state, job),
        }
    }

    /// Brings what is always to be done.
    pub(super) fn put<T>(&self, job: Job) -> Entered<T> {
        self.push(self.lock(), job)
    }

    fn push<T>(&self, mut state: MutexGuard<'_, State>, mut job: Job) -> Entered<T> {
        job.came = self.clock.micros();
        job.turn = state.lanes[usize::from(job.is_stranger)].turn(&job);
        if !state.make_room(&job) {
            return Entered::Full;
        }
        state.wait(job);
        drop(state);
        self.came.notify_one();
        Entered::Waits
    }

    /// The next job; blocks until there is one. `None` after [`Queue::close`].
    pub(super) fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            let now = self.clock.micros();
            state.waiting.retain(|job| !job.is_over(now));
            if let Some(place) = state.next(now, self.threads) {
                let mut job = state.waiting.remove(place);
                state.lanes[usize::from(job.is_stranger)].reach(job.turn);
                state.turns = state.turns.wrapping_add(1);
                if let Work::Check(check) = &mut job.work {
                    state.running.push((check.flight, std::mem::take(&mut check.waiters)));
                }
                return Some(job);
            }
            if state.is_closed {
                return None;
            }
            state = if state.waiting.is_empty() {
                self.came.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                let woken = self.came.wait_timeout(state, SHARE_LOOK);
                woken.unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }

    /// A check is over after so much processor time; returns who waits for it.
    pub(super) fn finish(
        &self,
        flight: Flight,
        charged_to: Option<Share>,
        micros: u64,
    ) -> Vec<Done> {
        let now = self.clock.micros();
        let mut state = self.lock();
        if let Some(share) = charged_to {
            let threads = self.threads;
            state.used.retain(|_, used| drained(*used, now, threads) > 0);
            let used = state.used.entry(share).or_insert((0, now));
            *used = (drained(*used, now, threads).saturating_add(micros), now);
        }
        let place = state.running.iter().position(|(running, _)| *running == flight);
        place.map(|place| state.running.swap_remove(place).1).unwrap_or_default()
    }

    /// What waits is done, then the threads end.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.came.notify_all();
    }

    /// How many wait or are worked on.
    pub(super) fn count(&self) -> usize {
        let state = self.lock();
        state.waiting.len() + state.running.len()
    }
}

fn drained((used, at): (u64, Micros), now: Micros, threads: u64) -> u64 {
    used.saturating_sub(now.since(at).saturating_mul(threads) / SHARE)
}

impl State {
    fn waiters_of(&mut self, flight: Flight) -> Option<&mut Vec<Done>> {
        let running = self.running.iter_mut().find(|(running, _)| *running == flight);
        if let Some((_, waiters)) = running {
            return Some(waiters);
        }
        self.waiting.iter_mut().find_map(|job| match &mut job.work {
            Work::Check(check) if check.flight == flight => Some(&mut check.waiters),
            _ => None,
        })
    }

    /// Takes a job in, for which there is room.
    fn wait(&mut self, job: Job) {
        let is_stranger = job.is_stranger;
        let last = &mut self.lanes[usize::from(is_stranger)].last;
        last.insert(job.network, job.turn);
        self.waiting.push(job);
        if last.len() > LAST_MAX {
            let beside = self.waiting.iter().filter(|job| job.is_stranger == is_stranger);
            let networks: HashSet<IpAddr> = beside.map(|job| job.network).collect();
            last.retain(|network, _| networks.contains(network));
        }
    }

    /// Makes room for a job, if need be by another of its lane. Whether there is some.
    fn make_room(&mut self, job: &Job) -> bool {
        let is_beside = |other: &&Job| other.is_stranger == job.is_stranger;
        let beside = |state: &Self| {
            let of_address = |other: &&Job| is_beside(other) && other.network == job.network;
            let lane = state.waiting.iter().filter(is_beside).count();
            (lane, state.waiting.iter().filter(of_address).count())
        };
        let (mut lane, mut of_address) = beside(self);
        if lane >= LANE_MAX || of_address >= PER_ADDRESS_MAX {
            self.waiting.retain(|other| !other.is_over(job.came));
            (lane, of_address) = beside(self);
        }
        if of_address >= PER_ADDRESS_MAX {
            return false;
        }
        if lane < LANE_MAX {
            return true;
        }
        let mut crowds: HashMap<Share, usize> = HashMap::new();
        for share in self.waiting.iter().chain([job]).filter_map(Job::share) {
            *crowds.entry(share).or_default() += 1;
        }
        let crowd = |one: &Job| one.share().and_then(|share| crowds.get(&share).copied());
        let rank = |one: &Job| (crowd(one), one.tries, one.turn);
        let last = (0..self.waiting.len())
            .filter(|place| is_beside(&&self.waiting[*place]))
            .max_by_key(|place| (rank(&self.waiting[*place]), *place));
        match last.filter(|last| rank(&self.waiting[*last]) > rank(job)) {
            // Whoever waits for it is told that there is no room.
            Some(last) => drop(self.waiting.remove(last)),
            None => return false,
        }
        true
    }

    /// Whose turn it is.
    fn next(&self, now: Micros, threads: u64) -> Option<usize> {
        let burst = SHARE_BURST_MICROS * threads;
        let may = |job: &Job| {
            let used = job.share().and_then(|share| self.used.get(&share));
            used.is_none_or(|used| drained(*used, now, threads) < burst)
        };
        let is_strangers = self.turns % STRANGERS_TURN == STRANGERS_TURN - 1;
        let is_anybodys = self.turns % ANYBODYS_TURN == ANYBODYS_TURN - 1;
        (0..self.waiting.len()).filter(|place| may(&self.waiting[*place])).min_by_key(|place| {
            let job = &self.waiting[*place];
            let used = job.share().and_then(|share| self.used.get(&share));
            let used = used.map_or(0, |used| drained(*used, now, threads));
            let tries = if is_anybodys { 0 } else { job.tries };
            (job.is_stranger != is_strangers, used, tries, job.turn, *place)
        })
    }
}

/// Removes a check from those that run, also if its thread dies over it.
pub(super) struct Running<'a> {
    pub queue: &'a Queue,
    pub flight: Option<Flight>,
}

impl<'a> Running<'a> {
    pub(super) fn of(queue: &'a Queue, job: &Job) -> Self {
        Self { queue, flight: job.flight() }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(flight) = self.flight {
            self.queue.finish(flight, None, 0);
        }
    }
}

#[cfg(test)]
mod tests;
