//! How many attempts failed, and what follows from it. Pure: the moment is passed in.

use std::time::Duration;

use crate::clock::Millis;

/// Failures of one (name, address) that have no consequence.
pub const FREE: u32 = 5;
/// The wait behind the last free failure; each further one doubles it.
const WAIT_FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
pub const WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// A (name, address) without a failure for so long begins anew. Longer than it takes to win by waiting
/// for it: the free failures and the short waits are worth less than 15 minutes' waits meanwhile.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(6 * 60 * 60);
/// Failures that an address may have over all names at once.
pub const ADDRESS_FREE: u32 = 50;
/// One of an address's failures is forgiven in this time.
const ADDRESS_FORGIVES: Duration = Duration::from_secs(10);
/// Passwords of one (name, address) that may come in its waits within an hour. To each of them the answer
/// tells whether it was right lately, so that many more would be guesses.
pub const EARLY_FREE: u32 = 100;
const EARLY_WINDOW: Duration = Duration::from_secs(60 * 60);
/// Wrong passwords of one (name, address) that are known again.
const WRONG_KNOWN: usize = 4;

/// What an entry counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// The failures of a name from an address.
    Pair,
    /// Those of an address over all names.
    Address,
}

/// What replicas tell each other of a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Failures on all replicas.
    pub failures: u32,
    /// For how long they have not risen and none was forgiven.
    pub idle: Duration,
    /// No attempt before this is over.
    pub wait: Duration,
}

impl Told {
    /// The failures that are not forgiven yet, and since when.
    fn aged(self, law: Law, now: Millis) -> (u32, Millis) {
        let before = |span: Duration| {
            Millis(now.0.saturating_sub(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
        };
        match law {
            Law::Pair if self.idle >= FORGOTTEN_AFTER => (0, now),
            Law::Pair => (self.failures, before(self.idle)),
            Law::Address => {
                let forgiven = forgiven_in(self.idle);
                let since = before(self.idle.saturating_sub(ADDRESS_FORGIVES * forgiven));
                (self.failures.saturating_sub(forgiven), since)
            }
        }
    }
}

/// The failures of a name from an address, or of an address.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// On all replicas, as far as that is known here.
    told: u32,
    /// Here since that was learnt.
    own: u32,
    since: Millis,
    until: Millis,
    /// Attempts with a password that had just been wrong: no guesses, and counted for themselves.
    repeats: u32,
    repeats_until: Millis,
    wrong: [u64; WRONG_KNOWN],
    /// Passwords that came in a wait, within the window that began then.
    early: u32,
    early_since: Millis,
    /// Failures here, forgiven or not, none of them long behind the one before.
    lately: u32,
    last_at: Millis,
}

/// Of an address's failures, how many are forgiven in a time.
fn forgiven_in(span: Duration) -> u32 {
    u32::try_from(span.as_millis() / ADDRESS_FORGIVES.as_millis()).unwrap_or(u32::MAX)
}

fn wait_behind(failures: u32) -> Duration {
    match failures.checked_sub(FREE) {
        None => Duration::ZERO,
        Some(doublings) => (WAIT_FIRST * 2_u32.saturating_pow(doublings.min(20))).min(WAIT_MAX),
    }
}

impl Count {
    /// Failures so far.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.told.saturating_add(self.own)
    }

    /// Failures here, none of them long behind the one before or long ago: what is forgiven counts for
    /// nothing but whose turn it is.
    #[must_use]
    pub fn lately(&self, now: Millis) -> u32 {
        if now.since(self.last_at) >= FORGOTTEN_AFTER { 0 } else { self.lately }
    }

    /// Forgets what is long ago.
    pub fn age(&mut self, law: Law, now: Millis) {
        match law {
            Law::Pair if now.since(self.since) >= FORGOTTEN_AFTER => *self = Self::default(),
            Law::Pair => {}
            Law::Address => {
                let forgiven = forgiven_in(now.since(self.since));
                self.since = match self.failures() <= forgiven {
                    true => now,
                    false => self.since.plus(ADDRESS_FORGIVES * forgiven),
                };
                let rest = forgiven.saturating_sub(self.told);
                self.told = self.told.saturating_sub(forgiven);
                self.own = self.own.saturating_sub(rest);
            }
        }
    }

    /// How long the next attempt has to wait, while `pending` others are being checked; `None` for not
    /// at all. Call [`Count::age`] first.
    #[must_use]
    pub fn wait(&self, law: Law, pending: u32, now: Millis) -> Option<Duration> {
        let counted = self.failures().saturating_add(pending);
        match law {
            Law::Pair if now < self.until => Some(self.until.since(now)),
            // Behind the free ones one at a time, else all would be let through at once.
            Law::Pair if counted >= FREE && pending > 0 => Some(WAIT_FIRST),
            Law::Address if counted >= ADDRESS_FREE => {
                Some(self.since.plus(ADDRESS_FORGIVES).since(now).max(WAIT_FIRST))
            }
            _ => None,
        }
    }

    /// Whether this password has just been wrong here.
    #[must_use]
    pub fn is_known(&self, mark: u64) -> bool {
        self.wrong.contains(&mark)
    }

    /// A password came in a wait, and was not the right one.
    pub fn come_early(&mut self, mark: u64, now: Millis) {
        // What a device repeats finds nothing out.
        if !self.is_known(mark) {
            let early = self.early_lately(now);
            if early == 0 {
                self.early_since = now;
            }
            self.early = early.saturating_add(1);
        }
    }

    /// Whether the next one may still be told apart from a wrong one.
    #[must_use]
    pub fn has_early_left(&self, now: Millis) -> bool {
        self.early_lately(now) < EARLY_FREE
    }

    fn early_lately(&self, now: Millis) -> u32 {
        if now.since(self.early_since) >= EARLY_WINDOW { 0 } else { self.early }
    }

    /// Once more a password that is known to be wrong. `Err` is how long the next may not come.
    ///
    /// # Errors
    /// It came too early.
    pub fn repeat(&mut self, now: Millis) -> Result<(), Duration> {
        if now < self.repeats_until {
            return Err(self.repeats_until.since(now));
        }
        self.repeats = self.repeats.saturating_add(1);
        let wait = wait_behind(self.failures().saturating_add(self.repeats));
        self.repeats_until = now.plus(wait);
        Ok(())
    }

    /// One more failure; `mark` is the password's.
    pub fn fail(&mut self, law: Law, mark: u64, now: Millis) {
        (self.lately, self.last_at) = (self.lately(now).saturating_add(1), now);
        if self.failures() == 0 || law == Law::Pair {
            self.since = now;
        }
        self.own = self.own.saturating_add(1);
        if law == Law::Pair {
            self.until = now.plus(wait_behind(self.failures()));
            self.wrong.rotate_right(1);
            self.wrong[0] = mark;
        }
    }

    /// Whether the other replicas should know of it.
    #[must_use]
    pub fn is_news(&self, law: Law) -> bool {
        match law {
            Law::Pair => self.failures() >= FREE,
            Law::Address => self.failures() >= ADDRESS_FREE / 2,
        }
    }

    /// Whether others have been told of it, or have told of it.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.told > 0
    }

    /// Takes in what all replicas have told. Returns what they should be told in turn, with the
    /// failures that are new in it.
    pub fn learn(&mut self, law: Law, told: Option<Told>, now: Millis) -> Option<(Told, u32)> {
        let own = self.own;
        let (failures, since) = told.map_or((0, now), |told| told.aged(law, now));
        self.told = failures;
        if own == 0 {
            self.since = since;
        }
        match told {
            Some(told) => {
                // The other's clock may be wrong; nobody waits longer for it.
                self.until = self.until.max(now.plus(told.wait.min(WAIT_MAX)));
                if own > 0 && law == Law::Pair {
                    self.until = self.until.max(self.since.plus(wait_behind(self.failures())));
                }
            }
            None if own == 0 => self.until = Millis(0),
            None => {}
        }
        if own == 0 || !self.is_news(law) {
            return None;
        }
        (self.told, self.own) = (self.failures(), 0);
        let (idle, wait) = (now.since(self.since), self.until.since(now));
        Some((Told { failures: self.told, idle, wait }, own))
    }

    /// What was to be told was not: it is still to be.
    pub fn untell(&mut self, own: u32) {
        self.told = self.told.saturating_sub(own);
        self.own = self.own.saturating_add(own);
    }
}
