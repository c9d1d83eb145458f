use std::fmt::Write;

use expect_test::expect;
use http::header::HeaderName;

use super::*;
use crate::client::RequestIds;
use crate::close::Cause;
use crate::tenant::Username;

mod closed;
mod pages;

fn wrong(why: &'static str, claimed: Option<&str>) -> Refusal {
    let claimed = claimed.map(|name| Username::parse(name).unwrap());
    Refusal::WrongCredential { why, since: None, claimed }
}

fn all() -> Vec<Refusal> {
    // What the standards of OAuth say is no problem, and has no request's id.
    let is_sample =
        |refusal: &Refusal| !matches!(refusal, Refusal::GrantEnded(_) | Refusal::OAuth(_));
    let mut all: Vec<Refusal> = Refusal::samples().into_iter().filter(is_sample).collect();
    all.extend(Cause::all().map(Refusal::GrantEnded));
    all
}

fn answer(refusal: &Refusal, wants_page: bool) -> Response<String> {
    let request_id = RequestIds::new().unwrap().next();
    let response = refusal.to_response(wants_page, request_id);
    response.map(|body| {
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!(text.matches(&request_id.to_string()).count(), 1);
        text.replace(&request_id.to_string(), "[id]")
    })
}

fn header(response: &Response<String>, name: &HeaderName) -> String {
    let values: Vec<_> =
        response.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
    values.join(" | ")
}

/// Status, label and headers; then what the client is told; then what the log is.
fn line(refusal: &Refusal) -> String {
    let response = answer(refusal, false);
    let problem: serde_json::Value = serde_json::from_str(response.body()).unwrap();
    assert_eq!(problem["status"], response.status().as_u16());
    assert_eq!(problem["code"], refusal.label());
    assert_eq!(header(&response, &CONTENT_TYPE), "application/problem+json");
    assert_eq!(header(&response, &CACHE_CONTROL), "no-store");
    let mut line = format!("{} {}", response.status().as_u16(), refusal.label());
    for name in [WWW_AUTHENTICATE, RETRY_AFTER, UPGRADE, CONNECTION, SEC_WEBSOCKET_VERSION] {
        if response.headers().contains_key(&name) {
            write!(line, "; {name}: {}", header(&response, &name)).unwrap();
        }
    }
    let detail = problem["detail"].as_str().unwrap();
    let log = Some(refusal.to_string()).filter(|log| log != detail);
    let log = log.map_or(String::new(), |log| format!("    log: {log}\n"));
    format!("{line}\n    {detail}\n{log}")
}

/// The table's lines for these statuses.
fn table(statuses: std::ops::Range<u16>) -> String {
    all()
        .iter()
        .filter(|it| !matches!(it, Refusal::GrantEnded(_)))
        .filter(|it| statuses.contains(&it.status().as_u16()))
        .map(line)
        .collect()
}

#[test]
fn the_table_of_what_clients_do_wrong() {
    expect![[r#"
        400 malformed
            The path is malformed.
        400 bad_handshake
            A handshake has no body.
        400 two_identities
            The request carries credentials of two different identities.
        400 bad_input
            The name must not be empty.
        414 path_too_long
            The path is too long.
        414 url_too_long
            Path and query are too long.
        431 headers_too_large
            The headers are over the limit.
        413 body_too_large
            The body is over the limit.
        403 service_worker
            Service workers are for the tenant's own host, not for this one.
        426 websocket_version; upgrade: websocket; connection: upgrade, close; sec-websocket-version: 13
            Only version 13 of the WebSocket protocol is spoken here.
        403 stale_form
            The form is too old, or the browser keeps no cookies. Go back, reload, try again.
        403 login_needs_tls
            Logging in takes HTTPS here, or the name localhost.
        403 bad_handover
            This link was good once, for one browser. Open the editor again.
        429 too_many_logins; retry-after: 600
            There were too many logins to this account within the last hour.
        429 too_many_attempts; retry-after: 64
            There were too many wrong passwords from this address. Wait before the next one.
        403 wrong_tenant
            The credential is right, but does not open this tenant's runtime.
        403 foreign_origin
            A page of another origin may not use this credential.
        404 not_found
            There is nothing at this address.
            log: no such tenant
        429 plan_connections; retry-after: 10
            The plan allows 100 connections at once.
        429 plan_handshakes; retry-after: 1
            The plan allows 60 handshakes a minute.
        429 plan_requests; retry-after: 1
            The plan allows 10 requests a second.
        403 out_of_scope
            The API key does not open this path.
        403 password_only
            An API key does not open the profile.
        403 wrong_old_password
            The old password is wrong.
        409 conflict
            There is a key of that name.
        405 method_not_allowed
            Another method is needed here.
        422 unprocessable
            There is no sealing key.
        403 not_subscribed
            The application is not subscribed to this API
        403 subscription_blocked
            The API's owner has blocked the subscription
    "#]].assert_eq(&(table(400..401) + &table(402..500)));
}

#[test]
fn the_table_of_missing_and_wrong_credentials() {
    expect![[r#"
        401 wrong_credential; www-authenticate: Basic realm="flowgate", charset="UTF-8"
            The credential is missing or wrong.
            log: no credential
        401 wrong_credential; www-authenticate: Basic realm="flowgate", charset="UTF-8"
            The credential is missing or wrong.
            log: wrong password
        401 no_session; www-authenticate: Session realm="flowgate"
            This opens with a browser session only: log in first.
        401 missing_consumer_credential; www-authenticate: Key realm="flowgate"
            Missing API key in request
        401 wrong_consumer_credential; www-authenticate: Key realm="flowgate"
            Invalid API key in request
        401 missing_consumer_credential; www-authenticate: Basic realm="flowgate", charset="UTF-8"
            Missing authorization in request
        401 wrong_consumer_credential; www-authenticate: Basic realm="flowgate", charset="UTF-8"
            Invalid authorization in request
        401 wrong_consumer_credential; www-authenticate: Basic realm="flowgate", charset="UTF-8"
            Invalid user authorization
        401 missing_consumer_credential; www-authenticate: Bearer realm="flowgate"
            Missing JWT token in request
        401 wrong_consumer_credential; www-authenticate: Bearer realm="flowgate", error="invalid_token"
            JWT token invalid
            log: the token is malformed
        401 wrong_consumer_credential; www-authenticate: Bearer realm="flowgate", error="invalid_token"
            failed to verify jwt
            log: the token expired
        401 wrong_consumer_credential; www-authenticate: Bearer realm="flowgate", error="invalid_token"
            Invalid user key in JWT token
            log: no consumer has the token's key
        401 missing_consumer_credential; www-authenticate: Bearer realm="flowgate"
            Missing access token in request
        401 wrong_consumer_credential; www-authenticate: Bearer realm="flowgate", error="invalid_token"
            Invalid access token in request
            log: token expired
    "#]]
    .assert_eq(&table(401..402));
}

#[test]
fn the_table_of_what_clients_cannot_help() {
    expect![[r#"
        503 overloaded; retry-after: 2
            The server has too much to do.
            log: the relay threads are behind
        503 no_runtime; retry-after: 60
            No runtime is set up for this account.
        503 waking; retry-after: 2
            The runtime is being started; try again.
        503 asleep; retry-after: 60
            The runtime is asleep, and this request does not wake it.
        503 start_failed; retry-after: 4
            The runtime could not be started.
            log: it ended: exit status: 1
        502 runtime_denied
            The runtime's address is not allowed here.
            log: 169.254.1.1:1880: a link-local address
        502 runtime_unreachable
            The runtime cannot be reached.
            log: 10.0.0.1:1880: Connection refused
        502 runtime_certificate
            The runtime's certificate is not trusted.
            log: 10.0.0.1:1880: certificate expired
        502 runtime_broke
            The runtime's answer was not understood.
            log: invalid HTTP version parsed
        504 runtime_timeout
            The runtime did not answer in time.
            log: no answer to the handshake
        503 registry_away; retry-after: 2
            The registry cannot be asked.
            log: disk is full
        503 unknown_outcome
            It is not known whether the change was made. Look, and try again.
            log: disk is full
        503 replica_silent; retry-after: 2
            It is not known whether the connection was closed. Try again.
            log: host-2 (pid 7) did not answer
        503 api_blocked; retry-after: 60
            The API is blocked for the time being.
    "#]]
    .assert_eq(&table(500..600));
    assert!(table(100..400).is_empty());
}

#[test]
fn a_problem_and_a_page() {
    let refusal = Refusal::RuntimeUnreachable("10.0.0.1:1880: Connection refused".into());
    expect![[r#"
        {"code":"runtime_unreachable","detail":"The runtime cannot be reached.","request_id":"[id]","status":502,"title":"Bad Gateway","type":"about:blank"}
    "#]].assert_eq(answer(&refusal, false).body());
    let page = answer(&refusal, true);
    assert_eq!(header(&page, &CONTENT_TYPE), "text/html; charset=utf-8");
    assert!(header(&page, &CONTENT_SECURITY_POLICY).contains("sandbox"));
    expect![[r#"
        <!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>502 Bad Gateway</title><style>:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:15vh auto;padding:0 1em}</style><h1>Bad Gateway</h1><p>The runtime cannot be reached.</p><p>The runtime may be starting or stopped. Try again in a moment; if it stays so, tell its owner.</p><p><small>502 runtime_unreachable &middot; request [id]</small></p></html>
    "#]].assert_eq(page.body());
}

/// Everything that a client can see of it.
fn seen(refusal: &Refusal) -> [String; 2] {
    [true, false].map(|wants_page| {
        let response = answer(refusal, wants_page);
        let mut lines: Vec<String> = response
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        format!("{} {} {}", response.status(), lines.join("\n"), response.body())
    })
}

#[test]
fn unknown_wrong_disabled_and_missing_look_the_same() {
    let wrong_password = seen(&wrong("wrong password", Some("mike")));
    for other in [
        wrong("unknown tenant", None),
        wrong("tenant disabled", Some("off")),
        wrong("unknown API key", None),
        wrong("unknown, used or expired ticket", None),
        Refusal::NoCredential,
    ] {
        assert_eq!(seen(&other), wrong_password, "{other:?}");
    }
    let no_such_tenant = seen(&Refusal::NotFound("no such tenant"));
    assert_eq!(seen(&Refusal::NotFound("the tenant is disabled")), no_such_tenant);
    assert_eq!(seen(&Refusal::NotFound("no row for this path")), no_such_tenant);
}

#[test]
fn what_is_for_the_log_alone_is_not_sent() {
    for refusal in [
        wrong("HUSH", Some("hush-hush")),
        Refusal::NotFound("HUSH"),
        Refusal::Overloaded("HUSH"),
        Refusal::RuntimeUnreachable("HUSH".into()),
        Refusal::RuntimeBroke("HUSH".into()),
        Refusal::RuntimeTimedOut("HUSH"),
        Refusal::RegistryAway("HUSH".into()),
        Refusal::UnknownOutcome("HUSH".into()),
    ] {
        let seen = seen(&refusal).concat();
        assert!(!seen.to_lowercase().contains("hush"), "{seen}");
    }
}

#[test]
fn every_refusal_has_its_protocols_headers() {
    for refusal in all() {
        let response = answer(&refusal, false);
        let has = |name: HeaderName| response.headers().contains_key(name);
        let status = response.status();
        assert!(status.is_client_error() || status.is_server_error());
        assert_eq!(has(WWW_AUTHENTICATE), status == StatusCode::UNAUTHORIZED, "{refusal:?}");
        assert_eq!(has(UPGRADE), status == StatusCode::UPGRADE_REQUIRED, "{refusal:?}");
        let later = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
        // Who does not know what a change came to has to look first.
        let is_later = later.contains(&status) && !matches!(refusal, Refusal::UnknownOutcome(_));
        assert_eq!(has(RETRY_AFTER), is_later, "{refusal:?}");
        assert!(!refusal.public().is_empty() && !refusal.to_string().is_empty());
    }
}

#[test]
fn labels_stand_for_one_status_each() {
    let mut statuses = std::collections::HashMap::new();
    for refusal in all() {
        let label = refusal.label();
        assert!(label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{label}");
        let status = *statuses.entry(label).or_insert(refusal.status());
        assert_eq!(status, refusal.status(), "{label}");
    }
}

#[test]
fn only_a_grants_end_is_401() {
    for cause in Cause::all() {
        let is_401 = Refusal::GrantEnded(cause).status() == StatusCode::UNAUTHORIZED;
        let ended = matches!(
            cause,
            Cause::KeyRegenerated
                | Cause::KeyExpired
                | Cause::KeyRevoked
                | Cause::PasswordChanged
                | Cause::SessionEnded
                | Cause::SessionExpired
                | Cause::TenantDisabled
                | Cause::ConsumerRevoked
                | Cause::TokenExpired
                | Cause::TokenRevoked
                | Cause::SubscriptionEnded
                | Cause::SecretRegenerated
        );
        assert_eq!(is_401, ended, "{cause:?}: devices give up for good on 401");
    }
}
