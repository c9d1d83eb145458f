//! Which replica looks after what is no single tenant's: the holder of a Lease (coordination.k8s.io).
//!
//! Time is each replica's own: a Lease that nobody has renewed for as long as it lasts, by the watch of who
//! looks, is free. Two that take themselves for the holder do no harm: whatever they do they do under the
//! lease of the registry for one tenant, and to what has not changed since they read it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::api::{Api, Fault, Kind};
use crate::clock::Wall;

/// It is renewed every few minutes.
const LASTS: Duration = Duration::from_secs(15 * 60);

pub(super) struct Election {
    api: Arc<Api>,
    name: String,
    holder: String,
    wall: Wall,
    /// The last that was seen of it, and when that was new.
    seen: Mutex<Option<(Value, Instant)>>,
}

impl fmt::Debug for Election {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Election").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Election {
    pub(super) fn new(api: Arc<Api>, group: &str, replica: &str) -> Self {
        let name = format!("{group}-runtimes");
        let holder = replica.to_owned();
        Self { api, name, holder, wall: Wall::system(), seen: Mutex::default() }
    }

    /// Whether this replica holds it; takes or renews it if that may be.
    pub(super) async fn holds(&self) -> bool {
        match self.try_hold().await {
            Ok(holds) => holds,
            Err(fault) => {
                tracing::debug!(name = self.name, %fault, "the Lease cannot be taken");
                false
            }
        }
    }

    async fn try_hold(&self) -> Result<bool, Fault> {
        let Some(lease) = self.api.get(Kind::Lease, &self.name).await? else {
            let new = self.lease(&json!({ "name": self.name }), 0);
            return self.api.create(Kind::Lease, &new).await.map(|()| true);
        };
        let spec = &lease["spec"];
        let holder = spec["holderIdentity"].as_str().unwrap_or_default();
        if holder != self.holder && !holder.is_empty() && !self.is_stale(&lease).await {
            return Ok(false);
        }
        let changes = spec["leaseTransitions"].as_u64().unwrap_or_default();
        let changes = changes + u64::from(holder != self.holder);
        // Refused if somebody else was faster.
        self.api.replace(Kind::Lease, &self.lease(&lease["metadata"], changes)).await.map(|()| true)
    }

    /// Whether nobody has renewed it for as long as it lasts.
    async fn is_stale(&self, lease: &Value) -> bool {
        let version = &lease["metadata"]["resourceVersion"];
        let mut seen = self.seen.lock().await;
        match &*seen {
            Some((known, since)) if known == version => since.elapsed() >= LASTS,
            _ => {
                *seen = Some((version.clone(), Instant::now()));
                false
            }
        }
    }

    fn lease(&self, metadata: &Value, changes: u64) -> Value {
        let now = UNIX_EPOCH + Duration::from_millis(self.wall.unix_ms());
        json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": self.holder,
                "leaseDurationSeconds": LASTS.as_secs(),
                "renewTime": humantime::format_rfc3339_micros(now).to_string(),
                "leaseTransitions": changes,
            },
        })
    }
}
