//! What flowgate's own JSON pages share: input with bounds, answers that belong to nobody else, and
//! changes that are carried out to the end.

use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::refusal::Refusal;
use crate::secret::json_fault;

/// The longest body, where a handler asks for no other.
pub const BODY_BYTES_MAX: usize = 16 * 1024;
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// A request whose client went away is carried out all the same: whoever writes a change must also
/// end what rested on what was changed. What changes nothing ends with its client.
pub async fn to_the_end(request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refusal::Overloaded("a handler of flowgate's own failed").into_response(),
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
#[derive(Debug)]
pub struct Private<T>(pub StatusCode, pub T);

impl<T: Serialize> IntoResponse for Private<T> {
    fn into_response(self) -> Response {
        let Ok(mut body) = serde_json::to_string(&self.1) else {
            return Refusal::Overloaded("an answer that is no JSON").into_response();
        };
        body.push('\n');
        let mut response = (self.0, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// A request's JSON, bounded in size and time. No body is an empty object.
#[derive(Debug)]
pub struct Input<T, const BYTES_MAX: usize = BODY_BYTES_MAX>(pub T);

impl<T: DeserializeOwned, S: Send + Sync, const BYTES_MAX: usize> FromRequest<S>
    for Input<T, BYTES_MAX>
{
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let bad = |what: &str| Refusal::BadInput(what.to_owned());
        let content_type = request.headers().get(CONTENT_TYPE).cloned();
        let body = axum::body::to_bytes(request.into_body(), BYTES_MAX);
        let body = tokio::time::timeout(BODY_TIME_MAX, body).await;
        let body = body.map_err(|_| bad("The body did not come in time."))?;
        let limit_kib = BYTES_MAX / 1024;
        let body =
            body.map_err(|_| bad(&format!("The body is broken or longer than {limit_kib} KiB.")))?;
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
        serde_json::from_slice(body).map(Self).map_err(|error| bad(&json_fault(&error)))
    }
}

/// The id in a path.
#[derive(Debug)]
pub struct Id(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(_) => Err(Refusal::NotFound("an id that is none")),
        }
    }
}

/// What stands behind the question mark.
#[derive(Debug)]
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(error) => Err(Refusal::BadInput(format!("Bad query: {}.", error.body_text()))),
        }
    }
}

/// The two ids in a path.
#[derive(Debug)]
pub struct Ids(pub String, pub String);

impl<S: Send + Sync> FromRequestParts<S> for Ids {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path((first, second))) => Ok(Self(first, second)),
            Err(_) => Err(Refusal::NotFound("ids that are none")),
        }
    }
}
