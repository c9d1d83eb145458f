//! How fast a tenant may change what is theirs. Each change stands in the audit log and in the feed, which
//! keep so many and no more: nobody is to push out what others did. Pure: the moment is passed in.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Millis;
use crate::tenant::TenantId;

/// So many may come at once.
pub const BURST: u32 = 600;
/// Then one in this time.
pub const EVERY: Duration = Duration::from_secs(1);
/// Nobody waits for longer.
pub const WAIT_MAX: Duration = Duration::from_secs(10);
/// Then those that are on time again are forgotten.
const KEPT_MAX: usize = 1024;

/// When the next change of each tenant would be on time, by the generic cell rate algorithm (ITU-T I.371).
#[derive(Debug, Default)]
pub struct Pace(Mutex<HashMap<TenantId, Millis>>);

impl Pace {
    /// How long the next change of this tenant has to wait; `None` for too long: then it is not counted.
    pub fn wait(&self, tenant: TenantId, now: Millis) -> Option<Duration> {
        let mut due = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if due.len() >= KEPT_MAX {
            due.retain(|_, at| *at > now);
        }
        let at = due.get(&tenant).copied().unwrap_or_default().max(now).plus(EVERY);
        let wait = at.since(now.plus(EVERY * BURST));
        (wait <= WAIT_MAX).then(|| {
            due.insert(tenant, at);
            wait
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_then_each_waits_for_its_second() {
        let pace = Pace::default();
        let (mike, roberto) = (TenantId(1), TenantId(2));
        for _ in 0..BURST {
            assert_eq!(pace.wait(mike, Millis(5000)), Some(Duration::ZERO));
        }
        for seconds in 1..=10 {
            assert_eq!(pace.wait(mike, Millis(5000)), Some(Duration::from_secs(seconds)));
        }
        assert_eq!(pace.wait(mike, Millis(5000)), None);
        assert_eq!(pace.wait(mike, Millis(5999)), None, "what was refused does not count");
        assert_eq!(pace.wait(mike, Millis(6000)), Some(WAIT_MAX));
        assert_eq!(pace.wait(roberto, Millis(6000)), Some(Duration::ZERO));
        let rested = Millis(6000).plus(EVERY * (BURST + 10));
        assert_eq!(pace.wait(mike, rested), Some(Duration::ZERO));
    }

    #[test]
    fn who_is_on_time_again_is_forgotten() {
        let pace = Pace::default();
        for number in 0..KEPT_MAX as u128 {
            pace.wait(TenantId(number), Millis(0)).unwrap();
        }
        let later = Millis(0).plus(EVERY);
        pace.wait(TenantId(7), later).unwrap();
        assert_eq!(pace.0.lock().unwrap().len(), 1);
    }
}
