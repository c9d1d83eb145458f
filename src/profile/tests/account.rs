use super::*;
use crate::registry::tickets::Ticket;

#[tokio::test]
async fn the_profile_says_what_there_is() {
    let mike = Mike::new().await;
    let _connection = mike.connect(&mike.tenant().await, OWNER);
    let shown = mike.ok("GET /profile", Value::Null).await;
    let created = testing::BEGIN.to_string();
    let unlimited = json!({ "limits": [], "paced": 0, "dropped": 0, "refused": 0 });
    let expected = json!({
        "username": "mike",
        "id": mike.id.to_string(),
        "revision": 1,
        "plan": { "name": null, "limits": {}, "use": unlimited },
        "api_key": { "last_four": "6789", "created": created, "last_used": null,
            "last_used_from": null },
        "keys": [],
        "runtime": { "reachable": false, "code": "runtime_unreachable",
            "why": "The runtime cannot be reached." },
        "live": 1,
        "live_incomplete": [],
    });
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn a_new_password_ends_what_rested_on_the_old_one() {
    let mike = Mike::new().await;
    let tenant = mike.tenant().await;
    let connection = mike.connect(&tenant, OWNER);
    let secret = tenant.keys[0].digest.fingerprint();
    let by_key = mike.connect(&tenant, Grant::Key { id: KeyId::DEFAULT, secret });
    let input = json!({ "old": PASSWORD, "new": "another password" });
    assert_eq!(mike.ok("PUT /profile/password", input.clone()).await, json!({ "closed": 1 }));
    assert_eq!(connection.entry().closing(), Some(Cause::PasswordChanged));
    assert_eq!(by_key.entry().closing(), None);
    let stored = mike.tenant().await.password.clone().unwrap();
    assert!(bcrypt::verify("another password", stored.hash()).unwrap());
    assert_ne!(stored.fingerprint(), FINGERPRINT);
    // The old password is not the one any more, even for whoever is still in.
    assert_eq!(mike.ask("PUT /profile/password", input).await, Err(Refusal::WrongOldPassword));
}

#[tokio::test]
async fn a_password_change_needs_the_old_one_and_a_good_new_one() {
    let mike = Mike::new().await;
    let before = mike.revision().await;
    let wrong = json!({ "old": "wrong", "new": "another password" });
    assert_eq!(mike.ask("PUT /profile/password", wrong).await, Err(Refusal::WrongOldPassword));
    for (new, what) in [
        (String::new(), "must not be empty"),
        ("x".repeat(73), "must be at most 72 bytes long"),
        ("a\0b".to_owned(), "must not contain a NUL byte"),
    ] {
        // It is said before the old one is looked at, and without either.
        for old in [PASSWORD, "wrong"] {
            let outcome = mike.ask("PUT /profile/password", json!({ "old": old, "new": new }));
            assert_eq!(refused(outcome.await), format!("400 The new password {what}."));
        }
    }
    assert_eq!(mike.revision().await, before);
}

#[tokio::test]
async fn a_ticket_stands_for_its_path_origin_and_issuer() {
    let mike = Mike::new().await;
    let own = "https://app.example.org";
    for (path, said, header, expected) in [
        ("/api/thing", None, None, None),
        ("/api/thing", Some("https://a.org"), None, Some("https://a.org")),
        ("/api/%20x", None, Some(own), Some(own)),
        ("/api/", Some("https://a.org"), Some(own), Some("https://a.org")),
    ] {
        let body = json!({ "path": path, "origin": said }).to_string();
        let mut request = raw("POST /profile/tickets", "application/json", body);
        if let Some(origin) = header {
            request.headers_mut().insert("origin", HeaderValue::from_static(origin));
        }
        let (status, answer) = mike.outcome(mike.send(request).await).await.unwrap();
        mike.tells_no_secret(&answer).await;
        assert_eq!((status, &answer["expires_in_seconds"]), (StatusCode::CREATED, &json!(30)));
        let secret = Secret::new(answer["ticket"].as_str().unwrap().to_owned());
        let taken = mike.desk.registry.take_ticket(&secret).await.unwrap();
        let expected = Ticket::new(mike.id, path.to_owned(), expected.map(str::to_owned), OWNER);
        assert_eq!(taken, Some(expected));
    }
}

#[tokio::test]
async fn a_ticket_is_for_a_runtime() {
    let mike = Mike::new().await;
    let long = format!("/api/{}", "x".repeat(2048));
    for path in ["", "api/thing", "/", "/profile", "/profile/api-key", "/api/x?y", &long] {
        let outcome = mike.ask("POST /profile/tickets", json!({ "path": path })).await;
        assert!(matches!(outcome, Err(Refusal::BadInput(_))), "{path}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_ticket_is_for_no_long_origin() {
    let mike = Mike::new().await;
    for (length, is_taken) in [(256, true), (257, false), (15_000, false)] {
        let body = json!({ "path": "/api/thing", "origin": "x".repeat(length) });
        let outcome = mike.ask("POST /profile/tickets", body).await;
        let is_refused = matches!(outcome, Err(Refusal::BadInput(_)));
        assert_eq!(!is_refused, is_taken, "{length}: {outcome:?}");
    }
}

#[tokio::test]
async fn connections_are_seen_and_closed_by_their_owner_alone() {
    let mike = Mike::new().await;
    let made = mike.ok("POST /profile/keys", json!({ "name": "kitchen" })).await;
    let tenant = mike.tenant().await;
    let first = mike.connect(&tenant, OWNER);
    let second = mike.connect(&tenant, grant_of(&made, id_of(&made)));
    let other = Arc::new(Tenant { id: TenantId(2), ..(*tenant).clone() });
    let roberto = mike.connect(&other, Grant::Anonymous);

    let listed = mike.ok("GET /profile/connections", Value::Null).await;
    let all = listed["connections"].as_array().unwrap();
    let ids: Vec<&str> = all.iter().map(|one| one["id"].as_str().unwrap()).collect();
    let id =
        |connection: &Registered| format!("{}-{}", mike.desk.presence.id(), connection.entry().id);
    assert_eq!(ids, [id(&first), id(&second)]);
    assert_eq!((&listed["total"], &listed["incomplete"]), (&json!(2), &json!([])));
    assert_eq!((&all[0]["grant"], &all[0]["key_name"]), (&json!("password"), &Value::Null));
    assert_eq!((&all[0]["kind"], &all[1]["kind"]), (&json!("connection"), &json!("connection")));
    assert_eq!((&all[1]["path"], &all[1]["key_name"]), (&json!("/api/thing"), &json!("kitchen")));

    let close = |id: &str| format!("DELETE /profile/connections/{id}");
    let unknown = ["7", "0000000000000000-0", "x-0", "-", "%00"];
    for id in [id(&roberto).as_str(), &first.entry().id.to_string()].into_iter().chain(unknown) {
        let outcome = mike.ask(&close(id), Value::Null).await;
        assert_eq!(outcome, Err(Refusal::NotFound("no such connection")), "{id}");
    }
    assert_eq!(roberto.entry().closing(), None);
    for closed in [1, 0] {
        let answer = mike.ok(&close(&id(&first)), Value::Null).await;
        assert_eq!(answer, json!({ "closed": closed }));
    }
    assert_eq!(first.entry().closing(), Some(Cause::ClosedByOwner));
    assert_eq!(second.entry().closing(), None);
    let listed = mike.ok("GET /profile/connections", Value::Null).await;
    assert_eq!(listed["connections"][0]["closing"], Cause::ClosedByOwner.reason());
}
