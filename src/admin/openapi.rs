//! The API's routes and their OpenAPI document, from one list.

use std::sync::Arc;

use axum::Router;
use serde_json::{Value, json};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{
    Desk, analytics, apis, applications, audit, connections, consumers, credentials, feed, guard,
    instances, keys, of_tenant, plans, profiles, replicas, runtimes, server, sessions, signing,
    stats, subscriptions, tenants,
};

/// The security scheme's name in the document.
pub(super) const SCHEME: &str = "admin_token";

#[derive(OpenApi)]
#[openapi(info(
    title = "flowgate admin API",
    description = "For operators. Every request needs an admin token as `Authorization: Bearer`; \
                   its role is named with each operation. Refusals are `application/problem+json`.",
    license(name = "Apache-2.0", identifier = "Apache-2.0")
))]
struct Outline;

/// The routes, and the document about them.
pub(super) fn api() -> (Router<Arc<Desk>>, Value) {
    let (router, document) = OpenApiRouter::with_openapi(Outline::openapi())
        .routes(routes!(guard::whoami))
        .routes(routes!(feed::issue))
        .routes(routes!(server::status))
        .routes(routes!(server::configuration))
        .routes(routes!(server::cache))
        .routes(routes!(server::refusals))
        .routes(routes!(stats::show))
        .routes(routes!(server::drain))
        .routes(routes!(tenants::list))
        .routes(routes!(tenants::show, tenants::put, tenants::remove))
        .routes(routes!(tenants::set_disabled))
        .routes(routes!(instances::show, instances::put))
        .routes(routes!(instances::list))
        .routes(routes!(credentials::put_password, credentials::remove_password))
        .routes(routes!(keys::regenerate, keys::remove_default))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::revoke))
        .routes(routes!(keys::rotate))
        .routes(routes!(plans::list))
        .routes(routes!(plans::show, plans::put, plans::remove))
        .routes(routes!(apis::list, apis::create))
        .routes(routes!(apis::show, apis::define, apis::remove))
        .routes(routes!(apis::set_state))
        .routes(routes!(consumers::list))
        .routes(routes!(consumers::show, consumers::put, consumers::remove))
        .routes(routes!(consumers::add_key))
        .routes(routes!(consumers::set_basic))
        .routes(routes!(consumers::set_jwt))
        .routes(routes!(consumers::remove_credential))
        .routes(routes!(applications::list, applications::create))
        .routes(routes!(applications::show, applications::remove))
        .routes(routes!(applications::generate_keys))
        .routes(routes!(subscriptions::subscribe))
        .routes(routes!(subscriptions::unsubscribe))
        .routes(routes!(subscriptions::set_plan))
        .routes(routes!(subscriptions::subscribers))
        .routes(routes!(subscriptions::set_blocked))
        .routes(routes!(signing::list))
        .routes(routes!(signing::rotate))
        .routes(routes!(connections::list))
        .routes(routes!(connections::show, connections::close_one))
        .routes(routes!(connections::close))
        .routes(routes!(of_tenant::list))
        .routes(routes!(of_tenant::close))
        .routes(routes!(replicas::list))
        .routes(routes!(runtimes::list))
        .routes(routes!(runtimes::show))
        .routes(routes!(runtimes::log))
        .routes(routes!(runtimes::start))
        .routes(routes!(runtimes::stop))
        .routes(routes!(runtimes::restart))
        .routes(routes!(runtimes::progress, runtimes::restart_all, runtimes::halt))
        .routes(routes!(sessions::list, sessions::end_all))
        .routes(routes!(sessions::end))
        .routes(routes!(audit::list))
        .routes(routes!(analytics::show))
        .routes(routes!(profiles::export))
        .routes(routes!(profiles::import))
        .routes(routes!(profiles::explain))
        .split_for_parts();
    let document = serde_json::to_value(document).unwrap_or_default();
    (router, complete(document))
}

/// What holds of every operation: the token, and what a refusal looks like.
fn complete(mut document: Value) -> Value {
    document["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    document["components"]["securitySchemes"][SCHEME] = json!({
        "type": "http",
        "scheme": "bearer",
        "description": "A line of admin_tokens_file or FLOWGATE_ADMIN_TOKENS",
    });
    document["components"]["schemas"]["Problem"] = json!({
        "type": "object",
        "description": "A refusal (RFC 9457)",
        "required": ["type", "title", "status", "detail", "code", "request_id"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string", "description": "For people" },
            "code": { "type": "string", "description": "Stable, for programs" },
            "request_id": { "type": "string", "description": "As the log names the request" },
        },
    });
    let problem = json!({
        "description": "A refusal",
        "content": {
            "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } },
        },
    });
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            operation["responses"]["default"] = problem.clone();
            operation["operationId"] = json!(operation_id(method, path));
        }
    }
    document
}

/// A name that no other operation has, as in `put_tenants_username`.
fn operation_id(method: &str, path: &str) -> String {
    let below = path.trim_start_matches("/admin/v1/");
    let words = below.split(['/', '-', '{', '}']).filter(|word| !word.is_empty());
    [method].into_iter().chain(words).collect::<Vec<_>>().join("_")
}
