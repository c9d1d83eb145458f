use super::*;

/// Whether an import is refused and leaves the store as it was; what is told.
fn refused(place: &Place, file: &Value) -> String {
    let before = place.revision();
    let told = [false, true].map(|replace| place.import(file, replace).unwrap_err());
    assert_eq!(place.revision(), before, "something was written");
    assert_eq!(told[0], told[1]);
    told[0].clone()
}

#[test]
fn a_bad_file_writes_nothing_at_all() {
    let place = Place::new();
    place.create(&[plain("mike")]);
    let key = |name: &str, secret: &str| json!({ "name": name, "sha256": sha256(secret) });
    let many_keys: Vec<Value> = (0..101).map(|n| key(&format!("{n}"), &format!("{n}"))).collect();
    for (more, what) in [
        (json!({ "password": "" }), "password must not be empty"),
        (json!({ "plan": "gold" }), "plan \"gold\" is not among the plans"),
        (json!({ "username": "good" }), "username is there twice"),
        (json!({ "keys": many_keys }), "keys must be at most 100"),
        (json!({ "keys": [key("k", "1"), key("k", "2")] }), "keys.name is there twice"),
        (json!({ "keys": [key("k", "1"), key("l", "1")] }), "api_key is in the file already"),
        (json!({ "keys": [key("", "1")] }), "keys.name must be 1 to 64 characters"),
        (json!({ "keys": [{ "name": "k", "sha256": "x" }] }), "keys.sha256 must be 64"),
        (
            json!({ "keys": [with(key("k", "1"), &json!({ "expires": "soon" }))] }),
            "keys.expires must be a moment",
        ),
        (
            json!({ "keys": [with(key("k", "1"), &json!({ "scope": ["/a/../b"] }))] }),
            "keys.scope must be at most 20 plain paths",
        ),
        (
            json!({ "allowed_origins": vec!["https://a"; 101] }),
            "allowed_origins must be at most 100",
        ),
        (
            json!({ "allowed_origins": [format!("https://{}", "a".repeat(255))] }),
            "allowed_origins must be origins",
        ),
    ] {
        let bad = with(plain("bad"), &more);
        let told = refused(&place, &file_of(&[plain("good"), bad]));
        assert!(told.contains(what), "{told}");
    }
}

#[test]
fn a_tenant_who_cannot_be_stored_is_told_before_anything_is_written() {
    let place = Place::new();
    let scope: Vec<String> = (10..30).map(|n| format!("/{n}{}", "x".repeat(250))).collect();
    let key = |n: usize| json!({ "name": format!("{n}"), "sha256": sha256(&format!("{n}")), "scope": scope });
    let keys: Vec<Value> = (0..100).map(key).collect();
    let large = with(plain("large"), &json!({ "keys": keys }));
    let told = refused(&place, &file_of(&[plain("good"), large]));
    assert!(told.ends_with("(\"large\"): is more than can be stored of one tenant"), "{told}");
    let mut long = plain("long");
    long["instance"]["node_root"] = json!(format!("/{}", "x".repeat(300_000)));
    let told = refused(&place, &file_of(&[plain("good"), long]));
    assert!(told.contains("is more than"), "{}", &told[..100]);
}

#[test]
fn a_broken_file_writes_nothing_at_all() {
    let place = Place::new();
    let good = serde_json::to_string_pretty(&file_of(&[plain("good")])).unwrap();
    for text in [
        String::new(),
        good[..good.len() - 1].to_owned(),
        format!("{good}x"),
        good.replace("\"username\"", "\"usernam\""),
        format!("{good}{good}"),
    ] {
        assert!(place.import_text(&text, true).is_err(), "{text}");
        assert_eq!(place.revision(), 0);
    }
}

#[test]
fn a_key_of_somebody_else_is_refused_with_its_line() {
    let place = Place::new();
    let key = |secret: &str| json!({ "keys": [{ "name": "k", "sha256": sha256(secret) }] });
    let own = json!({ "api_key": "mike-key-0123456789" });
    place.create(&[with(with(plain("mike"), &own), &key("named"))]);
    let mut text = "{\n\"tenants\": [\n".to_owned();
    text += &format!("{},\n", plain("good"));
    text += &format!("{},\n", with(plain("thief"), &key("named")));
    text += &format!("{}\n]}}", with(plain("other"), &own));
    let before = place.revision();
    let told = place.import_text(&text, true).unwrap_err();
    assert_eq!(
        told,
        "line 4: tenant 2 (\"thief\"): api_key belongs to another tenant of the registry\n\
         line 5: tenant 3 (\"other\"): api_key belongs to another tenant of the registry"
    );
    assert_eq!(place.revision(), before);
    // Their own are nobody else's.
    assert_eq!(place.replace(&[with(plain("mike"), &own)]).replaced, 1);
}

#[test]
fn a_plan_of_the_registry_need_not_be_in_the_file() {
    let place = Place::new();
    place.create(&[]);
    let on_it = with(plain("mike"), &json!({ "plan": "standard" }));
    let file = json!({ "tenants": [on_it] });
    assert_eq!(place.import(&file, false).unwrap().created, 1);
}

#[test]
fn no_fault_repeats_a_secret() {
    const HUSH: &str = "hush-hush-0123456789";
    let place = Place::new();
    place.create(&[with(plain("owner"), &json!({ "api_key": HUSH }))]);
    for more in [
        json!({ "api_key": HUSH }),
        json!({ "api_key": HUSH, "password": HUSH.repeat(5) }),
        json!({ "api_key": HUSH, "password_hash": HUSH }),
        json!({ "keys": [{ "name": "k", "sha256": HUSH }] }),
    ] {
        let told = refused(&place, &file_of(&[with(plain("mike"), &more)]));
        assert!(!told.contains("hush") && !told.contains(&sha256(HUSH)), "{told}");
    }
}
