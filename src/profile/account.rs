//! The account itself: what it is, its password, and one-time tickets.

use std::sync::Arc;

use axum::extract::{Extension, State};
use http::StatusCode;
use http::header::{HeaderMap, ORIGIN};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, At, Desk, From, Input, Owner, Private, away, keys};
use crate::authenticate::Identity;
use crate::client::Client;
use crate::guessing::Claim;
use crate::passwords::{self, Verdict};
use crate::refusal::Refusal;
use crate::registry::record::PasswordRecord;
use crate::registry::tickets::{BAD_ORIGIN, Ticket, is_origin};
use crate::route::PATH_BYTES_MAX;
use crate::secret::Secret;
use crate::tenant::Tenant;

/// `GET /profile`
pub(super) async fn show(State(desk): At, Extension(identity): Owner) -> Answer {
    let tenant = &identity.tenant;
    let (running, runtime) =
        tokio::join!(desk.presence.connections(tenant.id), desk.runtime_of(tenant));
    let plan = serde_json::to_value(&*tenant.plan).unwrap_or(Value::Null);
    let plan_use = desk.live.plan_use(tenant.id, &tenant.plan, desk.registry.clock().now());
    let said = json!({
        "username": tenant.username.as_str(),
        "id": tenant.id.to_string(),
        "revision": tenant.revision,
        "plan": { "name": tenant.plan_name, "limits": plan, "use": plan_use },
        "api_key": keys::default_key(&desk, tenant).await?,
        "keys": keys::named_keys(&desk, tenant).await?,
        "runtime": runtime.describe(),
        "live": running.total,
        "live_incomplete": running.incomplete,
    });
    Ok(Private(StatusCode::OK, said))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPassword {
    old: Secret,
    new: Secret,
}

/// `PUT /profile/password`
pub(super) async fn change_password(
    State(desk): At,
    Extension(identity): Owner,
    Extension(client): From,
    Input(input): Input<NewPassword>,
) -> Answer {
    let (_, ended) = set_password(&desk, &identity, client, &input.old, &input.new).await?;
    Ok(Private(StatusCode::OK, json!({ "closed": ended })))
}

/// Changes the password. Returns the tenant as they are then, and how much that has ended.
pub(super) async fn set_password(
    desk: &Desk,
    identity: &Identity,
    client: Client,
    old: &Secret,
    new: &Secret,
) -> Result<(Arc<Tenant>, usize), Refusal> {
    passwords::check(new).map_err(|what| Refusal::BadInput(format!("The new password {what}.")))?;
    let stored = identity.tenant.password.as_ref();
    let claim = Claim { name: identity.tenant.username.as_str(), client: identity.client };
    match desk.passwords.verify(stored, old, claim).await {
        Verdict::Right | Verdict::Remembered => {}
        Verdict::Later(wait) => return Err(Refusal::attempts(wait)),
        Verdict::Wrong => return Err(Refusal::WrongOldPassword),
        Verdict::Busy => return Err(Refusal::Overloaded("too many passwords wait to be checked")),
    }
    let hash = desk.passwords.hash(new, identity.client).await.map_err(|why| match why {
        Some(what) => Refusal::BadInput(format!("The new password {what}.")),
        None => Refusal::Overloaded("too many passwords wait to be hashed"),
    })?;
    let fingerprint = getrandom::u64().map_err(|_| Refusal::Overloaded("no randomness"))?;
    let (tenant, (), ended) = desk
        .change(identity, client, "change password", move |record| {
            record.password = Some(PasswordRecord { hash: hash.clone(), fingerprint });
            Ok(())
        })
        .await?;
    desk.passwords.welcome(claim);
    Ok((tenant, ended))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTicket {
    path: String,
    origin: Option<String>,
}

/// `POST /profile/tickets`
pub(super) async fn issue_ticket(
    State(desk): At,
    Extension(identity): Owner,
    headers: HeaderMap,
    Input(input): Input<NewTicket>,
) -> Answer {
    // Not below /profile: a ticket goes to a page, which must not become the account's owner by it.
    let is_runtimes = input.path.starts_with("/api/");
    if !is_runtimes || input.path.len() > PATH_BYTES_MAX || input.path.contains('?') {
        let what = "The path must be the handshake's, as in \"/api/thing\", without query.";
        return Err(Refusal::BadInput(what.to_owned()));
    }
    let own = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()).map(str::to_owned);
    let origin = input.origin.or(own);
    if !origin.as_deref().is_none_or(is_origin) {
        return Err(Refusal::BadInput(BAD_ORIGIN.to_owned()));
    }
    let ticket = Ticket::new(identity.tenant.id, input.path, origin, identity.grant);
    let secret = desk.registry.issue_ticket(&ticket).await.map_err(away)?;
    Ok(Private(StatusCode::CREATED, ticket.told(&secret)))
}
