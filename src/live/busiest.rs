//! Which tenants keep a server busy.

use std::cmp::Ordering;
use std::sync::Arc;

use super::shared::TenantLive;
use super::{Counts, Kind, LiveTable};
use crate::tenant::Username;

/// What a tenant's connections have relayed since the tenant was last at rest.
#[derive(Clone, Debug)]
pub struct TenantTraffic {
    /// The tenant's name.
    pub username: Username,
    /// Live connections, and handshakes under way.
    pub connections: usize,
    /// Messages and bytes.
    pub relayed: Counts,
}

/// A tenant with what was seen of them at one moment.
type Seen = (Counts, usize, Arc<TenantLive>);

/// The most bytes first, then by name.
fn by_bytes((one, _, whose): &Seen, (other, _, others): &Seen) -> Ordering {
    other.bytes().cmp(&one.bytes()).then_with(|| whose.username.cmp(&others.username))
}

impl LiveTable {
    /// The tenants with connections that have relayed the most bytes, the busiest first; at most
    /// `limit`. Looks at every connection.
    #[must_use]
    pub fn busiest(&self, limit: usize) -> Vec<TenantTraffic> {
        let mut all: Vec<Seen> = Vec::new();
        for shared in &self.tenants {
            let entries = shared.entries();
            let connections = entries.count(Kind::Connection);
            if connections > 0 {
                all.push((entries.relayed(), connections, Arc::clone(&shared)));
            }
        }
        if limit < all.len() {
            all.select_nth_unstable_by(limit, by_bytes);
            all.truncate(limit);
        }
        all.sort_unstable_by(by_bytes);
        let told = |(relayed, connections, shared): Seen| TenantTraffic {
            username: shared.username.clone(),
            connections,
            relayed,
        };
        all.into_iter().map(told).collect()
    }
}
