use super::*;
use crate::grant::KeyId;
use crate::registry::record::{COPY, KeyRecord, PreviousRecord, SESSION};
use crate::registry::store::{Change, Expected, Kind, Write};
use crate::registry::{Registry, put, testing};

async fn write(store: &Store, kind: Kind, id: &str, indexes: &[String], body: &str) {
    let change = Change::Put { indexes: indexes.to_vec(), body: body.as_bytes().to_vec() };
    let write = Write { kind, id: id.to_owned(), expected: Expected::Any, change };
    store.write(vec![write]).await.unwrap();
}

async fn add(store: &Store, id: u128, record: &TenantRecord) {
    store.write(vec![put(TenantId(id), Expected::Any, record).unwrap()]).await.unwrap();
}

/// mike, with everything that a tenant can have.
fn mike() -> TenantRecord {
    let mut record = testing::record("mike");
    record.password = Some(testing::password("a password", 5));
    record.keys.push(testing::key(KeyId::DEFAULT, "secret"));
    let previous = testing::key(KeyId(7), "before").sha256;
    let named = KeyRecord {
        previous: Some(PreviousRecord { sha256: previous, until_unix_ms: 1 }),
        expires_unix_ms: Some(testing::BEGIN.0),
        scope: vec!["/a".to_owned()],
        ..testing::key(KeyId(7), "named")
    };
    record.keys.push(named);
    record.plan = Some("small".to_owned());
    record.allowed_origins = vec!["https://example.org".to_owned()];
    record
}

/// A registry in which nothing is wrong.
async fn good() -> Registry {
    let registry = testing::registry().await;
    let store = registry.store();
    write(store, PLAN, "small", &[], "{\"connections\":5}").await;
    add(store, 1, &mike()).await;
    for number in 2..10 {
        add(store, number, &testing::record(&format!("t{number}"))).await;
    }
    registry.begin_session(TenantId(1), 5).await.unwrap();
    registry
}

async fn findings(store: &Store) -> Vec<Finding> {
    let (mut findings, mut last) = (Vec::new(), 0);
    let mut found = |finding| findings.push(finding);
    let done = check(store, &mut found, &mut |documents| last = documents).await.unwrap();
    assert_eq!((done.findings, done.documents), (findings.len() as u64, last));
    findings
}

fn told(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|it| format!("{}: {}", it.about, it.what)).collect()
}

/// What is found when mike is like this.
async fn about_mike(change: impl FnOnce(&mut TenantRecord)) -> Vec<String> {
    let registry = good().await;
    let mut record = mike();
    change(&mut record);
    add(registry.store(), 1, &record).await;
    let findings = told(&findings(registry.store()).await);
    let about = format!("tenant {} ({}): ", record.username.escape_debug(), TenantId(1));
    findings.iter().map(|it| it.strip_prefix(&about).expect(it).to_owned()).collect()
}

#[tokio::test]
async fn a_good_registry_is_found_good() {
    let registry = good().await;
    assert_eq!(told(&findings(registry.store()).await), [""; 0]);
    let done = check(registry.store(), &mut |_| {}, &mut |_| {}).await.unwrap();
    assert_eq!(done, Checked { documents: 11, findings: 0 });
}

#[tokio::test]
async fn each_field_of_a_record_is_looked_at() {
    let path = "must be a plain path like \"/red\", without a slash at its end";
    let digest = "has a digest that is not 64 hexadecimal digits in lower case";
    let names = "must have the id 0 if it has no name, and another if it has one";
    type Change = fn(&mut TenantRecord);
    let cases: [(Change, String); 16] = [
        (|it| it.username = "www".into(), "username is reserved".into()),
        (
            |it| it.instance.as_mut().unwrap().port = 0,
            "instance.address must have a port from 1 to 65535".into(),
        ),
        (
            |it| it.instance.as_mut().unwrap().node_root = "api/".into(),
            format!("instance.node_root {path}"),
        ),
        (
            |it| it.instance.as_mut().unwrap().admin_root = Some("/".into()),
            format!("instance.admin_root {}", crate::registry::profiles::ADMIN_ROOT_ADVICE),
        ),
        (
            |it| it.password.as_mut().unwrap().hash = "plain".into(),
            "password_hash is not a bcrypt hash".into(),
        ),
        (
            |it| {
                let hash = &mut it.password.as_mut().unwrap().hash;
                *hash = hash.replacen("$04$", "$15$", 1);
            },
            "password_hash has a bcrypt cost outside 4 to 14".into(),
        ),
        (
            |it| it.plan = Some("gold".into()),
            "its plan \"gold\" does not exist; it cannot be used".into(),
        ),
        (
            |it| it.allowed_origins = vec!["*".into()],
            "allowed_origins must be origins like \"https://example.org\"".into(),
        ),
        (
            |it| it.keys[1].id = "7".into(),
            "its key \"key 7\" has an id that is not 16 hexadecimal digits in lower case".into(),
        ),
        (|it| it.keys[1].id = KeyId::DEFAULT.to_string(), format!("its key \"key 7\" {names}")),
        (|it| it.keys[0].id = KeyId(1).to_string(), format!("its default key {names}")),
        (
            |it| {
                it.keys.push(testing::key(KeyId(7), "third"));
                it.keys[2].name = Some("third".into());
            },
            "its key \"third\" has the id of another one".into(),
        ),
        (|it| it.keys[0].sha256.make_ascii_uppercase(), format!("its default key {digest}")),
        (
            |it| it.keys[1].previous.as_mut().unwrap().sha256.truncate(9),
            format!("its key \"key 7\" {digest}"),
        ),
        (
            |it| it.keys[1].hint = Some("the secret".into()),
            "its key \"key 7\" shows more than the last four characters of its secret".into(),
        ),
        (
            |it| it.keys[1].scope = vec!["/a/../b".into()],
            "keys.scope must be at most 20 plain paths like \"/thing\"".into(),
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(about_mike(change).await, [expected]);
    }
}

#[tokio::test]
async fn indexes_must_be_those_of_the_record() {
    for (change, expected) in [
        ("username:mike", "it cannot be found by its username"),
        ("key:", "it cannot be found by 3 of its keys"),
        ("", "it is found under 1 names or keys that are not its own"),
    ] {
        let registry = good().await;
        let mut indexes = mike().indexes();
        match change {
            "" => indexes.push("username:other".to_owned()),
            change => indexes.retain(|index| !index.starts_with(change)),
        }
        let body = String::from_utf8(mike().to_body().unwrap()).unwrap();
        write(registry.store(), TENANT, &TenantId(1).to_string(), &indexes, &body).await;
        let found = told(&findings(registry.store()).await);
        assert_eq!(found, [format!("tenant mike ({}): {expected}", TenantId(1))]);
    }
}

#[tokio::test]
async fn two_tenants_have_nothing_in_common() {
    let registry = good().await;
    let mut thief = testing::record("mike");
    thief.keys.push(testing::key(KeyId(9), "before"));
    // The store itself keeps indexes apart.
    let body = String::from_utf8(thief.to_body().unwrap()).unwrap();
    write(registry.store(), TENANT, &TenantId(99).to_string(), &[], &body).await;
    let (mike, about) = (TenantId(1), format!("tenant mike ({})", TenantId(99)));
    assert_eq!(
        told(&findings(registry.store()).await),
        [
            format!("{about}: it cannot be found by its username"),
            format!("{about}: it cannot be found by 1 of its keys"),
            format!("{about}: it has an API key in common with tenant {mike}"),
            format!("{about}: it has the name of tenant {mike}"),
        ]
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_told() {
    let registry = good().await;
    let store = registry.store();
    write(store, TENANT, &TenantId(2).to_string(), &[], "{\"username\":1}").await;
    write(store, TENANT, "no id", &[], "{}").await;
    write(store, PLAN, "broken", &[], "{\"connections\":\"many\"}").await;
    write(store, PLAN, "none", &["indexed".to_owned()], "{\"connections\":0}").await;
    write(store, SESSION, &"0".repeat(64), &[], "[]").await;
    let found = told(&findings(store).await);
    let expected = [
        "plan \"broken\": cannot be read: invalid type: string \"many\", expected u32 at line 1 column 21",
        "plan \"none\": connections must be at least 1",
        "plan \"none\": it has an index, which nothing looks for",
        "tenant 00000000000000000000000000000002: the registry is corrupt: invalid type: integer `1`, expected a string at line 1 column 13",
        "tenant \"no id\": its id is not 32 hexadecimal digits in lower case",
        "session 0000000000000000000000000000000000000000000000000000000000000000: cannot be read: invalid length 0, expected struct Session with 5 elements at line 1 column 2",
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_session_is_somebodys() {
    let registry = good().await;
    let orphan = registry.begin_session(TenantId(77), 5).await.unwrap();
    let body = "{\"tenant\":\"mike\",\"password\":5,\"created_unix_ms\":1,\"seen_unix_ms\":1}";
    write(registry.store(), SESSION, "no digest", &[], body).await;
    let found = told(&findings(registry.store()).await);
    let id = SecretDigest::of(&orphan).to_hex();
    assert_eq!(
        found,
        [
            format!("session {id}: its tenant {} does not exist", TenantId(77)),
            "session no digest: its id is no digest".to_owned(),
            "session no digest: it names no tenant's id".to_owned(),
        ]
    );
}

#[tokio::test]
async fn an_unfinished_copy_is_told() {
    let registry = good().await;
    let mark = |is_finished: bool| {
        format!(
            "{{\"source\":\"{}\",\"revision\":1,\"is_finished\":{is_finished}}}",
            "a".repeat(32)
        )
    };
    write(registry.store(), COPY, "mark", &[], &mark(false)).await;
    let expected =
        format!("the registry: it is an unfinished copy of the registry {}", "a".repeat(32));
    assert_eq!(told(&findings(registry.store()).await), [expected]);
    write(registry.store(), COPY, "mark", &[], &mark(true)).await;
    assert_eq!(told(&findings(registry.store()).await), [""; 0]);
    write(registry.store(), COPY, "mark", &[], "{}").await;
    assert!(told(&findings(registry.store()).await)[0].contains("missing field"));
}

/// A registry in use: what is looked for is there by the time that it is missed.
#[tokio::test]
async fn what_came_meanwhile_is_not_missed() {
    let registry = good().await;
    let store = registry.store().clone();
    let handle = tokio::runtime::Handle::current();
    let (mut has_come, begun) = (false, registry.begin_session(TenantId(50), 5).await.unwrap());
    drop(begun);
    let mut tell = |documents: u64| {
        // The plans are behind it: comes a tenant with a new one, as the last.
        if documents >= 1 && !std::mem::replace(&mut has_come, true) {
            let (handle, store) = (handle.clone(), store.clone());
            let mut late = testing::record("late");
            late.plan = Some("late".to_owned());
            let coming = std::thread::spawn(move || {
                handle.block_on(async {
                    write(&store, PLAN, "late", &[], "{}").await;
                    add(&store, 50, &late).await;
                });
            });
            coming.join().unwrap();
        }
    };
    let mut found = Vec::new();
    check(registry.store(), &mut |finding| found.push(finding), &mut tell).await.unwrap();
    assert_eq!(told(&found), [""; 0]);
}

#[tokio::test]
async fn no_finding_tells_a_digest_or_a_hash() {
    let registry = good().await;
    let mut bad = mike();
    bad.username = "other".to_owned();
    bad.password.as_mut().unwrap().hash = "hush-hush".to_owned();
    bad.keys[0].sha256 = "hush".to_owned();
    let body = String::from_utf8(bad.to_body().unwrap()).unwrap();
    write(registry.store(), TENANT, &TenantId(99).to_string(), &["key:hush".to_owned()], &body)
        .await;
    let text = serde_json::to_string(&findings(registry.store()).await).unwrap();
    assert!(text.contains("in common") && text.contains("bcrypt"), "{text}");
    for secret in ["hush", mike().keys[1].sha256.as_str()] {
        assert!(!text.contains(secret), "{text}");
    }
}
