//! Passwords: bcrypt on threads of its own, and a memory of what was right, so that a device which
//! reconnects costs no bcrypt.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::oneshot;

use crate::client::network;
use crate::clock::{Clock, Millis};
use crate::metrics::{Latencies, Spans, Tally};
use crate::secret::Secret;
use crate::tenant::Password;

/// bcrypt's work factor for new hashes.
pub const COST: u32 = 12;
/// bcrypt ignores what is behind its 72nd byte, so longer passwords are refused.
pub const PASSWORD_BYTES_MAX: usize = 72;
/// Passwords that may wait to be checked.
const QUEUE_MAX: usize = 128;
/// Of those, from one address: who sends many must not make the others wait.
const WAITING_PER_ADDRESS_MAX: u32 = 8;
/// For how long a right password is remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(5 * 60);
/// How many are remembered.
const REMEMBERED_MAX: usize = 65_536;
/// Below everything that relays.
const NICE: i32 = 10;

/// What came of checking a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the one.
    Right,
    /// It is not, or there is none.
    Wrong,
    /// Too many are waiting.
    Busy,
    /// It is the one: somebody else's check has just found that.
    Remembered,
}

/// What the pool was asked since the start, and what waits for it.
#[derive(Clone, Debug)]
pub struct Counts {
    /// Checks by what came of them: `right`, `wrong`, `busy`, `remembered`.
    pub checks: [(&'static str, u64); 4],
    /// How long those took that bcrypt decided, waiting included.
    pub durations: Spans,
    /// Checks and hashes that wait or are worked on.
    pub waiting: u32,
    /// How many may wait.
    pub waiting_max: usize,
}

/// The pool and the memory.
#[derive(Debug)]
pub struct Passwords {
    queue: SyncSender<Job>,
    memory: Arc<Memory>,
    waiting: Waiting,
    /// Right, wrong, busy, remembered.
    verdicts: Tally<4>,
    durations: Latencies,
    /// What an unknown tenant's password is checked against; nobody knows what it is the hash of.
    decoy: Password,
}

#[derive(Debug)]
enum Job {
    Check { hash: Arc<str>, password: Secret, digest: Digest, done: oneshot::Sender<Verdict> },
    Hash { password: Secret, done: oneshot::Sender<Result<String, &'static str>> },
}

impl Passwords {
    /// Starts the pool: half the cores, at low priority.
    ///
    /// # Errors
    /// The system gives no thread or no randomness.
    pub fn start(clock: Clock) -> io::Result<Self> {
        let secret = format!("{:016x}{:016x}", getrandom::u64()?, getrandom::u64()?);
        let decoy = hash_bytes(secret.as_bytes()).map_err(io::Error::other)?;
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let memory = Arc::new(Memory { key, clock, right: Mutex::default() });
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let jobs = Arc::new(Mutex::new(jobs));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for number in 0..(cores / 2).max(1) {
            let (jobs, memory) = (Arc::clone(&jobs), Arc::clone(&memory));
            std::thread::Builder::new()
                .name(format!("passwords-{number}"))
                .spawn(move || check_all(&jobs, &memory))?;
        }
        Ok(Self {
            queue,
            memory,
            waiting: Waiting::default(),
            verdicts: Tally::default(),
            durations: Latencies::default(),
            decoy: Password::from_hash(&decoy, 0),
        })
    }

    /// Whether a password was right a short while ago, so that checking it takes no time.
    #[must_use]
    pub fn remembers(&self, stored: &Password, password: &Secret) -> bool {
        self.memory.knows(&self.memory.digest(stored.hash(), password))
    }

    /// Checks a password against a tenant's hash; `None` does the same work for nothing.
    /// Cancel safe: a check that nobody waits for any more is skipped.
    pub async fn verify(
        &self,
        stored: Option<&Password>,
        password: &Secret,
        client: IpAddr,
    ) -> Verdict {
        // bcrypt would not see what is behind the 72nd byte, and "a\0a" would be as right as "a".
        let is_possible = check(password).is_ok();
        let hash = match stored {
            Some(stored) if is_possible => stored.hash(),
            _ => self.decoy.hash(),
        };
        let digest = self.memory.digest(hash, password);
        if self.memory.knows(&digest) {
            self.verdicts.add(Verdict::Remembered as usize);
            return Verdict::Remembered;
        }
        // The decoy's work is to be done all the same.
        let password = if is_possible { password.clone() } else { Secret::new(String::new()) };
        let began = self.memory.clock.micros();
        let verdict = self.check(Arc::clone(hash), password, digest, client).await;
        self.verdicts.add(verdict as usize);
        if matches!(verdict, Verdict::Right | Verdict::Wrong) {
            self.durations.note(self.memory.clock.micros().since(began));
        }
        verdict
    }

    /// Has the pool check a password.
    async fn check(
        &self,
        hash: Arc<str>,
        password: Secret,
        digest: Digest,
        client: IpAddr,
    ) -> Verdict {
        let Some(_place) = self.waiting.enter(client) else { return Verdict::Busy };
        let (done, answer) = oneshot::channel();
        let job = Job::Check { hash, password, digest, done };
        if self.queue.try_send(job).is_err() {
            return Verdict::Busy;
        }
        // A thread that died over it says nothing about the password.
        answer.await.unwrap_or(Verdict::Busy)
    }
}

impl Passwords {
    /// What it was asked, and what waits.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let [right, wrong, busy, remembered] = self.verdicts.sums();
        Counts {
            checks: [
                ("right", right),
                ("wrong", wrong),
                ("busy", busy),
                ("remembered", remembered),
            ],
            durations: self.durations.spans(),
            waiting: self.waiting.count(),
            waiting_max: QUEUE_MAX,
        }
    }

    /// Remembers a password whose hash has just been made of it.
    pub fn remember(&self, stored: &Password, password: &Secret) {
        self.memory.remember(self.memory.digest(stored.hash(), password));
    }

    /// Hashes a new password, in turn with the checks.
    ///
    /// # Errors
    /// See [`check`]; `Err(None)` if too many are waiting.
    pub async fn hash(
        &self,
        password: &Secret,
        client: IpAddr,
    ) -> Result<String, Option<&'static str>> {
        let _place = self.waiting.enter(client).ok_or(None)?;
        let (done, answer) = oneshot::channel();
        let job = Job::Hash { password: password.clone(), done };
        self.queue.try_send(job).map_err(|_| None)?;
        answer.await.map_err(|_| None)?.map_err(Some)
    }
}

/// How many checks wait, by the network they came from.
#[derive(Debug, Default)]
struct Waiting(Mutex<HashMap<IpAddr, u32>>);

/// A place among those; given back when dropped.
struct Place<'a>(&'a Waiting, IpAddr);

impl Waiting {
    fn enter(&self, client: IpAddr) -> Option<Place<'_>> {
        let network = network(client);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(network).or_default();
        if *count >= WAITING_PER_ADDRESS_MAX {
            return None;
        }
        *count += 1;
        Some(Place(self, network))
    }

    fn count(&self) -> u32 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut counts = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = counts.entry(self.1) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// The life of one thread: until the queue's sender is dropped.
fn check_all(jobs: &Mutex<Receiver<Job>>, memory: &Memory) {
    // Without the right to it, or elsewhere than on Linux, the pool runs at normal priority.
    let _ = rustix::process::setpriority_process(None, NICE);
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Err(_) => return,
            Ok(Job::Check { done, .. }) if done.is_closed() => {}
            Ok(Job::Hash { done, .. }) if done.is_closed() => {}
            Ok(Job::Check { hash, password, digest, done }) => {
                let _ = done.send(check_one(memory, &hash, &password, digest));
            }
            Ok(Job::Hash { password, done }) => {
                let _ = done.send(hash(&password));
            }
        }
    }
}

fn check_one(memory: &Memory, hash: &str, password: &Secret, digest: Digest) -> Verdict {
    // Many devices of one tenant may have queued up with the same password.
    if memory.knows(&digest) {
        return Verdict::Remembered;
    }
    if is_right(password, hash) {
        memory.remember(digest);
        return Verdict::Right;
    }
    even_out(hash);
    Verdict::Wrong
}

/// Whether a password is the one of a hash. Takes as long as the hash's cost says.
#[must_use]
pub fn is_right(password: &Secret, hash: &str) -> bool {
    bcrypt::verify(password.expose(), hash).unwrap_or(false)
}

/// Whether a hash was made with another cost than new ones are.
#[must_use]
pub fn is_outdated(hash: &str) -> bool {
    let parts: Result<bcrypt::HashParts, _> = hash.parse();
    parts.is_ok_and(|parts| parts.get_cost() != COST)
}

/// Lets a wrong password take as long as an unknown tenant's, whose decoy costs [`COST`]: an imported
/// hash may cost less. Each cost is twice the one below, so a check and all costs from its own up to
/// 11 make one of 12.
fn even_out(hash: &str) {
    let parts: Result<bcrypt::HashParts, _> = hash.parse();
    for cost in parts.map_or(COST, |parts| parts.get_cost())..COST {
        let _ = bcrypt::hash("", cost);
    }
}

type Digest = [u8; 32];

/// Passwords that were right a short while ago, as keyed digests that cover the stored hash: they
/// tell nothing without the key, and a changed hash forgets them.
#[derive(Debug)]
struct Memory {
    key: [u8; 32],
    clock: Clock,
    right: Mutex<Right>,
}

#[derive(Debug, Default)]
struct Right {
    until: HashMap<Digest, Millis>,
    /// In the order of their ends, since all live equally long.
    order: VecDeque<(Millis, Digest)>,
}

impl Memory {
    fn digest(&self, hash: &str, password: &Secret) -> Digest {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).unwrap_or_else(|_| {
            // HMAC takes keys of every length.
            unreachable!("a 32-byte key was refused")
        });
        mac.update(hash.as_bytes());
        mac.update(&[0]);
        mac.update(password.expose().as_bytes());
        mac.finalize().into_bytes().into()
    }

    fn knows(&self, digest: &Digest) -> bool {
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.until.get(digest).is_some_and(|until| self.clock.now() < *until)
    }

    fn remember(&self, digest: Digest) {
        let now = self.clock.now();
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(&(until, oldest)) = right.order.front()
            && (until <= now || right.order.len() >= REMEMBERED_MAX)
        {
            right.order.pop_front();
            // It may have been remembered again since.
            if right.until.get(&oldest) == Some(&until) {
                right.until.remove(&oldest);
            }
        }
        let until = now.plus(REMEMBERED_FOR);
        right.until.insert(digest, until);
        right.order.push_back((until, digest));
    }
}

/// Says whether a text can be a password.
///
/// # Errors
/// Empty, longer than 72 bytes, or with a NUL byte.
pub fn check(password: &Secret) -> Result<(), &'static str> {
    match password.expose().as_bytes() {
        [] => Err("must not be empty"),
        bytes if bytes.len() > PASSWORD_BYTES_MAX => Err("must be at most 72 bytes long"),
        bytes if bytes.contains(&0) => Err("must not contain a NUL byte"),
        _ => Ok(()),
    }
}

/// Hashes a new password.
///
/// # Errors
/// See [`check`].
pub fn hash(password: &Secret) -> Result<String, &'static str> {
    check(password)?;
    hash_bytes(password.expose().as_bytes()).map_err(|_| "could not be hashed")
}

fn hash_bytes(bytes: &[u8]) -> Result<String, bcrypt::BcryptError> {
    bcrypt::hash(bytes, COST)
}

/// Checks an imported hash's form.
///
/// # Errors
/// It is not bcrypt's, or costs more than a login may.
pub fn check_hash(hash: &str) -> Result<(), &'static str> {
    const COST_MIN: u32 = 4;
    const COST_MAX: u32 = 14;
    let parts: bcrypt::HashParts = hash.parse().map_err(|_| "is not a bcrypt hash")?;
    match parts.get_cost() {
        COST_MIN..=COST_MAX => Ok(()),
        _ => Err("has a bcrypt cost outside 4 to 14"),
    }
}

#[cfg(test)]
mod tests;
