//! Plans: named limits, and the one atomic behind a message budget.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Millis;
use crate::grant::Grant;

/// Named limits that tenants share. Absent members mean "no limit".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Live connections at once, handshakes under way included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// Payload bytes of one message on the wire, all its frames together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_bytes: Option<u64>,
    /// Messages of all the tenant's connections together, both directions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<Rate>,
}

/// A message rate with a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Messages per second, on average; 1 to 1,000,000.
    pub per_second: u32,
    /// Messages that may come at once; at least 1.
    pub burst: u32,
    /// What happens to the message that is one too many.
    #[serde(default)]
    pub over: Over,
}

/// What a plan does with a connection whose budget is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// Reading pauses until the budget allows the next message: TCP slows the sender down.
    #[default]
    Pause,
    /// The connection is closed with 4008.
    Close,
}

impl Plan {
    /// Says what is wrong with the plan's numbers, if anything.
    pub fn check(&self) -> Result<(), &'static str> {
        match self.messages {
            Some(rate) if !(1..=1_000_000).contains(&rate.per_second) => {
                Err("messages.per_second must be 1 to 1000000")
            }
            Some(rate) if !(1..=1_000_000).contains(&rate.burst) => {
                Err("messages.burst must be 1 to 1000000")
            }
            _ if self.connections == Some(0) => Err("connections must be at least 1"),
            _ => Ok(()),
        }
    }
}

const NS_PER_SECOND: u64 = 1_000_000_000;
const NS_PER_MS: u64 = 1_000_000;
/// The relay looks at pauses every 10 ms; whoever keeps the rate must not lose by that.
const SLACK_NS_MIN: u64 = 10 * NS_PER_MS;

impl Plan {
    /// How many connections there may be for one more with this grant to come in. A quarter is kept
    /// from strangers, so that they cannot shut the tenant out of their own runtime.
    #[must_use]
    pub fn connections_for(&self, grant: &Grant) -> Option<u32> {
        let all = self.connections?;
        Some(if grant.is_strangers() { all - all / 4 } else { all })
    }
}

/// A tenant's message budget: GCRA (ITU-T I.371) in one atomic, shared by all relay threads. Its rate
/// may change while messages pass, and be none at all.
#[derive(Debug)]
pub struct Budget {
    /// The theoretical arrival time of the next message, in nanoseconds of the clock, times two; and
    /// as its lowest bit which of the terms are in force, so that both change at once.
    next: AtomicU64,
    /// [`Terms::pack`]; 0 is no limit.
    terms: [AtomicU64; 2],
    /// The [`Terms::capacity_ns`] by which `next` was counted last; locked by who changes the terms.
    capacity_ns: Mutex<u64>,
}

/// A rate as it is reckoned with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Terms {
    interval_ns: u64,
    burst: u64,
    over: Over,
}

impl Terms {
    const BURST_BITS: u32 = 20;

    fn of(rate: Rate) -> Self {
        Self {
            interval_ns: NS_PER_SECOND / u64::from(rate.per_second.max(1)),
            burst: u64::from(rate.burst).clamp(1, (1 << Self::BURST_BITS) - 1),
            over: rate.over,
        }
    }

    /// Never 0: an interval is at least a nanosecond.
    fn pack(self) -> u64 {
        let closes = u64::from(self.over == Over::Close);
        (self.interval_ns.max(1) << Self::BURST_BITS | self.burst) << 1 | closes
    }

    fn unpack(packed: u64) -> Option<Self> {
        let interval_ns = packed >> 1 >> Self::BURST_BITS;
        (packed != 0).then_some(Self {
            interval_ns,
            burst: packed >> 1 & ((1 << Self::BURST_BITS) - 1),
            over: if packed & 1 == 1 { Over::Close } else { Over::Pause },
        })
    }

    fn slack_ns(self) -> u64 {
        (self.interval_ns * (self.burst - 1)).max(SLACK_NS_MIN)
    }

    /// How far ahead of the present a full budget is once it gives nothing any more.
    fn capacity_ns(self) -> u64 {
        (self.slack_ns() / self.interval_ns + 1) * self.interval_ns
    }
}

/// Why a message may not pass now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// It may pass at this moment at the earliest.
    Until(Millis),
    /// The plan closes the connection.
    Close,
}

impl Budget {
    /// A full budget; without a rate, one that never ends.
    #[must_use]
    pub fn new(rate: Option<Rate>) -> Self {
        let terms = rate.map(Terms::of);
        Self {
            next: AtomicU64::new(0),
            terms: [AtomicU64::new(terms.map_or(0, Terms::pack)), AtomicU64::new(0)],
            capacity_ns: Mutex::new(terms.map_or(0, Terms::capacity_ns)),
        }
    }

    /// Takes one message out of the budget. No lock.
    ///
    /// # Errors
    /// There is none left at present.
    pub fn take(&self, now: Millis) -> Result<(), Spent> {
        let now_ns = now.0.saturating_mul(NS_PER_MS);
        let mut next = self.next.load(Ordering::Acquire);
        loop {
            let Some(terms) = self.terms_of(next) else { return Ok(()) };
            let (next_ns, slack_ns) = (next >> 1, terms.slack_ns());
            if next_ns > now_ns + slack_ns {
                // Else the terms may be newer than the moment.
                let current = self.next.load(Ordering::Acquire);
                if current != next {
                    next = current;
                    continue;
                }
                let wait_ns = next_ns - slack_ns;
                return Err(match terms.over {
                    Over::Pause => Spent::Until(Millis(wait_ns.div_ceil(NS_PER_MS))),
                    Over::Close => Spent::Close,
                });
            }
            let after = (next_ns.max(now_ns) + terms.interval_ns) << 1 | (next & 1);
            match self.next.compare_exchange_weak(next, after, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Ok(()),
                Err(current) => next = current,
            }
        }
    }

    fn terms_of(&self, next: u64) -> Option<Terms> {
        Terms::unpack(self.terms[(next & 1) as usize].load(Ordering::Acquire))
    }

    /// From now on messages are counted by this rate. What part of the budget was spent stays spent,
    /// also over a time without a limit, for as long as it takes to come back.
    pub fn set_rate(&self, rate: Option<Rate>, now: Millis) {
        let terms = rate.map(Terms::of);
        let is_set = |next| self.terms_of(next) == terms;
        if is_set(self.next.load(Ordering::Acquire)) {
            return;
        }
        let mut capacity_ns = self.capacity_ns.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = self.next.load(Ordering::Acquire);
        if is_set(next) {
            return;
        }
        let now_ns = now.0.saturating_mul(NS_PER_MS);
        let other = next & 1 ^ 1;
        self.terms[other as usize].store(terms.map_or(0, Terms::pack), Ordering::Release);
        loop {
            let next_ns = match terms {
                Some(terms) => rescale(next >> 1, now_ns, *capacity_ns, terms.capacity_ns()),
                None => next >> 1,
            };
            match self.next.compare_exchange_weak(
                next,
                next_ns << 1 | other,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => break,
                Err(current) => next = current,
            }
        }
        if let Some(terms) = terms {
            *capacity_ns = terms.capacity_ns();
        }
    }

    /// Whether nothing of it is spent: then a new one is as good.
    #[must_use]
    pub fn is_full(&self, now: Millis) -> bool {
        self.next.load(Ordering::Acquire) >> 1 <= now.0.saturating_mul(NS_PER_MS)
    }

    /// Whether nothing was ever taken out of it.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.next.load(Ordering::Acquire) >> 1 == 0
    }
}

/// The moment that is as far ahead in a budget of another size.
fn rescale(next_ns: u64, now_ns: u64, from_capacity_ns: u64, to_capacity_ns: u64) -> u64 {
    let Some(spent_ns) = next_ns.checked_sub(now_ns) else { return next_ns };
    let from = u128::from(from_capacity_ns.max(1));
    let spent_ns = u128::from(spent_ns.min(from_capacity_ns)) * u128::from(to_capacity_ns) / from;
    now_ns + u64::try_from(spent_ns).unwrap_or(to_capacity_ns)
}

#[cfg(test)]
mod tests;
