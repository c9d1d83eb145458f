//! How a tenant's runtime is just now.

use std::time::Duration;

use serde_json::{Value, json};

use super::Desk;
use crate::refusal::Refusal;
use crate::tenant::Tenant;

/// What a look at a runtime came to.
pub(super) enum Runtime {
    /// None is set up.
    Absent,
    /// It takes connections; so long it took for that.
    Reachable(Duration),
    /// It does not; why, as a client is told.
    Unreachable(Refusal),
}

impl Desk {
    /// Looks at a tenant's runtime.
    pub(super) async fn runtime_of(&self, tenant: &Tenant) -> Runtime {
        let Some(instance) = &tenant.instance else { return Runtime::Absent };
        match self.dialer.probe(instance).await {
            Ok(took) => Runtime::Reachable(took),
            Err(refusal) => Runtime::Unreachable(refusal),
        }
    }
}

impl Runtime {
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Absent => "none is set up".to_owned(),
            Self::Reachable(took) => format!("answers within {} ms", took.as_millis().max(1)),
            // Without the full stop: it stands in a table.
            Self::Unreachable(refusal) => refusal.public().trim_end_matches('.').to_owned(),
        }
    }

    pub(super) fn describe(&self) -> Value {
        match self {
            Self::Absent => Value::Null,
            Self::Reachable(took) => {
                json!({ "reachable": true, "took_ms": took.as_millis() as u64 })
            }
            Self::Unreachable(refusal) => {
                json!({ "reachable": false, "code": refusal.label(), "why": refusal.public() })
            }
        }
    }
}
