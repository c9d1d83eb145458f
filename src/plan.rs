//! Plans: named limits, and the one atomic behind a message budget.

use std::sync::atomic::{AtomicU64, Ordering};

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
        Some(if *grant == Grant::Anonymous { all - all / 4 } else { all })
    }
}

/// A tenant's message budget: GCRA (ITU-T I.371) in one atomic, shared by all relay threads.
#[derive(Debug)]
pub struct Budget {
    /// The theoretical arrival time of the next message, in nanoseconds of the clock.
    next_ns: AtomicU64,
    interval_ns: u64,
    slack_ns: u64,
    over: Over,
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
    /// A full budget.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let interval_ns = NS_PER_SECOND / u64::from(rate.per_second.max(1));
        let slack_ns = (interval_ns * u64::from(rate.burst.max(1) - 1)).max(SLACK_NS_MIN);
        Self { next_ns: AtomicU64::new(0), interval_ns, slack_ns, over: rate.over }
    }

    /// Takes one message out of the budget.
    pub fn take(&self, now: Millis) -> Result<(), Spent> {
        let now_ns = now.0.saturating_mul(NS_PER_MS);
        let mut next_ns = self.next_ns.load(Ordering::Relaxed);
        loop {
            if next_ns > now_ns + self.slack_ns {
                let wait_ns = next_ns - self.slack_ns;
                return Err(match self.over {
                    Over::Pause => Spent::Until(Millis(wait_ns.div_ceil(NS_PER_MS))),
                    Over::Close => Spent::Close,
                });
            }
            let after_ns = next_ns.max(now_ns) + self.interval_ns;
            match self.next_ns.compare_exchange_weak(
                next_ns,
                after_ns,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(current) => next_ns = current,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_gives_its_burst_and_then_its_rate() {
        let budget = Budget::new(Rate { per_second: 10, burst: 3, over: Over::Pause });
        let start = Millis(5_000);
        for _ in 0..3 {
            assert_eq!(budget.take(start), Ok(()));
        }
        assert_eq!(budget.take(start), Err(Spent::Until(Millis(5_100))));
        assert_eq!(budget.take(Millis(5_099)), Err(Spent::Until(Millis(5_100))));
        assert_eq!(budget.take(Millis(5_100)), Ok(()));
        assert_eq!(budget.take(Millis(5_100)), Err(Spent::Until(Millis(5_200))));
        let passed = (0..10_000).filter(|ms| budget.take(Millis(6_000 + ms)).is_ok()).count();
        assert_eq!(passed, 3 + 99);
    }

    #[test]
    fn strangers_leave_a_quarter_of_the_connections() {
        let plan = |connections| Plan { connections, message_bytes: None, messages: None };
        let (stranger, owner) = (Grant::Anonymous, Grant::Password { fingerprint: 1 });
        for (all, public) in [(1, 1), (3, 3), (4, 3), (100, 75)] {
            assert_eq!(plan(Some(all)).connections_for(&stranger), Some(public));
            assert_eq!(plan(Some(all)).connections_for(&owner), Some(all));
        }
        assert_eq!(plan(None).connections_for(&stranger), None);
    }

    #[test]
    fn a_fast_rate_without_a_burst_is_kept_by_a_slow_tick() {
        let budget = Budget::new(Rate { per_second: 600_000, burst: 1, over: Over::Pause });
        let mut passed = 0;
        for tick in 0..100 {
            while budget.take(Millis(10_000 + tick * 10)).is_ok() {
                passed += 1;
            }
        }
        assert!((594_000..=606_100).contains(&passed), "{passed}");
    }

    #[test]
    fn a_plan_that_closes_says_so() {
        let budget = Budget::new(Rate { per_second: 1, burst: 1, over: Over::Close });
        assert_eq!(budget.take(Millis(0)), Ok(()));
        assert_eq!(budget.take(Millis(0)), Err(Spent::Close));
    }
}
