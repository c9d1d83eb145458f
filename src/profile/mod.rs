//! A tenant's view of their own account, for programs: plan, keys, password, tickets, connections.
//!
//! The caller has authenticated: every handler finds an [`Identity`] that rests on the password.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, FromRequest, FromRequestParts, Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use http::StatusCode;
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::authenticate::Identity;
use crate::clock::UnixMillis;
use crate::close::Cause;
use crate::grant::Grant;
use crate::live::{Entry, LiveTable};
use crate::passwords::Passwords;
use crate::presence::Presence;
use crate::refusal::Refusal;
use crate::registry::store::StoreError;
use crate::registry::usage::Usage;
use crate::registry::{ChangeError, Registry, away, record::TenantRecord};
use crate::revoke::revoke;
use crate::tenant::Tenant;

mod account;
mod connections;
mod keys;

const BODY_BYTES_MAX: usize = 16 * 1024;
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

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
}

/// The handlers, below `/profile`.
pub fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/profile", get(account::show))
        .route("/profile/password", put(account::change_password))
        .route("/profile/tickets", post(account::issue_ticket))
        .route("/profile/api-key", post(keys::regenerate))
        .route("/profile/keys", get(keys::list).post(keys::create))
        .route("/profile/keys/{id}", delete(keys::revoke_key))
        .route("/profile/keys/{id}/rotate", post(keys::rotate))
        .route("/profile/connections", get(connections::list))
        .route("/profile/connections/{id}", delete(connections::close))
        .method_not_allowed_fallback(|| async { Refusal::MethodNotAllowed(String::new()) })
        .fallback(|| async { Refusal::NotFound("no such page of the profile") })
        .layer(from_fn(to_the_end))
        .with_state(desk)
}

/// A request whose client went away is carried out all the same: whoever writes a change must also
/// end what rested on what was changed. What changes nothing ends with its client.
async fn to_the_end(request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refusal::Overloaded("a handler of the profile failed").into_response(),
    }
}

/// Left for whoever renders refusals: it has the request's id.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// An answer that belongs to nobody else.
struct Private(StatusCode, Value);

impl IntoResponse for Private {
    fn into_response(self) -> Response {
        let mut body = self.1.to_string();
        body.push('\n');
        let mut response = (self.0, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

type Answer = Result<Private, Refusal>;
type Owner = Extension<Identity>;
type At = State<Arc<Desk>>;

/// A request's JSON, bounded in size and time. No body is an empty object.
struct Input<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Input<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let bad = |what: &str| Refusal::BadInput(what.to_owned());
        let content_type = request.headers().get(CONTENT_TYPE).cloned();
        let body = axum::body::to_bytes(request.into_body(), BODY_BYTES_MAX);
        let body = tokio::time::timeout(BODY_TIME_MAX, body).await;
        let body = body.map_err(|_| bad("The body did not come in time."))?;
        let body = body.map_err(|_| bad("The body is broken or longer than 16 KiB."))?;
        let is_json = content_type.is_some_and(|kind| {
            let kind = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
            kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
        });
        let body = match (body.is_empty(), is_json) {
            (true, _) => &b"{}"[..],
            (false, true) => &body[..],
            // A form of another page's could not say so.
            (false, false) => return Err(bad("The body must be application/json.")),
        };
        serde_json::from_slice(body).map(Self).map_err(|error| bad(&fault(&error)))
    }
}

/// What is wrong with a body, without a word of it: that may be a password in the wrong place.
fn fault(error: &serde_json::Error) -> String {
    const EXPECTED: &str = ", expected ";
    let text = error.to_string();
    match text.rfind(EXPECTED) {
        Some(place) if error.is_data() => format!("Bad JSON{}.", &text[place..]),
        _ => format!("Bad JSON: {text}."),
    }
}

/// The id in a path.
struct Id(String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(_) => Err(Refusal::NotFound("an id that is none")),
        }
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
        mut change: impl FnMut(&mut TenantRecord) -> Result<T, Refusal>,
    ) -> Result<(Arc<Tenant>, T, usize), Refusal> {
        let (id, grant) = (identity.tenant.id, identity.grant);
        let Grant::Password { fingerprint } = grant else { return Err(Refusal::PasswordOnly) };
        let change = |record: &mut TenantRecord| {
            // The password may have been changed since it was checked.
            let is_current = record.password.as_ref().is_some_and(|p| p.fingerprint == fingerprint);
            match is_current && !record.disabled {
                true => change(record),
                false => Err(Refusal::GrantEnded(Cause::PasswordChanged)),
            }
        };
        // Counted among these: by the time that the change is made, the feed may have ended some.
        let before = self.live.entries_of(id);
        match self.registry.change(id, change).await {
            Ok((tenant, answer)) => {
                revoke(&self.live, &self.registry, &tenant).await;
                let now = self.now();
                let held = |entry: &&Arc<Entry>| identity.tenant.allows(&entry.grant, now).is_ok();
                let ended = before
                    .iter()
                    .filter(held)
                    .filter(|entry| tenant.allows(&entry.grant, now).is_err())
                    .count();
                let revision = tenant.revision;
                tracing::info!(tenant = %tenant.username, revision, ended, "tenant changed");
                Ok((tenant, answer, ended))
            }
            Err(ChangeError::Refused(refusal)) => Err(refusal),
            Err(ChangeError::Gone) => Err(Refusal::GrantEnded(Cause::TenantDisabled)),
            Err(ChangeError::Busy) => {
                Err(Refusal::Overloaded("too many changes of this account wait"))
            }
            Err(ChangeError::Store(StoreError::Unknown(why))) => Err(Refusal::UnknownOutcome(why)),
            Err(ChangeError::Store(StoreError::Invalid(_))) => {
                Err(Refusal::Conflicting("That is more than can be stored of one account."))
            }
            Err(ChangeError::Store(error)) => Err(Refusal::RegistryAway(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests;
