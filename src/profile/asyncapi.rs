//! AsyncAPI 3.0.0 documents: a published API for programs and their generators.

use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use serde_json::{Map, Value, json};

use super::portal::is_offered;
use super::{At, From};
use crate::api::{Api, Security};
use crate::json::Id;
use crate::oauth::OAuthSettings;
use crate::publish::NO_API;
use crate::refusal::Refusal;

/// `GET /portal/apis/{id}/asyncapi.json`
pub(super) async fn show(
    State(desk): At,
    Extension(client): From,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let api = desk.publishing().api(None, &id).await?;
    if !is_offered(&api) {
        return Err(NO_API);
    }
    let issuer = desk.oauth.issuer(&headers, client.over_tls);
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let written = document(&api, host, client.over_tls, &issuer, &desk.oauth);
    let mut response = format!("{written}\n").into_response();
    let headers = response.headers_mut();
    let kind = "application/vnd.aai.asyncapi+json;version=3.0.0";
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// How a credential is named in the document, and what it is.
fn scheme(kind: Security, issuer: &str, scope: &str) -> Option<(&'static str, Value)> {
    Some(match kind {
        Security::None => return None,
        Security::Key => ("key", json!({ "type": "httpApiKey", "name": "apikey", "in": "header" })),
        Security::Basic => ("basic", json!({ "type": "http", "scheme": "basic" })),
        Security::Jwt => {
            ("jwt", json!({ "type": "http", "scheme": "bearer", "bearerFormat": "JWT" }))
        }
        Security::Oauth2 => (
            "oauth2",
            json!({
                "type": "oauth2",
                "flows": {
                    "clientCredentials": {
                        "tokenUrl": format!("{issuer}/oauth2/token"),
                        "availableScopes": {
                            "default": "Everything that the application is subscribed to",
                            scope: "This API alone",
                        },
                    },
                },
            }),
        ),
    })
}

fn document(api: &Api, host: &str, over_tls: bool, issuer: &str, oauth: &OAuthSettings) -> Value {
    let path = api.prefix.as_str();
    let kinds = &api.definition.security;
    let schemes: Map<String, Value> = kinds
        .iter()
        .filter_map(|kind| scheme(*kind, issuer, path))
        .map(|(name, scheme)| (name.to_owned(), scheme))
        .collect();
    let references: Vec<Value> = schemes
        .keys()
        .map(|name| json!({ "$ref": format!("#/components/securitySchemes/{name}") }))
        .collect();
    // Where an issuer is set, that is where clients come from outside.
    let outside = oauth.issuer.as_deref().and_then(|issuer| issuer.split_once("://"));
    let (host, is_secure) = match outside {
        Some((scheme, host)) => (host, scheme == "https"),
        None => (host, over_tls),
    };
    let mut server = json!({
        "host": host,
        "protocol": if is_secure { "wss" } else { "ws" },
    });
    if !references.is_empty() {
        server["security"] = json!(references);
    }
    let message = json!({ "$ref": "#/channels/api/messages/any" });
    let operation = |action: &str, summary: &str| {
        json!({
            "action": action,
            "summary": summary,
            "channel": { "$ref": "#/channels/api" },
            "messages": [message],
        })
    };
    json!({
        "asyncapi": "3.0.0",
        "id": format!("urn:flowgate:api:{}", api.id),
        "info": {
            "title": api.definition.name,
            "version": api.definition.version.as_deref().unwrap_or("0"),
        },
        "defaultContentType": "application/octet-stream",
        "servers": { "flowgate": server },
        "channels": {
            "api": {
                "address": path,
                "messages": { "any": { "summary": "Whatever the API's owner and its callers agree on" } },
                "servers": [{ "$ref": "#/servers/flowgate" }],
                "bindings": { "ws": { "method": "GET", "bindingVersion": "0.1.0" } },
            },
        },
        "operations": {
            "receiveFromClient": operation("receive", "What callers send"),
            "sendToClient": operation("send", "What callers get"),
        },
        "components": { "securitySchemes": schemes },
    })
}
