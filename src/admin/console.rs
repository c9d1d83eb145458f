//! The console: pages and scripts for operators, which ask the admin API with a token that the
//! operator pastes. Nothing in them is secret, so they need no token themselves.

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};

use super::Desk;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";
const HOME: &str = "/console/";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, type and text of each.
pub(super) const ASSETS: &[(&str, &str, &str)] = &[
    (HOME, "text/html; charset=utf-8", include_str!("console/assets/index.html")),
    ("/console/style.css", STYLE, include_str!("../web/assets/style.css")),
    ("/console/console.css", STYLE, include_str!("console/assets/console.css")),
    ("/console/icon.svg", "image/svg+xml", include_str!("../web/assets/icon.svg")),
    ("/console/main.js", SCRIPT, include_str!("console/assets/main.js")),
    ("/console/dom.js", SCRIPT, include_str!("console/assets/dom.js")),
    ("/console/api.js", SCRIPT, include_str!("console/assets/api.js")),
    ("/console/feed.js", SCRIPT, include_str!("console/assets/feed.js")),
    ("/console/chart.js", SCRIPT, include_str!("console/assets/chart.js")),
    ("/console/dialogs.js", SCRIPT, include_str!("console/assets/dialogs.js")),
    ("/console/list.js", SCRIPT, include_str!("console/assets/list.js")),
    ("/console/overview.js", SCRIPT, include_str!("console/assets/overview.js")),
    ("/console/tenants.js", SCRIPT, include_str!("console/assets/tenants.js")),
    ("/console/tenant.js", SCRIPT, include_str!("console/assets/tenant.js")),
    ("/console/keys.js", SCRIPT, include_str!("console/assets/keys.js")),
    ("/console/connections.js", SCRIPT, include_str!("console/assets/connections.js")),
    ("/console/runtimes.js", SCRIPT, include_str!("console/assets/runtimes.js")),
    ("/console/plans.js", SCRIPT, include_str!("console/assets/plans.js")),
    ("/console/others.js", SCRIPT, include_str!("console/assets/others.js")),
    ("/console/server.js", SCRIPT, include_str!("console/assets/server.js")),
];

/// `/console/…`, and the way there from `/`.
pub(super) fn router() -> Router<Arc<Desk>> {
    let home = || get(|| async { Redirect::temporary(HOME) });
    let router = Router::new().route("/", home()).route("/console", home());
    ASSETS.iter().fold(router, |router, (path, content_type, text)| {
        router.route(path, get(|| async { answer(content_type, text) }))
    })
}

fn answer(content_type: &'static str, text: &'static str) -> Response {
    let mut response = text.into_response();
    for (name, value) in [
        (CONTENT_TYPE, content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        // After an upgrade the scripts must be those of the server that answers them.
        (CACHE_CONTROL, "no-cache"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
