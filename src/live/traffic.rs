//! Traffic: what was relayed for each tenant, by minute for an hour and by hour for a day.
//!
//! Relay threads know nothing of it: the counts that they publish are looked at every few seconds, and
//! once more when a connection ends. It is kept in memory alone, and only of who had any.

use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use serde::{Deserialize, Serialize};

use super::Counts;
use crate::clock::UnixMillis;
use crate::tenant::TenantId;

/// Minutes that are told.
pub const MINUTES: u64 = 60;
/// Hours that are told.
pub const HOURS: u64 = 24;
const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// Tenants of whom it is kept, at less than 4 KiB each; nothing is kept of more.
const TENANTS_MAX: usize = 16_384;

/// A minute or an hour, counted from 1970, and what was relayed in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Span {
    /// Which.
    pub number: u64,
    /// How much.
    pub counts: Counts,
}

/// A tenant's last hour by minutes and last day by hours, the present ones included; the oldest first.
/// Those without traffic are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Of the last 60.
    pub minutes: Vec<Span>,
    /// Of the last 24.
    pub hours: Vec<Span>,
}

impl Traffic {
    /// Both together, for who runs on several replicas.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let merge = |one: &[Span], other: &[Span]| {
            let mut all = one.to_vec();
            for span in other {
                match all.iter_mut().find(|known| known.number == span.number) {
                    Some(known) => known.counts = known.counts.plus(span.counts),
                    None => all.push(*span),
                }
            }
            all.sort_unstable_by_key(|span| span.number);
            all
        };
        Self {
            minutes: merge(&self.minutes, &other.minutes),
            hours: merge(&self.hours, &other.hours),
        }
    }
}

/// A moment's minute and hour, by their numbers.
#[must_use]
pub fn numbers(at: UnixMillis) -> (u64, u64) {
    (at.0 / MINUTE_MS, at.0 / HOUR_MS)
}

#[derive(Debug)]
struct Rings {
    minutes: [Span; MINUTES as usize],
    hours: [Span; HOURS as usize],
}

impl Default for Rings {
    fn default() -> Self {
        let none = Span::default();
        Self { minutes: [none; MINUTES as usize], hours: [none; HOURS as usize] }
    }
}

fn add_to(ring: &mut [Span], number: u64, counts: Counts) {
    let place = (number % ring.len() as u64) as usize;
    let span = &mut ring[place];
    if span.number != number {
        *span = Span { number, counts: Counts::default() };
    }
    span.counts = span.counts.plus(counts);
}

fn last_of(ring: &[Span], now: u64) -> Vec<Span> {
    let first = (now + 1).saturating_sub(ring.len() as u64);
    let is_told =
        |span: &&Span| (first..=now).contains(&span.number) && span.counts != Counts::default();
    let mut told: Vec<Span> = ring.iter().filter(is_told).copied().collect();
    told.sort_unstable_by_key(|span| span.number);
    told
}

/// All tenants' traffic.
#[derive(Debug, Default)]
pub(super) struct Meter {
    now_unix_ms: AtomicU64,
    tenants: DashMap<TenantId, Box<Rings>>,
}

impl Meter {
    /// From now on it is this time. Forgets who had no traffic for a day.
    pub(super) fn tick(&self, now: UnixMillis) {
        let (_, hour) = numbers(now);
        let before = UnixMillis(self.now_unix_ms.swap(now.0, Ordering::Relaxed));
        if numbers(before).1 != hour {
            self.tenants.retain(|_, rings| !last_of(&rings.hours, hour).is_empty());
        }
    }

    /// Takes in what is new of a tenant's.
    pub(super) fn take_in(&self, tenant: TenantId, news: Counts) {
        if news == Counts::default() {
            return;
        }
        if !self.tenants.contains_key(&tenant) && self.tenants.len() >= TENANTS_MAX {
            return;
        }
        let (minute, hour) = numbers(UnixMillis(self.now_unix_ms.load(Ordering::Relaxed)));
        let mut rings = self.tenants.entry(tenant).or_default();
        add_to(&mut rings.minutes, minute, news);
        add_to(&mut rings.hours, hour, news);
    }

    pub(super) fn of(&self, tenant: TenantId, now: UnixMillis) -> Traffic {
        let (minute, hour) = numbers(now);
        let rings = self.tenants.get(&tenant);
        rings.map_or_else(Traffic::default, |rings| Traffic {
            minutes: last_of(&rings.minutes, minute),
            hours: last_of(&rings.hours, hour),
        })
    }
}

#[cfg(test)]
mod tests;
