//! The keys that sign access tokens.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::guard::Administrator;
use super::{Answer, At, Desk};
use crate::api::signing::{SigningKey, Use, kid};
use crate::json::{Input, Private};
use crate::oauth::{as_problem, no_key};
use crate::refusal::Refusal;
use crate::registry::away;
use crate::revoke::recheck_all_tokens;

/// A key that signs access tokens, or did, or will.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SigningKeyView {
    /// Its name in tokens.
    kid: String,
    /// What for.
    #[serde(rename = "use")]
    used: Use,
    /// When it was made.
    created: String,
    /// Since when it signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    current_since: Option<String>,
    /// When the last of its tokens is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    until: Option<String>,
}

/// All of them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SigningKeys {
    keys: Vec<SigningKeyView>,
}

/// How keys are rotated.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyRotation {
    /// All keys that there are go at once, and every access token with them.
    #[serde(default)]
    revoke: bool,
}

fn view(key: &SigningKey) -> SigningKeyView {
    SigningKeyView {
        kid: kid(key.id),
        used: key.used,
        created: key.created_at.to_string(),
        current_since: key.current_since.map(|since| since.to_string()),
        until: key.until.map(|until| until.to_string()),
    }
}

async fn show_all(desk: &Arc<Desk>) -> Result<SigningKeys, Refusal> {
    desk.registry().know_apis().await.map_err(away)?;
    let ring = desk.registry().directory().signing_keys();
    Ok(SigningKeys { keys: ring.keys.iter().map(view).collect() })
}

/// The keys that sign access tokens.
#[utoipa::path(get, path = "/admin/v1/signing-keys", tag = "applications",
    responses((status = 200, body = SigningKeys)), security(("admin_token" = ["read"])))]
pub(super) async fn list(State(desk): At) -> Answer<SigningKeys> {
    Ok(Private(StatusCode::OK, show_all(&desk).await?))
}

/// The next key signs from now on. With `revoke`, every access token ends at once.
#[utoipa::path(post, path = "/admin/v1/signing-keys/rotate", tag = "applications",
    request_body = KeyRotation,
    responses((status = 200, body = SigningKeys)), security(("admin_token" = ["admin"])))]
pub(super) async fn rotate(
    Administrator(operator): Administrator,
    State(desk): At,
    Input(wanted): Input<KeyRotation>,
) -> Answer<SigningKeys> {
    let act = operator.act("rotate signing keys", "signing/keys".to_owned());
    let rotated = desk.registry().rotate_signing_keys(&act, wanted.revoke);
    rotated.await.map_err(|error| as_problem(no_key(error)))?;
    recheck_all_tokens(desk.live(), desk.registry());
    Ok(Private(StatusCode::OK, show_all(&desk).await?))
}
