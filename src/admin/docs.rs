//! The OpenAPI document, and a page that shows it. Both are public to whoever reaches the listener:
//! they tell nothing of this installation.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::Value;

use super::Desk;

const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
const STYLE: &str = include_str!("docs.css");

/// `/admin/v1/openapi.json` and `/admin/docs`.
pub(super) fn router(document: &Value) -> Router<Arc<Desk>> {
    let (page, document) = (page(document), format!("{document}\n"));
    let serve = |content_type: &'static str, text: String| {
        get(move || {
            let text = text.clone();
            async move { answer(content_type, text) }
        })
    };
    Router::new()
        .route("/admin/v1/openapi.json", serve("application/json", document))
        .route("/admin/docs", serve("text/html; charset=utf-8", page))
        .route("/admin/docs.css", serve("text/css; charset=utf-8", STYLE.to_owned()))
}

fn answer(content_type: &'static str, text: String) -> Response {
    let mut response = text.into_response();
    let mut set = |name: HeaderName, value: &'static str| {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    };
    set(CONTENT_TYPE, content_type);
    set(CONTENT_SECURITY_POLICY, POLICY);
    set(CACHE_CONTROL, "no-cache");
    set(HeaderName::from_static("x-content-type-options"), "nosniff");
    response
}

fn page(document: &Value) -> String {
    let mut html = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>flowgate admin API</title>\
         <link rel=\"stylesheet\" href=\"/admin/docs.css\"><h1>flowgate admin API</h1>",
    );
    let about = document["info"]["description"].as_str().unwrap_or_default();
    let version = document["info"]["version"].as_str().unwrap_or_default();
    let _ = write!(
        html,
        "<p>{} Version {}. <a href=\"/admin/v1/openapi.json\">OpenAPI document</a></p>",
        escaped(about),
        escaped(version)
    );
    for (path, item) in members(&document["paths"]) {
        for (method, operation) in members(item) {
            describe(&mut html, path, method, operation);
        }
    }
    html.push_str("<h2>Schemas</h2>");
    for (name, schema) in members(&document["components"]["schemas"]) {
        let text = serde_json::to_string_pretty(schema).unwrap_or_default();
        let _ = write!(
            html,
            "<details id=\"{name}\"><summary><code>{name}</code></summary><pre>{}</pre></details>",
            escaped(&text),
            name = escaped(name),
        );
    }
    html.push_str("</html>\n");
    html
}

fn describe(html: &mut String, path: &str, method: &str, operation: &Value) {
    let text = |value: &Value| escaped(value.as_str().unwrap_or_default());
    let role = operation.pointer("/security/0/admin_token/0").unwrap_or(&Value::Null);
    let _ = write!(
        html,
        "<section><h2><b>{}</b> <code>{}</code> <small>{}</small></h2><p>{} {}</p>",
        escaped(&method.to_uppercase()),
        escaped(path),
        text(role),
        text(&operation["summary"]),
        text(&operation["description"])
    );
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !parameters.is_empty() {
        html.push_str("<table>");
        for parameter in parameters {
            let _ = write!(
                html,
                "<tr><td><code>{}</code><td>{}<td>{}",
                text(&parameter["name"]),
                text(&parameter["in"]),
                text(&parameter["description"])
            );
        }
        html.push_str("</table>");
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    if let Some(schema) = referred(body) {
        let _ = write!(html, "<p>Body: <a href=\"#{schema}\">{schema}</a></p>");
    }
    for (status, response) in members(&operation["responses"]) {
        let Some(schema) = referred(&response["content"]["application/json"]["schema"]) else {
            continue;
        };
        let status = escaped(status);
        let _ = write!(html, "<p>{status}: <a href=\"#{schema}\">{schema}</a></p>");
    }
    html.push_str("</section>");
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn referred(schema: &Value) -> Option<String> {
    let reference = schema["$ref"].as_str()?;
    Some(escaped(reference.rsplit('/').next()?))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}
