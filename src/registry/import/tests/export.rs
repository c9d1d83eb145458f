use super::*;

fn export_of(place: &Place) -> (usize, String) {
    let mut out = Vec::new();
    let tenants = export(&place.store, place.runtime.handle(), &mut out).unwrap();
    (tenants, String::from_utf8(out).unwrap())
}

/// By name: a registry's own order is that of its random ids.
fn sorted(text: &str) -> Value {
    let mut file: Value = serde_json::from_str(text).unwrap();
    file["tenants"].as_array_mut().unwrap().sort_by_key(|tenant| tenant["username"].to_string());
    file
}

fn tenants() -> Vec<Value> {
    let kitchen = json!({ "name": "Küche \"1\"", "sha256": sha256("kitchen"), "scope": ["/a", "/b"],
        "created": "2025-01-31T12:00:00Z", "expires": "2030-01-31T12:00:00Z" });
    let bath = json!({ "name": "bath", "sha256": sha256("bath") });
    vec![
        with(mike(), &json!({ "keys": [kitchen, bath], "allowed_origins": ["https://a.org"] })),
        json!({
            "username": "six",
            "disabled": true,
            "instance": {
                "address": "http://[2001:db8::1]:1880", "node_root": "/api", "admin_root": "/red",
            },
        }),
        plain("plain"),
        with(plain("stays"), &json!({ "instance": null })),
        with(
            plain("moves"),
            &json!({ "instance": {
            "address": "http://h:1", "node_root": "", "admin_root": null, "on_change": "move",
        } }),
        ),
    ]
}

#[test]
fn an_export_can_be_imported_and_exported_again() {
    let (first, second) = (Place::new(), Place::new());
    first.create(&tenants());
    let (count, exported) = export_of(&first);
    assert_eq!(count, 5);
    assert_eq!(second.import_text(&exported, false).unwrap().created, 5);
    assert_eq!(sorted(&export_of(&second).1), sorted(&exported));
    // And over what it came from it changes nothing that anything rests on.
    let names = ["mike", "six", "plain", "stays", "moves"];
    let before = names.map(|name| first.record(name));
    first.import_text(&exported, true).unwrap();
    assert_eq!(names.map(|name| first.record(name)), before);
}

#[test]
fn moments_are_exported_to_the_millisecond() {
    let place = Place::new();
    let key = json!({ "name": "k", "sha256": sha256("k"),
        "created": "2025-01-31T12:00:00.123Z", "expires": "2030-01-31T12:00:00.456Z" });
    place.create(&[with(mike(), &json!({ "keys": [key] }))]);
    let before = place.record("mike");
    let (_, exported) = export_of(&place);
    assert_eq!(told(place.import_text(&exported, true).unwrap()), (0, 0, 1, 0));
    assert_eq!(place.record("mike"), before);
}

#[test]
fn an_export_has_all_but_the_secrets() {
    let place = Place::new();
    place.create(&tenants());
    let (_, text) = export_of(&place);
    for secret in ["mike-password", "mike-key-0123456789"] {
        assert!(!text.contains(secret), "{text}");
    }
    let exported = sorted(&text);
    assert_eq!(exported["plans"], json!({ "standard": { "connections": 7 } }));
    let mike = &exported["tenants"][0];
    assert!(bcrypt::verify("mike-password", mike["password_hash"].as_str().unwrap()).unwrap());
    assert_eq!(mike["api_key_sha256"], sha256("mike-key-0123456789"));
    let mut keys = tenants()[0]["keys"].clone();
    keys[1]["created"] = json!(testing::BEGIN.to_string());
    assert_eq!(mike["keys"], keys);
    assert_eq!(exported["tenants"][1], tenants()[4]);
    assert_eq!(exported["tenants"][4]["instance"], Value::Null);
    assert_eq!(exported["tenants"][3], {
        let mut six = tenants()[1].clone();
        six["username"] = json!("six");
        six
    });
}

#[test]
fn an_empty_registry_is_an_empty_file() {
    let place = Place::new();
    let (count, text) = export_of(&place);
    assert_eq!(count, 0);
    assert_eq!(told(place.import_text(&text, false).unwrap()), (0, 0, 0, 0));
}

#[test]
fn more_tenants_than_a_page_has_are_exported_once_each() {
    const TENANTS: usize = DOCUMENTS_PER_PAGE * 2 + 1;
    let place = Place::new();
    let all: Vec<Value> = (0..TENANTS).map(|number| plain(&format!("t{number}"))).collect();
    place.create(&all);
    let (count, text) = export_of(&place);
    let names: HashSet<String> = sorted(&text)["tenants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tenant| tenant["username"].to_string())
        .collect();
    assert_eq!((count, names.len()), (TENANTS, TENANTS));
}
