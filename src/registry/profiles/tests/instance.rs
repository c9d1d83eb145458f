use serde_json::{Value, json};

use super::super::instance::ADMIN_ROOT_ADVICE;
use super::*;

fn instance_with(field: &str, value: &str) -> Result<InstanceRecord, String> {
    let json = file_with(|file| file["tenants"][0]["instance"][field] = json!(value));
    check(&json).map_err(|error| error.to_string())?;
    Ok(contents(&json).unwrap().1.remove(0).instance.unwrap())
}

#[test]
fn the_editor_lies_beside_the_flows() {
    let advice = format!("line 1: tenant 1 (\"mike\"): instance.admin_root {ADMIN_ROOT_ADVICE}");
    for admin_root in ["/", "", "/api", "/API", "//", "//api"] {
        assert_eq!(with("instance.admin_root", json!(admin_root)), advice, "{admin_root}");
    }
    let plain = "line 1: tenant 1 (\"mike\"): instance.admin_root must be a plain path like \"/red\", \
                 without a slash at its end";
    for admin_root in [
        "red",
        "/red/",
        "/re//d",
        "/./red",
        "/red/..",
        "/re%64",
        "/red?x",
        "/red#x",
        "/r\\ed",
        "/red;x",
        "/r ed",
        "/r\u{e9}d",
    ] {
        assert_eq!(with("instance.admin_root", json!(admin_root)), plain, "{admin_root}");
    }
    for admin_root in
        [json!("/red"), json!("/api/red"), json!("/a/b/c"), json!("/apis"), Value::Null]
    {
        assert_eq!(with("instance.admin_root", admin_root.clone()), "1 good", "{admin_root}");
    }
    for node_root in ["/", "api", "/api/", "/a//b", "/..", "/%61"] {
        assert!(instance_with("node_root", node_root).is_err(), "{node_root}");
    }
    for node_root in ["", "/api", "/flows/v1"] {
        assert_eq!(instance_with("node_root", node_root).unwrap().node_root, node_root);
    }
    // An editor's root contains the root of flows that have none of their own only if it is "/".
    assert!(instance_with("node_root", "/red/flows").unwrap_err().contains(ADMIN_ROOT_ADVICE));
}

#[test]
fn addresses_name_a_host_and_perhaps_a_port() {
    for (address, expected) in [
        ("http://127.0.0.1:1880", "127.0.0.1:1880"),
        ("http://127.0.0.1:1880/", "127.0.0.1:1880"),
        ("http://runtime-mike", "runtime-mike:80"),
        ("http://runtime-mike.tenants.svc:1", "runtime-mike.tenants.svc:1"),
        ("HTTP://Host:65535", "Host:65535"),
        ("http://[::1]:1880", "[::1]:1880"),
        ("http://[2001:db8::1]", "[2001:db8::1]:80"),
    ] {
        let instance = instance_with("address", address).unwrap();
        assert_eq!(self::address(&instance), expected, "{address}");
    }
    for bad in [
        "",
        "127.0.0.1",
        "127.0.0.1:1880",
        "localhost:1880",
        "/",
        "//h",
        "http://",
        "http://:80",
        "ws://h",
        "ftp://h",
        "http://h/path",
        "http://h/?x",
        "http://h?x",
        "http://u@h",
        "http://1@1",
        "http://u:p@h",
        "http://h:0",
        "http://h:65536",
        "http://h:99999",
        "http://h:x",
        "http://h:",
        "http://h:+80",
        "http://::1:80",
        "http://[::1",
        "http:// h",
        "https://h:1880",
    ] {
        let error = instance_with("address", bad).unwrap_err();
        assert!(error.contains("instance.address must "), "{bad}: {error}");
    }
    let https = instance_with("address", "https://h:1880").unwrap_err();
    assert!(https.contains("TLS"), "{https}");
}

#[test]
fn the_instance_says_what_a_change_does_to_live_connections() {
    for (text, on_change) in [("keep", OnChange::Keep), ("move", OnChange::Move)] {
        assert_eq!(instance_with("on_change", text).unwrap().on_change, on_change);
    }
    let error = instance_with("on_change", "Move").unwrap_err();
    assert!(error.contains("expected `keep` or `move`"), "{error}");
}

#[test]
fn a_tenant_without_a_runtime_has_to_be_said_to_be_one() {
    let json = file_with(|file| file["tenants"][0]["instance"] = Value::Null);
    assert_eq!(contents(&json).unwrap().1.remove(0).instance, None);
    let forgotten = file_with(|file| {
        file["tenants"][0].as_object_mut().unwrap().remove("instance");
    });
    assert!(faults(&forgotten).contains("missing field `instance`"), "{}", faults(&forgotten));
}
