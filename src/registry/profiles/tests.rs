use expect_test::expect;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::tenant::{Instance, InstanceTls, OnChange, Provider};

mod instance;

/// A file with one good tenant, changed.
fn file_with(change: impl FnOnce(&mut Value)) -> String {
    let mut file = json!({
        "plans": { "standard": { "connections": 2 } },
        "tenants": [{
            "username": "mike",
            "password": "a password",
            "api_key": "mike-key-0123456789",
            "plan": "standard",
            "instance": {
                "address": "http://127.0.0.1:1881",
                "node_root": "/api",
                "admin_root": "/red",
            },
        }],
    });
    change(&mut file);
    file.to_string()
}

/// In a registry without plans, and with nothing against anybody.
fn check(json: &str) -> Result<Contents, ProfilesError> {
    super::check(json.as_bytes(), |_| false, |_| Ok(()))
}

fn faults(json: &str) -> String {
    check(json)
        .map_or_else(|error| error.to_string(), |contents| format!("{} good", contents.tenants))
}

type Found = (Vec<(String, Plan)>, Vec<Checked>);

/// The plans and tenants of a good file.
fn contents(json: &str) -> Result<Found, ProfilesError> {
    let (mut plans, mut tenants) = (Vec::new(), Vec::new());
    each(json.as_bytes(), |good| {
        match good {
            Good::Plan(name, plan) => plans.push((name, *plan)),
            Good::Tenant(tenant) => tenants.push(*tenant),
        }
        Ok(())
    })?;
    Ok((plans, tenants))
}

fn address(instance: &InstanceRecord) -> String {
    let instance = instance.clone();
    Instance {
        host: instance.host,
        port: instance.port,
        node_root: instance.node_root,
        admin_root: instance.admin_root,
        on_change: instance.on_change,
        tls: instance.tls.map(|_| InstanceTls::default()),
        provider: Provider::Static,
        nodes: None,
        network: None,
    }
    .to_string()
}

/// The outcome with one field of the tenant set, or removed with `null` where that is not a value.
fn with(field: &str, value: Value) -> String {
    faults(&file_with(|file| {
        let tenant = &mut file["tenants"][0];
        match field.strip_prefix("instance.") {
            Some(field) => tenant["instance"][field] = value,
            None => tenant[field] = value,
        }
    }))
}

#[test]
fn the_example_is_good() {
    let example = include_str!("../../../profiles.example.json");
    assert_eq!(check(example), Ok(Contents { plans: 5, tenants: 2 }));
    let (plans, checked) = contents(example).unwrap();
    let plan = |name: &str| plans.iter().find(|(it, _)| it == name).unwrap().1.clone();
    assert_eq!(plan("standard").connections, Some(100));
    for (name, limit) in
        [("gold", Some(5000)), ("silver", Some(2000)), ("bronze", Some(1000)), ("unlimited", None)]
    {
        assert_eq!(plan(name).messages_per_minute, limit.map(crate::plan::Quota::from));
    }
    let mike = &checked[0];
    assert_eq!((mike.username.as_str(), mike.plan.as_deref()), ("mike", Some("standard")));
    let instance = mike.instance.as_ref().unwrap();
    assert_eq!(address(instance), "127.0.0.1:1881");
    assert_eq!(instance.on_change, OnChange::Keep);
    assert_eq!(instance.node_root, "/api");
    assert_eq!(instance.admin_root.as_deref(), Some("/red"));
}

#[test]
fn every_field_of_a_profile_is_read() {
    let (plans, mut tenants) = contents(&file_with(|file| {
        file["tenants"][0]["allowed_origins"] = json!(["https://app.example.org"]);
        file["tenants"][0]["disabled"] = json!(true);
    }))
    .unwrap();
    assert_eq!(tenants.len(), 1);
    let mike = tenants.remove(0);
    assert_eq!(mike.password.unwrap().expose(), "a password");
    assert!(mike.password_hash.is_none());
    let key = Secret::new("mike-key-0123456789".into());
    assert_eq!((mike.key, mike.key_hint.as_deref()), (Some(SecretDigest::of(&key)), Some("6789")));
    assert!(mike.named_keys.is_empty());
    assert_eq!((mike.plan.as_deref(), plans[0].1.connections), (Some("standard"), Some(2)));
    assert_eq!(mike.allowed_origins, ["https://app.example.org"]);
    assert!(mike.disabled);
}

#[test]
fn hashes_and_digests_are_taken_as_they_are() {
    let hash = bcrypt::hash("a password", 4).unwrap();
    let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let (_, tenants) = contents(&file_with(|file| {
        let tenant = &mut file["tenants"][0];
        *tenant = json!({ "username": "mike", "password_hash": hash, "api_key_sha256": hex,
            "instance": { "address": "http://h", "admin_root": null } });
    }))
    .unwrap();
    let mike = &tenants[0];
    assert_eq!(mike.password_hash.as_ref(), Some(&hash));
    assert_eq!(mike.key, Some(SecretDigest::of(&Secret::new("abc".into()))));
    assert_eq!((&mike.plan, &mike.key_hint), (&None, &None));
    let instance = mike.instance.as_ref().unwrap();
    assert_eq!(address(instance), "h:80");
    assert_eq!((instance.node_root.as_str(), &instance.admin_root), ("", &None));
}

#[test]
fn every_fault_of_a_file_is_told_at_once() {
    let json = json!({
        "plans": {
            "none": { "messages": { "per_second": 0, "burst": 1 } },
            "much": { "messages": { "per_second": 1, "burst": 1_000_000_000_000_001_u64 } },
        },
        "tenants": [
            {
                "username": "Mike",
                "password": "",
                "api_key": "short",
                "plan": "gold",
                "allowed_origins": ["example.org", "https://a/b", "https://*.a", "https://"],
                "instance": { "address": "127.0.0.1:1881", "node_root": "api/", "admin_root": "/" },
            },
            {
                "username": "www",
                "password": "x",
                "password_hash": "x",
                "api_key": "x",
                "api_key_sha256": "x",
                "instance": { "address": "https://h", "admin_root": "/red/" },
            },
            {
                "username": "twin",
                "password_hash": "x",
                "api_key_sha256": "x",
                "instance": { "address": "http://h:70000", "node_root": "/red/api", "admin_root": "/RED" },
            },
            {
                "username": "good",
                "api_key": "shared-key-0123456789",
                "instance": { "address": "http://h", "admin_root": null },
            },
            {
                "username": "good",
                "api_key": "shared-key-0123456789",
                "instance": { "address": "http://h", "admin_root": null },
            },
        ],
    });
    expect![[r#"
        line 3: plan "much": messages_per_second must be 1 to 1000000000000000, and so must its burst
        line 9: plan "none": messages_per_second must be 1 to 1000000000000000, and so must its burst
        line 17: tenant 1 ("Mike"): username must be 1 to 63 of a-z, 0-9 and '-', not beginning or ending with '-' (nor beginning with "xn--")
        line 17: tenant 1 ("Mike"): password must not be empty
        line 17: tenant 1 ("Mike"): api_key must be 16 to 256 visible ASCII characters
        line 17: tenant 1 ("Mike"): allowed_origins must be origins like "https://example.org"
        line 17: tenant 1 ("Mike"): allowed_origins must be origins like "https://example.org"
        line 17: tenant 1 ("Mike"): allowed_origins must be origins like "https://example.org"
        line 17: tenant 1 ("Mike"): allowed_origins must be origins like "https://example.org"
        line 17: tenant 1 ("Mike"): instance.node_root must be a plain path like "/red", without a slash at its end
        line 17: tenant 1 ("Mike"): instance.admin_root must not be, or contain, node_root: the flows' paths would open the editor; in the runtime's settings.js set e.g. httpAdminRoot: "/red" and httpNodeRoot: "/api"
        line 17: tenant 1 ("Mike"): instance.address must be like "http://127.0.0.1:1880", without a path
        line 34: tenant 2 ("www"): username is reserved
        line 34: tenant 2 ("www"): password and password_hash exclude each other
        line 34: tenant 2 ("www"): api_key and api_key_sha256 exclude each other
        line 34: tenant 2 ("www"): instance.admin_root must be a plain path like "/red", without a slash at its end
        line 45: tenant 3 ("twin"): password_hash is not a bcrypt hash
        line 45: tenant 3 ("twin"): api_key_sha256 must be 64 hexadecimal digits
        line 45: tenant 3 ("twin"): instance.admin_root must not be, or contain, node_root: the flows' paths would open the editor; in the runtime's settings.js set e.g. httpAdminRoot: "/red" and httpNodeRoot: "/api"
        line 45: tenant 3 ("twin"): instance.address must have a port from 1 to 65535
        line 63: tenant 5 ("good"): username is there twice
        line 63: tenant 5 ("good"): api_key is in the file already
        line 17: tenant 1 ("Mike"): plan "gold" is not among the plans"#]].assert_eq(&faults(&serde_json::to_string_pretty(&json).unwrap()));
}

#[test]
fn a_file_of_the_wrong_shape_is_told_with_its_line() {
    let instance = "\"instance\": { \"address\": \"http://h\", \"admin_root\": null }";
    let all = [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        "{ \"tenants\": [] } x".to_owned(),
        "{ \"tenants\": [],\n \"tenant\": [] }".to_owned(),
        "{ \"tenants\": [],\n \"tenants\": [] }".to_owned(),
        "{ \"tenants\": [\n { \"username\": \"m\" } ] }".to_owned(),
        format!("{{ \"tenants\": [\n {{ \"username\": \"m\",\n \"pasword\": \"x\", {instance} }} ] }}"),
        format!("{{ \"tenants\": [ {{ \"username\": \"m\", {instance}, {instance} }} ] }}"),
        "{ \"tenants\": [ { \"username\": \"m\",\n \"instance\": { \"address\": \"http://h\" } } ] }".to_owned(),
        "{ \"plans\": { \"p\": { \"conections\": 1 } }, \"tenants\": [] }".to_owned(),
        "{ \"plans\": { \"p\": { \"connections\": -1 } }, \"tenants\": [] }".to_owned(),
        "{ \"plans\": { \"p\": { \"messages\": { \"per_second\": 1 } } }, \"tenants\": [] }".to_owned(),
        "{ \"plans\": { \"p\": { \"messages\": { \"per_second\": 1, \"burst\": 1, \"over\": \"never\" } } }, \"tenants\": [] }".to_owned(),
    ];
    let told: Vec<String> = all.iter().map(|json| faults(json)).collect();
    expect![[r#"
        EOF while parsing a value at line 1 column 0
        EOF while parsing an object at line 1 column 1
        invalid type: sequence, expected an object with "plans" and "tenants" at line 1 column 1
        missing field `tenants` at line 1 column 2
        trailing characters at line 1 column 19
        unknown field `tenant`, expected `plans` or `tenants` at line 2 column 15
        duplicate field `tenants` at line 2 column 11
        missing field `instance` at line 2 column 20
        unknown field `pasword`, expected one of `username`, `password`, `password_hash`, `api_key`, `api_key_sha256`, `keys`, `plan`, `instance`, `allowed_origins`, `disabled` at line 3 column 11
        duplicate field `instance` at line 1 column 104
        missing field `admin_root` at line 2 column 38
        unknown field `conections`, expected one of `connections`, `message_bytes`, `messages`, `messages_per_second`, `messages_per_minute`, `messages_per_day`, `bytes_per_second`, `bytes_per_minute`, `bytes_per_day`, `handshakes_per_minute`, `requests_per_second`, `over`, `sleep_after_seconds`, `always_on` at line 1 column 33
        invalid value: integer `-1`, expected u32 at line 1 column 38
        missing field `burst` at line 1 column 51
        unknown variant `never`, expected one of `pace`, `pause`, `drop`, `close` at line 1 column 78"#]].assert_eq(&told.join("\n"));
    assert_eq!(faults("{ \"tenants\": [] }"), "0 good");
}

#[test]
fn keys_are_long_and_visible_and_nobody_elses() {
    let good = "1 good";
    assert_eq!(with("api_key", json!("x".repeat(16))), good);
    assert_eq!(with("api_key", json!("x".repeat(256))), good);
    assert_eq!(with("api_key", Value::Null), good);
    for bad in [
        "",
        &"x".repeat(15),
        &"x".repeat(257),
        "with a space in it",
        "tab\tin-0123456789",
        "\u{e9}0123456789abcdef",
    ] {
        assert_ne!(with("api_key", json!(bad)), good, "{bad:?}");
    }
    let key = Secret::new("mike-key-0123456789".into());
    let hex: String = {
        use sha2::{Digest, Sha256};
        Sha256::digest(key.expose().as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let twice = file_with(|file| {
        let digest = json!({ "username": "other", "api_key_sha256": hex.to_uppercase(),
            "instance": { "address": "http://h", "admin_root": null } });
        file["tenants"].as_array_mut().unwrap().push(digest);
    });
    assert!(faults(&twice).contains("(\"other\"): api_key is in the file already"));
}

#[test]
fn origins_have_a_scheme_and_a_host_and_no_more() {
    for (origin, good) in [
        ("https://app.example.org", true),
        ("http://localhost:5173", true),
        ("https://app.example.org/", false),
        ("https://*.example.org", false),
        ("null", false),
        ("*", false),
        ("https://", false),
        ("wss://app.example.org", false),
    ] {
        assert_eq!(with("allowed_origins", json!([origin])) == "1 good", good, "{origin}");
    }
}

const HUSH: &str = "hush-hush-0123456789";

#[test]
fn no_fault_repeats_a_secret() {
    for (field, value) in [
        ("password", json!(8_675_309)),
        ("password", json!([HUSH])),
        ("password", json!({ HUSH: 1 })),
        ("password", json!(format!("{HUSH}\0"))),
        ("password", json!(HUSH.repeat(5))),
        ("password_hash", json!(HUSH)),
        ("api_key", json!(8_675_309)),
        ("api_key", json!(format!("{HUSH} "))),
        ("api_key_sha256", json!(HUSH)),
        ("instance.address", json!(format!("http://mike:{HUSH}@h"))),
        ("instance.address", json!(format!("https://mike:{HUSH}@h"))),
        ("instance.address", json!(format!("{HUSH}@h"))),
    ] {
        let told = with(field, value.clone());
        assert_ne!(told, "1 good", "{value}");
        assert!(!told.contains("hush") && !told.contains("8675309"), "{field} {value}: {told}");
    }
}

proptest! {
    #[test]
    fn no_fault_repeats_any_password_or_key(secret in "[!-~]{8,300}", field in 0..4_usize) {
        let field = ["password", "password_hash", "api_key", "api_key_sha256"][field];
        let told = faults(&file_with(|file| {
            file["tenants"][0][field] = json!(&secret);
            file["tenants"][0]["plan"] = json!("missing");
        }));
        prop_assert!(!told.contains(&secret), "{told}");
        prop_assert!(told.contains("missing"));
    }

    #[test]
    fn any_text_is_answered(text in ".*") {
        let _ = check(&text);
    }
}
