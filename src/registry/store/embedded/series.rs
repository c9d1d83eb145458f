//! Series: one row per name and minute.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use redb::{ReadTransaction, ReadableTable};

use super::tables::{SERIES, Tables};
use crate::registry::store::error::StoreError;
use crate::registry::store::limits::{FIELDS_MAX, SERIES_AHEAD_MINUTES, SERIES_KEPT_MINUTES};
use crate::registry::store::types::{Bucket, SeriesUpdate};

const MINUTE_MS: u64 = 60_000;
/// Old buckets that a transaction takes along.
const SWEPT_MAX: usize = 128;

/// The minutes whose buckets are kept.
fn kept(now_ms: u64) -> RangeInclusive<u64> {
    let now = now_ms / MINUTE_MS;
    now.saturating_sub(SERIES_KEPT_MINUTES)..=now.saturating_add(SERIES_AHEAD_MINUTES)
}

pub(super) fn read(
    view: &ReadTransaction,
    name: &str,
    minutes: RangeInclusive<u64>,
    now_ms: u64,
) -> Result<Vec<Bucket>, StoreError> {
    let series = view.open_table(SERIES)?;
    // Old ones may still be there, and none is further ahead unless the clock was set back.
    let kept = kept(now_ms);
    let first = (*minutes.start()).max(*kept.start());
    let last = (*minutes.end()).min(*kept.end());
    if first > last {
        return Ok(Vec::new());
    }
    let mut buckets = Vec::new();
    for entry in series.range((name, first)..=(name, last))? {
        let (key, fields) = entry?;
        let fields = fields.value().into_iter();
        let fields = fields.map(|(field, number)| (field.to_owned(), number)).collect();
        buckets.push(Bucket { minute: key.value().1, fields });
    }
    Ok(buckets)
}

impl Tables<'_> {
    pub(super) fn merge(&mut self, updates: &[SeriesUpdate]) -> Result<(), StoreError> {
        let kept = kept(self.now_ms);
        let mut buckets: BTreeMap<(&str, u64), Vec<&SeriesUpdate>> = BTreeMap::new();
        for update in updates.iter().filter(|update| kept.contains(&update.minute)) {
            buckets.entry((&update.name, update.minute)).or_default().push(update);
        }
        for ((name, minute), updates) in buckets {
            self.is_changed = true;
            let mut fields = BTreeMap::new();
            if let Some(stored) = self.series.get((name, minute))? {
                let stored = stored.value().into_iter();
                fields.extend(stored.map(|(field, number)| (field.to_owned(), number)));
            }
            for SeriesUpdate { field, merge, .. } in updates {
                let present = fields.get(field).copied();
                if present.is_some() || fields.len() < FIELDS_MAX {
                    fields.insert(field.clone(), merge.onto(present.unwrap_or(0)));
                }
            }
            let fields: Vec<_> =
                fields.iter().map(|(field, number)| (field.as_str(), *number)).collect();
            self.series.insert((name, minute), fields)?;
            self.minutes.insert((minute, name), ())?;
        }
        Ok(())
    }

    /// Removes some of the buckets that are too old.
    pub(super) fn sweep_series(&mut self) -> Result<(), StoreError> {
        let mut old = Vec::new();
        for entry in self.minutes.range(..(*kept(self.now_ms).start(), ""))?.take(SWEPT_MAX) {
            let (key, _) = entry?;
            let (minute, name) = key.value();
            old.push((minute, name.to_owned()));
        }
        for (minute, name) in old {
            self.minutes.remove((minute, name.as_str()))?;
            self.series.remove((name.as_str(), minute))?;
        }
        Ok(())
    }
}
