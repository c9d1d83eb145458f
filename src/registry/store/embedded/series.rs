//! Series: one row per name and minute.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use redb::{ReadTransaction, ReadableTable};

use super::tables::{SERIES, Tables};
use crate::registry::store::error::StoreError;
use crate::registry::store::limits::{
    BATCH_KNOWN, BATCH_PREFIX, FIELDS_MAX, MINUTES_PER_DAY, SERIES_AHEAD_MINUTES,
    SERIES_KEPT_MINUTES,
};
use crate::registry::store::types::{Bucket, SeriesBatch, SeriesUpdate};

const MINUTE_MS: u64 = 60_000;
/// Old buckets that a transaction takes along.
const SWEPT_MAX: usize = 128;

/// The minutes whose buckets are kept.
fn kept(now_ms: u64, kept_minutes: u64) -> RangeInclusive<u64> {
    let now = now_ms / MINUTE_MS;
    now.saturating_sub(kept_minutes)..=now.saturating_add(SERIES_AHEAD_MINUTES)
}

pub(super) fn read(
    view: &ReadTransaction,
    name: &str,
    minutes: RangeInclusive<u64>,
    now_ms: u64,
) -> Result<Vec<Bucket>, StoreError> {
    let series = view.open_table(SERIES)?;
    // Old ones may still be there, and none is further ahead unless the clock was set back.
    let kept = kept(now_ms, SERIES_KEPT_MINUTES);
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
    pub(super) fn merge_once(&mut self, batch: &SeriesBatch) -> Result<(), StoreError> {
        let known = format!("{BATCH_PREFIX}{}", batch.id);
        if self.has_value(&known)? {
            return Ok(());
        }
        self.put_value(&known, &[], BATCH_KNOWN.as_millis() as u64)?;
        self.merge(&batch.updates, batch.kept_days)
    }

    pub(super) fn merge(
        &mut self,
        updates: &[SeriesUpdate],
        kept_days: u32,
    ) -> Result<(), StoreError> {
        let kept_minutes = u64::from(kept_days) * MINUTES_PER_DAY;
        let kept = kept(self.now_ms, kept_minutes);
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
            if kept_minutes < SERIES_KEPT_MINUTES {
                let end = minute.saturating_add(kept_minutes).saturating_add(1);
                self.series_ends.insert((end, name, minute), ())?;
            }
        }
        Ok(())
    }

    /// Removes some of the buckets that are too old.
    pub(super) fn sweep_series(&mut self) -> Result<(), StoreError> {
        let first = kept(self.now_ms, SERIES_KEPT_MINUTES);
        let mut old = Vec::new();
        for entry in self.minutes.range(..(*first.start(), ""))?.take(SWEPT_MAX) {
            let (key, _) = entry?;
            let (minute, name) = key.value();
            old.push((minute, name.to_owned()));
        }
        for (minute, name) in old {
            self.minutes.remove((minute, name.as_str()))?;
            self.series.remove((name.as_str(), minute))?;
        }
        let mut ended = Vec::new();
        let now = self.now_ms / MINUTE_MS;
        for entry in self.series_ends.range(..=(now, "\u{10ffff}", u64::MAX))?.take(SWEPT_MAX) {
            let (key, _) = entry?;
            let (end, name, minute) = key.value();
            ended.push((end, name.to_owned(), minute));
        }
        for (end, name, minute) in ended {
            self.series_ends.remove((end, name.as_str(), minute))?;
            self.minutes.remove((minute, name.as_str()))?;
            self.series.remove((name.as_str(), minute))?;
        }
        Ok(())
    }
}
