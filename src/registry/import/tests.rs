use std::collections::HashSet;
use std::io::{Seek, SeekFrom, Write as _};

use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::registry::testing;
use crate::secret::{Secret, SecretDigest};

mod export;
mod faults;

/// bcrypt's of some text, at the lowest cost.
const HASH: &str = "$2b$04$.qrfZZ/lNcTxS0yG6LmZEeJ1LJx1yBn5K4NIrFyPdmvM9Rf5vQX4C";

/// A store, and what imports into it.
struct Place {
    runtime: Runtime,
    store: Store,
    wall: Wall,
}

fn sha256(secret: &str) -> String {
    SecretDigest::of(&Secret::new(secret.to_owned())).to_hex()
}

/// A tenant with nothing but a name and a runtime.
fn plain(username: &str) -> Value {
    json!({
        "username": username,
        "instance": { "address": "http://127.0.0.1:1880", "admin_root": null },
    })
}

fn with(mut profile: Value, more: &Value) -> Value {
    let more = more.as_object().unwrap().clone();
    profile.as_object_mut().unwrap().extend(more);
    profile
}

fn mike() -> Value {
    let more = json!({
        "password": "mike-password",
        "api_key": "mike-key-0123456789",
        "plan": "standard",
        "keys": [{ "name": "kitchen", "sha256": sha256("kitchen"), "scope": ["/a"] }],
    });
    with(plain("mike"), &more)
}

fn file_of(tenants: &[Value]) -> Value {
    json!({ "plans": { "standard": { "connections": 7 } }, "tenants": tenants })
}

impl Place {
    fn new() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let wall = Wall::stopped_at(testing::BEGIN.0);
        let store = runtime.block_on(testing::store(&wall));
        Self { runtime, store, wall }
    }

    fn import_text(&self, text: &str, replace: bool) -> Result<Imported, String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        let handle = self.runtime.handle();
        import(&self.store, &self.wall, handle, file, replace, |_, _| {})
            .map_err(|error| error.to_string())
    }

    fn import(&self, file: &Value, replace: bool) -> Result<Imported, String> {
        self.import_text(&serde_json::to_string_pretty(file).unwrap(), replace)
    }

    fn create(&self, tenants: &[Value]) -> Imported {
        self.import(&file_of(tenants), false).unwrap()
    }

    fn replace(&self, tenants: &[Value]) -> Imported {
        self.import(&file_of(tenants), true).unwrap()
    }

    fn revision(&self) -> u64 {
        self.runtime.block_on(self.store.last_revision()).unwrap()
    }

    fn document(&self, username: &str) -> Document {
        let index = username_index(username);
        let found = self.store.find(TENANT, &index);
        self.runtime.block_on(found).unwrap().unwrap()
    }

    fn record(&self, username: &str) -> TenantRecord {
        TenantRecord::from_body(&self.document(username).body).unwrap()
    }
}

fn told(done: Imported) -> (usize, usize, usize, usize) {
    (done.created, done.replaced, done.left_alone, done.plans)
}

#[test]
fn a_profile_becomes_a_tenant() {
    let place = Place::new();
    let more = json!({ "allowed_origins": ["https://app.example.org"], "disabled": true });
    assert_eq!(told(place.create(&[with(mike(), &more)])), (1, 0, 0, 1));
    let record = place.record("mike");
    let password = record.password.as_ref().unwrap();
    assert!(password.hash.starts_with("$2b$12$"));
    assert!(bcrypt::verify("mike-password", &password.hash).unwrap());
    let [default, kitchen] = &record.keys[..] else { panic!("{record:?}") };
    assert_eq!((default.id.as_str(), &default.name), ("0000000000000000", &None));
    assert_eq!(default.sha256, sha256("mike-key-0123456789"));
    assert_eq!(
        (default.hint.as_deref(), default.created_unix_ms),
        (Some("6789"), testing::BEGIN.0)
    );
    assert_eq!((kitchen.name.as_deref(), &kitchen.hint), (Some("kitchen"), &None));
    assert_eq!((&kitchen.sha256, &kitchen.scope), (&sha256("kitchen"), &vec!["/a".to_owned()]));
    assert_eq!(record.allowed_origins, ["https://app.example.org"]);
    assert!(record.disabled);
    let plan = place.runtime.block_on(place.store.get(PLAN, "standard")).unwrap().unwrap();
    assert_eq!(plan.body, br#"{"connections":7}"#);
}

#[test]
fn an_import_again_writes_nothing() {
    let place = Place::new();
    place.create(&[mike(), plain("roberto")]);
    let before = place.revision();
    assert_eq!(told(place.create(&[mike(), plain("roberto")])), (0, 0, 2, 0));
    place.wall.advance(std::time::Duration::from_secs(60));
    assert_eq!(told(place.replace(&[mike(), plain("roberto")])), (0, 0, 2, 0));
    assert_eq!(place.revision(), before);
}

#[test]
fn whoever_is_there_is_left_alone_unless_it_is_said_otherwise() {
    let place = Place::new();
    place.create(&[with(plain("mike"), &json!({ "password_hash": HASH, "plan": "standard" }))]);
    let before = place.document("mike");
    let file = json!({
        "plans": { "standard": { "connections": 9 } },
        "tenants": [with(plain("mike"), &json!({ "disabled": true })), plain("roberto")],
    });
    assert_eq!(told(place.import(&file, false).unwrap()), (1, 0, 1, 0));
    assert_eq!(place.document("mike"), before);
    let plan = || place.runtime.block_on(place.store.get(PLAN, "standard")).unwrap().unwrap().body;
    assert_eq!(plan(), br#"{"connections":7}"#);

    assert_eq!(told(place.import(&file, true).unwrap()), (0, 1, 1, 1));
    assert_eq!(plan(), br#"{"connections":9}"#);
    let after = place.document("mike");
    assert_eq!(after.id, before.id, "whatever changes, they stay who they are");
    let record = place.record("mike");
    assert!(record.disabled && record.password.is_none() && record.plan.is_none());
}

#[test]
fn what_did_not_change_keeps_what_rests_on_it() {
    let place = Place::new();
    place.create(&[mike()]);
    let before = place.record("mike");
    // The plan: nothing of the credentials.
    assert_eq!(told(place.replace(&[with(mike(), &json!({ "plan": null }))])), (0, 1, 0, 0));
    let after = place.record("mike");
    assert_eq!((&after.password, &after.keys), (&before.password, &before.keys));
    // The password as its hash: it is the same one.
    let mut hashed = mike();
    hashed["password_hash"] = json!(before.password.as_ref().unwrap().hash);
    hashed.as_object_mut().unwrap().remove("password");
    place.replace(&[hashed]);
    assert_eq!(place.record("mike").password, before.password);
    // Another hash of perhaps the same one counts as another.
    let mut other = with(mike(), &json!({ "password_hash": HASH }));
    other.as_object_mut().unwrap().remove("password");
    place.replace(&[other]);
    let after = place.record("mike");
    let [old, new] = [&before, &after].map(|record| record.password.clone().unwrap());
    assert_ne!(old.fingerprint, new.fingerprint);
    assert_eq!(after.keys, before.keys);
}

#[test]
fn wrong_indexes_are_mended_by_the_same_file() {
    let place = Place::new();
    place.create(&[mike()]);
    let Document { id, indexes, body, .. } = place.document("mike");
    let fewer = vec![username_index("mike"), "key:of nobody".to_owned()];
    let change = Change::Put { indexes: fewer, body };
    let write = Write { kind: TENANT, id, expected: Expected::Any, change };
    place.runtime.block_on(place.store.write(vec![write])).unwrap();
    assert_eq!(told(place.create(&[mike()])), (0, 0, 1, 0));
    assert_eq!(told(place.replace(&[mike()])), (0, 1, 0, 0));
    assert_eq!(place.document("mike").indexes, indexes);
}

#[test]
fn what_changed_is_something_else() {
    let place = Place::new();
    place.create(&[mike()]);
    let before = place.record("mike");
    let key = json!({ "name": "kitchen", "sha256": sha256("kitchen"), "scope": ["/b"],
        "expires": "2030-01-31T12:00:00Z" });
    let more = json!({ "api_key": "mike-key-9876543210", "keys": [key] });
    place.replace(&[with(mike(), &more)]);
    let after = place.record("mike");
    assert_eq!(after.password, before.password);
    assert_eq!(after.keys[0].sha256, sha256("mike-key-9876543210"));
    assert_eq!(
        (&after.keys[1].id, &after.keys[1].sha256),
        (&before.keys[1].id, &before.keys[1].sha256)
    );
    assert_eq!(after.keys[1].scope, ["/b"]);
    assert_eq!(after.keys[1].expires_unix_ms, Some(1_896_091_200_000));

    let renewed = json!({ "keys": [{ "name": "kitchen", "sha256": sha256("kitchen 2") }] });
    place.replace(&[with(mike(), &renewed)]);
    assert_ne!(place.record("mike").keys[1].id, before.keys[1].id);
    place.replace(&[with(mike(), &json!({ "password": "another password" }))]);
    let after = place.record("mike").password.unwrap();
    assert!(bcrypt::verify("another password", &after.hash).unwrap());
    assert_ne!(after.fingerprint, before.password.unwrap().fingerprint);
}

#[test]
fn ids_differ_between_tenants_and_registries() {
    let keyed = |name: &str| {
        with(plain(name), &json!({ "keys": [{ "name": "k", "sha256": sha256(name) }] }))
    };
    let mut ids = HashSet::new();
    let mut keys = HashSet::new();
    for place in [Place::new(), Place::new()] {
        place.create(&[keyed("one"), keyed("two")]);
        for name in ["one", "two"] {
            ids.insert(place.document(name).id);
            keys.insert(place.record(name).keys[0].id.clone());
        }
    }
    assert_eq!((ids.len(), keys.len()), (4, 4));
}

#[test]
fn thousands_of_tenants_are_a_few_writes() {
    const TENANTS: usize = 5000;
    let place = Place::new();
    let tenants: Vec<Value> = (0..TENANTS)
        .map(|number| {
            let name = format!("t{number}");
            with(plain(&name), &json!({ "password_hash": HASH, "api_key_sha256": sha256(&name) }))
        })
        .collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(file_of(&tenants).to_string().as_bytes()).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let (mut revisions, mut last) = (HashSet::new(), (0, 0));
    let done =
        import(&place.store, &place.wall, place.runtime.handle(), file, false, |done, of| {
            assert_eq!(done, last.0 + 1);
            last = (done, of);
            revisions.insert(place.revision());
        });
    assert_eq!(told(done.unwrap()), (TENANTS, 0, 0, 1));
    assert_eq!(last, (TENANTS, TENANTS));
    assert_eq!(place.revision(), TENANTS as u64 + 1);
    assert!(revisions.len() <= TENANTS / DOCUMENTS_PER_WRITE + 1, "{}", revisions.len());
}

/// Fewer documents than are written at once can be more than a store takes at once.
#[test]
fn large_tenants_are_imported_too() {
    let place = Place::new();
    let path = |number: usize| format!("/{number}{}", "x".repeat(200));
    let scope: Vec<String> = (0..20).map(path).collect();
    let large = |number: usize| {
        let key = |key: usize| {
            json!({ "name": format!("{key}"), "scope": scope,
            "sha256": sha256(&format!("{number} {key}")) })
        };
        let keys: Vec<Value> = (0..40).map(key).collect();
        with(plain(&format!("t{number}")), &json!({ "keys": keys }))
    };
    let tenants: Vec<Value> = (0..120).map(large).collect();
    assert_eq!(place.create(&tenants).created, 120);
}
