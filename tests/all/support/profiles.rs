//! Profiles files for tests.

use std::net::SocketAddr;

use serde_json::{Value, json};

pub const MIKE_PASSWORD: &str = "correct-horse-mike";
pub const MIKE_KEY: &str = "key-of-mike-0123456789abcdef";
pub const ROBERTO_PASSWORD: &str = "correct-horse-roberto";
pub const ROBERTO_KEY: &str = "key-of-roberto-0123456789abcdef";

/// A tenant with a password and a key whose runtime is at `address`; `/api` and `/red` are its roots.
pub fn tenant(username: &str, password: &str, key: &str, address: SocketAddr) -> Value {
    json!({
        "username": username,
        // The cheapest there is: the tests check many.
        "password_hash": bcrypt::hash(password, 4).unwrap(),
        "api_key": key,
        "instance": {
            "address": format!("http://{address}"),
            "node_root": "/api",
            "admin_root": "/red",
        },
    })
}

/// mike alone.
pub fn mike(address: SocketAddr) -> Value {
    json!({ "tenants": [tenant("mike", MIKE_PASSWORD, MIKE_KEY, address)] })
}

/// mike with a plan.
pub fn mike_on_plan(address: SocketAddr, plan: Value) -> Value {
    let mut profiles = mike(address);
    profiles["plans"] = json!({ "tested": plan });
    profiles["tenants"][0]["plan"] = json!("tested");
    profiles
}

/// mike and roberto, each with a runtime.
pub fn mike_and_roberto(mike: SocketAddr, roberto: SocketAddr) -> Value {
    json!({ "tenants": [
        tenant("mike", MIKE_PASSWORD, MIKE_KEY, mike),
        tenant("roberto", ROBERTO_PASSWORD, ROBERTO_KEY, roberto),
    ] })
}
