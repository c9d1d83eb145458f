//! Forms: what a browser sends, bounded, and the token by which a form is known to be ours.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;

use crate::grant::{Grant, SessionId};
use crate::json::BODY_BYTES_MAX;
use crate::refusal::Refusal;
use crate::secret::{Secret, SecretDigest};

const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// A form's fields.
#[derive(Debug)]
pub struct Form<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Form<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let bad = |what: &str| Refusal::BadInput(what.to_owned());
        let kind = request.headers().get(CONTENT_TYPE).cloned();
        let is_form = kind
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
        if !is_form {
            return Err(bad("The body must be a form."));
        }
        let body = axum::body::to_bytes(request.into_body(), BODY_BYTES_MAX);
        let body = tokio::time::timeout(BODY_TIME_MAX, body).await;
        let body = body.map_err(|_| bad("The form did not come in time."))?;
        let body = body.map_err(|_| bad("The form is broken or too long."))?;
        // What is wrong with it is not said: there may be a password in it.
        serde_urlencoded::from_bytes(&body).map(Self).map_err(|_| bad("The form is malformed."))
    }
}

/// The token of forms that are shown to whoever has this secret in a cookie.
#[must_use]
pub fn token_of(secret: &Secret) -> Secret {
    let digest = SecretDigest::of(&Secret::new(format!("form {}", secret.expose())));
    Secret::new(digest.to_hex())
}

/// The token of a session's forms. Nobody but the registry knows the whole id.
#[must_use]
pub fn token_of_session(id: SessionId) -> Secret {
    token_of(&Secret::new(id.0.to_hex()))
}

/// Whether a form's token is the right one.
#[must_use]
pub fn is_right(token: &Secret, right: &Secret) -> bool {
    // Digests are compared in constant time.
    SecretDigest::of(token) == SecretDigest::of(right)
}

/// Checks the token of a form in a session.
///
/// # Errors
/// [`Refusal::StaleForm`]; [`Refusal::NoSession`] without one.
pub fn check(token: &Secret, grant: &Grant) -> Result<SessionId, Refusal> {
    let Grant::Session { id, .. } = *grant else { return Err(Refusal::NoSession) };
    match is_right(token, &token_of_session(id)) {
        true => Ok(id),
        false => Err(Refusal::StaleForm),
    }
}
