//! A tenant's view of their own account, as a page and for programs: plan, keys, password, tickets,
//! connections.
//!
//! The caller has authenticated: every handler finds an [`Identity`] that rests on the password or on a
//! session that began with it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, State};
use axum::middleware::from_fn;
use axum::response::Redirect;
use axum::routing::{delete, get, post, put};
use serde_json::Value;

use crate::analytics::Analytics;
use crate::authenticate::Identity;
use crate::change::{Changed, Changing};
use crate::client::Client;
use crate::clock::UnixMillis;
use crate::close::Cause;
use crate::connect::Dialer;
use crate::grant::{Grant, KeyId};
use crate::journey::recent::Recent;
use crate::json::{Id, Input, Private, to_the_end};
use crate::live::LiveTable;
use crate::oauth::OAuthSettings;
use crate::passwords::Passwords;
use crate::presence::Presence;
use crate::refusal::Refusal;
use crate::registry::audit::{Act, By};
use crate::registry::record::TenantRecord;
use crate::registry::usage::Usage;
use crate::registry::{Registry, away};
use crate::runtimes::Runtimes;
use crate::tenant::Tenant;

mod account;
mod analytics;
mod applications;
mod asyncapi;
mod chart;
mod connections;
mod keys;
mod page;
mod portal;
mod publishing;
mod runtime;
mod subscribers;
mod view;

/// What the handlers work with.
#[derive(Debug)]
pub struct Desk {
    /// Where tenants live.
    pub registry: Arc<Registry>,
    /// Where passwords are checked and hashed.
    pub passwords: Arc<Passwords>,
    /// What runs here.
    pub live: Arc<LiveTable>,
    /// What runs on all replicas.
    pub presence: Arc<Presence>,
    /// When keys were used.
    pub usage: Arc<Usage>,
    /// The way to runtimes.
    pub dialer: Arc<Dialer>,
    /// Those that are woken and put to sleep.
    pub runtimes: Arc<Runtimes>,
    /// What was refused lately.
    pub refused: Arc<Recent>,
    /// What was counted.
    pub analytics: Arc<Analytics>,
    /// The registrable domain of the tenant hosts.
    pub base_domain: String,
    /// How access tokens are issued.
    pub oauth: OAuthSettings,
}

/// The handlers, below `/profile`.
pub fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/profile", get(page::show))
        // Whoever opens the address of a form's answer again gets the page.
        .route("/profile/do/{action}", get(|| async { Redirect::to("/profile") }).post(page::act))
        .route("/profile/traffic", get(chart::show))
        .route("/profile/runtime", get(runtime::show).put(runtime::change))
        .route("/profile/analytics", get(analytics::show))
        .route("/profile/analytics.csv", get(analytics::file))
        .route("/profile/refusals", get(page::refusals))
        .route("/profile/password", put(account::change_password))
        .route("/profile/tickets", post(account::issue_ticket))
        .route("/profile/api-key", post(keys::regenerate))
        .route("/profile/keys", get(keys::list).post(keys::create))
        .route("/profile/keys/{id}", delete(keys::revoke_key))
        .route("/profile/keys/{id}/rotate", post(keys::rotate))
        .route("/profile/connections", get(connections::list))
        .route("/profile/connections/{id}", delete(connections::close))
        .merge(publishing::routes())
        .merge(applications::routes())
        .merge(subscribers::routes())
        .merge(portal::routes())
        .method_not_allowed_fallback(|| async { Refusal::MethodNotAllowed(String::new()) })
        .fallback(|| async { Refusal::NotFound("no such page of the profile") })
        .layer(from_fn(to_the_end))
        .with_state(desk)
}

type Answer = Result<Private<Value>, Refusal>;
type Owner = Extension<Identity>;
type From = Extension<Client>;
type At = State<Arc<Desk>>;

/// The id of a named key; the default one is regenerated, not rotated or revoked.
fn named(id: &str) -> Result<KeyId, Refusal> {
    KeyId::from_hex(id).filter(|id| *id != KeyId::DEFAULT).ok_or(Refusal::NotFound("no such key"))
}

/// A tenant's act, as the audit log has it.
fn act(identity: &Identity, client: Client, verb: &'static str, object: String) -> Act {
    Act { by: By::Tenant, who: identity.tenant.username.to_string(), verb, object, client }
}

/// The password on which rests who asks; with nothing else an account is changed.
fn password_of(identity: &Identity) -> Result<u64, Refusal> {
    match identity.grant {
        Grant::Password { fingerprint } | Grant::Session { fingerprint, .. } => Ok(fingerprint),
        _ => Err(Refusal::PasswordOnly),
    }
}

/// The password may have been changed since it was checked, and the tenant disabled.
fn check_current(record: &TenantRecord, fingerprint: u64) -> Result<(), Refusal> {
    let is_current = record.password.as_ref().is_some_and(|it| it.fingerprint == fingerprint);
    match is_current && !record.disabled {
        true => Ok(()),
        false => Err(Refusal::GrantEnded(Cause::PasswordChanged)),
    }
}

impl Desk {
    fn now(&self) -> UnixMillis {
        self.registry.wall().now()
    }

    /// Changes the tenant's record, then ends what rested on what was changed. Returns the tenant,
    /// what `change` returned, and how many connections were ended.
    async fn change<T>(
        &self,
        identity: &Identity,
        client: Client,
        verb: &'static str,
        mut change: impl FnMut(&mut TenantRecord) -> Result<T, Refusal>,
    ) -> Result<(Arc<Tenant>, T, usize), Refusal> {
        let fingerprint = password_of(identity)?;
        let change = |record: &mut TenantRecord, _: u64| {
            check_current(record, fingerprint)?;
            change(record)
        };
        let act = act(identity, client, verb, format!("tenant/{}", identity.tenant.username));
        let gone = Refusal::GrantEnded(Cause::TenantDisabled);
        let changing = Changing { registry: &self.registry, live: &self.live };
        let Changed { tenant, answer, ended } =
            changing.change(&identity.tenant, &act, gone, change).await?;
        Ok((tenant, answer, ended))
    }
}

#[cfg(test)]
mod tests;
