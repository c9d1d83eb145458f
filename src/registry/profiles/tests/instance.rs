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
        ("https://runtime-mike", "https://runtime-mike:443"),
        ("HTTPS://127.0.0.1:1880/", "https://127.0.0.1:1880"),
        ("https://[::1]:1880", "https://[::1]:1880"),
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
        "https://",
        "https://h:0",
        "https://h/path",
        "https://u:p@h",
        "wss://h",
    ] {
        let error = instance_with("address", bad).unwrap_err();
        assert!(error.contains("instance.address must "), "{bad}: {error}");
    }
}

fn tls(address: &str, tls: Value) -> Result<InstanceRecord, String> {
    let json = file_with(|file| {
        file["tenants"][0]["instance"]["address"] = json!(address);
        file["tenants"][0]["instance"]["tls"] = tls.clone();
    });
    check(&json).map_err(|error| error.to_string())?;
    Ok(contents(&json).unwrap().1.remove(0).instance.unwrap())
}

#[test]
fn a_runtime_with_tls_is_trusted_by_name_and_authority() {
    let authority = rcgen::generate_simple_self_signed(["h".to_owned()]).unwrap().cert.pem();
    let plain = tls("https://h", Value::Null).unwrap().tls.unwrap();
    assert_eq!((plain.ca_pem, plain.server_name), (None, None));
    let own = json!({ "ca_pem": authority, "server_name": "runtime.internal" });
    let record = tls("https://h:1880", own.clone()).unwrap();
    let stored = record.tls.clone().unwrap();
    assert_eq!(stored.ca_pem.as_deref(), Some(authority.as_str()));
    assert_eq!(stored.server_name.as_deref(), Some("runtime.internal"));
    // What is exported is imported again as it was.
    let profile = super::super::instance::to_profile(&record);
    assert_eq!((&profile["address"], &profile["tls"]), (&json!("https://h:1880"), &own));
    assert_eq!(
        super::super::instance::to_profile(&tls("https://[::1]", Value::Null).unwrap())["address"],
        "https://[::1]:443"
    );

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &authority).unwrap();
    let from_file = tls("https://h", json!({ "ca_file": file })).unwrap().tls.unwrap();
    assert_eq!(from_file.ca_pem.as_deref(), Some(authority.as_str()));
    std::fs::write(&file, "x".repeat(100_000)).unwrap();
    assert!(tls("https://-", Value::Null).unwrap_err().contains("neither a host name"));
    for (address, bad, says) in [
        ("http://h", json!({}), "instance.tls is for an address that begins with https://"),
        ("https://h", json!({ "ca_pem": "" }), "ca_pem must hold at least one certificate in PEM"),
        (
            "https://h",
            json!({ "ca_pem": "-----BEGIN CERTIFICATE-----\nx" }),
            "ca_pem must be certificates in PEM",
        ),
        ("https://h", json!({ "ca_file": file }), "ca_file must be at most 64 KiB"),
        (
            "https://h",
            json!({ "ca_file": "/nowhere/ca.pem" }),
            "ca_file \"/nowhere/ca.pem\": No such file",
        ),
        (
            "https://h",
            json!({ "ca_file": file, "ca_pem": authority }),
            "ca_file and ca_pem exclude each other",
        ),
        (
            "https://h",
            json!({ "server_name": "a b" }),
            "server_name is neither a host name nor an IP address",
        ),
        ("https://h", json!({ "insecure": true }), "unknown field `insecure`"),
    ] {
        let error = tls(address, bad.clone()).unwrap_err();
        assert!(error.contains(says), "{bad}: {error}");
    }
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

fn process(changes: &[(&str, Value)]) -> Result<InstanceRecord, String> {
    let mut wanted = json!({ "provider": "process", "node_root": "/api", "admin_root": "/red" });
    for (member, value) in changes {
        wanted[member] = value.clone();
    }
    let json = file_with(|file| file["tenants"][0]["instance"] = wanted.clone());
    check(&json).map_err(|error| error.to_string())?;
    Ok(contents(&json).unwrap().1.remove(0).instance.unwrap())
}

#[test]
fn a_process_has_no_address_and_is_told_as_it_was_said() {
    for (provider, public_wake) in
        [("process", false), ("process", true), ("kubernetes", false), ("kubernetes", true)]
    {
        let mut expected =
            json!({ "provider": provider, "node_root": "/api", "admin_root": "/red" });
        if public_wake {
            expected["public_wake"] = json!(true);
        }
        let changes = [("provider", json!(provider)), ("public_wake", json!(public_wake))];
        let record = process(&changes).unwrap();
        assert_eq!(record.provider().public_wake(), public_wake);
        assert_eq!(super::super::instance::to_profile(&record), expected);
        let stored = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<InstanceRecord>(&stored).unwrap(), record);
    }
    for (member, value, told) in [
        ("address", json!("http://h"), "instance.address is not for the provider \"process\""),
        ("tls", json!({}), "instance.tls is not for the provider \"process\""),
        ("provider", json!("somebody"), "unknown variant"),
        ("admin_root", json!("/"), "instance.admin_root must not be"),
        ("provider", json!("static"), "instance.address is missing"),
    ] {
        let error = process(&[(member, value)]).unwrap_err();
        assert!(error.contains(told), "{error}");
    }
    let both = [("provider", json!("static")), ("public_wake", json!(true))];
    let error = process(&both).unwrap_err();
    assert!(error.contains("instance.public_wake is for the providers"), "{error}");
}

#[test]
fn a_record_from_before_there_were_providers_is_an_address() {
    let stored = r#"{"host":"h","port":1880,"node_root":"","admin_root":null}"#;
    let record: InstanceRecord = serde_json::from_str(stored).unwrap();
    assert_eq!(record.process, None);
    assert_eq!(serde_json::to_string(&record).unwrap(), stored);
}
