//! How much of everything.

use std::time::Duration;

/// How much of everything.
#[derive(Clone, Copy)]
pub struct Scale {
    /// How often each is measured.
    pub rounds: usize,
    /// Load before measuring.
    pub warm_up: Duration,
    /// Load while measuring.
    pub time: Duration,
    /// The same where it is about the slowest of many, or about what happens once a second.
    pub long_time: Duration,
    /// Connections where many are wanted.
    pub many: usize,
    /// Connections where a thousand are wanted.
    pub thousand: usize,
    /// Tenants to check.
    pub tenants: usize,
    /// Bytes of a large body.
    pub large_bytes: u64,
    /// Numbers of tenants to grow to.
    pub growth: &'static [usize],
}

/// A run that is to be published.
pub const FULL: Scale = Scale {
    rounds: 5,
    warm_up: Duration::from_millis(250),
    time: Duration::from_secs(1),
    long_time: Duration::from_millis(2500),
    many: 9_000,
    thousand: 1_000,
    tenants: 100_000,
    large_bytes: 100 << 20,
    growth: &[10, 1_000, 100_000, 1_000_000],
};

/// A run that only shows that everything works.
pub const QUICK: Scale = Scale {
    rounds: 1,
    warm_up: Duration::from_millis(50),
    time: Duration::from_millis(150),
    long_time: Duration::from_millis(150),
    many: 300,
    thousand: 100,
    tenants: 1_000,
    large_bytes: 4 << 20,
    growth: &[10, 1_000],
};
