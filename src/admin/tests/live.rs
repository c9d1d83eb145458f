//! What an operator ends.

use super::*;
use crate::clock::Millis;
use crate::close::Cause;
use crate::grant::{Grant, KeyId};
use crate::live::{Kind, Registered};
use crate::secret::SecretDigest;

pub(super) async fn connect(world: &World, username: &str, grant: Grant, path: &str) -> Registered {
    let tenant = world.desk.tenant(username).await.unwrap();
    let request_id = world.desk.journey.request_ids.next();
    let client = Client { address: (Ipv4Addr::LOCALHOST, 9).into(), over_tls: false, request_id };
    let live = &world.desk.journey.live;
    live.enter(&tenant, Kind::Connection, grant, client, path, Millis(0)).unwrap()
}

/// How a connection is named to operators.
pub(super) fn id(world: &World, connection: &Registered) -> String {
    world.desk.presence.show(connection.entry()).0.to_string()
}

pub(super) fn key_grant(made: &Value) -> Grant {
    let digest = SecretDigest::of(&Secret::new(made["key"].as_str().unwrap().to_owned()));
    let id = KeyId::from_hex(made["id"].as_str().unwrap()).unwrap();
    Grant::Key { id, secret: digest.fingerprint() }
}

async fn total(world: &World, query: &str) -> u64 {
    let page = world.ok(&format!("GET /admin/v1/connections{query}"), Value::Null).await;
    page["total"].as_u64().unwrap()
}

#[tokio::test]
async fn connections_are_found_and_closed() {
    let world = World::new().await;
    world.create("mike").await;
    world.create("roberto").await;
    let made = world.ok("POST /admin/v1/tenants/mike/api-key", Value::Null).await;
    let by_key = connect(&world, "mike", key_grant(&made), "/api/thing").await;
    let public = connect(&world, "mike", Grant::Anonymous, "/api/public/data").await;
    let robertos = connect(&world, "roberto", Grant::Anonymous, "/api/public/data").await;
    for (query, count) in [
        ("", 3),
        ("?tenant=mike", 2),
        ("?tenant=mike&key=default", 1),
        ("?tenant=mike&key=00000000000000ff", 0),
        ("?path=/api/public", 2),
        ("?tenant=mike&path=/api/public", 1),
        ("?path=/api/pub", 0),
    ] {
        assert_eq!(total(&world, query).await, count, "{query}");
    }
    assert_eq!(
        world.ask("GET /admin/v1/connections?key=default", Value::Null).await.code(),
        "bad_input"
    );
    let page = world.ok("GET /admin/v1/connections?limit=2", Value::Null).await;
    let after =
        format!("GET /admin/v1/connections?limit=2&after={}", page["next"].as_str().unwrap());
    let rest = world.ok(&after, Value::Null).await;
    assert_eq!((rest["connections"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
    let id = id(&world, &robertos);
    let shown = world.ok(&format!("GET /admin/v1/connections/{id}"), Value::Null).await;
    assert_eq!((&shown["tenant"], &shown["closing"]), (&json!("roberto"), &Value::Null));
    let closed = world.ok(&format!("DELETE /admin/v1/connections/{id}"), Value::Null).await;
    assert_eq!(closed, json!({ "closed": 1 }));
    assert_eq!(robertos.entry().closing(), Some(Cause::ClosedByOperator));
    let close = |body| world.ask("POST /admin/v1/connections/close", body);
    assert_eq!(close(json!({})).await.code(), "bad_input");
    assert_eq!(close(json!({ "tenant": "nobody" })).await.code(), "missing");
    assert_eq!(
        close(json!({ "tenant": "mike", "key": "default" })).await.body,
        closed_everywhere(1)
    );
    assert_eq!(by_key.entry().closing(), Some(Cause::ClosedByOperator));
    assert_eq!(public.entry().closing(), None);
    assert_eq!(close(json!({ "tenant": "mike" })).await.body, closed_everywhere(1));
    let entry = &world.audit().await[0];
    assert_eq!(entry["verb"], "close connections");
    assert_eq!(entry["after"]["wanted"], json!({ "tenant": "mike" }));
    drop((by_key, public));
    for nothing in ["77".to_owned(), format!("{}-77", world.desk.presence.id())] {
        let line = format!("DELETE /admin/v1/connections/{nothing}");
        assert_eq!(world.ask(&line, Value::Null).await.code(), "missing");
    }
}

fn closed_everywhere(closed: usize) -> Value {
    json!({ "closed": closed, "replicas": "all", "incomplete": [] })
}

#[tokio::test]
async fn a_change_ends_what_rests_on_it_before_it_is_answered() {
    let world = World::new().await;
    world.create("mike").await;
    let made = world.ok("POST /admin/v1/tenants/mike/api-key", Value::Null).await;
    let named = world.ok("POST /admin/v1/tenants/mike/keys", json!({ "name": "pump" })).await;
    let by_default = connect(&world, "mike", key_grant(&made), "/a").await;
    let by_named = connect(&world, "mike", key_grant(&named), "/b").await;
    let public = connect(&world, "mike", Grant::Anonymous, "/c").await;
    let again = world.ok("POST /admin/v1/tenants/mike/api-key", Value::Null).await;
    assert_eq!(again["closed"], 1);
    assert_eq!(by_default.entry().closing(), Some(Cause::KeyRegenerated));
    let revoke = format!("DELETE /admin/v1/tenants/mike/keys/{}", named["id"].as_str().unwrap());
    assert_eq!(world.ok(&revoke, Value::Null).await["closed"], 1);
    assert_eq!(by_named.entry().closing(), Some(Cause::KeyRevoked));
    assert_eq!(public.entry().closing(), None);
    let disabled =
        world.ok("PUT /admin/v1/tenants/mike/disabled", json!({ "disabled": true })).await;
    assert_eq!(disabled["closed"], 1, "{disabled}");
    assert_eq!(public.entry().closing(), Some(Cause::TenantDisabled));
    world.ok("PUT /admin/v1/tenants/mike/disabled", json!({ "disabled": false })).await;
    let last = connect(&world, "mike", Grant::Anonymous, "/c").await;
    assert_eq!(
        world.ask_if("DELETE /admin/v1/tenants/mike", Some("*"), Value::Null).await.status,
        200
    );
    assert_eq!(last.entry().closing(), Some(Cause::TenantDisabled));
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let world = World::new().await;
    world.create("mike").await;
    world.create("roberto").await;
    let registry = world.desk.registry();
    for (username, count) in [("mike", 3), ("roberto", 1)] {
        let id = world.desk.tenant(username).await.unwrap().id;
        for _ in 0..count {
            registry.begin_session(id, 1).await.unwrap();
        }
    }
    let list = |query: &'static str| {
        let world = &world;
        async move {
            let page = world.ok(&format!("GET /admin/v1/sessions{query}"), Value::Null).await;
            page["sessions"].as_array().unwrap().clone()
        }
    };
    assert_eq!((list("").await.len(), list("?tenant=mike").await.len()), (4, 3));
    let one = list("?tenant=mike").await[1].clone();
    assert_eq!(one["tenant"], "mike");
    let end = format!("DELETE /admin/v1/sessions/{}", one["id"].as_str().unwrap());
    assert_eq!(world.ok(&end, Value::Null).await, json!({ "ended": 1 }));
    assert_eq!(world.ask(&end, Value::Null).await.code(), "missing");
    assert_eq!(world.ask("DELETE /admin/v1/sessions", Value::Null).await.code(), "bad_input");
    let all = world.ok("DELETE /admin/v1/sessions?tenant=mike", Value::Null).await;
    assert_eq!((all, list("").await.len()), (json!({ "ended": 2 }), 1));
}
