//! Registries in memory whose time stands still, and what to put into them. For tests.

use std::sync::Arc;
use std::time::Duration;

use super::record::{InstanceRecord, KeyRecord, PasswordRecord, TenantRecord};
use super::store::embedded::Settings;
use super::store::{Embedded, Expected, Store};
use super::{Caching, Registry, put};
use crate::clock::{Clock, UnixMillis, Wall};
use crate::grant::KeyId;
use crate::secret::{Secret, SecretDigest};
use crate::tenant::{OnChange, Tenant, TenantId};

/// When the clock stands: some time in 2026.
pub const BEGIN: UnixMillis = UnixMillis(1_790_000_000_000);

/// Room enough, believed for long enough.
pub const CACHING: Caching = Caching { tenants_max: 1000, stale_max: Duration::from_secs(60 * 60) };

/// An empty store that goes by this clock.
pub async fn store(wall: &Wall) -> Store {
    let settings = Settings { wall: wall.clone(), ..Settings::default() };
    Store::from(Embedded::open("memory:", settings).await.unwrap())
}

/// An empty registry; its clock moves with [`Registry::wall`].
pub async fn registry() -> Registry {
    let wall = Wall::stopped_at(BEGIN.0);
    Registry::new(store(&wall).await, CACHING, Clock::start(), wall)
}

/// A tenant with a name and a runtime, and nothing else.
pub fn record(username: &str) -> TenantRecord {
    TenantRecord {
        username: username.to_owned(),
        password: None,
        keys: Vec::new(),
        retired: Vec::new(),
        plan: None,
        instance: Some(InstanceRecord {
            host: "127.0.0.1".to_owned(),
            port: 1880,
            node_root: String::new(),
            admin_root: None,
            tls: None,
            on_change: OnChange::Keep,
            process: None,
            kubernetes: None,
            others: Vec::new(),
            probe: None,
        }),
        allowed_origins: Vec::new(),
        disabled: false,
    }
}

/// A password, hashed as cheaply as can be.
pub fn password(text: &str, fingerprint: u64) -> PasswordRecord {
    PasswordRecord { hash: bcrypt::hash(text, 4).unwrap(), fingerprint }
}

/// A key, named but for the default one.
pub fn key(id: KeyId, secret: &str) -> KeyRecord {
    let secret = Secret::new(secret.to_owned());
    KeyRecord {
        id: id.to_string(),
        name: (id != KeyId::DEFAULT).then(|| format!("key {}", id.0)),
        sha256: SecretDigest::of(&secret).to_hex(),
        hint: Some(secret.hint()),
        created_unix_ms: BEGIN.0,
        expires_unix_ms: None,
        scope: Vec::new(),
        previous: None,
    }
}

/// Puts a new tenant into the store, without a word to the cache.
pub async fn add(registry: &Registry, id: u128, record: &TenantRecord) -> TenantId {
    let id = TenantId(id);
    let write = put(id, Expected::Absent, record).unwrap();
    registry.store().write(vec![write]).await.unwrap();
    id
}

/// A tenant who is there.
pub async fn tenant(registry: &Registry, id: TenantId) -> Arc<Tenant> {
    registry.by_id(id).await.unwrap().unwrap()
}
