//! Logging in and out.

use askama::Template;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::header::{HOST, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{StatusCode, Uri};
use serde::Deserialize;

use super::form::{self, Form};
use super::{Assets, At, Shown, add_cookie, beside, page, see_other};
use crate::authenticate::{Authority, Identity, origin};
use crate::client::Client;
use crate::cookies::{self, Jar, LOOPBACK_HOST, Way, is_safe_bare_host, name_of};
use crate::grant::Grant;
use crate::json::Asked;
use crate::refusal::Refusal;
use crate::registry::away;
use crate::registry::sessions::id_of;
use crate::revoke::end_sessions;
use crate::secret::Secret;
use crate::tenant::Username;

const NEXT_BYTES_MAX: usize = 8192;
const HANDOVER: &str = "/login/editor?";

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    assets: Assets,
    token: &'a str,
    next: &'a str,
    username: &'a str,
    message: Option<&'a str>,
    is_editor: bool,
}

#[derive(Template)]
#[template(path = "logout.html")]
struct LogoutPage<'a> {
    assets: Assets,
    token: &'a str,
    username: &'a str,
}

/// Behind the question mark of the login form.
#[derive(Debug, Deserialize)]
pub(super) struct Query {
    next: Option<String>,
}

/// What the login form says.
#[derive(Debug, Deserialize)]
pub(super) struct Login {
    token: Secret,
    username: String,
    password: Secret,
    next: Option<String>,
}

/// What the logout form says.
#[derive(Debug, Deserialize)]
pub(super) struct Logout {
    token: Secret,
}

/// Where a login leads: to a page of ours and nowhere else.
fn next(wanted: Option<String>) -> String {
    let is_ours = |next: &String| {
        let is_page = |page: &str| {
            next.strip_prefix(page).is_some_and(|rest| rest.is_empty() || rest.starts_with('?'))
        };
        let is_page = is_page("/profile") || is_page("/portal");
        (is_page || next.starts_with(HANDOVER))
            && next.len() <= NEXT_BYTES_MAX
            && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    wanted.filter(is_ours).unwrap_or_else(|| "/profile".to_owned())
}

/// The tenant host that a login leads to by way of a hand-over: the browser wants it named in the
/// page's policy.
fn host_behind(desk: &super::Desk, headers: &HeaderMap, next: &str) -> Option<String> {
    let pairs = next.strip_prefix(HANDOVER)?.split('&');
    let tenant = pairs.filter_map(|pair| pair.strip_prefix("tenant=")).next()?;
    let username = Username::parse(tenant).ok()?;
    Some(desk.tenant_host(headers, &username))
}

/// Without TLS sessions live on one loopback name; the others lead there.
fn to_localhost(headers: &HeaderMap, over_tls: bool, uri: &Uri) -> Option<Response> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let address = name_of(host).trim_matches(['[', ']']).parse();
    let is_loopback = address.is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    let is_other_name = match Way::of(headers, over_tls) {
        Way::Secure => false,
        Way::Open => is_loopback,
        Way::Loopback => !is_safe_bare_host(headers, over_tls),
    };
    let here = uri.path_and_query().map_or("/login", |here| here.as_str());
    is_other_name.then(|| see_other(&format!("//{}{here}", beside(headers, LOOPBACK_HOST))))
}

/// `GET /login`
pub(super) async fn form(
    State(desk): At,
    Extension(client): Extension<Client>,
    Extension(identity): Extension<Option<Identity>>,
    uri: Uri,
    headers: HeaderMap,
    Asked(query): Asked<Query>,
) -> Result<Response, Refusal> {
    if let Some(elsewhere) = to_localhost(&headers, client.over_tls, &uri) {
        return Ok(elsewhere);
    }
    let next = next(query.next);
    if identity.is_some() {
        return Ok(see_other(&next));
    }
    show(&desk, client, &headers, &next, "", None)
}

fn show(
    desk: &super::Desk,
    client: Client,
    headers: &HeaderMap,
    next: &str,
    username: &str,
    refusal: Option<Refusal>,
) -> Result<Response, Refusal> {
    let no_randomness = |_| Refusal::Overloaded("no randomness");
    let known = cookies::read(headers, Jar::Login, client.over_tls).pop();
    let (secret, is_new) = match known {
        Some(secret) => (secret, false),
        None => (Secret::generate_ticket().map_err(no_randomness)?, true),
    };
    let message = refusal.as_ref().map(|refusal| match refusal {
        Refusal::WrongCredential { .. } => "The username or the password is wrong.".into(),
        other => other.public(),
    });
    let token = form::token_of(&secret);
    let login = LoginPage {
        assets: Assets,
        token: token.expose(),
        next,
        username,
        message: message.as_deref(),
        is_editor: next.starts_with(HANDOVER),
    };
    let status = refusal.as_ref().map_or(StatusCode::OK, Refusal::status);
    let leads_to = host_behind(desk, headers, next);
    let mut response = page(status, &login, headers, leads_to.as_deref());
    if is_new {
        let way = Way::of(headers, client.over_tls);
        add_cookie(&mut response, cookies::set(Jar::Login, way, &secret));
    }
    if status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Session realm=\"flowgate\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    if let Some(seconds) = refusal.as_ref().and_then(Refusal::retry_after_seconds) {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    if let Some(refusal) = refusal {
        response.extensions_mut().insert(Shown(refusal));
    }
    Ok(response)
}

/// `POST /login`
pub(super) async fn log_in(
    State(desk): At,
    Extension(client): Extension<Client>,
    Extension(identity): Extension<Option<Identity>>,
    headers: HeaderMap,
    Form(login): Form<Login>,
) -> Result<Response, Refusal> {
    let next = next(login.next);
    let username = login.username.trim().to_ascii_lowercase();
    let attempt = Attempt { username: &username, password: login.password, token: login.token };
    let begun = begin(&desk, client, &headers, attempt).await;
    let secret = match begun {
        Ok(secret) => secret,
        Err(refusal) => {
            return show(&desk, client, &headers, &next, &username, Some(refusal));
        }
    };
    // The browser has another one from now on.
    if let Some(Identity { grant: Grant::Session { id, .. }, .. }) = identity {
        desk.registry.end_session(id).await.map_err(away)?;
        end_sessions(&desk.live, &[id]);
    }
    let way = Way::of(&headers, client.over_tls);
    let mut response = see_other(&next);
    add_cookie(&mut response, cookies::set(Jar::Session, way, &secret));
    add_cookie(&mut response, cookies::clear(Jar::Login, way));
    Ok(response)
}

struct Attempt<'a> {
    username: &'a str,
    password: Secret,
    token: Secret,
}

/// Begins a session for whoever knows the password.
async fn begin(
    desk: &super::Desk,
    client: Client,
    headers: &HeaderMap,
    attempt: Attempt<'_>,
) -> Result<Secret, Refusal> {
    origin::check_session(&http::Method::POST, headers, &[], client.over_tls)?;
    let is_safe = is_safe_bare_host(headers, client.over_tls);
    if !is_safe || Way::of(headers, client.over_tls) == Way::Open {
        return Err(Refusal::LoginNeedsTls);
    }
    // Another tenant's page cannot have the cookie that the token is made of.
    let known = cookies::read(headers, Jar::Login, client.over_tls);
    if !known.iter().any(|secret| form::is_right(&attempt.token, &form::token_of(secret))) {
        return Err(Refusal::StaleForm);
    }
    let authority = Authority { registry: &desk.registry, passwords: &desk.passwords };
    let proof = authority.log_in(attempt.username.to_owned(), attempt.password, client).await;
    let (tenant, fingerprint) = proof?;
    if desk.registry.count_login(tenant.id).await.map_err(away)? {
        return Err(Refusal::TooManyLogins);
    }
    let secret = desk.registry.begin_session(tenant.id, fingerprint).await.map_err(away)?;
    tracing::info!(
        request_id = %client.request_id,
        client = %client.address,
        tenant = %tenant.username,
        session = id_of(&secret).0.to_hex().get(..16),
        "logged in"
    );
    Ok(secret)
}

/// `GET /logout`
pub(super) async fn farewell(
    Extension(identity): Extension<Option<Identity>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let Some(Identity { tenant, grant: Grant::Session { id, .. }, .. }) = identity else {
        return Ok(see_other("/login"));
    };
    let token = form::token_of_session(id);
    let username = tenant.username.as_str();
    let logout = LogoutPage { assets: Assets, token: token.expose(), username };
    Ok(page(StatusCode::OK, &logout, &headers, None))
}

/// `POST /logout`
pub(super) async fn log_out(
    State(desk): At,
    Extension(client): Extension<Client>,
    Extension(identity): Extension<Option<Identity>>,
    headers: HeaderMap,
    Form(logout): Form<Logout>,
) -> Result<Response, Refusal> {
    let Some(Identity { tenant, grant, .. }) = identity else { return Ok(see_other("/login")) };
    let id = form::check(&logout.token, &grant)?;
    // The feed may be faster with some of it.
    let ended = desk.live.entries_of_session(id).len();
    desk.registry.end_session(id).await.map_err(away)?;
    end_sessions(&desk.live, &[id]);
    tracing::info!(
        request_id = %client.request_id,
        client = %client.address,
        tenant = %tenant.username,
        ended,
        "logged out"
    );
    let mut response = see_other("/login");
    let way = Way::of(&headers, client.over_tls);
    add_cookie(&mut response, cookies::clear(Jar::Session, way));
    Ok(response.into_response())
}
