//! Who may do what, for every operation of the OpenAPI document.

use super::*;

/// Every operation: method and path with ids that lead nowhere, and the least role.
fn operations() -> Vec<(String, tokens::Role)> {
    let (_, document) = openapi::api();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let roles = operation.pointer("/security/0/admin_token");
            let role = roles.and_then(|roles| roles[0].as_str());
            let role = role.unwrap_or_else(|| panic!("{method} {path} names no role"));
            let path =
                path.replace("{username}", "nobody").replace("{id}", "1").replace("{name}", "x");
            let line = format!("{} {path}", method.to_uppercase());
            operations.push((line, tokens::Role::parse(role).unwrap()));
        }
    }
    assert!(operations.len() > 30, "{operations:?}");
    operations
}

#[tokio::test]
async fn without_a_right_token_nothing_is_done() {
    let world = World::new().await;
    let before = world.desk.registry().store().last_revision().await.unwrap();
    let twice = format!("Bearer {ADMIN}");
    let basic = format!("Basic {ADMIN}");
    for (line, _) in operations() {
        for headers in [
            vec![],
            vec![("authorization", "Bearer ")],
            vec![("authorization", "Bearer nobodys-token-0123456789-0123456789")],
            vec![("authorization", ADMIN)],
            vec![("authorization", basic.as_str())],
            vec![("authorization", twice.as_str()), ("authorization", twice.as_str())],
            // A tenant's own credentials, and a browser's.
            vec![("x-auth-user", "mike"), ("x-auth-key", ADMIN)],
            vec![("apikey", ADMIN)],
            vec![("cookie", "__Host-flowgate=admin; token=admin")],
        ] {
            let came = world.send(&line, &headers, &Value::Null).await;
            assert_eq!(
                (came.status, came.code()),
                (401, "wrong_admin_token"),
                "{line} {headers:?}"
            );
        }
        let query = format!("{line}?access_token={ADMIN}&token={ADMIN}");
        assert_eq!(world.send(&query, &[], &Value::Null).await.status, 401);
    }
    assert_eq!(world.desk.registry().store().last_revision().await.unwrap(), before);
}

#[tokio::test]
async fn each_operation_needs_the_role_that_it_names() {
    let world = World::new().await;
    for (line, needed) in operations() {
        for (token, role) in [
            (READ, tokens::Role::Read),
            (OPERATE, tokens::Role::Operate),
            (ADMIN, tokens::Role::Admin),
        ] {
            let authorization = format!("Bearer {token}");
            let headers = [("authorization", authorization.as_str())];
            let came = world.send(&line, &headers, &Value::Null).await;
            if role < needed {
                assert_eq!((came.status, came.code()), (403, "wrong_role"), "{line} as {role}");
            } else {
                assert!(!matches!(came.status, 401 | 403 | 500..), "{line} as {role}: {came:?}");
            }
        }
    }
}

#[tokio::test]
async fn pages_of_others_get_nothing() {
    let world = World::new().await;
    let authorization = format!("Bearer {ADMIN}");
    let public = ["GET /admin/v1/openapi.json", "GET /admin/docs", "GET /admin/nothing"];
    let lines = operations().into_iter().map(|(line, _)| line);
    for line in lines.chain(public.map(str::to_owned)) {
        for origin in
            ["http://evil.example", "null", "http://localhost", "http://localhost:9181", ""]
        {
            let headers = [("authorization", authorization.as_str()), ("origin", origin)];
            let came = world.send(&line, &headers, &Value::Null).await;
            assert_eq!((came.status, came.code()), (403, "foreign_origin"), "{line} {origin}");
        }
        for host in
            ["evil.example", "evil.example:9180", "localhost.evil.example", "", "10.0.0.2", "[::2]"]
        {
            let headers = [("authorization", authorization.as_str()), ("host", host)];
            let came = world.send(&line, &headers, &Value::Null).await;
            assert_eq!((came.status, came.code()), (421, "wrong_host"), "{line} {host:?}");
        }
        let twice = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(world.send(&line, &twice, &Value::Null).await.status, 400);
    }
}

#[tokio::test]
async fn own_names_and_own_pages_are_served() {
    let world = World::new().await;
    let authorization = format!("Bearer {READ}");
    for (host, origin) in [
        ("localhost", "http://localhost"),
        ("LOCALHOST:9180", "http://localhost:9180"),
        ("127.0.0.1:9180", "http://127.0.0.1:9180"),
        ("[::1]:9180", "http://[::1]:9180"),
        ("[::1]", "https://[::1]"),
        ("10.0.0.1:9180", "http://10.0.0.1:9180"),
        ("ops.example.org", "https://ops.example.org"),
    ] {
        let headers =
            [("authorization", authorization.as_str()), ("host", host), ("origin", origin)];
        let came = world.send("GET /admin/v1/status", &headers, &Value::Null).await;
        assert_eq!(came.status, 200, "{host} {origin} {came:?}");
    }
}

#[tokio::test]
async fn without_tokens_it_says_so() {
    let world = World::with(AdminTokens::default()).await;
    for line in ["GET /admin/v1/status", "GET /admin/docs", "GET /x", "DELETE /admin/v1/tenants/a"]
    {
        let headers = [("authorization", "Bearer x")];
        let came = world.send(line, &headers, &Value::Null).await;
        assert_eq!((came.status, came.code()), (403, "no_admin_tokens"), "{line}");
        assert!(came.body["detail"].as_str().unwrap().contains("admin_tokens_file"));
    }
}

#[tokio::test]
async fn what_is_not_there_is_told_apart() {
    let world = World::new().await;
    let came = world.ask("GET /admin/v1/nothing", Value::Null).await;
    assert_eq!((came.status, came.code()), (404, "not_found"));
    let came = world.ask("PATCH /admin/v1/status", Value::Null).await;
    assert_eq!((came.status, came.code()), (405, "method_not_allowed"));
    let came = world.ask("GET /admin/v1/tenants/nobody", Value::Null).await;
    assert_eq!((came.status, came.code()), (404, "missing"));
}

#[tokio::test]
async fn the_document_and_its_page_are_for_all_operators() {
    let world = World::new().await;
    let document = world.send("GET /admin/v1/openapi.json", &[], &Value::Null).await.body;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    let items = document["paths"].as_object().unwrap().values();
    let operations = items.flat_map(|item| item.as_object().unwrap().values());
    let mut ids: Vec<_> = operations.map(|it| it["operationId"].as_str().unwrap()).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "{ids:?}");
    let page = world.send("GET /admin/docs", &[], &Value::Null).await.body;
    let page = page.as_str().unwrap();
    for path in document["paths"].as_object().unwrap().keys() {
        assert!(page.contains(&format!("<code>{path}</code>")), "{path}");
    }
    assert!(!page.contains("<script") && !page.contains("=\"http"), "nothing of other hosts");
    assert!(world.send("GET /admin/docs.css", &[], &Value::Null).await.status == 200);
}
