//! A request for the profile: only the password opens it.

use axum::body::Body as RouterBody;
use http::header::ALLOW;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tower::ServiceExt;

use super::{Journey, Trail};
use crate::client::Client;
use crate::exchange::Body;
use crate::grant::Grant;
use crate::refusal::Refusal;

impl Journey {
    /// Authenticates, then lets the profile's router answer.
    pub(super) async fn profile(
        &self,
        parts: Parts,
        body: Incoming,
        client: Client,
        trail: &mut Trail,
    ) -> Result<Response<Body>, Refusal> {
        trail.row = "profile";
        let identity = self.authority().authenticate(&parts, client).await?;
        trail.tenant = Some(identity.tenant.username.clone());
        trail.grant = Some(identity.grant);
        if !matches!(identity.grant, Grant::Password { .. }) {
            return Err(Refusal::PasswordOnly);
        }
        let mut request = Request::from_parts(parts, RouterBody::new(body));
        request.extensions_mut().insert(identity);
        let Ok(mut response) = self.profile.clone().oneshot(request).await;
        match response.extensions_mut().remove::<Refusal>() {
            Some(Refusal::MethodNotAllowed(_)) => {
                let allowed = response.headers().get(ALLOW).and_then(|allow| allow.to_str().ok());
                return Err(Refusal::MethodNotAllowed(allowed.unwrap_or_default().to_owned()));
            }
            Some(refusal) => return Err(refusal),
            None => {}
        }
        let (parts, body) = response.into_parts();
        let body = body.collect().await;
        let body = body.map_err(|error| Refusal::RegistryAway(error.to_string()))?;
        Ok(Response::from_parts(parts, Body::from(body.to_bytes())))
    }
}
