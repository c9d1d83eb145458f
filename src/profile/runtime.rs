//! How a tenant's runtime is just now.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, At, Desk, From, Owner};
use crate::authenticate::Identity;
use crate::client::Client;
use crate::json::{Input, Private};
use crate::refusal::Refusal;
use crate::registry::record::TenantRecord;
use crate::runtimes::look::Look;
use crate::tenant::Tenant;

/// What a look at a runtime came to.
pub(super) enum Runtime {
    /// None is set up.
    Absent,
    /// It takes connections; so long it took for that.
    Reachable(Duration),
    /// It does not; why, as a client is told.
    Unreachable(Refusal),
    /// flowgate wakes it and puts it to sleep.
    Owned(Box<Look>),
}

/// How the runtime is; what keeps it awake, and when it will sleep, where flowgate owns it.
pub(super) async fn show(State(desk): At, Extension(identity): Owner) -> Answer {
    let runtime = desk.runtime_of(&identity.tenant).await;
    Ok(Private(StatusCode::OK, runtime.describe()))
}

/// What a tenant may say of their runtime.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSettings {
    /// Whether requests without a credential wake it.
    public_wake: bool,
}

/// Says who wakes the runtime. Ends nothing.
pub(super) async fn change(
    State(desk): At,
    Extension(identity): Owner,
    Extension(client): From,
    Input(settings): Input<NewSettings>,
) -> Answer {
    let tenant = set_public_wake(&desk, &identity, client, settings.public_wake).await?;
    Ok(Private(StatusCode::OK, desk.runtime_of(&tenant).await.describe()))
}

/// Says whether requests without a credential wake the runtime.
///
/// # Errors
/// It is not flowgate's to wake; or the registry's.
pub(super) async fn set_public_wake(
    desk: &Desk,
    identity: &Identity,
    client: Client,
    public_wake: bool,
) -> Result<Arc<Tenant>, Refusal> {
    let change = |record: &mut TenantRecord| {
        let instance = record.instance.as_mut();
        let owned = instance.and_then(|it| it.process.as_mut().or(it.kubernetes.as_mut()));
        let owned = owned.ok_or(Refusal::Conflicting("flowgate does not run this runtime."))?;
        owned.public_wake = public_wake;
        Ok(())
    };
    Ok(desk.change(identity, client, "change runtime", change).await?.0)
}

impl Desk {
    /// Looks at a tenant's runtime. That wakes none.
    pub(super) async fn runtime_of(&self, tenant: &Tenant) -> Runtime {
        let Some(instance) = &tenant.instance else { return Runtime::Absent };
        if let Some(look) = self.runtimes.look(tenant).await {
            return Runtime::Owned(Box::new(look));
        }
        match self.dialer.probe(instance).await {
            Ok(took) => Runtime::Reachable(took),
            Err(refusal) => Runtime::Unreachable(refusal),
        }
    }
}

impl Runtime {
    pub(super) fn is_bad(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Owned(look) => look.state == "failing" || look.failures > 0,
            Self::Absent | Self::Reachable(_) => false,
        }
    }

    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Absent => "none is set up".to_owned(),
            Self::Reachable(took) => format!("answers within {} ms", took.as_millis().max(1)),
            // Without the full stop: it stands in a table.
            Self::Unreachable(refusal) => refusal.public().trim_end_matches('.').to_owned(),
            Self::Owned(look) => owned_in_words(look),
        }
    }

    /// Whether requests without a credential wake it, where it sleeps at all.
    pub(super) fn public_wake(&self) -> Option<bool> {
        match self {
            Self::Owned(look) => Some(look.public_wake),
            _ => None,
        }
    }

    /// The end of what it wrote, where that is known.
    pub(super) fn log_tail(&self) -> &str {
        match self {
            Self::Owned(look) => &look.log_tail,
            _ => "",
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
            Self::Owned(look) => json!(look),
        }
    }
}

fn owned_in_words(look: &Look) -> String {
    let mut words = look.state.to_owned();
    if let Some(why) = &look.why {
        let link = if look.state == "ready" { " again; before that " } else { ": " };
        words.push_str(&format!("{link}{why}"));
        if look.failures > 1 {
            words.push_str(&format!(", {} times in a row", look.failures));
        }
    }
    if let Some(seconds) = look.retry_in_seconds {
        words.push_str(&format!("; it may be started again in {seconds} s"));
    }
    if !look.awake_because.is_empty() {
        words.push_str(&format!(": {}", look.awake_because.join(", ")));
    }
    if let Some(seconds) = look.sleeps_in_seconds {
        words.push_str(&format!("; it sleeps in {seconds} s"));
    }
    words
}
