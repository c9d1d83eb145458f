//! Tickets for the live feed, who may have them, and the pages of the console.

use super::console::ASSETS;
use super::*;
use crate::clock::Millis;

const PAGE: (&str, &str) = ("origin", "http://localhost:9180");

async fn issue(world: &World, headers: &[(&str, &str)]) -> Came {
    let authorization = format!("Bearer {READ}");
    let mut all = vec![("authorization", authorization.as_str())];
    all.extend(headers);
    world.send("POST /admin/v1/feed-tickets", &all, &Value::Null).await
}

/// What a handshake with this ticket comes to: 400 is as far as one can get without a connection.
async fn open(world: &World, ticket: &str, headers: &[(&str, &str)]) -> Came {
    let mut all = vec![
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    all.extend(headers);
    world.send(&format!("GET /admin/v1/feed?ticket={ticket}"), &all, &Value::Null).await
}

fn ticket(came: &Came) -> &str {
    came.body["ticket"].as_str().unwrap_or_else(|| panic!("{came:?}"))
}

const ACCEPTED: (u16, &str) = (400, "bad_handshake");
const REFUSED: (u16, &str) = (401, "wrong_feed_ticket");

#[tokio::test]
async fn a_ticket_opens_once_and_for_its_own_page() {
    let world = World::new().await;
    let by_program = issue(&world, &[]).await;
    let came = open(&world, ticket(&by_program), &[]).await;
    assert_eq!((came.status, came.code()), ACCEPTED);
    assert_eq!(came.body["detail"], "No upgrade is possible.");
    let again = open(&world, ticket(&by_program), &[]).await;
    assert_eq!((again.status, again.code()), REFUSED);

    let by_page = issue(&world, &[PAGE]).await;
    let elsewhere = open(&world, ticket(&by_page), &[]).await;
    assert_eq!((elsewhere.status, elsewhere.code()), REFUSED);
    let late = open(&world, ticket(&by_page), &[PAGE]).await;
    assert_eq!((late.status, late.code()), REFUSED, "a try uses it up");
    let by_page = issue(&world, &[PAGE]).await;
    let came = open(&world, ticket(&by_page), &[PAGE]).await;
    assert_eq!((came.status, came.code()), ACCEPTED);
    let came = world.send("GET /admin/v1/feed", &[], &Value::Null).await;
    assert_eq!((came.status, came.code()), REFUSED);
}

#[tokio::test]
async fn a_feed_is_for_own_pages_under_own_names() {
    let world = World::new().await;
    for (headers, refusal) in [
        (("origin", "http://evil.example"), (403, "foreign_origin")),
        (("origin", "null"), (403, "foreign_origin")),
        (("host", "evil.example"), (421, "wrong_host")),
    ] {
        let fresh = issue(&world, &[]).await;
        let came = open(&world, ticket(&fresh), &[headers]).await;
        assert_eq!((came.status, came.code()), refusal);
    }
    // A token is no ticket.
    let authorization = format!("Bearer {ADMIN}");
    let came = open(&world, ADMIN, &[("authorization", authorization.as_str())]).await;
    assert_eq!((came.status, came.code()), REFUSED);
}

#[tokio::test]
async fn tickets_are_few_and_end() {
    let world = World::new().await;
    for _ in 0..256 {
        assert_eq!(issue(&world, &[]).await.status, 200);
    }
    assert_eq!(issue(&world, &[]).await.status, 503);
}

#[test]
fn a_ticket_is_over_after_its_life() {
    let tickets = crate::admin::feed::Tickets::default();
    let known = tokens(&format!("robin read {READ}"));
    let token = known.find(&Secret::new(READ.to_owned())).unwrap();
    let headers = http::HeaderMap::new();
    let begin = Millis(5);
    for (after_ms, is_good) in [(29_999, true), (30_000, false)] {
        let ticket = tickets.issue(token.clone(), &headers, begin).unwrap();
        let taken = tickets.take(&ticket, &headers, Millis(begin.0 + after_ms));
        assert_eq!(taken.is_ok(), is_good, "{after_ms}");
    }
    // What is over makes room.
    for _ in 0..256 {
        tickets.issue(token.clone(), &headers, begin).unwrap();
    }
    assert!(tickets.issue(token.clone(), &headers, begin).is_err());
    tickets.issue(token.clone(), &headers, Millis(begin.0 + 30_000)).unwrap();
}

#[tokio::test]
async fn a_token_is_told_its_name_and_role() {
    let world = World::new().await;
    for (token, name, role) in
        [(READ, "robin", "read"), (OPERATE, "olga", "operate"), (ADMIN, "ada", "admin")]
    {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str())];
        let came = world.send("GET /admin/v1/whoami", &headers, &Value::Null).await;
        assert_eq!(came.body, json!({ "name": name, "role": role }));
    }
}

#[tokio::test]
async fn the_console_is_there_without_a_token_and_lets_nothing_foreign_in() {
    let world = World::new().await;
    for (path, _, text) in ASSETS {
        let line = format!("GET {path}");
        let response = world.page(&line, &[]).await;
        assert_eq!(response.status(), 200, "{path}");
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        // No script may make markup, nor a policy of its own that says it may.
        for directive in ["require-trusted-types-for 'script'", "trusted-types 'none'"] {
            assert!(policy.split("; ").any(|it| it == directive), "{policy}");
        }
        assert_eq!(response.headers()["cross-origin-resource-policy"], "same-origin");
        assert!(!response.headers().contains_key("set-cookie"));
        for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!text.contains(word), "{path}: {word}");
        }
        let html = text.contains("<!doctype");
        assert!(!html || (!text.contains("<script>") && !text.contains("style=")), "{path}");
        let came = world.send(&line, &[("host", "evil.example")], &Value::Null).await;
        assert_eq!((came.status, came.code()), (421, "wrong_host"), "{path}");
        let came = world.send(&line, &[("origin", "http://evil.example")], &Value::Null).await;
        assert_eq!((came.status, came.code()), (403, "foreign_origin"), "{path}");
    }
    for path in ["/", "/console"] {
        let response = world.page(&format!("GET {path}"), &[]).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["location"]),
            (307, &HeaderValue::from_static("/console/"))
        );
    }
    assert_eq!(world.send("GET /console/nothing.js", &[], &Value::Null).await.status, 404);
}
