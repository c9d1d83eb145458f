use std::task::Poll;

use super::*;

const ROUTES: [(&str, &[&str]); 9] = [
    ("/profile", &["GET"]),
    ("/profile/password", &["PUT"]),
    ("/profile/tickets", &["POST"]),
    ("/profile/api-key", &["POST"]),
    ("/profile/keys", &["GET", "POST"]),
    ("/profile/keys/0000000000000007", &["DELETE"]),
    ("/profile/keys/0000000000000007/rotate", &["POST"]),
    ("/profile/connections", &["GET"]),
    ("/profile/connections/7", &["DELETE"]),
];

#[tokio::test]
async fn every_route_knows_its_methods() {
    let mike = Mike::new().await;
    let before = mike.revision().await;
    for (path, methods) in ROUTES {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
            if methods.contains(&method) {
                continue;
            }
            let outcome = mike.ask(&format!("{method} {path}"), Value::Null).await;
            assert_eq!(outcome, Err(Refusal::MethodNotAllowed(String::new())), "{method} {path}");
        }
    }
    assert_eq!(mike.revision().await, before);
}

#[tokio::test]
async fn what_is_no_route_is_not_found() {
    let mike = Mike::new().await;
    for path in [
        "/",
        "/profile/",
        "/profile/x",
        "/profile/keys/",
        "/profile/keys/0000000000000007/",
        "/profile/connections/1/2",
        "/PROFILE",
        "/profile//keys",
        "/profile/%6beys",
    ] {
        let outcome = mike.ask(&format!("GET {path}"), Value::Null).await;
        assert!(matches!(outcome, Err(Refusal::NotFound(_))), "{path}: {outcome:?}");
    }
    for line in [
        "DELETE /profile/keys/%ff",
        "POST /profile/keys/%ff/rotate",
        "DELETE /profile/keys/7",
        "DELETE /profile/keys/0000000000000000",
        "POST /profile/keys/0000000000000000/rotate",
        "DELETE /profile/keys/..%2f..%2f",
        "DELETE /profile/connections/%ff",
        "DELETE /profile/connections/7",
        "DELETE /profile/connections/-1",
    ] {
        let outcome = mike.ask(line, Value::Null).await;
        assert!(matches!(outcome, Err(Refusal::NotFound(_))), "{line}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_body_is_json_and_says_so() {
    let mike = Mike::new().await;
    let name = r#"{"name":"n"}"#;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"] {
        let response = mike.send(raw("POST /profile/keys", kind, name)).await;
        let told = refused(mike.outcome(response).await);
        assert_eq!(told, "400 The body must be application/json.", "{kind}");
    }
    for kind in ["application/json", "Application/JSON ; charset=utf-8"] {
        let name = json!({ "name": kind.replace(';', "") }).to_string();
        let response = mike.send(raw("POST /profile/keys", kind, name)).await;
        assert_eq!(mike.outcome(response).await.unwrap().0, StatusCode::CREATED, "{kind}");
    }
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(crate::json::BODY_BYTES_MAX));
    let response = mike.send(raw("POST /profile/keys", "application/json", large)).await;
    let told = refused(mike.outcome(response).await);
    assert_eq!(told, "400 The body is broken or longer than 16 KiB.");
}

#[tokio::test]
async fn what_is_wrong_with_a_body_is_told_without_a_word_of_it() {
    let mike = Mike::new().await;
    let before = mike.revision().await;
    for (line, body, expected) in [
        ("POST /profile/keys", "{", "Bad JSON: EOF while parsing an object at line 1 column 1."),
        ("POST /profile/keys", "{}", "Bad JSON: missing field `name` at line 1 column 2."),
        ("POST /profile/keys", "\"hush\"", "Bad JSON, expected struct NewKey at line 1 column 6."),
        (
            "POST /profile/keys",
            r#"{"hush, expected <b>":1}"#,
            "Bad JSON, expected one of `name`, `expires`, `expires_in_seconds`, `scope` at line 1 column 21.",
        ),
        (
            "POST /profile/keys",
            r#"{"name":"n","name":"n"}"#,
            "Bad JSON: duplicate field `name` at line 1 column 18.",
        ),
        (
            "POST /profile/keys",
            r#"{"name":"n","scope":"hush"}"#,
            "Bad JSON, expected a sequence at line 1 column 26.",
        ),
        (
            "PUT /profile/password",
            r#"{"old":"o","new":7777777}"#,
            "Bad JSON: a secret must be a string at line 1 column 25.",
        ),
        (
            "PUT /profile/password",
            r#""hush""#,
            "Bad JSON, expected struct NewPassword at line 1 column 6.",
        ),
        (
            "PUT /profile/password",
            r#"{"hush":1}"#,
            "Bad JSON, expected `old` or `new` at line 1 column 7.",
        ),
        (
            "POST /profile/keys/0000000000000007/rotate",
            r#"{"overlap_seconds":-7}"#,
            "Bad JSON, expected u64 at line 1 column 21.",
        ),
    ] {
        let response = mike.send(raw(line, "application/json", body)).await;
        let refusal = mike.outcome(response).await.unwrap_err();
        assert_eq!(refusal, Refusal::BadInput(expected.to_owned()), "{body}");
    }
    assert_eq!(mike.revision().await, before);
}

#[tokio::test]
async fn only_the_password_changes_anything() {
    let mike = Mike::new().await;
    let before = mike.revision().await;
    let key =
        Grant::Key { id: KeyId::DEFAULT, secret: mike.tenant().await.keys[0].digest.fingerprint() };
    for grant in [key, Grant::Anonymous] {
        let identity = Identity { grant, ..mike.identity().await };
        let response = mike.send_as(identity, request("POST /profile/api-key", &Value::Null)).await;
        assert_eq!(mike.outcome(response).await, Err(Refusal::PasswordOnly));
    }
    assert_eq!(mike.revision().await, before);
}

#[tokio::test]
async fn whose_password_was_changed_meanwhile_changes_nothing() {
    let mike = Mike::new().await;
    let made = mike.ok("POST /profile/keys", json!({ "name": "n" })).await;
    let key = format!("/profile/keys/{}", made["id"].as_str().unwrap());
    let stale = mike.identity().await;
    for (is_disabled, fingerprint) in [(false, FINGERPRINT + 1), (true, FINGERPRINT)] {
        let change = mike.desk.registry.change(mike.id, |record| {
            record.disabled = is_disabled;
            record.password.as_mut().unwrap().fingerprint = fingerprint;
            Ok::<_, Refusal>(())
        });
        change.await.unwrap();
        let before = mike.revision().await;
        for (line, body) in [
            ("POST /profile/api-key".to_owned(), Value::Null),
            ("POST /profile/keys".to_owned(), json!({ "name": "m" })),
            (format!("POST {key}/rotate"), Value::Null),
            (format!("DELETE {key}"), Value::Null),
            ("PUT /profile/password".to_owned(), json!({ "old": PASSWORD, "new": "x" })),
        ] {
            let response = mike.send_as(stale.clone(), request(&line, &body)).await;
            let outcome = mike.outcome(response).await;
            assert_eq!(outcome, Err(Refusal::GrantEnded(Cause::PasswordChanged)), "{line}");
        }
        assert_eq!(mike.revision().await, before);
    }
}

/// Else a key that was revoked by somebody impatient would live on in the cache and in connections.
#[tokio::test]
async fn whoever_goes_away_has_their_change_made_to_the_end() {
    let mike = Mike::new().await;
    let tenant = mike.tenant().await;
    let grant = Grant::Key { id: KeyId::DEFAULT, secret: tenant.keys[0].digest.fingerprint() };
    let connection = mike.connect(&tenant, grant);
    let mut sent = Box::pin(mike.send(request("POST /profile/api-key", &Value::Null)));
    let begun = std::future::poll_fn(|context| Poll::Ready(sent.as_mut().poll(context)));
    assert!(begun.await.is_pending());
    drop(sent);
    let closed = connection.entry().closed();
    let cause = tokio::time::timeout(Duration::from_secs(10), closed).await;
    assert_eq!(cause, Ok(Cause::KeyRegenerated));
    assert!(mike.desk.registry.cached(mike.id).unwrap().revision > tenant.revision);
}
