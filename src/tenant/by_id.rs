//! How maps find what belongs to a tenant.

use std::hash::{BuildHasherDefault, Hasher};

/// For maps by [`super::TenantId`]. The ids are drawn at random here, and no request and no import has a say in
/// them: nobody but who writes the registry itself could choose some that meet in one place of a map, so no
/// secret has to be worked in.
pub type ById = BuildHasherDefault<IdHasher>;

/// Spreads what is random already.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_u64(&mut self, number: u64) {
        /// The golden ratio's fraction: a map looks at the first and the last bits.
        const FACTOR: u128 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(self.0 ^ number) * FACTOR;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    fn write_u128(&mut self, id: u128) {
        self.write_u64(id as u64 ^ (id >> 64) as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    use super::super::TenantId;
    use super::*;

    #[test]
    fn ids_do_not_meet() {
        let hash = |id: u128, revision: u64| ById::default().hash_one((TenantId(id), revision));
        let ids = (0..64).flat_map(|bit| [1 << bit, u128::from(u64::MAX) << 64 | 1 << bit]);
        let all: Vec<u64> = ids.flat_map(|id| [hash(id, 1), hash(id, 2), hash(id, 3)]).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        // What a map takes for the place, and what it takes to tell the contents of one apart.
        for shift in [0, 57] {
            let parts = all.iter().map(|hash| hash >> shift & 127).collect::<HashSet<_>>().len();
            assert!(parts > 96, "{parts} of 128");
        }
    }
}
