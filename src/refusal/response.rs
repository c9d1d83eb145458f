//! A refusal on the wire: `application/problem+json` (RFC 9457), or a page for a browser.

use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap,
    HeaderName, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};

use super::Refusal;
use crate::client::RequestId;
use crate::close::Cause;
use crate::plan::Limit;

/// Whether a request comes from a browser that would show a page.
#[must_use]
pub fn wants_page(asked: &HeaderMap) -> bool {
    asked
        .get_all(ACCEPT)
        .iter()
        .filter_map(|accept| accept.to_str().ok())
        .any(|accept| accept.contains("text/html"))
}

impl Refusal {
    /// The whole answer, as a page for whoever wants one.
    #[must_use]
    pub fn to_response(&self, wants_page: bool, request_id: RequestId) -> Response<Bytes> {
        let wants_page = wants_page && !matches!(self, Self::OAuth(_));
        let (content_type, body) = if let Self::OAuth(refusal) = self {
            ("application/json", refusal.body())
        } else if wants_page {
            ("text/html; charset=utf-8", self.page(request_id))
        } else {
            ("application/problem+json", self.problem(request_id))
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if wants_page {
            let policy = "default-src 'none'; style-src 'unsafe-inline'; sandbox";
            headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        }
        if let Some(seconds) = self.retry_after_seconds() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        self.add_protocol_headers(headers);
        response
    }

    /// What the status demands beside a body.
    fn add_protocol_headers(&self, headers: &mut HeaderMap) {
        match self {
            // The browser's password dialog would not help: no password opens the editor.
            Self::NoSession | Self::GrantEnded(Cause::SessionEnded | Cause::SessionExpired) => {
                let challenge = HeaderValue::from_static("Session realm=\"flowgate\"");
                headers.insert(WWW_AUTHENTICATE, challenge);
            }
            Self::Consumer(refusal) if self.status() == StatusCode::UNAUTHORIZED => {
                let challenge = HeaderValue::from_static(refusal.challenge());
                headers.insert(WWW_AUTHENTICATE, challenge);
            }
            Self::OAuth(_) if self.status() == StatusCode::UNAUTHORIZED => {
                let challenge = "Basic realm=\"flowgate oauth2\", charset=\"UTF-8\"";
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
            Self::Operator(_) if self.status() == StatusCode::UNAUTHORIZED => {
                let challenge = HeaderValue::from_static("Bearer realm=\"flowgate admin\"");
                headers.insert(WWW_AUTHENTICATE, challenge);
            }
            _ if self.status() == StatusCode::UNAUTHORIZED => {
                let challenge =
                    HeaderValue::from_static("Basic realm=\"flowgate\", charset=\"UTF-8\"");
                headers.insert(WWW_AUTHENTICATE, challenge);
            }
            Self::PlanRate { limit, quota, retry_seconds } => {
                add_rate_limit(headers, *limit, quota.limit, *retry_seconds);
            }
            Self::MethodNotAllowed(allowed) => {
                headers.extend(HeaderValue::from_str(allowed).ok().map(|allowed| (ALLOW, allowed)));
            }
            Self::WebSocketVersion => {
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
                headers.insert(CONNECTION, HeaderValue::from_static("upgrade, close"));
            }
            _ => {}
        }
    }

    fn problem(&self, request_id: RequestId) -> String {
        let mut problem = serde_json::json!({
            "type": "about:blank",
            "title": self.title(),
            "status": self.status().as_u16(),
            "detail": self.public(),
            "code": self.label(),
            "request_id": request_id.to_string(),
        });
        if let Self::Consumer(refusal) = self {
            // Whoever comes from APISIX looks for it there.
            problem["message"] = refusal.message().into();
        }
        let mut problem = problem.to_string();
        problem.push('\n');
        problem
    }

    /// Only texts of our own go into the page, so nothing needs escaping.
    fn page(&self, request_id: RequestId) -> String {
        let status = self.status().as_u16();
        let (title, text) = (self.title(), self.public());
        let advice = self.advice().map(|advice| format!("<p>{advice}</p>")).unwrap_or_default();
        format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>{status} {title}</title>\
             <style>:root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui,sans-serif;\
             max-width:36em;margin:15vh auto;padding:0 1em}}</style>\
             <h1>{title}</h1><p>{text}</p>{advice}\
             <p><small>{status} {label} &middot; request {request_id}</small></p></html>\n",
            label = self.label(),
        )
    }

    fn title(&self) -> &'static str {
        self.status().canonical_reason().unwrap_or("Refused")
    }

    /// What to do about it, where the text does not say so.
    fn advice(&self) -> Option<&'static str> {
        Some(match self.status() {
            StatusCode::BAD_REQUEST => "Check the address and the headers that your program sends.",
            StatusCode::UNAUTHORIZED if matches!(self, Self::Consumer(_)) => {
                "Ask the API's owner for a credential."
            }
            StatusCode::UNAUTHORIZED if *self != Self::NoSession => {
                "Check the username, the password or the API key."
            }
            StatusCode::FORBIDDEN if *self == Self::WrongTenant => {
                "Use the credential of the tenant whose address this is."
            }
            StatusCode::NOT_FOUND => "Check the address.",
            StatusCode::UPGRADE_REQUIRED => "Connect with a WebSocket client, for example wscat.",
            StatusCode::TOO_MANY_REQUESTS if *self == Self::TooManyLogins => "Try again later.",
            StatusCode::TOO_MANY_REQUESTS if matches!(self, Self::PlanRate { .. }) => {
                "Try again in a moment."
            }
            StatusCode::TOO_MANY_REQUESTS => "Close a connection that is not needed, or try later.",
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
                "The runtime may be starting or stopped. Try again in a moment; if it stays so, tell its owner."
            }
            StatusCode::SERVICE_UNAVAILABLE => "Try again in a moment.",
            _ => return None,
        })
    }
}

/// What the plan allows, and that nothing of it is left (draft-ietf-httpapi-ratelimit-headers-10).
fn add_rate_limit(headers: &mut HeaderMap, limit: Limit, most: u64, wait_seconds: u32) {
    let (name, window_seconds) = (limit.name(), limit.window_seconds());
    for (header, value) in [
        ("ratelimit-policy", format!("\"{name}\";q={most};w={window_seconds}")),
        ("ratelimit", format!("\"{name}\";r=0;t={wait_seconds}")),
    ] {
        headers.extend(
            HeaderValue::try_from(value).ok().map(|value| (HeaderName::from_static(header), value)),
        );
    }
}

#[cfg(test)]
mod tests;
