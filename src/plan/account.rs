//! What an owner of a plan has left, over all of their connections and requests.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::{Budget, Limit, Over, Plan, Quota, Unit};
use crate::clock::Millis;

/// The limits for each [`Unit`], a bit each.
const LIMITS_OF: [u8; Unit::COUNT] = [0b0000_0111, 0b0011_1000, 0b0100_0000, 0b1000_0000];

/// What something takes out of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    units: [u64; Unit::COUNT],
    /// The limits that may have to do with it, a bit each.
    limits: u8,
}

impl Cost {
    /// A handshake that goes on to the runtime.
    pub const HANDSHAKE: Self = Self::new([0, 0, 1, 0]);
    /// A plain request that does.
    pub const REQUEST: Self = Self::new([0, 0, 0, 1]);

    /// A message that begins, with the payload of its first frame.
    #[must_use]
    pub const fn message(payload_bytes: u64) -> Self {
        Self::messages(1, payload_bytes)
    }

    /// Whole messages, with the payload of all of them.
    #[must_use]
    pub const fn messages(count: u64, payload_bytes: u64) -> Self {
        Self::new([count, payload_bytes, 0, 0])
    }

    /// A further frame of a message.
    #[must_use]
    pub const fn fragment(payload_bytes: u64) -> Self {
        Self::new([0, payload_bytes, 0, 0])
    }

    /// So many of each, in the order of [`Unit`].
    #[must_use]
    pub const fn new(units: [u64; Unit::COUNT]) -> Self {
        let (mut limits, mut place) = (0, 0);
        while place < Unit::COUNT {
            if units[place] > 0 {
                limits |= LIMITS_OF[place];
            }
            place += 1;
        }
        Self { units, limits }
    }

    fn of(&self, limit: Limit) -> u64 {
        self.units[limit.unit() as usize]
    }

    /// What of it is counted by any of these limits.
    fn counted(&self, limited: u8) -> impl Iterator<Item = (usize, u64)> {
        let units = self.units.into_iter().zip(LIMITS_OF).enumerate();
        units.filter_map(move |(place, (units, bits))| {
            (units > 0 && limited & bits != 0).then_some((place, units))
        })
    }
}

/// Why something may not pass now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// The limit that is reached; of several, the one that lasts longest.
    pub limit: Limit,
    /// When it may pass at the earliest.
    pub from: Millis,
    /// What the plan does meanwhile.
    pub over: Over,
}

/// The part of a plan that this process may give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// How many give out of the same plan: each has a part of the bursts.
    pub replicas: u32,
    /// They do not know of each other what they give: each has a part of the limits, too.
    pub is_apart: bool,
}

impl Default for Share {
    fn default() -> Self {
        Self { replicas: 1, is_apart: false }
    }
}

impl Share {
    fn of(self, quota: Quota) -> (u64, u64) {
        let part = |whole: u64| whole.div_ceil(self.replicas.max(1).into());
        let limit = if self.is_apart { part(quota.limit) } else { quota.limit };
        (limit, part(quota.burst()))
    }
}

/// One limit at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which.
    pub limit: Limit,
    /// How much it allows.
    pub quota: Quota,
    /// How much of that there is now.
    pub left: u64,
    /// When all of it is back.
    pub full_at: Millis,
}

/// What an owner has left of each limit. Without limits it costs the look at one byte.
#[derive(Debug, Default)]
pub struct Account {
    /// The limits that the plan sets, a bit each.
    limited: AtomicU8,
    over: AtomicU8,
    /// Odd while the terms change: who is refused meanwhile looks again.
    version: AtomicU32,
    books: OnceLock<Box<Books>>,
    terms: Mutex<Terms>,
}

/// What an account follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Terms {
    quotas: [Option<Quota>; Limit::ALL.len()],
    over: Over,
    share: Share,
}

#[derive(Debug)]
struct Books {
    budgets: [Budget; Limit::ALL.len()],
    used: [AtomicU64; Unit::COUNT],
    paced: AtomicU64,
    dropped: AtomicU64,
    refused: AtomicU64,
}

/// How often an account had nothing left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttled {
    /// Times that reading paused.
    pub paced: u64,
    /// Messages that were left out.
    pub dropped: u64,
    /// Handshakes and requests that were refused.
    pub refused: u64,
}

impl Books {
    fn new() -> Self {
        Self {
            budgets: Limit::ALL.map(|limit| Budget::new(limit.window_seconds())),
            used: Default::default(),
            paced: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    fn budget(&self, limit: Limit) -> &Budget {
        &self.budgets[limit as usize]
    }

    /// All of it or nothing. What fails is looked at first, so that it takes nothing from others
    /// even for a moment, unless they meet right at the limit.
    fn take(&self, limited: u8, cost: &Cost, now: Millis) -> Result<(), (Limit, Millis)> {
        if limited.count_ones() > 1 {
            let refused = limits(limited).filter_map(|limit| {
                let from = self.budget(limit).allows(cost.of(limit), now).err()?;
                Some((limit, from))
            });
            if let Some(longest) = refused.max_by_key(|(_, from)| *from) {
                return Err(longest);
            }
        }
        for limit in limits(limited) {
            if let Err(from) = self.budget(limit).take(cost.of(limit), now) {
                for taken in limits(limited).take_while(|taken| *taken != limit) {
                    self.budget(taken).give_back(cost.of(taken));
                }
                return Err((limit, from));
            }
        }
        for (place, units) in cost.counted(limited) {
            self.used[place].fetch_add(units, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn limits(mut bits: u8) -> impl Iterator<Item = Limit> {
    std::iter::from_fn(move || {
        let limit = *Limit::ALL.get(bits.trailing_zeros() as usize)?;
        bits &= bits - 1;
        Some(limit)
    })
}

impl Account {
    /// Takes the cost out of every limit that it counts for, or out of none. No lock.
    ///
    /// # Errors
    /// One of them has too little left.
    pub fn take(&self, cost: Cost, now: Millis) -> Result<(), Shortage> {
        loop {
            let version = self.version.load(Ordering::Acquire);
            let limited = self.limited.load(Ordering::Acquire) & cost.limits;
            let Some(books) = self.books.get().filter(|_| limited != 0) else { return Ok(()) };
            let Err((limit, from)) = books.take(limited, &cost, now) else { return Ok(()) };
            let over = match self.over.load(Ordering::Acquire) {
                1 => Over::Drop,
                2 => Over::Close,
                _ => Over::Pace,
            };
            if version & 1 == 0 && self.version.load(Ordering::Acquire) == version {
                return Err(Shortage { limit, from, over });
            }
            std::hint::spin_loop();
        }
    }

    /// Takes what many costs come to out of every limit, or out of none; returns whether it did. What it
    /// gives [`Account::take`] would have given one by one; of what it does not, that may give a part.
    pub fn take_many(&self, cost: Cost, now: Millis) -> bool {
        let limited = self.limited.load(Ordering::Acquire) & cost.limits;
        let Some(books) = self.books.get().filter(|_| limited != 0) else { return true };
        limits(limited).all(|limit| books.budget(limit).holds(cost.of(limit)))
            && books.take(limited, &cost, now).is_ok()
    }

    /// Puts back what was taken for something that came to nothing.
    pub fn give_back(&self, cost: Cost) {
        let limited = self.limited.load(Ordering::Acquire) & cost.limits;
        let Some(books) = self.books.get().filter(|_| limited != 0) else { return };
        for limit in limits(limited) {
            books.budget(limit).give_back(cost.of(limit));
        }
        for (place, units) in cost.counted(limited) {
            books.used[place].fetch_sub(units, Ordering::Relaxed);
        }
    }

    /// Takes out what was used elsewhere already.
    pub fn charge(&self, cost: Cost, now: Millis) {
        let limited = self.limited.load(Ordering::Acquire) & cost.limits;
        let Some(books) = self.books.get() else { return };
        for limit in limits(limited) {
            books.budget(limit).charge(cost.of(limit), now);
        }
    }

    /// A full one.
    #[must_use]
    pub fn new(plan: &Plan, share: Share, now: Millis) -> Self {
        let account = Self::default();
        account.terms().share = share;
        account.follow(plan, now);
        account
    }

    /// From now on this plan counts. Writes nothing if it does so already.
    pub fn follow(&self, plan: &Plan, now: Millis) {
        let quotas = Limit::ALL.map(|limit| plan.quota(limit));
        if quotas.iter().all(Option::is_none) && self.limited.load(Ordering::Acquire) == 0 {
            return;
        }
        self.change(now, |terms| *terms = Terms { quotas, over: plan.over, ..*terms });
    }

    /// From now on this share of the same plan counts.
    pub fn share(&self, share: Share, now: Millis) {
        self.change(now, |terms| terms.share = share);
    }

    fn change(&self, now: Millis, change: impl FnOnce(&mut Terms)) {
        let mut terms = self.terms();
        let before = *terms;
        change(&mut terms);
        let is_limited = terms.quotas.iter().any(Option::is_some);
        if *terms == before || (!is_limited && self.books.get().is_none()) {
            return;
        }
        let books = self.books.get_or_init(|| Box::new(Books::new()));
        self.version.fetch_add(1, Ordering::AcqRel);
        let mut limited = 0;
        for (limit, quota) in Limit::ALL.into_iter().zip(terms.quotas) {
            books.budget(limit).set(quota.map(|quota| terms.share.of(quota)), now);
            limited |= u8::from(quota.is_some()) << limit as u8;
        }
        let over = match terms.over {
            Over::Pace => 0,
            Over::Drop => 1,
            Over::Close => 2,
        };
        self.over.store(over, Ordering::Release);
        self.limited.store(limited, Ordering::Release);
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    fn terms(&self) -> MutexGuard<'_, Terms> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the plan sets any limit that is counted here.
    pub fn is_limited(&self) -> bool {
        self.limited.load(Ordering::Acquire) != 0
    }

    /// Whether it limits messages or their bytes.
    pub fn limits_messages(&self) -> bool {
        const LIMITS: u8 = LIMITS_OF[Unit::Messages as usize] | LIMITS_OF[Unit::Bytes as usize];
        self.limited.load(Ordering::Acquire) & LIMITS != 0
    }

    /// How much the plan allows of it.
    pub fn quota(&self, limit: Limit) -> Option<Quota> {
        self.terms().quotas[limit as usize]
    }

    /// What was taken since it was made of what the plan limits, in the order of [`Unit`].
    pub fn used(&self) -> [u64; Unit::COUNT] {
        let Some(books) = self.books.get() else { return Default::default() };
        books.used.each_ref().map(|used| used.load(Ordering::Relaxed))
    }

    /// Each limit as it is now.
    pub fn standings(&self, now: Millis) -> Vec<Standing> {
        let terms = *self.terms();
        let Some(books) = self.books.get() else { return Vec::new() };
        let standing = |limit: Limit| {
            let quota = terms.quotas[limit as usize]?;
            let (left, full_at) = books.budget(limit).left(now)?;
            let left = left.min(terms.share.of(quota).1);
            Some(Standing { limit, quota, left, full_at })
        };
        Limit::ALL.into_iter().filter_map(standing).collect()
    }

    /// Notes that something had to wait, was left out or was refused.
    pub fn note(&self, more: Throttled) {
        let Some(books) = self.books.get() else { return };
        let counts = [&books.paced, &books.dropped, &books.refused];
        for (count, more) in counts.into_iter().zip([more.paced, more.dropped, more.refused]) {
            if more > 0 {
                count.fetch_add(more, Ordering::Relaxed);
            }
        }
    }

    /// What was noted so far.
    pub fn throttled(&self) -> Throttled {
        let Some(books) = self.books.get() else { return Throttled::default() };
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let [paced, dropped, refused] = [&books.paced, &books.dropped, &books.refused].map(read);
        Throttled { paced, dropped, refused }
    }

    /// Whether nothing of it is spent: then a new one is as good.
    pub fn is_full(&self, now: Millis) -> bool {
        self.books.get().is_none_or(|books| books.budgets.iter().all(|it| it.is_full(now)))
    }

    /// Whether nothing was ever taken out of it.
    pub fn is_untouched(&self) -> bool {
        self.books.get().is_none_or(|books| books.budgets.iter().all(Budget::is_untouched))
    }
}
