//! Who gets nothing from the admin API: every operation of the document that the running server tells,
//! so that none that is added later can be forgotten.

use serde_json::Value;

use crate::support::admin::{ADMIN, OPERATE, READ, call, start};
use crate::support::flowgate::{Flowgate, ask};
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD, mike};
use crate::support::runtime::Runtime;
use crate::support::session::Session;

/// Roles from the least on, with a token of each.
const ROLES: [(&str, &str); 3] = [("read", READ), ("operate", OPERATE), ("admin", ADMIN)];

struct Operation {
    /// Method and path; the tenant is mike, other ids lead nowhere.
    line: String,
    /// The least role, as a place in [`ROLES`].
    role: usize,
}

fn document(flowgate: &Flowgate) -> Value {
    let request = "GET /admin/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n";
    let answer = ask(flowgate.admin, &format!("{request}Connection: close\r\n\r\n"));
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).expect(&answer)
}

fn operations(flowgate: &Flowgate) -> Vec<Operation> {
    let document = document(flowgate);
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let role = operation.pointer("/security/0/admin_token/0").and_then(Value::as_str);
            let place = ROLES.iter().position(|(name, _)| Some(*name) == role);
            let path = path.replace("{username}", "mike").replace("{name}", "x");
            let path = path.replace("{id}", "1").replace("{subscription}", "1");
            assert!(!path.contains('{'), "what is that in {path}?");
            operations.push(Operation {
                line: format!("{} {path}", method.to_uppercase()),
                role: place.unwrap_or_else(|| panic!("{method} {path} names no role: {role:?}")),
            });
        }
    }
    assert!(operations.len() > 35);
    operations
}

/// Status and code of the refusal that a request with these header lines gets.
fn refused(flowgate: &Flowgate, line: &str, host: &str, headers: &str) -> (u16, String) {
    let answer = ask(
        flowgate.admin,
        &format!(
            "{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             Content-Type: application/json\r\n{headers}Content-Length: 2\r\n\r\n{{}}"
        ),
    );
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{line}: {answer}"));
    assert!(!head.to_ascii_lowercase().contains("set-cookie"), "{line}: {head}");
    let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{line}: {answer}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body["code"].as_str().unwrap_or_else(|| panic!("{line}: {answer}")).to_owned())
}

fn audited(flowgate: &Flowgate) -> Value {
    call(flowgate, ADMIN, "GET /admin/v1/audit", "", &Value::Null).2["entries"].clone()
}

#[test]
fn strangers_tenants_and_their_pages_get_nothing() {
    let (flowgate, _folder) = start(&mike(Runtime::nowhere()));
    let session = Session::begin(flowgate.data, "mike", MIKE_PASSWORD);
    let cookie = session.cookie;
    let basic = {
        use base64::Engine;
        base64::prelude::BASE64_STANDARD.encode(format!("mike:{MIKE_PASSWORD}"))
    };
    let before = audited(&flowgate);
    let token = format!("Authorization: Bearer {ADMIN}\r\n");
    let strangers = [
        ("no token", String::new()),
        (
            "nobody's token",
            "Authorization: Bearer nobodys-token-0123456789-01234567\r\n".to_owned(),
        ),
        ("a token twice", format!("{token}{token}")),
        ("a token as a cookie", format!("Cookie: token={ADMIN}; authorization=Bearer {ADMIN}\r\n")),
        (
            "a token as a key",
            format!("apikey: {ADMIN}\r\nX-Auth-User: ada\r\nX-Auth-Key: {ADMIN}\r\n"),
        ),
        ("a tenant's session", format!("Cookie: {cookie}\r\n")),
        ("a tenant's password", format!("Authorization: Basic {basic}\r\n")),
        ("a tenant's key", format!("apikey: {MIKE_KEY}\r\n")),
        ("a tenant's key as a token", format!("Authorization: Bearer {MIKE_KEY}\r\n")),
    ];
    let pages = [
        ("a foreign page", "localhost", "Origin: http://evil.example\r\n", 403, "foreign_origin"),
        ("a page without a place", "localhost", "Origin: null\r\n", 403, "foreign_origin"),
        (
            "a tenant's page",
            "localhost",
            "Origin: http://mike.flows.localhost\r\n",
            403,
            "foreign_origin",
        ),
        ("a rebound name", "evil.example", "Origin: http://evil.example\r\n", 421, "wrong_host"),
        ("a tenant's name", "mike.flows.localhost", "", 421, "wrong_host"),
    ];
    for Operation { line, .. } in operations(&flowgate) {
        for (who, headers) in &strangers {
            let came = refused(&flowgate, &line, "localhost", headers);
            assert_eq!(came, (401, "wrong_admin_token".to_owned()), "{line}: {who}");
        }
        for (who, host, headers, status, code) in pages {
            let headers = format!("{token}{headers}");
            let came = refused(&flowgate, &line, host, &headers);
            assert_eq!(came, (status, code.to_owned()), "{line}: {who}");
        }
    }
    assert_eq!(audited(&flowgate), before, "nothing was done");
}

#[test]
fn a_role_that_is_too_low_gets_nothing() {
    let (flowgate, _folder) = start(&mike(Runtime::nowhere()));
    let before = audited(&flowgate);
    for Operation { line, role } in operations(&flowgate) {
        for (name, token) in &ROLES[..role] {
            let headers = format!("Authorization: Bearer {token}\r\n");
            let came = refused(&flowgate, &line, "localhost", &headers);
            assert_eq!(came, (403, "wrong_role".to_owned()), "{line}: {name}");
        }
    }
    assert_eq!(audited(&flowgate), before, "nothing was done");
    assert_eq!(flowgate.status()["ready"], true);
}
