use super::*;
use crate::registry::profiles::keys::NAMED_KEYS_MAX;

const HOUR: Duration = Duration::from_secs(60 * 60);

async fn allows(mike: &Mike, grant: Grant) -> Result<(), Cause> {
    mike.tenant().await.allows(&grant, mike.desk.now())
}

/// Whether the registry finds mike by a secret of an answer, and it is one of his.
async fn leads_home(mike: &Mike, answer: &Value) -> bool {
    let secret = answer["key"].as_str().or(answer["api_key"].as_str()).unwrap();
    let digest = SecretDigest::of(&Secret::new(secret.to_owned()));
    let found = mike.desk.registry.by_key(digest).await.unwrap();
    found.is_some_and(|found| {
        found.id == mike.id
            && found.keys.iter().any(|key| key.digests().any(|known| known == digest))
    })
}

#[tokio::test]
async fn the_default_key_is_regenerated_as_a_whole() {
    let mike = Mike::new().await;
    let made = mike.ok("POST /profile/keys", json!({ "name": "n" })).await;
    let tenant = mike.tenant().await;
    let old = Grant::Key { id: KeyId::DEFAULT, secret: tenant.keys[0].digest.fingerprint() };
    let connection = mike.connect(&tenant, old);
    let named = mike.connect(&tenant, grant_of(&made, id_of(&made)));
    let answer = mike.ok("POST /profile/api-key", Value::Null).await;
    assert_eq!(answer["closed"], 1);
    assert_eq!(connection.entry().closing(), Some(Cause::KeyRegenerated));
    assert_eq!(named.entry().closing(), None);
    assert_eq!(allows(&mike, old).await, Err(Cause::KeyRegenerated));
    assert_eq!(allows(&mike, grant_of(&answer, KeyId::DEFAULT)).await, Ok(()));
    assert!(leads_home(&mike, &answer).await && leads_home(&mike, &made).await);
    let shown = mike.ok("GET /profile", Value::Null).await;
    let secret = answer["api_key"].as_str().unwrap();
    assert_eq!(shown["api_key"]["last_four"], secret[secret.len() - 4..]);
}

#[tokio::test]
async fn a_named_key_is_made_and_listed_without_its_secret() {
    let mike = Mike::new().await;
    let input = json!({ "name": "Küche 1", "scope": ["/a", "/b/c"], "expires_in_seconds": 3600 });
    let (status, made) = mike.ask("POST /profile/keys", input).await.unwrap();
    assert_eq!(status, StatusCode::CREATED);
    assert!(made["key"].as_str().unwrap().starts_with("fgk_"));
    assert!(leads_home(&mike, &made).await);
    let listed = mike.ok("GET /profile/keys", Value::Null).await;
    let mut expected = made.clone();
    expected.as_object_mut().unwrap().remove("key");
    assert_eq!(listed, json!({ "keys": [expected] }));
    assert_eq!(listed["keys"][0]["expires"], testing::BEGIN.plus(HOUR).to_string());
    assert_eq!(listed["keys"][0]["scope"], json!(["/a", "/b/c"]));
    assert_eq!(mike.ok("GET /profile", Value::Null).await["keys"], listed["keys"]);

    let grant = grant_of(&made, id_of(&made));
    assert_eq!(allows(&mike, grant).await, Ok(()));
    let from = Ipv4Addr::LOCALHOST.into();
    mike.desk.usage.note(mike.id, &grant, from, mike.desk.now());
    let listed = mike.ok("GET /profile/keys", Value::Null).await;
    assert_eq!(listed["keys"][0]["last_used"], testing::BEGIN.to_string());
    assert_eq!(listed["keys"][0]["last_used_from"], "127.0.0.1");
    mike.desk.registry.wall().advance(HOUR);
    assert_eq!(allows(&mike, grant).await, Err(Cause::KeyExpired));
}

#[tokio::test]
async fn a_new_key_is_checked() {
    let mike = Mike::new().await;
    let before = mike.revision().await;
    let begin = testing::BEGIN.to_string();
    for input in [
        json!({ "name": "" }),
        json!({ "name": " n" }),
        json!({ "name": "n\n" }),
        json!({ "name": "x".repeat(65) }),
        json!({ "name": "n", "scope": ["thing"] }),
        json!({ "name": "n", "scope": ["/a/../b"] }),
        json!({ "name": "n", "scope": ["/a%2fb"] }),
        json!({ "name": "n", "scope": [""] }),
        json!({ "name": "n", "scope": vec!["/a"; 21] }),
        json!({ "name": "n", "scope": null }),
        json!({ "name": "n", "expires": begin }),
        json!({ "name": "n", "expires": "tomorrow" }),
        json!({ "name": "n", "expires": "1969-12-31T23:59:59Z" }),
        json!({ "name": "n", "expires_in_seconds": 0 }),
        json!({ "name": "n", "expires_in_seconds": u64::MAX }),
        json!({ "name": "n", "expires": "2030-01-01T00:00:00Z", "expires_in_seconds": 9 }),
    ] {
        let outcome = mike.ask("POST /profile/keys", input.clone()).await;
        assert!(matches!(outcome, Err(Refusal::BadInput(_))), "{input}: {outcome:?}");
    }
    assert_eq!(mike.revision().await, before);
    let last = json!({ "name": "n", "expires": "9999-12-31T23:59:59Z" });
    assert_eq!(mike.ok("POST /profile/keys", last).await["expires"], "9999-12-31T23:59:59Z");
}

#[tokio::test]
async fn names_are_there_once_and_keys_are_a_hundred() {
    let mike = Mike::new().await;
    let first = mike.ok("POST /profile/keys", json!({ "name": "key 0" })).await;
    let again = mike.ask("POST /profile/keys", json!({ "name": "key 0" })).await;
    assert_eq!(refused(again), "409 There is a key of that name.");
    for number in 1..NAMED_KEYS_MAX {
        mike.ok("POST /profile/keys", json!({ "name": format!("key {number}") })).await;
    }
    let before = mike.revision().await;
    let one_more = mike.ask("POST /profile/keys", json!({ "name": "more" })).await;
    assert_eq!(refused(one_more), "409 There are 100 named keys; revoke one first.");
    assert_eq!(mike.revision().await, before);

    let path = format!("/profile/keys/{}", first["id"].as_str().unwrap());
    mike.ok(&format!("DELETE {path}"), Value::Null).await;
    mike.ok("POST /profile/keys", json!({ "name": "more" })).await;
    // Every one of them can have two secrets.
    for key in mike.tenant().await.keys.iter().filter(|key| key.id != KeyId::DEFAULT) {
        let line = format!("POST /profile/keys/{}/rotate", key.id);
        mike.ok(&line, json!({ "overlap_seconds": 60 })).await;
    }
}

#[tokio::test]
async fn an_account_is_only_so_large() {
    let mike = Mike::new().await;
    let scope: Vec<String> = (10..30).map(|n| format!("/{n}{}", "x".repeat(250))).collect();
    let mut outcome = Ok((StatusCode::OK, Value::Null));
    for number in 0..NAMED_KEYS_MAX {
        let input = json!({ "name": format!("key {number}"), "scope": scope });
        outcome = mike.ask("POST /profile/keys", input).await;
        if outcome.is_err() {
            break;
        }
    }
    assert_eq!(refused(outcome), "409 That is more than can be stored of one account.");
}

#[tokio::test]
async fn a_rotation_without_overlap_ends_the_old_secret_at_once() {
    let mike = Mike::new().await;
    let made = mike.ok("POST /profile/keys", json!({ "name": "n", "scope": ["/a"] })).await;
    let id = id_of(&made);
    let old = mike.connect(&mike.tenant().await, grant_of(&made, id));
    for body in [Value::Null, json!({}), json!({ "overlap_seconds": 0 })] {
        let rotated = mike.ok(&format!("POST /profile/keys/{id}/rotate"), body).await;
        assert_eq!((&rotated["scope"], &rotated["id"]), (&made["scope"], &made["id"]));
        assert_eq!(rotated["previous_works_until"], Value::Null);
        assert_eq!(allows(&mike, grant_of(&rotated, id)).await, Ok(()));
    }
    assert_eq!(old.entry().closing(), Some(Cause::KeyRegenerated));
    assert_eq!(allows(&mike, grant_of(&made, id)).await, Err(Cause::KeyRegenerated));
    assert!(!leads_home(&mike, &made).await);
}

#[tokio::test]
async fn a_rotation_with_overlap_lets_two_secrets_work() {
    let mike = Mike::new().await;
    let made = mike.ok("POST /profile/keys", json!({ "name": "n" })).await;
    let id = id_of(&made);
    let rotate = format!("POST /profile/keys/{id}/rotate");
    let old = mike.connect(&mike.tenant().await, grant_of(&made, id));
    let rotated = mike.ok(&rotate, json!({ "overlap_seconds": 3600 })).await;
    assert_eq!(rotated["closed"], 0);
    assert_eq!(rotated["previous_works_until"], testing::BEGIN.plus(HOUR).to_string());
    for answer in [&made, &rotated] {
        assert_eq!(allows(&mike, grant_of(answer, id)).await, Ok(()));
        assert!(leads_home(&mike, answer).await);
    }
    assert_eq!(old.entry().closing(), None);
    mike.desk.registry.wall().advance(HOUR);
    assert_eq!(allows(&mike, grant_of(&made, id)).await, Err(Cause::KeyRegenerated));
    assert_eq!(allows(&mike, grant_of(&rotated, id)).await, Ok(()));
    let listed = mike.ok("GET /profile/keys", Value::Null).await;
    assert_eq!(listed["keys"][0]["previous_works_until"], Value::Null);

    // Two rotations in a row end the first secret.
    let third = mike.ok(&rotate, json!({ "overlap_seconds": 60 })).await;
    mike.ok(&rotate, json!({ "overlap_seconds": 60 })).await;
    assert_eq!(allows(&mike, grant_of(&rotated, id)).await, Err(Cause::KeyRegenerated));
    assert_eq!(allows(&mike, grant_of(&third, id)).await, Ok(()));
    let too_long = mike.ask(&rotate, json!({ "overlap_seconds": 30 * 24 * 3600 + 1 })).await;
    assert_eq!(refused(too_long), "400 The overlap is 30 days at most.");
}

#[tokio::test]
async fn a_revoked_key_ends_with_all_its_secrets() {
    let mike = Mike::new().await;
    let made = mike.ok("POST /profile/keys", json!({ "name": "n" })).await;
    let id = id_of(&made);
    let path = format!("/profile/keys/{id}");
    let old = mike.connect(&mike.tenant().await, grant_of(&made, id));
    let rotated = mike.ok(&format!("POST {path}/rotate"), json!({ "overlap_seconds": 60 })).await;
    let new = mike.connect(&mike.tenant().await, grant_of(&rotated, id));
    assert_eq!(mike.ok(&format!("DELETE {path}"), Value::Null).await, json!({ "closed": 2 }));
    for connection in [&old, &new] {
        assert_eq!(connection.entry().closing(), Some(Cause::KeyRevoked));
    }
    for answer in [&made, &rotated] {
        assert!(!leads_home(&mike, answer).await);
    }
    let again = mike.ask(&format!("DELETE {path}"), Value::Null).await;
    assert_eq!(again, Err(Refusal::NotFound("no such key")));
}

#[tokio::test]
async fn nobody_reaches_anybody_elses_keys() {
    let mike = Mike::new().await;
    let keys = vec![testing::key(KeyId(7), "roberto-key-0123456789")];
    let record = TenantRecord { keys, ..testing::record("roberto") };
    let roberto = testing::add(&mike.desk.registry, 2, &record).await;
    for line in
        ["DELETE /profile/keys/0000000000000007", "POST /profile/keys/0000000000000007/rotate"]
    {
        let outcome = mike.ask(line, Value::Null).await;
        assert_eq!(outcome, Err(Refusal::NotFound("no such key")), "{line}");
    }
    assert_eq!(testing::tenant(&mike.desk.registry, roberto).await.keys.len(), 1);
}

#[tokio::test]
async fn changes_that_wait_are_bounded() {
    let mike = Arc::new(Mike::new().await);
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..300 {
        let mike = Arc::clone(&mike);
        all.spawn(async move { mike.ask("POST /profile/api-key", Value::Null).await });
    }
    let (mut done, mut refused) = (0, 0);
    while let Some(outcome) = all.join_next().await {
        match outcome.unwrap() {
            Ok(_) => done += 1,
            Err(Refusal::Overloaded(_)) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(done >= 64 && refused > 0, "{done} done, {refused} refused");
}
