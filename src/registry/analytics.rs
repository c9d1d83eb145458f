//! Analytics as they are stored: series by minute and by hour, and for each tenant and day a list of
//! what there is.
//!
//! A bucket has the numbers of twelve minutes, or of twelve hours, so that a store has few of them: a
//! field is the place of the minute or the hour in hexadecimal and the letter of a number. All that one
//! replica has to say about one minute goes out in batches that are merged once, however often they are
//! sent.

use std::collections::{BTreeMap, HashMap, HashSet};

use sha2::{Digest, Sha256};

use super::Registry;
use super::store::{Merge, SeriesBatch, SeriesUpdate, StoreError};
use crate::ledger::{Key, Measure, Sums, What};
use crate::tenant::TenantId;

/// For how many days there are minutes; hours are kept longer, if the settings say so.
pub const MINUTES_KEPT_DAYS: u32 = 7;
/// The most days for which anything can be kept.
pub const KEPT_DAYS_MAX: u32 = 31;
/// Different keys of a tenant's on one day, over all replicas; more are summed up as [`What::Other`].
pub const KEYS_PER_DAY_MAX: usize = super::store::limits::FIELDS_MAX - 1;
/// Minutes or hours of a bucket.
const UNITS_PER_BUCKET: u64 = 12;
const UPDATES_PER_BATCH: usize = 1000;
const MINUTES_PER_HOUR: u64 = 60;
const MINUTES_PER_DAY: u64 = 24 * MINUTES_PER_HOUR;

/// What numbers are of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// All of a tenant's, or of an operator's API's; nobody's. Kept by the hour alone: minutes are added
    /// up by whoever asks for them.
    Tenant(Option<TenantId>),
    /// One key.
    Key(Key),
}

/// What numbers are told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Minutes.
    Minute,
    /// Hours.
    Hour,
}

impl Unit {
    fn minutes(self) -> u64 {
        match self {
            Self::Minute => 1,
            Self::Hour => MINUTES_PER_HOUR,
        }
    }

    fn letter(self) -> char {
        match self {
            Self::Minute => 'm',
            Self::Hour => 'h',
        }
    }

    /// A bucket goes as a whole, counted from its first minute: hence a day more.
    fn kept_days(self, kept_days: u32) -> u32 {
        match self {
            Self::Minute => kept_days.min(MINUTES_KEPT_DAYS) + 1,
            Self::Hour => kept_days + 1,
        }
    }

    /// The series of a subject.
    fn series(self, subject: &Subject) -> String {
        let letter = self.letter();
        match subject {
            Subject::Tenant(tenant) => format!("analytics:{letter}:{}", name(*tenant)),
            Subject::Key(Key { tenant, what }) => {
                let digest = Sha256::digest(what.to_string().as_bytes());
                let digest = u64::from_be_bytes(std::array::from_fn(|place| digest[place]));
                format!("analytics:{letter}:{}:{digest:016x}", name(*tenant))
            }
        }
    }

    /// The bucket of a minute, and the place there.
    fn place(self, minute: u64) -> (u64, u64) {
        let unit = minute / self.minutes();
        let place = unit % UNITS_PER_BUCKET;
        ((unit - place) * self.minutes(), place)
    }
}

fn name(tenant: Option<TenantId>) -> String {
    tenant.map_or_else(|| "nobody".to_owned(), |tenant| tenant.to_string())
}

fn keys_of(tenant: Option<TenantId>) -> String {
    format!("analytics:keys:{}", name(tenant))
}

fn day_of(minute: u64) -> u64 {
    minute - minute % MINUTES_PER_DAY
}

/// What is to be written of one minute: each key, and each tenant's sum.
#[must_use]
pub fn batches(id: &str, minute: u64, sums: &[(Key, Sums)], kept_days: u32) -> Vec<SeriesBatch> {
    let mut tenants: HashMap<Option<TenantId>, Sums> = HashMap::new();
    for (key, sums) in sums {
        tenants.entry(key.tenant).or_default().add_all(sums);
    }
    let keys = || sums.iter().map(|(key, sums)| (Subject::Key(key.clone()), *sums));
    let tenants = tenants.into_iter().map(|(tenant, sums)| (Subject::Tenant(tenant), sums));
    let minutes: Vec<_> = keys().collect();
    let hours: Vec<_> = keys().chain(tenants).collect();
    let mut batches = Vec::new();
    for (unit, subjects) in [(Unit::Minute, minutes), (Unit::Hour, hours)] {
        let updates = subjects.iter();
        let updates: Vec<SeriesUpdate> =
            updates.flat_map(|(subject, sums)| updates_of(unit, subject, minute, sums)).collect();
        for (part, some) in updates.chunks(UPDATES_PER_BATCH).enumerate() {
            batches.push(SeriesBatch {
                id: format!("{id}:{}{part}", unit.letter()),
                kept_days: unit.kept_days(kept_days),
                updates: some.to_vec(),
            });
        }
    }
    batches
}

fn updates_of(unit: Unit, subject: &Subject, minute: u64, sums: &Sums) -> Vec<SeriesUpdate> {
    let name = unit.series(subject);
    let (bucket, place) = unit.place(minute);
    let update = |(measure, count): (Measure, u64)| SeriesUpdate {
        name: name.clone(),
        minute: bucket,
        field: format!("{place:x}{}", measure.letter()),
        merge: Merge::Add(count),
    };
    sums.each().map(update).collect()
}

impl Registry {
    /// Puts keys onto the list of their tenant's for the day of a minute, and returns those that are on
    /// it. The others came too late: the list is full. `id` names the attempt.
    ///
    /// # Errors
    /// The store's.
    pub async fn list_keys(
        &self,
        id: &str,
        minute: u64,
        tenant: Option<TenantId>,
        keys: &[What],
        kept_days: u32,
    ) -> Result<HashSet<What>, StoreError> {
        let (name, day) = (keys_of(tenant), day_of(minute));
        let update = |what: &What| SeriesUpdate {
            name: name.clone(),
            minute: day,
            field: what.to_string(),
            merge: Merge::Max(1),
        };
        // First, so that it has a place in any case.
        let updates = [What::Other].iter().chain(keys).map(update).collect();
        let kept_days = Unit::Hour.kept_days(kept_days);
        let batch = SeriesBatch { id: id.to_owned(), kept_days, updates };
        self.store().merge_once(batch).await?;
        self.keys(tenant, day, day).await
    }

    /// What there is of a tenant between two minutes, by days.
    ///
    /// # Errors
    /// The store's.
    pub async fn keys(
        &self,
        tenant: Option<TenantId>,
        from_minute: u64,
        to_minute: u64,
    ) -> Result<HashSet<What>, StoreError> {
        let days = self.store().series(&keys_of(tenant), day_of(from_minute), to_minute).await?;
        let fields = days.iter().flat_map(|day| day.fields.keys());
        Ok(fields.filter_map(|field| What::parse(field)).collect())
    }

    /// The numbers of a subject between two minutes, both included, by the first minute of each unit.
    ///
    /// # Errors
    /// The store's.
    pub async fn analytics(
        &self,
        subject: &Subject,
        unit: Unit,
        (from_minute, to_minute): (u64, u64),
    ) -> Result<BTreeMap<u64, Sums>, StoreError> {
        let name = unit.series(subject);
        let (first, _) = unit.place(from_minute);
        let buckets = self.store().series(&name, first, to_minute).await?;
        let mut numbers: BTreeMap<u64, Sums> = BTreeMap::new();
        for bucket in buckets {
            for (field, count) in bucket.fields {
                let Some((place, measure)) = read_field(&field) else { continue };
                let minute = bucket.minute + place * unit.minutes();
                if (from_minute..=to_minute).contains(&minute) {
                    numbers.entry(minute).or_default().add(measure, count);
                }
            }
        }
        Ok(numbers)
    }
}

fn read_field(field: &str) -> Option<(u64, Measure)> {
    let mut characters = field.chars();
    let place = characters.next()?.to_digit(16)?;
    let measure = Measure::of_letter(characters.next()?)?;
    characters.next().is_none().then_some((u64::from(place), measure))
}

#[cfg(test)]
mod tests;
