//! Issuing access tokens.

use std::time::Duration;

use axum::extract::{Extension, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::form::{Asked, invalid};
use super::{At, From, OAuthSettings, no_key, unkept};
use crate::api::Application;
use crate::authenticate::access::AccessToken;
use crate::clock::UnixMillis;
use crate::grant::ApiId;
use crate::refusal::{OAuthRefusal, Refusal};
use crate::registry::Registry;
use crate::secret::Secret;

/// The one way to get a token.
pub const GRANT_TYPE: &str = "client_credentials";
/// The scope that stands for all of an application's subscriptions.
pub const DEFAULT_SCOPE: &str = "default";
const SCOPE_BYTES_MAX: usize = 4096;

/// A token that was issued.
#[derive(Debug)]
pub struct Issued {
    /// The token.
    pub token: Secret,
    /// How long it is good.
    pub life: Duration,
    /// What for.
    pub scope: String,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// See RFC 6749 section 3.3; all subscriptions if nothing is said.
    pub scope: Option<&'a str>,
    /// For how long.
    pub life: Option<Duration>,
}

/// Which APIs a scope is for: `default`, or the paths of APIs.
fn apis_of(
    registry: &Registry,
    application: &Application,
    scope: Option<&str>,
) -> Result<(Vec<ApiId>, String), Refusal> {
    let bad = |what| Refusal::OAuth(OAuthRefusal::InvalidScope(what));
    let subscribed = application.subscriptions.iter();
    let subscribed = subscribed.filter_map(|it| registry.directory().api(it.api));
    let subscribed: Vec<_> = subscribed.collect();
    if subscribed.is_empty() {
        return Err(bad("The application has no subscription."));
    }
    let scope = scope.unwrap_or(DEFAULT_SCOPE);
    let allowed = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    if scope.len() > SCOPE_BYTES_MAX {
        return Err(bad("The scope is too long."));
    }
    let mut apis = Vec::new();
    for word in scope.split(' ') {
        if word.is_empty() || !word.bytes().all(allowed) {
            return Err(bad("The scope is malformed."));
        }
        let matching = |api: &&std::sync::Arc<crate::api::Api>| {
            word == DEFAULT_SCOPE || api.prefix.as_str() == word
        };
        let before = apis.len();
        apis.extend(subscribed.iter().filter(matching).map(|api| api.id));
        if apis.len() == before {
            return Err(bad(
                "The scope names something that the application is not subscribed to.",
            ));
        }
    }
    apis.sort();
    apis.dedup();
    Ok((apis, scope.to_owned()))
}

/// Issues a token for an application that has proved itself with the secret of this fingerprint.
///
/// # Errors
/// A scope that it may not have; no key to sign with.
pub async fn issue(
    registry: &Registry,
    settings: &OAuthSettings,
    issuer: &str,
    (application, secret): (&Application, u64),
    wanted: Wanted<'_>,
) -> Result<Issued, Refusal> {
    let (apis, scope) = apis_of(registry, application, wanted.scope)?;
    let (key, private) =
        registry.signing_key(settings.signing_key_age_max).await.map_err(no_key)?;
    let life = wanted.life.unwrap_or(settings.token_life).min(settings.token_life_max);
    // Tokens say their times in whole seconds.
    let issued_at = UnixMillis(registry.wall().now().0 / 1000 * 1000);
    let no_randomness = |_| Refusal::Overloaded("the system has no randomness to give");
    let token = AccessToken {
        application: application.id,
        apis,
        scope: scope.clone(),
        issued_at,
        until: issued_at.plus(life),
        jti: getrandom::u64().map_err(no_randomness)?,
        secret,
        key: key.id,
    };
    let token = token.write(issuer, &key, &private);
    let token = token.ok_or(Refusal::Overloaded("an access token could not be signed"))?;
    Ok(Issued { token, life, scope })
}

/// `validity_period`: seconds; `-1` for as long as can be.
fn life_of(text: &str) -> Result<Duration, Refusal> {
    const BAD: &str = "validity_period must be a number of seconds, or -1 for the longest.";
    if text == "-1" {
        return Ok(Duration::MAX);
    }
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() <= 12;
    match text.parse() {
        Ok(seconds) if is_number && seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err(invalid(BAD)),
    }
}

/// `POST /oauth2/token`
pub(super) async fn token(
    State(desk): At,
    Extension(client): From,
    asked: Asked,
) -> Result<Response, Refusal> {
    let (application, secret) = desk.authenticate(&asked, client).await?;
    match asked.parameters.get("grant_type") {
        Some(GRANT_TYPE) => {}
        Some(_) => return Err(Refusal::OAuth(OAuthRefusal::UnsupportedGrantType)),
        None => return Err(invalid("grant_type is missing.")),
    }
    let life = asked.parameters.get("validity_period").map(life_of).transpose()?;
    let wanted = Wanted { scope: asked.parameters.get("scope"), life };
    let issuer = desk.settings.issuer(&asked.headers, client.over_tls);
    let by = (&*application, secret);
    let issued = issue(&desk.registry, &desk.settings, &issuer, by, wanted).await?;
    tracing::info!(
        request_id = %client.request_id,
        application = %application.id,
        seconds = issued.life.as_secs(),
        "access token issued"
    );
    Ok(unkept(StatusCode::OK, &issued.to_json()))
}

impl Issued {
    /// As RFC 6749 section 5.1 has it.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        json!({
            "access_token": self.token.expose(),
            "token_type": "Bearer",
            "expires_in": self.life.as_secs(),
            "scope": self.scope,
        })
    }
}
