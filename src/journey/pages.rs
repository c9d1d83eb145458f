//! A request for flowgate's own pages: who asks is found out here, the pages' router answers.

use axum::body::Body as RouterBody;
use axum::response::IntoResponse;
use http::header::{ALLOW, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tower::ServiceExt;

use super::admission::opens_a_page;
use super::{Journey, Trail, handshake};
use crate::authenticate::{Identity, Sessions};
use crate::client::Client;
use crate::exchange::Body;
use crate::grant::Grant;
use crate::refusal::Refusal;
use crate::route::Own;
use crate::tenant::Username;
use crate::web::{Shown, to_login};

impl Journey {
    /// Answers on the bare host.
    pub(super) async fn page(
        &self,
        own: Own,
        parts: Parts,
        body: Incoming,
        client: Client,
        trail: &mut Trail,
    ) -> Result<Response<Body>, Refusal> {
        if handshake::is_upgrade(&parts) {
            return Err(Refusal::NotFound("no page is a WebSocket"));
        }
        let identity = match own {
            Own::Assets | Own::Home => None,
            Own::OAuth => {
                trail.row = "oauth";
                None
            }
            Own::Profile => {
                trail.row = "profile";
                match self.owner(&parts, client, trail).await {
                    Err(Refusal::NoCredential) if opens_a_page(&parts) => {
                        return finish(to_login(&parts).into_response()).await;
                    }
                    // The browser's own password dialog would not help a page that has a session.
                    Err(Refusal::NoCredential) if parts.headers.contains_key("sec-fetch-site") => {
                        return Err(Refusal::NoSession);
                    }
                    owner => Some(owner?),
                }
            }
            _ => {
                trail.row = "login";
                let proof = self.authority().check_session(&parts, client, Sessions::OnBareHost);
                proof.await?.map(|(tenant, grant)| Identity {
                    tenant,
                    grant,
                    authorization_consumed: false,
                    client: client.address.ip(),
                    caller: None,
                })
            }
        };
        if let Some(identity) = &identity {
            trail.tenant = Some(identity.tenant.username.clone());
            trail.grant = Some(identity.grant);
        }
        let mut request = Request::from_parts(parts, RouterBody::new(body));
        request.extensions_mut().insert(identity.clone());
        if let Some(identity) = identity {
            request.extensions_mut().insert(identity);
        }
        self.ask(self.pages.clone(), request, client, trail).await
    }

    /// Answers on a tenant's host.
    pub(super) async fn tenant_page(
        &self,
        username: Username,
        parts: Parts,
        body: Incoming,
        client: Client,
        trail: &mut Trail,
    ) -> Result<Response<Body>, Refusal> {
        if handshake::is_upgrade(&parts) {
            return Err(Refusal::NotFound("no page is a WebSocket"));
        }
        let mut request = Request::from_parts(parts, RouterBody::new(body));
        request.extensions_mut().insert(username);
        self.ask(self.tenant_pages.clone(), request, client, trail).await
    }

    /// Whose profile it is: only the password opens it, and a session that began with it.
    async fn owner(
        &self,
        parts: &Parts,
        client: Client,
        trail: &mut Trail,
    ) -> Result<Identity, Refusal> {
        let identity = self.authority().authenticate(parts, client, Sessions::OnBareHost).await?;
        trail.tenant = Some(identity.tenant.username.clone());
        trail.grant = Some(identity.grant);
        match identity.grant {
            Grant::Password { .. } | Grant::Session { .. } => Ok(identity),
            _ => Err(Refusal::PasswordOnly),
        }
    }

    async fn ask(
        &self,
        router: axum::Router,
        mut request: Request<RouterBody>,
        client: Client,
        trail: &Trail,
    ) -> Result<Response<Body>, Refusal> {
        request.extensions_mut().insert(client);
        let Ok(mut response) = router.oneshot(request).await;
        if let Some(Shown(refusal)) = response.extensions_mut().remove() {
            self.log_refusal(trail, client, false, &refusal);
            if let Some(seconds) = refusal.retry_after_seconds() {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
        }
        match response.extensions_mut().remove::<Refusal>() {
            Some(Refusal::MethodNotAllowed(_)) => {
                let allowed = response.headers().get(ALLOW).and_then(|allow| allow.to_str().ok());
                Err(Refusal::MethodNotAllowed(allowed.unwrap_or_default().to_owned()))
            }
            Some(refusal) => Err(refusal),
            None => finish(response).await,
        }
    }
}

async fn finish(response: axum::response::Response) -> Result<Response<Body>, Refusal> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await;
    let body = body.map_err(|error| Refusal::RegistryAway(error.to_string()))?;
    Ok(Response::from_parts(parts, Body::from(body.to_bytes())))
}
