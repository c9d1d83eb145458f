//! Revoking access tokens and looking into them: an application's own only.

use axum::extract::{Extension, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::form::{Asked, invalid};
use super::{At, Desk, From, unkept};
use crate::authenticate::access::AccessToken;
use crate::grant::{Grant, KeyId};
use crate::refusal::{OAuthRefusal, Refusal};
use crate::registry::apis::revocations::Revoked;
use crate::registry::away;
use crate::revoke::recheck_token;

impl Desk {
    /// The token of a form, if it is one that is not over.
    fn token(&self, asked: &Asked) -> Result<Option<AccessToken>, Refusal> {
        let text = asked.parameters.get("token").ok_or_else(|| invalid("token is missing."))?;
        let ring = self.registry.directory().signing_keys();
        Ok(AccessToken::verify(text, &ring, self.now()).ok())
    }
}

/// `POST /oauth2/revoke`
pub(super) async fn revoke(
    State(desk): At,
    Extension(client): From,
    asked: Asked,
) -> Result<Response, Refusal> {
    let (application, _) = desk.authenticate(&asked, client).await?;
    // What is none, or over, needs no revocation (RFC 7009 section 2.2).
    let done = unkept(StatusCode::OK, &json!({}));
    let Some(token) = desk.token(&asked)? else { return Ok(done) };
    if token.application != application.id {
        return Err(Refusal::OAuth(OAuthRefusal::InvalidGrant));
    }
    let revoked = desk.registry.revoke_token(application.id, token.jti, token.until);
    match revoked.await.map_err(crate::change::unwritten)? {
        Revoked::Now => {}
        // Whatever rested on it has ended.
        Revoked::Before => return Ok(done),
        Revoked::TooMany => {
            let why = "there are as many revoked tokens as there can be";
            return Err(Refusal::OAuth(OAuthRefusal::Unavailable(why)));
        }
    }
    recheck_token(&desk.live, &desk.registry, token.apis.iter().copied(), token.jti);
    tracing::info!(
        request_id = %client.request_id,
        application = %application.id,
        jti = %KeyId(token.jti),
        "access token revoked"
    );
    Ok(done)
}

/// `POST /oauth2/introspect`
pub(super) async fn introspect(
    State(desk): At,
    Extension(client): From,
    asked: Asked,
) -> Result<Response, Refusal> {
    let (application, _) = desk.authenticate(&asked, client).await?;
    desk.registry.know_apis().await.map_err(away)?;
    let inactive = unkept(StatusCode::OK, &json!({ "active": false }));
    let token = desk.token(&asked)?.filter(|token| token.application == application.id);
    let Some(token) = token else { return Ok(inactive) };
    // It is active if it opens one of its APIs.
    let now = desk.now();
    let opens = |api| {
        let subscription = application.subscription_to(api)?;
        let grant = Grant::Token {
            api,
            subscription: subscription.id,
            secret: token.secret,
            key: token.key,
            jti: token.jti,
            until: token.until,
        };
        desk.registry.directory().allows(&grant, now)?.ok()
    };
    if !token.apis.iter().any(|api| opens(*api).is_some()) {
        return Ok(inactive);
    }
    let audience: Vec<String> =
        token.apis.iter().map(|api| format!("urn:flowgate:api:{api}")).collect();
    let id = application.id.to_string();
    let said = json!({
        "active": true,
        "scope": token.scope,
        "client_id": id,
        "sub": id,
        "token_type": "Bearer",
        "iat": token.issued_at.0 / 1000,
        "exp": token.until.0 / 1000,
        "aud": audience,
        "iss": desk.settings.issuer(&asked.headers, client.over_tls),
        "jti": KeyId(token.jti).to_string(),
    });
    Ok(unkept(StatusCode::OK, &said))
}
