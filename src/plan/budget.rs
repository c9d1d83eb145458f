//! What is left of one limit: one atomic.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Millis;

const NS_PER_MS: u64 = 1_000_000;
/// The relay looks at pauses every 10 ms; whoever keeps the rate must not lose by that.
const SLACK_NS_MIN: u64 = 10 * NS_PER_MS;
/// 73 years: no reckoning with moments comes near the end of 63 bits.
const SPAN_NS_MAX: u64 = 1 << 61;

/// A budget: GCRA (ITU-T I.371) in one atomic, shared by all threads. It gives its burst at once, and
/// then its limit in each window, evenly. Both may change while it is used.
#[derive(Debug)]
pub struct Budget {
    window_ns: u64,
    /// The moment at which it is full again, in nanoseconds of the clock, times two; and as its lowest
    /// bit which of the terms are in force, so that both change at once.
    full_at: AtomicU64,
    terms: [TermsCell; 2],
    /// The [`Terms::capacity_ns`] by which `full_at` was counted last. Whoever changes the terms, alone,
    /// uses it.
    capacity_ns: AtomicU64,
}

#[derive(Debug, Default)]
struct TermsCell {
    /// 0 is no limit.
    limit: AtomicU64,
    unit_ns: AtomicU64,
    slack_ns: AtomicU64,
}

/// A limit as it is reckoned with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Terms {
    window_ns: u64,
    limit: u64,
    /// How long one unit takes to come back.
    unit_ns: u64,
    /// How far ahead of the present the budget may be for one unit more.
    slack_ns: u64,
}

impl Terms {
    fn new(window_ns: u64, limit: u64, burst: u64) -> Self {
        let limit = limit.max(1);
        let unit_ns = (window_ns / limit).min(SPAN_NS_MAX);
        let cost = Self { window_ns, limit, unit_ns, slack_ns: 0 };
        let slack_ns = cost.span_ns(burst.max(1)).saturating_sub(unit_ns);
        Self { slack_ns: slack_ns.clamp(SLACK_NS_MIN, SPAN_NS_MAX), ..cost }
    }

    /// How long so many units take to come back.
    fn span_ns(self, units: u64) -> u64 {
        if units == 1 {
            return self.unit_ns;
        }
        let span_ns = match units.checked_mul(self.window_ns) {
            Some(product) => product / self.limit,
            None => {
                let product = u128::from(units) * u128::from(self.window_ns);
                u64::try_from(product / u128::from(self.limit)).unwrap_or(u64::MAX)
            }
        };
        span_ns.min(SPAN_NS_MAX)
    }

    /// How far ahead of the present a full budget is once it gives nothing any more.
    fn capacity_ns(self) -> u64 {
        match self.unit_ns {
            0 => self.slack_ns,
            unit_ns => (self.slack_ns / unit_ns + 1) * unit_ns,
        }
    }

    /// From when on so many units may be taken. What is more than the burst is given to who finds the
    /// budget full, and then has to come back first.
    fn earliest_ns(self, full_at_ns: u64, units: u64) -> u64 {
        let most_ns = self.slack_ns + self.unit_ns;
        let wanted_ns = self.span_ns(units).min(most_ns).saturating_sub(self.unit_ns);
        (full_at_ns + wanted_ns).saturating_sub(self.slack_ns)
    }

    /// How many units more it gives.
    fn left(self, full_at_ns: u64, now_ns: u64) -> u64 {
        let ahead_ns = full_at_ns.saturating_sub(now_ns);
        let free_ns = (self.slack_ns + self.unit_ns).saturating_sub(ahead_ns);
        let left = u128::from(free_ns) * u128::from(self.limit) / u128::from(self.window_ns);
        u64::try_from(left).unwrap_or(u64::MAX)
    }
}

impl Budget {
    /// A budget without a limit.
    #[must_use]
    pub fn new(window_seconds: u32) -> Self {
        Self {
            window_ns: u64::from(window_seconds) * 1_000_000_000,
            full_at: AtomicU64::new(0),
            terms: Default::default(),
            capacity_ns: AtomicU64::new(0),
        }
    }

    /// Whether so many units may be taken.
    ///
    /// # Errors
    /// From when on they may.
    pub fn allows(&self, units: u64, now: Millis) -> Result<(), Millis> {
        self.reckon(units, now, false)
    }

    /// Takes so many units, all or none. No lock.
    ///
    /// # Errors
    /// From when on they may be taken.
    pub fn take(&self, units: u64, now: Millis) -> Result<(), Millis> {
        self.reckon(units, now, true)
    }

    fn reckon(&self, units: u64, now: Millis, takes: bool) -> Result<(), Millis> {
        let now_ns = in_ns(now);
        let mut full_at = self.full_at.load(Ordering::Acquire);
        loop {
            let Some(terms) = self.terms_of(full_at) else { return Ok(()) };
            let from_ns = terms.earliest_ns(full_at >> 1, units);
            let is_refused = units > 0 && from_ns > now_ns;
            if is_refused || !takes {
                // Else the terms may be newer than the moment.
                let current = self.full_at.load(Ordering::Acquire);
                if current == full_at {
                    let from = Millis(from_ns.div_ceil(NS_PER_MS));
                    return if is_refused { Err(from) } else { Ok(()) };
                }
                full_at = current;
                continue;
            }
            let after_ns = (full_at >> 1).max(now_ns).saturating_add(terms.span_ns(units));
            let after = after_ns.min(u64::MAX >> 2) << 1 | (full_at & 1);
            match self.full_at.compare_exchange_weak(
                full_at,
                after,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Ok(()),
                Err(current) => full_at = current,
            }
        }
    }

    /// Whether it ever has so many units at once.
    #[must_use]
    pub fn holds(&self, units: u64) -> bool {
        let terms = self.terms_of(self.full_at.load(Ordering::Acquire));
        terms.is_none_or(|terms| terms.span_ns(units) <= terms.slack_ns + terms.unit_ns)
    }

    /// Takes so many units, whether they are there or not: they were used already.
    pub fn charge(&self, units: u64, now: Millis) {
        self.shift(|terms, full_at_ns| {
            full_at_ns.max(in_ns(now)).saturating_add(terms.span_ns(units)).min(u64::MAX >> 2)
        });
    }

    /// Puts units back that were taken in vain.
    pub fn give_back(&self, units: u64) {
        self.shift(|terms, full_at_ns| full_at_ns.saturating_sub(terms.span_ns(units)));
    }

    fn shift(&self, to_ns: impl Fn(Terms, u64) -> u64) {
        let _ = self.full_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, |full_at| {
            let terms = self.terms_of(full_at)?;
            Some(to_ns(terms, full_at >> 1) << 1 | (full_at & 1))
        });
    }

    fn terms_of(&self, full_at: u64) -> Option<Terms> {
        let cell = &self.terms[(full_at & 1) as usize];
        let limit = cell.limit.load(Ordering::Acquire);
        let unit_ns = cell.unit_ns.load(Ordering::Acquire);
        let slack_ns = cell.slack_ns.load(Ordering::Acquire);
        (limit != 0).then_some(Terms { window_ns: self.window_ns, limit, unit_ns, slack_ns })
    }

    /// From now on this limit and this burst count, or none. What part of the budget was spent stays
    /// spent, also over a time without a limit, for as long as it takes to come back. One caller at a
    /// time.
    pub fn set(&self, limit_and_burst: Option<(u64, u64)>, now: Millis) {
        let terms = limit_and_burst.map(|(limit, burst)| Terms::new(self.window_ns, limit, burst));
        let mut full_at = self.full_at.load(Ordering::Acquire);
        if self.terms_of(full_at) == terms {
            return;
        }
        let other = full_at & 1 ^ 1;
        let cell = &self.terms[other as usize];
        cell.limit.store(terms.map_or(0, |terms| terms.limit), Ordering::Release);
        cell.unit_ns.store(terms.map_or(0, |terms| terms.unit_ns), Ordering::Release);
        cell.slack_ns.store(terms.map_or(0, |terms| terms.slack_ns), Ordering::Release);
        let capacity_ns = self.capacity_ns.load(Ordering::Relaxed);
        loop {
            let full_at_ns = match terms {
                Some(terms) => rescale(full_at >> 1, in_ns(now), capacity_ns, terms.capacity_ns()),
                None => full_at >> 1,
            };
            match self.full_at.compare_exchange_weak(
                full_at,
                full_at_ns << 1 | other,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => break,
                Err(current) => full_at = current,
            }
        }
        if let Some(terms) = terms {
            self.capacity_ns.store(terms.capacity_ns(), Ordering::Relaxed);
        }
    }

    /// How many units more it gives now, and when it is full again; `None` without a limit.
    #[must_use]
    pub fn left(&self, now: Millis) -> Option<(u64, Millis)> {
        let full_at = self.full_at.load(Ordering::Acquire);
        let terms = self.terms_of(full_at)?;
        let full_at_ns = (full_at >> 1).max(in_ns(now));
        Some((terms.left(full_at_ns, in_ns(now)), Millis(full_at_ns.div_ceil(NS_PER_MS))))
    }

    /// Whether nothing of it is spent: then a new one is as good.
    #[must_use]
    pub fn is_full(&self, now: Millis) -> bool {
        self.full_at.load(Ordering::Acquire) >> 1 <= in_ns(now)
    }

    /// Whether nothing was ever taken out of it.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.full_at.load(Ordering::Acquire) >> 1 == 0
    }
}

fn in_ns(moment: Millis) -> u64 {
    moment.0.saturating_mul(NS_PER_MS).min(SPAN_NS_MAX)
}

/// The moment that is as far ahead in a budget of another size. A debt stays as long as it is.
fn rescale(full_at_ns: u64, now_ns: u64, from_capacity_ns: u64, to_capacity_ns: u64) -> u64 {
    let Some(spent_ns) = full_at_ns.checked_sub(now_ns) else { return full_at_ns };
    let from = u128::from(from_capacity_ns.max(1));
    let part_ns = u128::from(spent_ns.min(from_capacity_ns)) * u128::from(to_capacity_ns) / from;
    let debt_ns = spent_ns.saturating_sub(from_capacity_ns);
    now_ns + u64::try_from(part_ns).unwrap_or(to_capacity_ns) + debt_ns
}
