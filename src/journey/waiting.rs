//! What a browser is shown that opens an editor while its runtime is not ready: how far it is. The page
//! asks for itself again until the editor is there in its place.

use std::sync::Arc;

use askama::Template;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFRESH,
    RETRY_AFTER,
};
use http::request::Parts;
use http::{Response, StatusCode};

use super::admission::opens_a_page;
use super::published::Destination;
use super::{Admitted, Journey};
use crate::exchange::Body;
use crate::live::Entry;
use crate::row::Row;
use crate::runtimes::look::Look;
use crate::tenant::Tenant;

/// Between two looks of a page.
const REFRESH_SECONDS: u64 = 1;

/// The page.
#[derive(Debug, Template)]
#[template(path = "waiting.html")]
struct Waiting {
    title: &'static str,
    look: Look,
    steps: [(&'static str, &'static str); 3],
}

impl Journey {
    /// The page, where there is something to wait for; the runtime is woken. Only its tenant's session
    /// opens an editor, so what the runtime wrote is its owner's to see.
    pub(super) async fn waiting_page(
        &self,
        parts: &Parts,
        admitted: &Admitted,
        (tenant, destination): (&Arc<Tenant>, &Destination),
        entry: &Entry,
    ) -> Option<Response<Body>> {
        let Destination::Runtime(instance) = destination else { return None };
        if admitted.row != Row::Editor || !opens_a_page(parts) {
            return None;
        }
        let look = self.runtimes.rouse(tenant, instance, entry).await?;
        Waiting::of(look).answer()
    }
}

impl Waiting {
    fn of(look: Look) -> Self {
        let title = match look.state {
            "failing" => "Your runtime does not start",
            "stopping" => "Your runtime is going to sleep and wakes again",
            _ => "Your runtime wakes up",
        };
        let (done, now, later) = ("done", "now", "then");
        let states = match (look.state, look.has_turn) {
            ("starting", true) => [done, now, later],
            _ => [now, later, later],
        };
        let steps = ["A place among those that start", "Start, until it answers", "The editor"];
        let steps = std::array::from_fn(|place| (steps[place], states[place]));
        Self { title, look, steps }
    }

    fn answer(&self) -> Option<Response<Body>> {
        let seconds = self.look.retry_in_seconds.unwrap_or_default().max(REFRESH_SECONDS);
        let mut response = Response::new(Body::from(Bytes::from(self.render().ok()?)));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        headers.insert(REFRESH, HeaderValue::from(seconds));
        let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";
        for (name, value) in [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CACHE_CONTROL, "no-store"),
            (CONTENT_SECURITY_POLICY, policy),
            (HeaderName::from_static("x-content-type-options"), "nosniff"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Some(response)
    }
}
