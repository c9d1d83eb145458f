//! Tenants, keys, passwords and plans, with conditions, pages and the audit log.

use super::*;
use crate::registry::record::TenantRecord;

async fn record(world: &World, username: &str) -> TenantRecord {
    world.desk.registry().record(username).await.unwrap().unwrap().2
}

#[tokio::test]
async fn a_tenant_from_beginning_to_end() {
    let world = World::new().await;
    let line = "PUT /admin/v1/tenants/mike";
    let came = world.create("mike").await;
    assert_eq!(came.body["tenant"]["settings"]["instance"], settings()["instance"]);
    let first = came.tag.unwrap();
    // The same again is no change, but has to say what it would replace.
    assert_eq!(world.ask(line, settings()).await.code(), "revision_needed");
    let came = world.ask_if(line, Some(&first), settings()).await;
    assert_eq!((came.status, came.tag.as_ref()), (200, Some(&first)));
    let mut changed = settings();
    changed["allowed_origins"] = json!(["https://a.example"]);
    let came = world.ask_if(line, Some(&first), changed.clone()).await;
    assert_eq!(came.status, 200, "{came:?}");
    let second = came.tag.unwrap();
    assert_ne!(first, second);
    let came = world.ask_if(line, Some(&first), settings()).await;
    assert_eq!((came.status, came.code()), (412, "stale_revision"));
    assert_eq!(world.ask_if(line, Some("*"), changed).await.tag.unwrap(), second);
    let shown = world.ask("GET /admin/v1/tenants/mike", Value::Null).await;
    assert_eq!((shown.tag.unwrap(), &shown.body["password"]), (second.clone(), &json!(false)));
    // What is shown as settings can be put as it is.
    let came = world.ask_if(line, Some(&second), shown.body["settings"].clone()).await;
    assert_eq!(came.tag.unwrap(), second);
    let remove = "DELETE /admin/v1/tenants/mike";
    assert_eq!(world.ask(remove, Value::Null).await.code(), "revision_needed");
    assert_eq!(world.ask_if(remove, Some(&first), Value::Null).await.code(), "stale_revision");
    assert_eq!(world.ask_if(remove, Some(&second), Value::Null).await.status, 200);
    assert_eq!(world.ask_if(remove, Some("*"), Value::Null).await.code(), "missing");
    let done: Vec<_> = world.audit().await.iter().map(|entry| entry["verb"].clone()).collect();
    assert_eq!(done, ["remove tenant", "change tenant", "create tenant"]);
}

#[tokio::test]
async fn conditions_of_a_creation() {
    let world = World::new().await;
    let line = "PUT /admin/v1/tenants/mike";
    assert_eq!(world.ask_if(line, Some("*"), settings()).await.code(), "stale_revision");
    assert_eq!(world.ask_if(line, Some("\"3\""), settings()).await.code(), "stale_revision");
    assert_eq!(world.ask_if(line, Some("3"), settings()).await.code(), "bad_input");
    let authorization = format!("Bearer {ADMIN}");
    let only_new = [("authorization", authorization.as_str()), ("if-none-match", "*")];
    assert_eq!(world.send(line, &only_new, &settings()).await.status, 201);
    assert_eq!(world.send(line, &only_new, &settings()).await.code(), "stale_revision");
}

#[tokio::test]
async fn what_is_no_tenant_is_refused_with_the_reason() {
    let world = World::new().await;
    let with = |name: &str, value: Value| {
        let mut settings = settings();
        settings[name] = value;
        settings
    };
    for (username, body, expected) in [
        ("Mike", settings(), "username must be 1 to 63"),
        ("www", settings(), "username is reserved"),
        ("mike", with("username", json!("roberto")), "username must be the one in the path"),
        ("mike", json!({}), "Bad JSON"),
        ("mike", with("plan", json!("none")), "plan is the name of no plan"),
        ("mike", with("password", json!("")), "password must not be empty"),
        ("mike", with("password", json!(7)), "password must be a string"),
        ("mike", with("password_hash", json!("x")), "password_hash is not a bcrypt hash"),
        ("mike", with("api_key", json!("short")), "api_key must be 16 to 256"),
        ("mike", with("allowed_origins", json!(["x"])), "allowed_origins must be origins"),
        ("mike", with("surprise", json!(1)), "Bad JSON"),
        (
            "mike",
            with(
                "instance",
                json!({
                    "address": "https://h:1",
                    "admin_root": null,
                    "tls": { "ca_file": "/etc/passwd" },
                }),
            ),
            "instance.tls.ca_file is for files",
        ),
        (
            "mike",
            with("instance", json!({ "address": "http://h:1", "admin_root": "/" })),
            "instance.admin_root must not be",
        ),
    ] {
        let came = world.ask(&format!("PUT /admin/v1/tenants/{username}"), body).await;
        assert_eq!((came.status, came.code()), (400, "bad_input"), "{came:?}");
        let detail = came.body["detail"].as_str().unwrap();
        assert!(detail.contains(expected), "{detail}");
    }
    assert!(world.audit().await.is_empty());
}

#[tokio::test]
async fn credentials_stay_unless_they_are_given() {
    let world = World::new().await;
    let line = "PUT /admin/v1/tenants/mike";
    let mut full = settings();
    full["password"] = json!(PASSWORD);
    full["api_key"] = json!("key-of-mike-0123456789");
    assert_eq!(world.ask(line, full.clone()).await.status, 201);
    let made = world.ok("POST /admin/v1/tenants/mike/keys", json!({ "name": "pump" })).await;
    assert!(made["key"].as_str().unwrap().starts_with("fgk_"));
    let before = record(&world, "mike").await;
    assert_eq!(before.keys.len(), 2);
    // Without credentials, and with the same password again: nothing of it changes.
    for body in [settings(), {
        let mut body = settings();
        body["password"] = json!(PASSWORD);
        body
    }] {
        assert_eq!(world.ask_if(line, Some("*"), body).await.status, 200);
        assert_eq!(record(&world, "mike").await, before);
    }
    // Nor where they are there without a value.
    let mut nulls = settings();
    for name in ["password", "password_hash", "api_key", "api_key_sha256"] {
        nulls[name] = Value::Null;
    }
    assert_eq!(world.ask_if(line, Some("*"), nulls).await.status, 200);
    assert_eq!(record(&world, "mike").await, before);
    full["api_key"] = json!("another-key-0123456789");
    full["password"] = json!("another");
    assert_eq!(world.ask_if(line, Some("*"), full).await.status, 200);
    let after = record(&world, "mike").await;
    assert_ne!(
        (&after.password, &after.keys[0].sha256),
        (&before.password, &before.keys[0].sha256)
    );
    assert_eq!(after.keys[1], before.keys[1]);
    // A key of somebody else's.
    let mut thief = settings();
    thief["api_key"] = json!("another-key-0123456789");
    assert_eq!(world.ask("PUT /admin/v1/tenants/roberto", thief).await.code(), "conflict");
}

#[tokio::test]
async fn keys_and_passwords() {
    let world = World::new().await;
    world.create("mike").await;
    let at = |line: &str| line.replace("mike", "/admin/v1/tenants/mike");
    let made = world.ok(&at("POST mike/api-key"), Value::Null).await;
    assert_eq!(made["tenant"]["api_key"]["id"], "0000000000000000");
    let pump = json!({ "name": "pump", "scope": ["/thing"], "expires_in_seconds": 60 });
    let made = world.ask(&at("POST mike/keys"), pump.clone()).await;
    assert_eq!((made.status, &made.body["tenant"]["keys"][0]["name"]), (201, &json!("pump")));
    assert_eq!(world.ask(&at("POST mike/keys"), pump).await.code(), "conflict");
    let id = made.body["id"].as_str().unwrap();
    let rotate = at(&format!("POST mike/keys/{id}/rotate"));
    let rotated = world.ok(&rotate, json!({ "overlap_seconds": 10 })).await;
    assert_ne!(rotated["key"], made.body["key"]);
    assert!(rotated["tenant"]["keys"][0]["previous_works_until"].is_string());
    let keys = world.ok(&at("GET mike/keys"), Value::Null).await;
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
    let revoke = at(&format!("DELETE mike/keys/{id}"));
    assert_eq!(world.ask(&revoke, Value::Null).await.status, 200);
    assert_eq!(world.ask(&revoke, Value::Null).await.code(), "missing");
    assert_eq!(
        world.ask(&at("DELETE mike/keys/0000000000000000"), Value::Null).await.code(),
        "missing"
    );
    assert_eq!(world.ask(&at("DELETE mike/api-key"), Value::Null).await.status, 200);
    assert_eq!(world.ask(&at("DELETE mike/api-key"), Value::Null).await.code(), "missing");
    let put = at("PUT mike/password");
    assert_eq!(world.ask(&put, json!({})).await.code(), "bad_input");
    assert_eq!(world.ok(&put, json!({ "password": PASSWORD })).await["tenant"]["password"], true);
    let before = record(&world, "mike").await;
    world.ok(&put, json!({ "password": PASSWORD })).await;
    assert_eq!(record(&world, "mike").await, before);
    assert_eq!(world.ask(&at("DELETE mike/password"), Value::Null).await.status, 200);
    assert_eq!(world.ask(&at("DELETE mike/password"), Value::Null).await.code(), "missing");
}

#[tokio::test]
async fn the_audit_log_says_what_changed_and_no_secret() {
    let world = World::new().await;
    world.create("mike").await;
    world.ok("PUT /admin/v1/tenants/mike/disabled", json!({ "disabled": true })).await;
    // No change, no entry.
    world.ok("PUT /admin/v1/tenants/mike/disabled", json!({ "disabled": true })).await;
    world.ok("POST /admin/v1/tenants/mike/api-key", Value::Null).await;
    let entries = world.audit().await;
    assert_eq!(entries.len(), 3, "{entries:?}");
    let disabled = &entries[1];
    assert_eq!(
        (&disabled["who"], &disabled["by"], &disabled["object"], &disabled["client"]),
        (&json!("ada"), &json!("operator"), &json!("tenant/mike"), &json!("127.0.0.1"))
    );
    assert_eq!(
        (&disabled["before"], &disabled["after"]),
        (&json!({}), &json!({ "disabled": true }))
    );
    let sha256 = &record(&world, "mike").await.keys[0].sha256;
    assert!(!json!(entries).to_string().contains(sha256));
    assert_eq!(entries[0]["after"]["keys"][0]["id"], "0000000000000000");
    let of = |query: &str| format!("GET /admin/v1/audit?{query}");
    for (query, count) in [("who=ada", 3), ("who=olga", 0), ("object=tenant/mike&limit=2", 2)] {
        let page = world.ok(&of(query), Value::Null).await;
        assert_eq!(page["entries"].as_array().unwrap().len(), count, "{query}");
    }
}

#[tokio::test]
async fn pages_hold_everybody_once() {
    let world = World::new().await;
    for number in 0..7 {
        world.create(&format!("tenant-{number}")).await;
    }
    world.ok("PUT /admin/v1/tenants/tenant-3/disabled", json!({ "disabled": true })).await;
    let (mut seen, mut after, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = world.ok(&format!("GET /admin/v1/tenants?limit=3{after}"), Value::Null).await;
        let tenants = page["tenants"].as_array().unwrap();
        seen.extend(tenants.iter().map(|tenant| tenant["username"].as_str().unwrap().to_owned()));
        pages += 1;
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    seen.sort();
    assert_eq!((pages, seen.len(), seen.first().map(String::as_str)), (3, 7, Some("tenant-0")));
    for (query, count) in [
        ("prefix=tenant-", 7),
        ("prefix=x", 0),
        ("disabled=true", 1),
        ("disabled=false", 6),
        ("plan=a", 0),
    ] {
        let page = world.ok(&format!("GET /admin/v1/tenants?{query}"), Value::Null).await;
        assert_eq!(page["tenants"].as_array().unwrap().len(), count, "{query}");
    }
    let instances = world.ok("GET /admin/v1/instances?limit=1000", Value::Null).await;
    assert_eq!(instances["instances"].as_array().unwrap().len(), 7);
    for query in ["limit=0", "limit=1001", "limit=x", "after=", "surprise=1"] {
        let came = world.ask(&format!("GET /admin/v1/tenants?{query}"), Value::Null).await;
        assert_eq!(came.code(), "bad_input", "{query}");
    }
}

#[tokio::test]
async fn plans_and_who_has_them() {
    let world = World::new().await;
    let line = "PUT /admin/v1/plans/small";
    let came = world.ask(line, json!({ "connections": 3 })).await;
    assert_eq!(came.status, 201, "{came:?}");
    let tag = came.tag.unwrap();
    assert_eq!(world.ask_if(line, Some(&tag), json!({ "connections": 3 })).await.tag.unwrap(), tag);
    assert_eq!(world.ask(line, json!({ "connections": 4 })).await.code(), "revision_needed");
    assert_eq!(
        world.ask_if(line, Some(&tag), json!({ "connections": 0 })).await.code(),
        "bad_input"
    );
    let mut on_plan = settings();
    on_plan["plan"] = json!("small");
    world.create("mike").await;
    assert_eq!(world.ask_if("PUT /admin/v1/tenants/mike", Some("*"), on_plan).await.status, 200);
    assert_eq!(world.desk.tenant("mike").await.unwrap().plan.connections, Some(3));
    let came = world.ask_if(line, Some(&tag), json!({ "connections": 5 })).await;
    assert_eq!(came.status, 200);
    assert_eq!(world.desk.tenant("mike").await.unwrap().plan.connections, Some(5));
    let remove = "DELETE /admin/v1/plans/small";
    assert_eq!(world.ask_if(remove, Some("*"), Value::Null).await.code(), "conflict");
    assert_eq!(world.ask_if("PUT /admin/v1/tenants/mike", Some("*"), settings()).await.status, 200);
    assert_eq!(world.ask_if(remove, Some("*"), Value::Null).await.body, json!({ "removed": true }));
    assert_eq!(world.ask_if(remove, Some("*"), Value::Null).await.code(), "missing");
    let plans = world.ok("GET /admin/v1/plans", Value::Null).await;
    assert_eq!(plans["plans"], json!([]));
}

#[tokio::test]
async fn instances_are_moved_with_the_tenants_revision() {
    let world = World::new().await;
    let tag = world.create("mike").await.tag.unwrap();
    let line = "PUT /admin/v1/tenants/mike/instance";
    let next = json!({ "address": "http://10.1.0.7:1880", "admin_root": null });
    assert_eq!(world.ask(line, next.clone()).await.code(), "revision_needed");
    assert_eq!(world.ask_if(line, Some("\"999\""), next.clone()).await.code(), "stale_revision");
    assert_eq!(world.ask_if(line, Some(&tag), next).await.status, 200);
    let shown = world.ok("GET /admin/v1/tenants/mike/instance", Value::Null).await;
    assert_eq!(shown["address"], "http://10.1.0.7:1880");
    let tenant = world.desk.tenant("mike").await.unwrap();
    assert_eq!(tenant.instance.as_ref().unwrap().host, "10.1.0.7");
    let bad = json!({ "address": "https://x:1", "admin_root": null, "node_root": "x" });
    assert_eq!(world.ask_if(line, Some("*"), bad).await.code(), "bad_input");
}

#[tokio::test]
async fn two_operators_at_once_lose_no_change() {
    let world = World::new().await;
    let tag = world.create("mike").await.tag.unwrap();
    let put = |origin: &'static str| {
        let (world, tag) = (&world, tag.clone());
        async move {
            let mut body = settings();
            body["allowed_origins"] = json!([origin]);
            world.ask_if("PUT /admin/v1/tenants/mike", Some(&tag), body).await.status
        }
    };
    let (one, other) = tokio::join!(put("https://a.example"), put("https://b.example"));
    let mut both = [one, other];
    both.sort_unstable();
    assert_eq!(both, [200, 412]);
    assert_eq!(world.audit().await.len(), 2, "what was not changed is in no log");
}
