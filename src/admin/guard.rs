//! Who may ask the operators' listener, and for what: checked before any handler sees the request.

use axum::extract::{Extension, FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use http::request::Parts;
use serde::Serialize;
use utoipa::ToSchema;

use super::feed::TICKETS_PATH;
use super::tokens::{AdminToken, Role};
use super::{Answer, Desk, metrics};
use crate::client::Client;
use crate::json::Private;
use crate::refusal::{OperatorRefusal, Refusal};
use crate::registry::audit::{Act, By};
use crate::secret::Secret;

/// Whoever asks, by their token.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The token's name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// From where, and which request.
    pub client: Client,
}

impl Operator {
    /// What the audit log is to know of something that this operator does.
    #[must_use]
    pub fn act(&self, verb: &'static str, object: String) -> Act {
        Act { by: By::Operator, who: self.name.clone(), verb, object, client: self.client }
    }
}

/// Lets a request pass that comes under a name of ours and from no foreign page.
pub(super) async fn check_origin(
    State(desk): State<std::sync::Arc<Desk>>,
    request: Request,
    next: Next,
) -> Response {
    match is_ours(&desk, &request) {
        Ok(()) if desk.tokens.is_empty() && !metrics::is_open(&desk, request.uri().path()) => {
            Refusal::Operator(OperatorRefusal::NoTokens).into_response()
        }
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn is_ours(desk: &Desk, request: &Request) -> Result<(), Refusal> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Refusal::Malformed("There must be exactly one Host header."));
    };
    let host = host.to_str().map_err(|_| Refusal::Operator(OperatorRefusal::Host))?;
    if request.uri().authority().is_some_and(|other| !other.as_str().eq_ignore_ascii_case(host)) {
        return Err(Refusal::Malformed(
            "The request line and the Host header name different hosts.",
        ));
    }
    let name = host_name(host).to_ascii_lowercase();
    if !desk.hosts.contains(&name) {
        return Err(Refusal::Operator(OperatorRefusal::Host));
    }
    let is_own = |origin: &http::HeaderValue| {
        let origin = origin.to_str().unwrap_or_default();
        let own = origin.strip_prefix("http://").or(origin.strip_prefix("https://"));
        own.is_some_and(|own| own.eq_ignore_ascii_case(host))
    };
    match request.headers().get_all(ORIGIN).iter().all(is_own) {
        true => Ok(()),
        false => Err(Refusal::ForeignOrigin),
    }
}

/// The host without its port.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Lets a request pass that has a token, and the role that its method needs at least. What needs
/// more asks for [`Administrator`].
pub(super) async fn check_token(
    State(desk): State<std::sync::Arc<Desk>>,
    Extension(client): Extension<Client>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(token) = token(&desk, request.headers()) else {
        return Refusal::Operator(OperatorRefusal::Token).into_response();
    };
    let is_to_look = request.method().is_safe() || request.uri().path() == TICKETS_PATH;
    let needed = if is_to_look { Role::Read } else { Role::Operate };
    if token.role < needed {
        let needed = needed.as_str();
        return Refusal::Operator(OperatorRefusal::Role { needed }).into_response();
    }
    let operator = Operator { name: token.name.clone(), role: token.role, client };
    request.extensions_mut().insert(operator);
    request.extensions_mut().insert(token);
    next.run(request).await
}

/// The token that a request comes with, if it is one.
pub(super) fn token(desk: &Desk, headers: &HeaderMap) -> Option<AdminToken> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => desk.tokens.find(&bearer(value.to_str().ok()?)?),
        _ => None,
    }
}

fn bearer(value: &str) -> Option<Secret> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Secret::new(token.trim().to_owned()))
}

/// An operator of any role that came so far.
pub(super) type Anyone = Extension<Operator>;

/// An operator whose role is `admin`. Stands first among a handler's arguments, so that nothing else
/// of the request is looked at before.
pub(super) struct Administrator(pub Operator);

impl<S: Send + Sync> FromRequestParts<S> for Administrator {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        match parts.extensions.get::<Operator>() {
            Some(operator) if operator.role == Role::Admin => Ok(Self(operator.clone())),
            Some(_) => {
                Err(Refusal::Operator(OperatorRefusal::Role { needed: Role::Admin.as_str() }))
            }
            None => Err(Refusal::Operator(OperatorRefusal::Token)),
        }
    }
}

/// An operator whose role is `operate` at least, for what only looks and yet is not for all.
pub(super) struct Operating;

impl<S: Send + Sync> FromRequestParts<S> for Operating {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        match parts.extensions.get::<Operator>() {
            Some(operator) if operator.role >= Role::Operate => Ok(Self),
            Some(_) => {
                Err(Refusal::Operator(OperatorRefusal::Role { needed: Role::Operate.as_str() }))
            }
            None => Err(Refusal::Operator(OperatorRefusal::Token)),
        }
    }
}

/// Who asks, and what they may do.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WhoAmI {
    /// The token's name.
    name: String,
    /// What it may do.
    role: Role,
}

/// The name and the role of the token that asks.
#[utoipa::path(get, path = "/admin/v1/whoami", tag = "server",
    responses((status = 200, body = WhoAmI)), security(("admin_token" = ["read"])))]
pub(super) async fn whoami(Extension(operator): Anyone) -> Answer<WhoAmI> {
    Ok(Private(StatusCode::OK, WhoAmI { name: operator.name, role: operator.role }))
}
