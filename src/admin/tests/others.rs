//! The server itself, refusals, profiles in and out, dry runs.

use super::*;
use crate::journey::recent::KEPT_MAX;
use crate::journey::trail::Trail;

#[tokio::test]
async fn the_server_tells_how_it_is() {
    let world = World::new().await;
    let status = world.ok("GET /admin/v1/status", Value::Null).await;
    assert_eq!((&status["ready"], &status["draining"]), (&json!(true), &json!(false)));
    assert_eq!(status["admin_tokens"], 3);
    // The answer tells what is left of the plan, so that mike is known from then on.
    world.create("mike").await;
    let before = world.ok("GET /admin/v1/cache", Value::Null).await;
    for _ in 0..5 {
        world.desk.tenant("mike").await.unwrap();
    }
    world.desk.tenant("nobody").await.unwrap_err();
    world.desk.tenant("nobody").await.unwrap_err();
    let after = world.ok("GET /admin/v1/cache", Value::Null).await;
    let more = |name: &str| after[name].as_u64().unwrap() - before[name].as_u64().unwrap();
    let counted = ["hits", "misses", "fetches", "absent_hits"].map(more);
    assert_eq!(counted, [5, 1, 1, 1], "{before} {after}");
    assert_eq!((&after["tenants"], &after["absent"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn a_drain_is_asked_for_once() {
    let world = World::new().await;
    for _ in 0..2 {
        assert_eq!(world.ask("POST /admin/v1/drain", Value::Null).await.status, 202);
    }
    world.desk.stop.notified().await;
    assert_eq!(world.audit().await.len(), 1);
    assert_eq!(world.ok("GET /admin/v1/status", Value::Null).await["draining"], true);
}

#[tokio::test]
async fn the_last_refusals_are_kept() {
    let world = World::new().await;
    let refused = &world.desk.journey.refused;
    let note = |tenant: &str, refusal: Refusal| {
        let trail = Trail {
            row: "api",
            tenant: Some(Username::parse(tenant).unwrap()),
            path: "/api/x".to_owned(),
            ..Trail::default()
        };
        let request_id = world.desk.journey.request_ids.next();
        let client =
            Client { address: (Ipv4Addr::LOCALHOST, 9).into(), over_tls: false, request_id };
        refused.note(&trail, client, true, &refusal, testing::BEGIN);
    };
    for _ in 0..KEPT_MAX + 5 {
        note("mike", Refusal::OutOfScope);
    }
    note("roberto", Refusal::WrongCredential { why: "wrong password", since: None, claimed: None });
    let page = world.ok("GET /admin/v1/refusals?limit=2", Value::Null).await;
    assert_eq!(page["total"], KEPT_MAX as u64 + 6);
    let newest = &page["refusals"][0];
    assert_eq!((&newest["tenant"], &newest["why"]), (&json!("roberto"), &json!("wrong password")));
    let next =
        format!("GET /admin/v1/refusals?after={}&limit=1000", page["next"].as_str().unwrap());
    let rest = world.ok(&next, Value::Null).await;
    assert_eq!(rest["refusals"].as_array().unwrap().len(), KEPT_MAX - 2);
    assert_eq!(rest["next"], Value::Null);
    for (query, count) in [("tenant=roberto", 1), ("code=out_of_scope", 100), ("tenant=nobody", 0)]
    {
        let page = world.ok(&format!("GET /admin/v1/refusals?{query}"), Value::Null).await;
        assert_eq!(page["refusals"].as_array().unwrap().len(), count, "{query}");
    }
}

#[tokio::test]
async fn little_is_kept_of_a_refusal_whatever_it_says() {
    let world = World::new().await;
    let path = format!("/\u{9b}2J{}", "x".repeat(9000));
    let trail = Trail { path, ..Trail::default() };
    let request_id = world.desk.journey.request_ids.next();
    let client = Client { address: (Ipv4Addr::LOCALHOST, 9).into(), over_tls: false, request_id };
    let refusal = Refusal::RuntimeCertificate("not for this name, but for ".repeat(1000));
    world.desk.journey.refused.note(&trail, client, true, &refusal, testing::BEGIN);
    let page = world.ok("GET /admin/v1/refusals", Value::Null).await;
    let length = |name: &str| page["refusals"][0][name].as_str().unwrap().len();
    assert_eq!((length("path"), length("why")), (256, 256));
    assert!(page["refusals"][0]["path"].as_str().unwrap().starts_with("/%C2%9B2Jxx"), "{page}");
}

#[tokio::test]
async fn what_was_exported_can_be_imported() {
    let world = World::new().await;
    world.ok("PUT /admin/v1/plans/small", json!({ "connections": 3 })).await;
    for name in ["mike", "roberto", "ana"] {
        let mut body = settings();
        body["plan"] = json!("small");
        body["password_hash"] = json!(bcrypt::hash(PASSWORD, 4).unwrap());
        world.ok(&format!("PUT /admin/v1/tenants/{name}"), body).await;
        world.ok(&format!("POST /admin/v1/tenants/{name}/api-key"), Value::Null).await;
    }
    let first = world.ok("GET /admin/v1/profiles?limit=2", Value::Null).await;
    let next = format!("GET /admin/v1/profiles?limit=2&after={}", first["next"].as_str().unwrap());
    let second = world.ok(&next, Value::Null).await;
    assert_eq!((&second["plans"], &second["next"]), (&json!({}), &Value::Null));
    let tenants = [&first["tenants"], &second["tenants"]];
    let tenants: Vec<_> =
        tenants.iter().flat_map(|page| page.as_array().unwrap().clone()).collect();
    let file = json!({ "plans": first["plans"], "tenants": tenants });
    let other = World::new().await;
    let done = other.ok("POST /admin/v1/profiles", file.clone()).await;
    assert_eq!(done, json!({ "created": 3, "replaced": 0, "left_alone": 0, "plans": 1 }));
    let done = other.ok("POST /admin/v1/profiles?replace=true", file.clone()).await;
    assert_eq!(done, json!({ "created": 0, "replaced": 0, "left_alone": 3, "plans": 0 }));
    assert_eq!(other.audit().await.len(), 1);
    let mut bad = file;
    bad["tenants"][1]["instance"]["address"] = json!("x");
    bad["tenants"][2]["username"] = json!("new");
    let came = other.ask("POST /admin/v1/profiles", bad).await;
    assert_eq!(came.code(), "bad_input");
    assert_eq!(other.ask("GET /admin/v1/tenants/new", Value::Null).await.code(), "missing");
    let many = json!({ "tenants": vec![json!({}); 201] });
    assert_eq!(other.ask("POST /admin/v1/profiles", many).await.code(), "bad_input");
}

#[tokio::test]
async fn an_imported_password_is_hashed() {
    let world = World::new().await;
    let mut mike = settings();
    mike["username"] = json!("mike");
    mike["password"] = json!(PASSWORD);
    let file = json!({ "tenants": [mike] });
    assert_eq!(world.ok("POST /admin/v1/profiles", file.clone()).await["created"], 1);
    assert_eq!(world.ok("POST /admin/v1/profiles", file.clone()).await["left_alone"], 1);
    assert_eq!(world.ok("POST /admin/v1/profiles?replace=true", file).await["left_alone"], 1);
    assert_eq!(world.ok("GET /admin/v1/tenants/mike", Value::Null).await["password"], true);
}

#[tokio::test]
async fn a_request_is_explained() {
    let world = World::new().await;
    world.create("mike").await;
    let made = world.ok("POST /admin/v1/tenants/mike/api-key", Value::Null).await;
    let question = |key: &str| json!({ "method": "GET", "url": "http://localhost/api/x", "headers": [format!("apikey: {key}")] });
    let explained =
        world.ok("POST /admin/v1/explain", question(made["key"].as_str().unwrap())).await;
    assert_eq!(explained["refused"], false, "{explained}");
    let explained = world.ok("POST /admin/v1/explain", question("nobodys-key")).await;
    assert_eq!(explained["refused"], true);
    for bad in [
        json!({}),
        json!({ "method": "GET", "url": "/x" }),
        json!({ "method": "", "url": "http://h/" }),
    ] {
        assert_eq!(world.ask("POST /admin/v1/explain", bad).await.code(), "bad_input");
    }
    // To ask about a key is no use of it.
    let keys = world.ok("GET /admin/v1/tenants/mike/keys", Value::Null).await;
    assert_eq!(keys["keys"][0]["last_used"], Value::Null);
}

#[tokio::test]
async fn old_entries_of_the_audit_log_go() {
    let world = World::new().await;
    for number in 0..4 {
        world.create(&format!("t{number}")).await;
    }
    world.wall.advance(std::time::Duration::from_secs(366 * 24 * 60 * 60));
    world.create("t4").await;
    assert_eq!(world.audit().await.len(), 3, "two went with the new one");
    world.create("t5").await;
    assert_eq!(world.audit().await.len(), 2);
    for number in 6..9 {
        world.create(&format!("t{number}")).await;
    }
    assert_eq!(world.desk.registry().trim_audit(3).await.unwrap(), 2);
    let objects: Vec<_> = world.audit().await.iter().map(|entry| entry["object"].clone()).collect();
    assert_eq!(objects, ["tenant/t8", "tenant/t7", "tenant/t6"]);
    assert_eq!(world.desk.registry().trim_audit(1).await.unwrap(), 0, "not counted again so soon");
}
