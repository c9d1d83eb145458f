//! Access tokens for applications, by the OAuth 2.0 client credentials grant (RFC 6749 section 4.4):
//! where they are issued, revoked (RFC 7009) and looked into (RFC 7662), and what others may know of
//! that (RFC 8414, RFC 7517).

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, State};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, PRAGMA};
use serde_json::{Value, json};

use crate::api::signing::TOKEN_LIFE_MAX;
use crate::client::Client;
use crate::clock::UnixMillis;
use crate::json::to_the_end;
use crate::live::LiveTable;
use crate::passwords::Passwords;
use crate::refusal::{OAuthRefusal, Refusal};
use crate::registry::apis::signing::SigningError;
use crate::registry::{Registry, away};

mod form;
pub mod issue;
mod revoke;
pub mod ticket;

/// How long others may keep our keys and metadata.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// How tokens are issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthSettings {
    /// `iss` of tokens, as in `https://flows.example.org`; else what each request names.
    pub issuer: Option<String>,
    /// How long a token is good if nothing is said.
    pub token_life: Duration,
    /// And at most.
    pub token_life_max: Duration,
    /// After what time another key signs.
    pub signing_key_age_max: Duration,
}

impl Default for OAuthSettings {
    fn default() -> Self {
        let hour = Duration::from_secs(60 * 60);
        Self {
            issuer: None,
            token_life: hour,
            token_life_max: TOKEN_LIFE_MAX,
            signing_key_age_max: 90 * 24 * hour,
        }
    }
}

/// What the handlers work with.
#[derive(Debug)]
pub struct Desk {
    /// Where applications live.
    pub registry: Arc<Registry>,
    /// Where wrong secrets are counted.
    pub passwords: Arc<Passwords>,
    /// What runs.
    pub live: Arc<LiveTable>,
    /// How tokens are issued.
    pub settings: OAuthSettings,
    /// How many tickets were.
    pub tickets: ticket::Tickets,
}

type At = State<Arc<Desk>>;
type From = Extension<Client>;

/// The handlers on the bare host.
pub fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/oauth2/token", post(issue::token))
        .route("/oauth2/revoke", post(revoke::revoke))
        .route("/oauth2/introspect", post(revoke::introspect))
        .route("/oauth2/tickets", post(ticket::issue))
        .route("/oauth2/jwks", get(jwks))
        .route("/.well-known/oauth-authorization-server", get(metadata))
        .method_not_allowed_fallback(|| async { Refusal::MethodNotAllowed(String::new()) })
        .layer(from_fn(to_the_end))
        .with_state(desk)
}

impl OAuthSettings {
    /// Who issues tokens, as whoever asks with these headers would name it.
    #[must_use]
    pub fn issuer(&self, headers: &HeaderMap, over_tls: bool) -> String {
        if let Some(issuer) = &self.issuer {
            return issuer.clone();
        }
        let scheme = if over_tls { "https" } else { "http" };
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        format!("{scheme}://{}", host.to_ascii_lowercase())
    }
}

impl Desk {
    fn now(&self) -> UnixMillis {
        self.registry.wall().now()
    }
}

/// Why there is no key, as a refusal.
#[must_use]
pub fn no_key(error: SigningError) -> Refusal {
    match error {
        SigningError::NoSealing => Refusal::OAuth(OAuthRefusal::Unavailable(
            "access tokens need a key to seal signing keys with: set sealing_key_file",
        )),
        SigningError::Sealed => Refusal::OAuth(OAuthRefusal::Unavailable(
            "no key of sealing_key_file opens the key that signs access tokens",
        )),
        SigningError::NoRandomness => Refusal::Overloaded("the system has no randomness to give"),
        SigningError::Store(error) => away(error),
    }
}

/// The same refusal for who asks in another way than by the standards' forms: a problem.
#[must_use]
pub fn as_problem(refusal: Refusal) -> Refusal {
    let Refusal::OAuth(why) = refusal else { return refusal };
    match why {
        OAuthRefusal::Unavailable(_) => Refusal::Unprocessable(
            "There is no key to sign access tokens with: set sealing_key_file, or see the log.",
        ),
        other => Refusal::Conflicting(other.description()),
    }
}

/// An answer that nobody keeps (RFC 6749 section 5.1).
fn unkept(status: StatusCode, said: &Value) -> Response {
    let mut response = (status, format!("{said}\n")).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

fn kept(content_type: &'static str, said: &Value) -> Response {
    let mut response = format!("{said}\n").into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, KEPT);
    response
}

/// `GET /oauth2/jwks`
async fn jwks(State(desk): At) -> Result<Response, Refusal> {
    desk.registry.know_apis().await.map_err(away)?;
    let keys = desk.registry.directory().signing_keys().to_jwks(desk.now());
    Ok(kept("application/jwk-set+json", &keys))
}

/// `GET /.well-known/oauth-authorization-server`
async fn metadata(
    State(desk): At,
    Extension(client): From,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let issuer = desk.settings.issuer(&headers, client.over_tls);
    let methods = json!(["client_secret_basic", "client_secret_post"]);
    let said = json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/oauth2/token"),
        "token_endpoint_auth_methods_supported": methods,
        "jwks_uri": format!("{issuer}/oauth2/jwks"),
        "scopes_supported": [issue::DEFAULT_SCOPE],
        "response_types_supported": [],
        "grant_types_supported": [issue::GRANT_TYPE],
        "revocation_endpoint": format!("{issuer}/oauth2/revoke"),
        "revocation_endpoint_auth_methods_supported": methods,
        "introspection_endpoint": format!("{issuer}/oauth2/introspect"),
        "introspection_endpoint_auth_methods_supported": methods,
    });
    Ok(kept("application/json", &said))
}
