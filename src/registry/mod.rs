//! The registry: where tenants live, behind one facade.
//!
//! For now they come from a profiles file and stay in memory.

use std::collections::HashMap;
use std::sync::Arc;

use crate::secret::SecretDigest;
use crate::tenant::{Tenant, TenantId, Username};

pub mod profiles;

/// Finds tenants.
#[derive(Debug, Default)]
pub struct Registry {
    tenants: HashMap<TenantId, Arc<Tenant>>,
    by_username: HashMap<Username, TenantId>,
    by_key: HashMap<SecretDigest, TenantId>,
}

impl Registry {
    /// A registry of these tenants, whose usernames and keys are unique.
    pub fn of(tenants: impl IntoIterator<Item = Tenant>) -> Self {
        let mut registry = Self::default();
        for tenant in tenants {
            registry.by_username.insert(tenant.username.clone(), tenant.id);
            for key in &tenant.keys {
                registry.by_key.insert(key.digest, tenant.id);
            }
            registry.tenants.insert(tenant.id, Arc::new(tenant));
        }
        registry
    }

    /// The tenant with this id, as they are now.
    pub fn by_id(&self, id: TenantId) -> Option<Arc<Tenant>> {
        self.tenants.get(&id).cloned()
    }

    /// The tenant with this name.
    pub fn by_username(&self, username: &Username) -> Option<Arc<Tenant>> {
        self.by_id(*self.by_username.get(username)?)
    }

    /// The tenant to whom a key leads. Their own record decides whether it is still theirs.
    pub fn by_key(&self, digest: &SecretDigest) -> Option<Arc<Tenant>> {
        self.by_id(*self.by_key.get(digest)?)
    }

    /// How many tenants there are.
    pub fn len(&self) -> usize {
        self.tenants.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tenants.is_empty()
    }
}
