//! Series: a list of minutes per name, and a bucket for each of them.

use std::collections::{BTreeMap, HashMap};

use super::Redis;
use super::scripts::{Arguments, MERGE, SERIES};
use crate::registry::store::error::StoreError;
use crate::registry::store::limits::{FIELDS_MAX, SERIES_AHEAD_MINUTES, SERIES_KEPT_MINUTES};
use crate::registry::store::types::{Bucket, Merge, SeriesUpdate};

/// Buckets that one script reads: a script holds up everybody.
const PAGE: usize = 1_000;

/// The minutes whose buckets are kept, as `minutes.lua` wants them.
pub(super) fn kept() -> Arguments {
    Arguments::default().number(SERIES_KEPT_MINUTES).number(SERIES_AHEAD_MINUTES)
}

impl Redis {
    pub(in super::super) async fn merge(
        &self,
        updates: Vec<SeriesUpdate>,
    ) -> Result<(), StoreError> {
        let mut buckets: HashMap<(&str, u64), Vec<&SeriesUpdate>> = HashMap::new();
        for update in &updates {
            buckets.entry((&update.name, update.minute)).or_default().push(update);
        }
        let mut arguments = kept().number(FIELDS_MAX).number(buckets.len());
        for ((name, minute), updates) in buckets {
            arguments = arguments.text(name).number(minute).number(updates.len());
            for SeriesUpdate { field, merge, .. } in updates {
                arguments = match merge {
                    Merge::Add(number) => arguments.text(field).text("add").number(number),
                    Merge::Max(number) => arguments.text(field).text("max").number(number),
                };
            }
        }
        self.change(&MERGE, arguments, None).await.map(|_| ())
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
