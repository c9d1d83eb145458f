//! Which tenants keep a server busy.

use std::cmp::Reverse;

use super::{Kind, LiveTable, Relayed};
use crate::tenant::Username;

/// What a tenant's connections have relayed since the tenant was last at rest.
#[derive(Clone, Debug)]
pub struct TenantTraffic {
    /// The tenant's name.
    pub username: Username,
    /// Live connections, and handshakes under way.
    pub connections: usize,
    /// Messages and bytes.
    pub relayed: Relayed,
}

impl LiveTable {
    /// The tenants with entries who have relayed the most bytes, the busiest first; at most `limit`.
    #[must_use]
    pub fn busiest(&self, limit: usize) -> Vec<TenantTraffic> {
        let mut all = Vec::new();
        for shared in &self.tenants {
            let entries = shared.entries();
            if entries.count(Kind::Connection) == 0 {
                continue;
            }
            all.push(TenantTraffic {
                username: shared.username.clone(),
                connections: entries.count(Kind::Connection),
                relayed: entries.relayed(),
            });
        }
        all.sort_by_cached_key(|tenant| {
            (Reverse(tenant.relayed.bytes.iter().sum::<u64>()), tenant.username.clone())
        });
        all.truncate(limit);
        all
    }
}
