//! What analytics count: sums by whose it is, which published API it was, who called, and by which
//! plan.
//!
//! Relay threads know nothing of it: what they count for each connection anyway is looked at once a
//! minute, and once more when a connection ends. What has no connection, as a refusal, is added here.
//! There are never more than [`KEYS_MAX`] sums, and [`KEYS_PER_TENANT_MAX`] of one tenant; what does
//! not fit is summed up as [`What::Other`], so that the sum over all is right in any case.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::grant::{ApiId, ApplicationId, ConsumerId};
use crate::tenant::TenantId;
use crate::tenant::by_id::ById;

mod sums;

pub use sums::{Measure, Sums};

/// Sums that are kept at once, at less than 300 bytes each.
pub const KEYS_MAX: usize = 8192;
/// Those of one tenant among them.
pub const KEYS_PER_TENANT_MAX: usize = 64;
/// Threads that look for different tenants' sums seldom meet in one of these.
const PARTS: usize = 16;
/// [`What::Other`] as it is stored.
const OTHER: &str = "*";

/// Who calls a published API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caller {
    /// Nobody in particular.
    #[default]
    Nobody,
    /// A consumer.
    Consumer(ConsumerId),
    /// An application.
    Application(ApplicationId),
}

/// What something is counted as, among all of a tenant's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// As what it is.
    Of {
        /// The published API, where it was one.
        api: Option<ApiId>,
        /// Who called it.
        caller: Caller,
        /// The plan's name, where there is a plan.
        plan: Option<Arc<str>>,
    },
    /// One of too many.
    Other,
}

impl What {
    fn is(&self, api: Option<ApiId>, caller: Caller, plan: Option<&str>) -> bool {
        let Self::Of { api: its, caller: who, plan: by } = self else { return false };
        (*its, *who) == (api, caller) && by.as_deref() == plan
    }

    /// Reads what `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == OTHER {
            return Some(Self::Other);
        }
        let mut parts = text.splitn(3, '.');
        let (api, caller, plan) = (parts.next()?, parts.next()?, parts.next()?);
        let api = match api {
            "-" => None,
            id => Some(ApiId::from_hex(id)?),
        };
        let caller = match caller.split_at_checked(1)? {
            ("-", "") => Caller::Nobody,
            ("c", id) => Caller::Consumer(ConsumerId::from_hex(id)?),
            ("a", id) => Caller::Application(ApplicationId::from_hex(id)?),
            _ => return None,
        };
        let plan = match plan {
            "" => None,
            plan => Some(Arc::from(plan.strip_prefix('=')?)),
        };
        Some(Self::Of { api, caller, plan })
    }
}

/// As it is stored: the API's id, the caller's behind a letter, and the plan's name behind `=`.
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Of { api, caller, plan } = self else { return f.write_str(OTHER) };
        match api {
            Some(api) => write!(f, "{api}.")?,
            None => f.write_str("-.")?,
        }
        match caller {
            Caller::Nobody => f.write_str("-.")?,
            Caller::Consumer(id) => write!(f, "c{id}.")?,
            Caller::Application(id) => write!(f, "a{id}.")?,
        }
        plan.as_ref().map_or(Ok(()), |plan| write!(f, "={plan}"))
    }
}

/// Whose something is, and what. Nobody's are the refusals of which nobody knows whom they concern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The tenant, or the account of an operator's API.
    pub tenant: Option<TenantId>,
    /// What.
    pub what: What,
}

/// The sums of one key: what has ended, and what was never a connection.
#[derive(Debug)]
pub struct Cell {
    key: Key,
    counts: [AtomicU64; Measure::COUNT],
    /// What was told; one thread at a time asks.
    told: [AtomicU64; Measure::COUNT],
}

impl Cell {
    fn new(key: Key) -> Self {
        Self { key, counts: Default::default(), told: Default::default() }
    }

    /// What it is of.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// So many more.
    pub fn add(&self, measure: Measure, more: u64) {
        if more > 0 {
            self.counts[measure as usize].fetch_add(more, Ordering::Relaxed);
        }
    }

    /// All of these more.
    pub fn add_all(&self, sums: &Sums) {
        for (measure, more) in sums.each() {
            self.add(measure, more);
        }
    }

    /// What was added so far.
    #[must_use]
    pub fn sums(&self) -> Sums {
        Sums::from(self.counts.each_ref().map(|count| count.load(Ordering::Relaxed)))
    }

    /// What is new of a sum since it was asked last. One that is behind, since something was on its way
    /// between two looks, is made up for the next time.
    fn news(&self, present: &Sums) -> Sums {
        let mut news = Sums::default();
        for (measure, present) in present.each() {
            let told = self.told[measure as usize].fetch_max(present, Ordering::Relaxed);
            news.add(measure, present.saturating_sub(told));
        }
        news
    }

    fn is_told(&self) -> bool {
        let pairs = self.counts.iter().zip(&self.told);
        pairs
            .into_iter()
            .all(|(count, told)| count.load(Ordering::Relaxed) <= told.load(Ordering::Relaxed))
    }
}

type Cells = HashMap<Option<TenantId>, Vec<Arc<Cell>>, ById>;

/// All sums of this process.
#[derive(Debug)]
pub struct Ledger {
    parts: [Mutex<Cells>; PARTS],
    /// How many there are, [`What::Other`] left out.
    count: AtomicUsize,
    keys_max: usize,
    keys_per_tenant_max: usize,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::with_limits(KEYS_MAX, KEYS_PER_TENANT_MAX)
    }
}

impl Ledger {
    /// One that keeps so many keys, and so many of one tenant.
    #[must_use]
    pub fn with_limits(keys_max: usize, keys_per_tenant_max: usize) -> Self {
        let (parts, count) = (std::array::from_fn(|_| Mutex::default()), AtomicUsize::new(0));
        Self { parts, count, keys_max, keys_per_tenant_max }
    }

    /// Where this is summed up, from now on if it was nowhere before.
    #[must_use]
    pub fn cell(
        &self,
        tenant: Option<TenantId>,
        api: Option<ApiId>,
        caller: Caller,
        plan: Option<&str>,
    ) -> Arc<Cell> {
        let mut part = self.part(tenant);
        let cells = part.entry(tenant).or_default();
        if let Some(known) = cells.iter().find(|cell| cell.key.what.is(api, caller, plan)) {
            return Arc::clone(known);
        }
        let others = cells.iter().position(|cell| cell.key.what == What::Other);
        let own = cells.len() - usize::from(others.is_some());
        let has_room = own < self.keys_per_tenant_max
            && self
                .count
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                    (count < self.keys_max).then_some(count + 1)
                })
                .is_ok();
        if has_room {
            let what = What::Of { api, caller, plan: plan.map(Arc::from) };
            let cell = Arc::new(Cell::new(Key { tenant, what }));
            cells.push(Arc::clone(&cell));
            return cell;
        }
        // Who has something already may have one more for the rest; who has nothing is nobody's rest.
        match others {
            Some(place) => return Arc::clone(&cells[place]),
            None if own > 0 || tenant.is_none() => {
                let cell = Arc::new(Cell::new(Key { tenant, what: What::Other }));
                cells.push(Arc::clone(&cell));
                return cell;
            }
            None => {}
        }
        part.remove(&tenant);
        drop(part);
        self.rest()
    }

    /// Where everything is summed up that has no room elsewhere.
    fn rest(&self) -> Arc<Cell> {
        let mut part = self.part(None);
        let cells = part.entry(None).or_default();
        let known = cells.iter().find(|cell| cell.key.what == What::Other);
        if let Some(known) = known {
            return Arc::clone(known);
        }
        let cell = Arc::new(Cell::new(Key { tenant: None, what: What::Other }));
        cells.push(Arc::clone(&cell));
        cell
    }

    /// All cells, by whose they are.
    #[must_use]
    pub fn cells(&self) -> Vec<(Option<TenantId>, Vec<Arc<Cell>>)> {
        let mut all = Vec::new();
        for part in &self.parts {
            let part = part.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(part.iter().map(|(tenant, cells)| (*tenant, cells.clone())));
        }
        all
    }

    /// What is new of a cell, now that it has come to `present`.
    #[must_use]
    pub fn news(&self, cell: &Cell, present: &Sums) -> Sums {
        cell.news(present)
    }

    /// Forgets what nobody adds to any more and of which all is told.
    pub fn sweep(&self) {
        for part in &self.parts {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            part.retain(|_, cells| {
                cells.retain(|cell| {
                    // Nobody can get hold of it meanwhile: that takes the lock.
                    let stays = Arc::strong_count(cell) > 1 || !cell.is_told();
                    if !stays && cell.key.what != What::Other {
                        self.count.fetch_sub(1, Ordering::Relaxed);
                    }
                    stays
                });
                !cells.is_empty()
            });
        }
    }

    /// How many keys there are that have sums of their own.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether nothing is counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn part(&self, tenant: Option<TenantId>) -> MutexGuard<'_, Cells> {
        // The ids are random.
        let part = tenant.map_or(0, |tenant| (tenant.0 % PARTS as u128) as usize);
        self.parts[part].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
