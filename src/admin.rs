//! The operators' listener.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use crate::exchange::Body;
use crate::journey::Journey;

/// What operators and their probes are told.
#[derive(Debug)]
pub struct Admin {
    /// The server they ask about.
    pub journey: Arc<Journey>,
}

impl Admin {
    /// Connections of operators at once.
    pub const CONNECTIONS_MAX: usize = 64;

    /// Answers one request.
    pub fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let ready = self.journey.ready.load(Ordering::Relaxed);
        let (status, said) = match request.uri().path() {
            "/healthz" => (StatusCode::OK, serde_json::json!({ "status": "ok" })),
            "/readyz" => {
                let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                let freshness = self.journey.registry.freshness();
                let said = serde_json::json!({
                    "ready": ready,
                    "live": self.journey.live.len(),
                    "registry": freshness.standing().as_str(),
                    "registry_age_ms": u64::try_from(freshness.age().as_millis()).unwrap_or(u64::MAX),
                });
                (status, said)
            }
            _ => (StatusCode::NOT_FOUND, serde_json::json!({ "status": "not found" })),
        };
        let mut response = Response::new(Body::from(Bytes::from(format!("{said}\n"))));
        *response.status_mut() = status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}
