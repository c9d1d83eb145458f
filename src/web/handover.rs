//! From the session on the bare host to one on the tenant's own host.
//!
//! The tenant's host sends the browser to the bare host with the digest of a random cookie that it
//! has just set. There a code is made for the session and for that digest, and with it the browser
//! comes back. A code that somebody else has seen or made is of no use in another browser.

use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::Uri;
use http::header::HeaderMap;
use serde::Deserialize;

use super::{At, add_cookie, encode, see_other};
use crate::authenticate::Identity;
use crate::client::Client;
use crate::cookies::{self, Jar, Way};
use crate::grant::Grant;
use crate::json::Asked;
use crate::refusal::Refusal;
use crate::registry::away;
use crate::registry::handovers::Handover;
use crate::secret::{Secret, SecretDigest};
use crate::tenant::Username;

/// Where the way back leads: the path and the query of an address that was asked for.
/// It is percent-encoded twice on the way through the login form; what is longer is opened by hand.
const TO_BYTES_MAX: usize = 1024;

/// What the tenant's host asks the bare host for.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    tenant: String,
    state: String,
    to: String,
}

/// What comes back.
#[derive(Debug, Deserialize)]
pub(super) struct Code {
    code: Secret,
}

/// On a tenant's host, any page of the editor: sends the browser for a session.
pub(super) async fn begin(
    State(desk): At,
    Extension(client): Extension<Client>,
    Extension(username): Extension<Username>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let to = uri.path_and_query().map_or("/", |to| to.as_str());
    // Anything else is opened again by hand.
    let to = if is_path(to) { to } else { "/" };
    let no_randomness = |_| Refusal::Overloaded("no randomness");
    let known = cookies::read(&headers, Jar::Handover, client.over_tls).into_iter().next();
    let (secret, is_new) = match known {
        // Several windows of one browser may be on the way, so it stays until the browser ends.
        Some(secret) => (secret, false),
        None => (Secret::generate_ticket().map_err(no_randomness)?, true),
    };
    let state = SecretDigest::of(&secret).to_hex();
    let bare_host = desk.bare_host(&headers, client.over_tls);
    let to = encode(to);
    let address = format!("//{bare_host}/login/editor?tenant={username}&state={state}&to={to}");
    let mut response = see_other(&address);
    if is_new {
        let way = Way::of(&headers, client.over_tls);
        add_cookie(&mut response, cookies::set(Jar::Handover, way, &secret));
    }
    Ok(response)
}

/// `GET /login/editor` on the bare host: makes a code for whoever has a session.
pub(super) async fn issue(
    State(desk): At,
    Extension(identity): Extension<Option<Identity>>,
    uri: Uri,
    headers: HeaderMap,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response, Refusal> {
    let Some(Identity { tenant, grant: Grant::Session { id, .. }, .. }) = identity else {
        let here = uri.path_and_query().map_or("/profile", |here| here.as_str());
        return Ok(see_other(&format!("/login?next={}", encode(here))));
    };
    if wanted.tenant != tenant.username.as_str() {
        return Err(Refusal::WrongTenant);
    }
    let is_digest = SecretDigest::from_hex(&wanted.state).is_some();
    if !is_digest || !is_path(&wanted.to) {
        return Err(Refusal::BadHandover);
    }
    let handover = Handover::new(tenant.id, id, wanted.state, wanted.to);
    let code = desk.registry.issue_handover(&handover).await.map_err(away)?;
    let host = desk.tenant_host(&headers, &tenant.username);
    Ok(see_other(&format!("//{host}/login/session?code={}", code.expose())))
}

/// `GET /login/session` on the tenant's host: takes the code for a cookie.
pub(super) async fn take(
    State(desk): At,
    Extension(client): Extension<Client>,
    Extension(username): Extension<Username>,
    headers: HeaderMap,
    Asked(code): Asked<Code>,
) -> Result<Response, Refusal> {
    let handover = desk.registry.take_handover(&code.code).await.map_err(away)?;
    let handover = handover.ok_or(Refusal::BadHandover)?;
    let tenant = desk.registry.by_username(&username).await.map_err(away)?;
    let tenant = tenant.filter(|tenant| handover.tenant() == Some(tenant.id));
    let tenant = tenant.ok_or(Refusal::BadHandover)?;
    let asked = cookies::read(&headers, Jar::Handover, client.over_tls);
    let state = SecretDigest::from_hex(&handover.state);
    if !asked.iter().any(|secret| Some(SecretDigest::of(secret)) == state) {
        return Err(Refusal::BadHandover);
    }
    let session = desk.registry.session(handover.session).await.map_err(away)?;
    let session = session.ok_or(Refusal::NoSession)?;
    let (limits, now) = (desk.registry.session_limits(), desk.registry.wall().now());
    let grant = session.grant(handover.session, limits);
    if session.tenant() != Some(tenant.id) || tenant.allows(&grant, now).is_err() {
        return Err(Refusal::NoSession);
    }
    let secret = desk.registry.join_host(handover.session).await.map_err(away)?;
    let secret = secret.ok_or(Refusal::NoSession)?;
    let way = Way::of(&headers, client.over_tls);
    let mut response = see_other(&handover.to);
    add_cookie(&mut response, cookies::set(Jar::Session, way, &secret));
    Ok(response)
}

/// `GET /` on a tenant's host.
pub(super) async fn to_editor(
    State(desk): At,
    Extension(username): Extension<Username>,
) -> Result<Response, Refusal> {
    let tenant = desk.registry.by_username(&username).await.map_err(away)?;
    let tenant = tenant.filter(|tenant| !tenant.disabled);
    let instance = tenant.and_then(|tenant| tenant.instance.clone());
    let admin_root = instance.and_then(|instance| instance.admin_root.clone());
    let admin_root = admin_root.ok_or(Refusal::NotFound("there is no editor here"))?;
    Ok(see_other(&format!("{admin_root}/")))
}

/// `GET /logout` on a tenant's host: sessions end where they began.
pub(super) async fn to_logout(
    State(desk): At,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
) -> Response {
    see_other(&format!("//{}/logout", desk.bare_host(&headers, client.over_tls))).into_response()
}

/// A path with or without a query, on the host that it is used on.
fn is_path(to: &str) -> bool {
    to.starts_with('/')
        && !to.starts_with("//")
        && to.len() <= TO_BYTES_MAX
        && to.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}
