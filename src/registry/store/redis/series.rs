//! Series: a list of minutes per name, and a bucket for each of them.

use std::collections::{BTreeMap, HashMap};

use super::Redis;
use super::scripts::{Arguments, MERGE, MERGE_ONCE, SERIES};
use crate::registry::store::error::StoreError;
use crate::registry::store::limits::{
    BATCH_KNOWN, BATCH_PREFIX, FIELDS_MAX, MINUTES_PER_DAY, SERIES_AHEAD_MINUTES,
    SERIES_KEPT_MINUTES,
};
use crate::registry::store::types::{Bucket, Merge, SeriesBatch, SeriesUpdate};

/// Buckets that one script reads: a script holds up everybody.
const PAGE: usize = 1_000;

/// The minutes whose buckets are kept, as `minutes.lua` wants them.
pub(super) fn kept() -> Arguments {
    kept_for(SERIES_KEPT_MINUTES)
}

fn kept_for(minutes: u64) -> Arguments {
    Arguments::default().number(minutes).number(SERIES_AHEAD_MINUTES)
}

/// What `merge.lua` wants behind the minutes that are kept.
fn merged(mut arguments: Arguments, updates: &[SeriesUpdate]) -> Arguments {
    let mut buckets: HashMap<(&str, u64), Vec<&SeriesUpdate>> = HashMap::new();
    for update in updates {
        buckets.entry((&update.name, update.minute)).or_default().push(update);
    }
    arguments = arguments.number(FIELDS_MAX).number(buckets.len());
    for ((name, minute), updates) in buckets {
        arguments = arguments.text(name).number(minute).number(updates.len());
        for SeriesUpdate { field, merge, .. } in updates {
            arguments = match merge {
                Merge::Add(number) => arguments.text(field).text("add").number(number),
                Merge::Max(number) => arguments.text(field).text("max").number(number),
            };
        }
    }
    arguments
}

impl Redis {
    pub(in super::super) async fn merge(
        &self,
        updates: Vec<SeriesUpdate>,
    ) -> Result<(), StoreError> {
        let arguments = merged(kept(), &updates);
        self.change(&MERGE, arguments, None).await.map(|_| ())
    }

    pub(in super::super) async fn merge_once(&self, batch: SeriesBatch) -> Result<(), StoreError> {
        let SeriesBatch { id, kept_days, updates } = batch;
        let arguments = merged(kept_for(u64::from(kept_days) * MINUTES_PER_DAY), &updates)
            .text(&format!("{BATCH_PREFIX}{id}"))
            .number(BATCH_KNOWN.as_millis());
        self.change(&MERGE_ONCE, arguments, None).await.map(|_| ())
    }

    pub(in super::super) async fn series(
        &self,
        name: &str,
        from_minute: u64,
        to_minute: u64,
    ) -> Result<Vec<Bucket>, StoreError> {
        let mut buckets = Vec::new();
        let mut next = from_minute;
        loop {
            let arguments = kept().text(name).number(next).number(to_minute).number(PAGE);
            let mut reply = self.read(&SERIES, arguments).await?.reply;
            let mut listed = reply.list()?;
            let is_last = listed.left() < PAGE;
            while listed.left() > 0 {
                let mut bucket = listed.list()?;
                let minute = bucket.number()?;
                let mut named = bucket.list()?;
                let mut fields = BTreeMap::new();
                while named.left() > 0 {
                    fields.insert(named.text()?, named.number()?);
                }
                next = minute.saturating_add(1);
                // A bucket may have gone by itself before its minute left the list.
                if !fields.is_empty() {
                    buckets.push(Bucket { minute, fields });
                }
            }
            if is_last {
                return Ok(buckets);
            }
        }
    }
}
