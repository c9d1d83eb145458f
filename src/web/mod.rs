//! flowgate's own pages: logging in and out, the way to a tenant's editor, and what all pages share.
//! The profile's page is in [`crate::profile`].
//!
//! Pages work without scripts; with one they are alive. Nothing on them comes from elsewhere, and no
//! script or style stands in the page itself.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    LOCATION, REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderValue as Value, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::cookies::{LOOPBACK_HOST, Way, name_of};
use crate::json::to_the_end;
use crate::live::LiveTable;
use crate::passwords::Passwords;
use crate::refusal::Refusal;
use crate::registry::Registry;
use crate::tenant::Username;

mod assets;
pub mod form;
mod handover;
mod login;

pub use assets::{Assets, PORTAL_SCRIPT, SCRIPT};

/// What the handlers work with.
#[derive(Debug)]
pub struct Desk {
    /// Where sessions live.
    pub registry: Arc<Registry>,
    /// Where passwords are checked.
    pub passwords: Arc<Passwords>,
    /// What runs, some of it on sessions.
    pub live: Arc<LiveTable>,
    /// The registrable domain of the tenant hosts.
    pub base_domain: String,
}

type At = State<Arc<Desk>>;

/// A refusal that the answer's own page tells; for the log.
#[derive(Clone, Debug)]
pub struct Shown(pub Refusal);

/// The handlers on the bare host.
pub fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/", get(|| async { Redirect::to("/profile") }))
        .route("/login", get(login::form).post(login::log_in))
        .route("/login/editor", get(handover::issue))
        .route("/logout", get(login::farewell).post(login::log_out))
        .route("/assets/{name}", get(assets::serve))
        .method_not_allowed_fallback(|| async { Refusal::MethodNotAllowed(String::new()) })
        .layer(from_fn(to_the_end))
        .with_state(desk)
}

/// The handlers on a tenant's host.
pub fn tenant_router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/", get(handover::to_editor))
        .route("/login/session", get(handover::take))
        .route("/logout", get(handover::to_logout))
        .method_not_allowed_fallback(|| async { Refusal::MethodNotAllowed(String::new()) })
        .fallback(handover::begin)
        .layer(from_fn(to_the_end))
        .with_state(desk)
}

/// Sends a browser to the login form, and back here from there.
#[must_use]
pub fn to_login(parts: &Parts) -> impl IntoResponse + use<> {
    let here = parts.uri.path_and_query().map_or("/profile", |here| here.as_str());
    see_other(&format!("/login?next={}", encode(here)))
}

/// A redirect that nobody keeps, and that tells nobody where it came from.
fn see_other(to: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(to) else {
        return Refusal::Malformed("The address to go on to is malformed.").into_response();
    };
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    headers.insert(CACHE_CONTROL, Value::from_static("no-store"));
    headers.insert(REFERRER_POLICY, Value::from_static("no-referrer"));
    response
}

fn encode(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

fn add_cookie(response: &mut Response, cookie: Result<HeaderValue, impl std::error::Error>) {
    if let Ok(cookie) = cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

/// Where the parts of a page come from. Not all of this host: tenants' runtimes are on it as well.
fn assets_of(headers: &HeaderMap) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte);
    match !host.is_empty() && host.bytes().all(allowed) {
        true => format!("{host}/assets/"),
        // A policy has no words for the others: an IPv6 address, for one.
        false => "'self'".to_owned(),
    }
}

/// A page of ours, for who asks with these headers. Forms lead here and, where `forms_lead_to` says
/// so, from here to another host.
pub fn page(
    status: StatusCode,
    page: &impl Template,
    headers: &HeaderMap,
    forms_lead_to: Option<&str>,
) -> Response {
    let Ok(html) = page.render() else {
        return Refusal::Overloaded("a page could not be written").into_response();
    };
    let mut response = (status, html).into_response();
    let form_action = forms_lead_to.map(|host| format!(" {host}")).unwrap_or_default();
    let assets = assets_of(headers);
    let policy = format!(
        "default-src 'none'; script-src {assets}; style-src {assets}; img-src {assets}; \
         connect-src 'self'; form-action 'self'{form_action}; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Not "no-referrer": by that a browser would send "Origin: null" with our own forms.
        (REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, Value::from_static(value));
    }
    response
}

/// Another host at the port of this one.
fn beside(headers: &HeaderMap, name: &str) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let port = &host[name_of(host).len()..];
    format!("{name}{port}")
}

impl Desk {
    /// The tenant's host, as a browser that asks with these headers would name it.
    fn tenant_host(&self, headers: &HeaderMap, username: &Username) -> String {
        beside(headers, &format!("{username}.{}", self.base_domain))
    }

    /// The bare host where sessions live, as seen from a tenant's.
    fn bare_host(&self, headers: &HeaderMap, over_tls: bool) -> String {
        match Way::of(headers, over_tls) {
            Way::Loopback => beside(headers, LOOPBACK_HOST),
            Way::Secure | Way::Open => beside(headers, &self.base_domain),
        }
    }
}

/// Where a tenant's editor is, as a browser that asks with these headers would name it; the scheme
/// is the page's own.
#[must_use]
pub fn editor_address(headers: &HeaderMap, base_domain: &str, username: &Username) -> String {
    format!("//{}/", beside(headers, &format!("{username}.{base_domain}")))
}

#[cfg(test)]
mod tests;
