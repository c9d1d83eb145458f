//! What ends by itself: values, counters, leases.

use redb::{ReadTransaction, ReadableTable};

use super::tables::{EXPIRING, Space, Tables};
use super::writer::BATCH_MAX;
use crate::registry::store::error::StoreError;

/// Ended entries that a transaction takes along: more than it can bring.
const SWEPT_MAX: usize = 2 * BATCH_MAX;

struct Entry {
    ends_ms: u64,
    number: u64,
    bytes: Vec<u8>,
}

/// The bytes of a live entry.
pub(super) fn value(
    view: &ReadTransaction,
    space: Space,
    key: &str,
    now_ms: u64,
) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(live(&view.open_table(EXPIRING)?, space, key, now_ms)?.map(|entry| entry.bytes))
}

fn live(
    table: &impl ReadableTable<(u8, &'static str), (u64, u64, &'static [u8])>,
    space: Space,
    key: &str,
    now_ms: u64,
) -> Result<Option<Entry>, StoreError> {
    let Some(stored) = table.get((space as u8, key))? else { return Ok(None) };
    let (ends_ms, number, bytes) = stored.value();
    let entry = Entry { ends_ms, number, bytes: bytes.to_owned() };
    Ok((now_ms < ends_ms).then_some(entry))
}

impl Tables<'_> {
    pub(super) fn put_value(
        &mut self,
        key: &str,
        value: &[u8],
        ttl_ms: u64,
    ) -> Result<(), StoreError> {
        let ends_ms = self.now_ms.saturating_add(ttl_ms);
        self.set(Space::Value, key, ends_ms, 0, value)
    }

    pub(super) fn has_value(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.live(Space::Value, key)?.is_some())
    }

    pub(super) fn take_value(&mut self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(entry) = self.live(Space::Value, key)? else { return Ok(None) };
        self.clear(Space::Value, key)?;
        Ok(Some(entry.bytes))
    }

    pub(super) fn count(&mut self, key: &str, window_ms: u64) -> Result<u64, StoreError> {
        let (ends_ms, before) = match self.live(Space::Count, key)? {
            Some(entry) => (entry.ends_ms, entry.number),
            None => (self.now_ms.saturating_add(window_ms), 0),
        };
        let number = before.saturating_add(1);
        self.set(Space::Count, key, ends_ms, number, &[])?;
        Ok(number)
    }

    pub(super) fn acquire(
        &mut self,
        name: &str,
        holder: &str,
        ttl_ms: u64,
    ) -> Result<Option<u64>, StoreError> {
        let fence = match self.live(Space::Lease, name)? {
            Some(lease) if lease.bytes != holder.as_bytes() => return Ok(None),
            Some(lease) => lease.number,
            None => {
                self.last_fence += 1;
                self.last_fence
            }
        };
        let ends_ms = self.now_ms.saturating_add(ttl_ms);
        self.set(Space::Lease, name, ends_ms, fence, holder.as_bytes())?;
        Ok(Some(fence))
    }

    pub(super) fn release(&mut self, name: &str, holder: &str) -> Result<(), StoreError> {
        match self.live(Space::Lease, name)? {
            Some(lease) if lease.bytes == holder.as_bytes() => self.clear(Space::Lease, name),
            _ => Ok(()),
        }
    }

    /// Removes some of what has ended.
    pub(super) fn sweep_expiring(&mut self) -> Result<(), StoreError> {
        let mut ended = Vec::new();
        for entry in self.ends.range(..=(self.now_ms, u8::MAX, ""))?.take(SWEPT_MAX) {
            let (key, _) = entry?;
            let (ends_ms, space, key) = key.value();
            ended.push((ends_ms, space, key.to_owned()));
        }
        for (ends_ms, space, key) in ended {
            self.ends.remove((ends_ms, space, key.as_str()))?;
            self.expiring.remove((space, key.as_str()))?;
        }
        Ok(())
    }

    fn live(&self, space: Space, key: &str) -> Result<Option<Entry>, StoreError> {
        live(&self.expiring, space, key, self.now_ms)
    }

    fn set(
        &mut self,
        space: Space,
        key: &str,
        ends_ms: u64,
        number: u64,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.clear(space, key)?;
        self.expiring.insert((space as u8, key), (ends_ms, number, bytes))?;
        self.ends.insert((ends_ms, space as u8, key), ())?;
        Ok(())
    }

    fn clear(&mut self, space: Space, key: &str) -> Result<(), StoreError> {
        self.is_changed = true;
        if let Some(stored) = self.expiring.remove((space as u8, key))? {
            self.ends.remove((stored.value().0, space as u8, key))?;
        }
        Ok(())
    }
}
