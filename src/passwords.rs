//! Passwords: bcrypt on threads of its own, and a memory of what was right, so that a device which
//! reconnects costs no bcrypt. Whoever checks a client's password comes through here, and so through
//! [`crate::guessing`].

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::client::network;
use crate::clock::{Clock, Millis};
use crate::guessing::{Claim, Guess, Guessing, Key, Ruling};
use crate::metrics::{Latencies, Spans, Tally};
use crate::scheduling::{prepare_for_stints, spent_micros};
use crate::secret::Secret;
use crate::tenant::Password;

mod hashing;
mod memory;
mod queue;
mod rounds;
mod secrets;

pub use hashing::{COST, PASSWORD_BYTES_MAX, check, check_hash, hash, is_outdated, is_right};
use hashing::{even_out, hash_bytes};

use memory::{Digest, Memory};
use queue::{Check, Done, Entered, Job, LANE_MAX, Queue, Running, Work};

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
    /// There were too many wrong ones: no other is looked at before that time is over.
    Later(Duration),
}

impl Verdict {
    /// In the order in which verdicts are counted.
    const LABELS: [&str; 5] = ["right", "wrong", "busy", "remembered", "limited"];

    const fn place(self) -> usize {
        match self {
            Self::Right => 0,
            Self::Wrong => 1,
            Self::Busy => 2,
            Self::Remembered => 3,
            Self::Later(_) => 4,
        }
    }
}

/// What the pool was asked since the start, and what waits for it.
#[derive(Clone, Debug)]
pub struct Counts {
    /// Checks by what came of them: `right`, `wrong`, `busy`, `remembered`, `limited`.
    pub checks: [(&'static str, u64); 5],
    /// How long those took that bcrypt decided, waiting included.
    pub durations: Spans,
    /// Checks and hashes that wait or are worked on.
    pub waiting: usize,
    /// How many may wait.
    pub waiting_max: usize,
}

/// The pool and the memory.
#[derive(Debug)]
pub struct Passwords {
    queue: Arc<Queue>,
    memory: Arc<Memory>,
    guessing: Arc<Guessing>,
    guessing_secrets: Arc<Guessing>,
    verdicts: Tally<5>,
    durations: Latencies,
    /// What an unknown tenant's password is checked against; nobody knows what it is the hash of.
    decoy: Password,
}

impl Passwords {
    /// Starts the pool: half the cores, at low priority.
    ///
    /// # Errors
    /// The system gives no thread or no randomness.
    pub fn start(clock: Clock) -> io::Result<Self> {
        let secret = format!("{:016x}{:016x}", getrandom::u64()?, getrandom::u64()?);
        let decoy = hash_bytes(secret.as_bytes())?;
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (cores / 2).max(1);
        let passwords = Self {
            queue: Arc::new(Queue::new(clock, threads)),
            memory: Arc::new(Memory::new(key, clock)),
            guessing: Arc::default(),
            guessing_secrets: secrets::guessing(),
            verdicts: Tally::default(),
            durations: Latencies::default(),
            decoy: Password::from_hash(&decoy, 0),
        };
        for number in 0..threads {
            let (queue, memory) = (Arc::clone(&passwords.queue), Arc::clone(&passwords.memory));
            std::thread::Builder::new()
                .name(format!("passwords-{number}"))
                .spawn(move || work_off(&queue, &memory))?;
        }
        Ok(passwords)
    }

    /// Who was wrong how often; secrets of applications are counted apart.
    #[must_use]
    pub fn guessing(&self) -> &Arc<Guessing> {
        &self.guessing
    }

    /// Whether a password was right a short while ago, so that checking it takes no time.
    #[must_use]
    pub fn remembers(&self, stored: &Password, password: &Secret) -> bool {
        self.memory.knows(&self.memory.digest(stored.hash(), password))
    }

    /// How long the next password of this name from this address has to wait, without looking at it and
    /// without counting it; `None` for not at all. Ask before the name is looked up: `stored` is the
    /// tenant's if it is known without. It is the same work for all names.
    #[must_use]
    pub fn wait(
        &self,
        stored: Option<&Password>,
        password: &Secret,
        claim: Claim<'_>,
    ) -> Option<Duration> {
        let digest = self.memory.digest(stored.unwrap_or(&self.decoy).hash(), password);
        let (guess, wait) = self.waits(&digest, claim)?;
        self.guessing.come_early(&guess, self.memory.clock.now());
        self.verdicts.add(Verdict::Later(wait).place());
        Some(wait)
    }

    fn waits(&self, digest: &Digest, claim: Claim<'_>) -> Option<(Guess, Duration)> {
        // Nearly always: it spares the rest.
        if self.guessing.is_empty() {
            return None;
        }
        let (guess, now) = (Guess::new(claim, mark(digest)), self.memory.clock.now());
        if self.is_no_guess(digest, &guess, now) {
            return None;
        }
        self.guessing.wait(&guess, now).map(|wait| (guess, wait))
    }

    /// It was right lately, and whoever has it has been at this address with it or another.
    fn is_no_guess(&self, digest: &Digest, guess: &Guess, now: Millis) -> bool {
        self.memory.was_right(digest) && self.guessing.may_be_remembered(guess, now)
    }

    /// From now on this name is known at this address: its password was set from there.
    pub fn welcome(&self, claim: Claim<'_>) {
        self.guessing.welcome(claim, self.memory.clock.now());
    }

    /// Checks a client's password against a tenant's hash; `None` does the same work for nothing.
    /// Cancel safe: a check that nobody waits for any more is skipped.
    pub async fn verify(
        &self,
        stored: Option<&Password>,
        password: &Secret,
        claim: Claim<'_>,
    ) -> Verdict {
        self.check(stored, password, claim, true).await
    }

    /// The same for an operator, who may set the password and need not guess it.
    pub async fn compare(&self, stored: &Password, password: &Secret, claim: Claim<'_>) -> Verdict {
        self.check(Some(stored), password, claim, false).await
    }

    async fn check(
        &self,
        stored: Option<&Password>,
        password: &Secret,
        claim: Claim<'_>,
        is_guess: bool,
    ) -> Verdict {
        // bcrypt would not see what is behind the 72nd byte, and "a\0a" would be as right as "a".
        let is_possible = check(password).is_ok();
        let hash = match stored {
            Some(stored) if is_possible => stored.hash(),
            _ => self.decoy.hash(),
        };
        let digest = self.memory.digest(hash, password);
        if self.memory.knows(&digest) {
            let verdict = match self.waits(&digest, claim).filter(|_| is_guess) {
                Some((_, wait)) => Verdict::Later(wait),
                None => Verdict::Remembered,
            };
            self.verdicts.add(verdict.place());
            return verdict;
        }
        // The decoy's work is to be done all the same.
        let password = if is_possible { password.clone() } else { Secret::new(String::new()) };
        let asked = Asked { hash: Arc::clone(hash), password, digest, is_guess };
        let verdict = self.ask(asked, claim).await;
        self.verdicts.add(verdict.place());
        verdict
    }

    /// What bcrypt says, or the verdict without it.
    async fn ask(&self, asked: Asked, claim: Claim<'_>) -> Verdict {
        let began = self.memory.clock.micros();
        let (done, answer) = oneshot::channel();
        let guess = Guess::new(claim, mark(&asked.digest));
        let entered =
            self.queue.enter(guess.flight(), done, |done| self.rule(asked, claim, guess, done));
        match entered {
            Entered::Ruled(verdict) => return verdict,
            Entered::Full => return Verdict::Busy,
            Entered::Waits => {}
        }
        // A thread that died over it says nothing about the password.
        let verdict = answer.await.unwrap_or(Verdict::Busy);
        if matches!(verdict, Verdict::Right | Verdict::Wrong) {
            self.durations.note(self.memory.clock.micros().since(began));
        }
        verdict
    }

    /// The work for the pool, unless the verdict is known without.
    fn rule(
        &self,
        asked: Asked,
        claim: Claim<'_>,
        guess: Guess,
        done: Done,
    ) -> Result<Job, Verdict> {
        let now = self.memory.clock.now();
        let was_right = self.is_no_guess(&asked.digest, &guess, now);
        let is_known = was_right || self.guessing.is_known(&guess, now);
        let attempt = match asked.is_guess {
            false => None,
            true => match self.guessing.rule(guess, was_right, now) {
                Ruling::Look(attempt) => Some(attempt),
                Ruling::Wrong => return Err(Verdict::Wrong),
                Ruling::Later(wait) => return Err(Verdict::Later(wait)),
            },
        };
        let is_stranger = asked.is_guess && !is_known;
        let work = Work::Check(Check {
            hash: asked.hash,
            password: asked.password,
            digest: asked.digest,
            flight: guess.flight(),
            waiters: vec![done],
            attempt,
        });
        Ok(Job {
            name: asked.is_guess.then(|| Key::of_name(claim.name)),
            tries: if is_stranger { self.guessing.tries(&guess, now) } else { 0 },
            ..Job::new(network(claim.client), is_stranger, work)
        })
    }
}

/// A check before it has a place.
struct Asked {
    hash: Arc<str>,
    password: Secret,
    digest: Digest,
    is_guess: bool,
}

fn mark(digest: &Digest) -> u64 {
    let mut mark = [0; 8];
    mark.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(mark)
}

impl Passwords {
    /// What it was asked, and what waits.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let counts = self.verdicts.sums();
        Counts {
            checks: std::array::from_fn(|place| (Verdict::LABELS[place], counts[place])),
            durations: self.durations.spans(),
            waiting: self.queue.count(),
            waiting_max: 2 * LANE_MAX,
        }
    }

    /// Remembers the password that a hash was made of.
    pub fn remember(&self, hash: &str, password: &Secret) {
        self.memory.remember(self.memory.digest(hash, password));
    }

    /// Hashes a new password, in turn with the checks of those who are known, and remembers it: whoever
    /// has it set gets in with it, however many guesses came from their address.
    ///
    /// # Errors
    /// See [`check`]; `Err(None)` if too many are waiting.
    pub async fn hash(
        &self,
        password: &Secret,
        client: IpAddr,
    ) -> Result<String, Option<&'static str>> {
        let (done, answer) = oneshot::channel();
        let work = Work::Hash { password: password.clone(), done };
        let entered = self.queue.put::<()>(Job::new(network(client), false, work));
        let Entered::Waits = entered else { return Err(None) };
        let hash = answer.await.map_err(|_| None)?.map_err(Some)?;
        self.remember(&hash, password);
        Ok(hash)
    }
}

impl Drop for Passwords {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// The life of one thread: until the queue is closed.
fn work_off(queue: &Queue, memory: &Memory) {
    // Without the right to it, or elsewhere than on Linux, the pool runs at normal priority.
    let _ = rustix::process::setpriority_process(None, NICE);
    prepare_for_stints();
    while let Some(job) = queue.next() {
        let mut running = Running::of(queue, &job);
        let charged_to = job.share();
        match job.work {
            Work::Hash { password, done } => {
                let _ = done.send(hash(&password));
            }
            Work::Check(one) => {
                // By the clock, names would use up their shares while the pool is kept from running, which
                // is when there is least to share.
                let began = spent_micros();
                if let Some(attempt) = &one.attempt {
                    attempt.begin();
                }
                let mut verdict = check_one(memory, &one.hash, &one.password, one.digest);
                // Before anybody hears of it: who asks again at once must find it counted.
                if let Some(attempt) = one.attempt {
                    attempt.settle(verdict != Verdict::Wrong, memory.clock.now());
                }
                running.flight = None;
                let micros = spent_micros().saturating_sub(began);
                for waiter in queue.finish(one.flight, charged_to, micros) {
                    // One of them has had it checked; the others are told what is known since.
                    if waiter.send(verdict).is_ok() && verdict == Verdict::Right {
                        verdict = Verdict::Remembered;
                    }
                }
            }
        }
    }
}

fn check_one(memory: &Memory, hash: &str, password: &Secret, digest: Digest) -> Verdict {
    // The same password of the same tenant may have come from elsewhere meanwhile.
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

#[cfg(test)]
mod tests;
