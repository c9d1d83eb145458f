use crate::client::RequestIds;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::Request;
use tokio::sync::OnceCell;

use super::*;
use crate::clock::Clock;
use crate::grant::KeyId;
use crate::registry::record::TenantRecord;
use crate::registry::testing;
use crate::tenant::TenantId;

mod tokens;

const MIKE_KEY: &str = "mike-key-0123456789";
const ROBERTO_KEY: &str = "roberto-key-0123456789";
const OFF_KEY: &str = "off-key-0123456789";

fn tenant(username: &str, password: Option<&str>, key: Option<&str>) -> TenantRecord {
    TenantRecord {
        password: password.map(|password| testing::password(password, 9)),
        keys: key.map(|key| testing::key(KeyId(7), key)).into_iter().collect(),
        ..testing::record(username)
    }
}

async fn registry() -> &'static Registry {
    static REGISTRY: OnceCell<Registry> = OnceCell::const_new();
    let all = [
        tenant("mike", Some("mike-password"), Some(MIKE_KEY)),
        tenant("roberto", Some("roberto-password"), Some(ROBERTO_KEY)),
        tenant("keyless", Some("keyless-password"), None),
        tenant("wordless", None, Some("wordless-key-012345")),
        TenantRecord { disabled: true, ..tenant("off", Some("off-password"), Some(OFF_KEY)) },
    ];
    let fill = || async {
        let registry = testing::registry().await;
        for (id, record) in (1..).zip(&all) {
            testing::add(&registry, id, record).await;
        }
        registry
    };
    REGISTRY.get_or_init(fill).await
}

thread_local! {
    /// Each test's own: what they guess at one tenant is a stranger's, and has a share of a pool only.
    static PASSWORDS: &'static Passwords =
        Box::leak(Box::new(Passwords::start(Clock::start()).unwrap()));
}

fn basic(text: &str) -> String {
    format!("authorization: Basic {}", BASE64_STANDARD.encode(text))
}

async fn ask(target: &str, lines: &[&str]) -> Result<Identity, Refusal> {
    ask_of(registry().await, target, lines).await
}

async fn ask_of(registry: &Registry, target: &str, lines: &[&str]) -> Result<Identity, Refusal> {
    let mut request = Request::get(target).header("host", "flows.localhost");
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let authority = Authority { registry, passwords: PASSWORDS.with(|mine| *mine) };
    let request_id = RequestIds::new().unwrap().next();
    // Each from elsewhere: these are no guesses of one client's.
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let address = Ipv4Addr::from_bits(NEXT.fetch_add(1, Ordering::Relaxed));
    let client = Client { address: (address, 1).into(), over_tls: false, request_id };
    authority.authenticate(&parts, client, Sessions::Ignored).await
}

/// Who it is, on what ground, and whether Authorization was used up; or the refusal.
async fn told(target: &str, lines: &[&str]) -> String {
    told_by(registry().await, target, lines).await
}

async fn told_by(registry: &Registry, target: &str, lines: &[&str]) -> String {
    match ask_of(registry, target, lines).await {
        Ok(identity) => {
            let used = if identity.authorization_consumed { " consumed" } else { "" };
            format!("{} {}{used}", identity.tenant.username, identity.grant)
        }
        Err(refusal) => format!("{} {refusal}", refusal.status().as_u16()),
    }
}

const TWO: &str = "400 The request carries credentials of two different identities.";

#[tokio::test]
async fn every_kind_opens_the_account_it_belongs_to() {
    let x_auth = ["x-auth-user: mike", "x-auth-key: mike-key-0123456789"];
    assert_eq!(told("/", &[&basic("mike:mike-password")]).await, "mike password consumed");
    assert_eq!(told("/", &x_auth).await, "mike key:0000000000000007");
    assert_eq!(
        told("/", &["apikey: roberto-key-0123456789"]).await,
        "roberto key:0000000000000007"
    );
    assert_eq!(told("/?a&apikey=mike%2Dkey-0123456789", &[]).await, "mike key:0000000000000007");
    assert_eq!(told("/", &["apikey: wordless-key-012345"]).await, "wordless key:0000000000000007");
    assert_eq!(told("/", &[&basic("keyless:keyless-password")]).await, "keyless password consumed");
    let identity = ask("/", &[&basic("mike:mike-password")]).await.unwrap();
    assert_eq!(identity.grant, Grant::Password { fingerprint: 9 });
}

#[tokio::test]
async fn nothing_of_use_is_401() {
    for lines in [
        &[][..],
        &["x-auth-user: mike"],
        &["x-auth-key: mike-key-0123456789"],
        &["authorization: Digest username=mike"],
        &["x_auth_user: mike", "x_auth_key: mike-key-0123456789"],
        &["cookie: __Host-flowgate=mike"],
    ] {
        assert_eq!(told("/", lines).await, "401 no credential", "{lines:?}");
    }
    let unknown = "401 unknown API key";
    assert_eq!(told("/", &["authorization: Bearer T"]).await, unknown);
    assert_eq!(told("/?access_token=T", &[]).await, unknown);
    assert_eq!(told("/?ticket=x", &[]).await, "401 unknown, used or expired ticket");
    let protocol = "sec-websocket-protocol: flowgate, flowgate.bearer.T";
    assert_eq!(told("/", &[protocol]).await, unknown);
}

#[tokio::test]
async fn every_wrong_credential_looks_the_same() {
    let mut seen = Vec::new();
    for (line, why, claimed) in [
        (basic("mike:wrong"), "wrong password", Some("mike")),
        (basic("mike:"), "wrong password", Some("mike")),
        (basic("mike:roberto-password"), "wrong password", Some("mike")),
        (basic("mike:mike-key-0123456789"), "wrong password", Some("mike")),
        (basic("nobody:mike-password"), "unknown tenant", None),
        (basic("MIKE:mike-password"), "unknown tenant", None),
        (basic(" mike:mike-password"), "unknown tenant", None),
        (basic(":mike-password"), "unknown tenant", None),
        (basic("mike-password:mike"), "unknown tenant", None),
        (basic("wordless:"), "the tenant has no password", Some("wordless")),
        (basic("off:wrong"), "tenant disabled", Some("off")),
        (basic("off:off-password"), "tenant disabled", Some("off")),
        (format!("apikey: {OFF_KEY}"), "tenant disabled", Some("off")),
        ("apikey: no-such-key".into(), "unknown API key", None),
        ("apikey: ".into(), "unknown API key", None),
        ("apikey: mike-password".into(), "unknown API key", None),
    ] {
        let refusal = ask("/", &[&line]).await.unwrap_err();
        let claimed = claimed.map(|name| Username::parse(name).unwrap());
        assert_eq!(refusal, Refusal::WrongCredential { why, since: None, claimed }, "{line}");
        seen.push((
            refusal.status(),
            refusal.label(),
            refusal.public(),
            refusal.retry_after_seconds(),
        ));
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
}

/// Otherwise the second of two equal guesses would come back at once.
#[tokio::test]
async fn a_disabled_tenants_password_is_never_known_to_be_right() {
    for _ in 0..2 {
        let refusal = ask("/", &[&basic("off:off-password")]).await.unwrap_err();
        assert_eq!(refusal.to_string(), "tenant disabled");
    }
    let off = testing::tenant(registry().await, TenantId(5)).await;
    let password = Secret::new("off-password".into());
    assert!(!PASSWORDS.with(|mine| *mine).remembers(off.password.as_ref().unwrap(), &password));
}

#[tokio::test]
async fn a_password_is_hashed_anew_by_whoever_had_it_checked() {
    let registry = testing::registry().await;
    for (id, username, is_remembered) in [(1, "checked", false), (2, "remembered", true)] {
        let record = tenant(username, Some("old-password"), None);
        let id = testing::add(&registry, id, &record).await;
        let stored = testing::tenant(&registry, id).await.password.clone().unwrap();
        assert!(passwords::is_outdated(stored.hash()));
        if is_remembered {
            let password = Secret::new("old-password".into());
            PASSWORDS.with(|mine| mine.remember(stored.hash(), &password));
        }
        let basic = basic(&format!("{username}:old-password"));
        let expected = format!("{username} password consumed");
        assert_eq!(told_by(&registry, "/", &[&basic]).await, expected);
        let stored = testing::tenant(&registry, id).await.password.clone().unwrap();
        assert_eq!(passwords::is_outdated(stored.hash()), is_remembered, "{username}");
    }
}

#[tokio::test]
async fn a_named_key_must_be_that_tenants() {
    for (user, key, expected) in [
        ("mike", ROBERTO_KEY, "401 wrong API key"),
        ("mike", "mike-password", "401 wrong API key"),
        ("nobody", MIKE_KEY, "401 X-Auth-User names no tenant"),
        ("keyless", "anything", "401 wrong API key"),
        ("off", OFF_KEY, "401 tenant disabled"),
        ("off", "wrong", "401 wrong API key"),
        ("", "", "401 X-Auth-User names no tenant"),
    ] {
        let lines = [format!("x-auth-user: {user}"), format!("x-auth-key: {key}")];
        assert_eq!(told("/", &[&lines[0], &lines[1]]).await, expected, "{user} {key}");
    }
}

#[tokio::test]
async fn several_proofs_of_one_tenant_are_one_identity() {
    let mike = basic("mike:mike-password");
    let x_auth = ["x-auth-user: mike", "x-auth-key: mike-key-0123456789"];
    let key = "apikey: mike-key-0123456789";
    assert_eq!(told("/", &[&mike, key]).await, "mike key:0000000000000007 consumed");
    assert_eq!(
        told("/", &[&mike, x_auth[0], x_auth[1], key]).await,
        "mike key:0000000000000007 consumed"
    );
    assert_eq!(told("/?apikey=mike-key-0123456789", &x_auth).await, "mike key:0000000000000007");
}

#[tokio::test]
async fn two_identities_are_400() {
    let mike = basic("mike:mike-password");
    let roberto = ["x-auth-user: roberto", "x-auth-key: roberto-key-0123456789"];
    assert_eq!(told("/", &[&mike, roberto[0], roberto[1]]).await, TWO);
    assert_eq!(told("/", &[&mike, "apikey: roberto-key-0123456789"]).await, TWO);
    assert_eq!(told("/?apikey=mike-key-0123456789", &roberto).await, TWO);
    // Two names differ before anything is known to be right.
    let strangers = ["x-auth-user: nobody", "x-auth-key: wrong"];
    assert_eq!(told("/", &[&basic("noone:wrong"), strangers[0], strangers[1]]).await, TWO);
}

#[tokio::test]
async fn one_wrong_proof_spoils_the_others() {
    let mike = basic("mike:mike-password");
    assert_eq!(told("/", &[&mike, "apikey: wrong"]).await, "401 unknown API key");
    let wrong = basic("mike:wrong");
    let key = "apikey: mike-key-0123456789";
    assert_eq!(told("/", &[&wrong, key]).await, "401 wrong password");
    assert_eq!(told("/", &[&wrong, "apikey: roberto-key-0123456789"]).await, "401 wrong password");
}

#[tokio::test]
async fn malformed_credentials_are_400_whatever_else_is_right() {
    let key = "apikey: mike-key-0123456789";
    for bad in ["authorization: Basic !", "apikey: mike-key-0123456789", "authorization: Basic"] {
        let answer = told("/", &[key, bad]).await;
        assert!(answer.starts_with("400 "), "{bad}: {answer}");
    }
}

#[tokio::test]
async fn a_foreign_page_may_not_use_a_password_but_may_use_a_key() {
    let mike = basic("mike:mike-password");
    let foreign = "origin: http://evil.flows.localhost";
    let refused = "403 A page of another origin may not use this credential.";
    assert_eq!(told("/", &[&mike, foreign]).await, refused);
    assert_eq!(told("/", &[&mike, "apikey: mike-key-0123456789", foreign]).await, refused);
    assert_eq!(told("/", &[&mike, "sec-fetch-site: same-site"]).await, refused);
    assert_eq!(
        told("/", &["apikey: mike-key-0123456789", foreign]).await,
        "mike key:0000000000000007"
    );
    let own = "origin: http://flows.localhost";
    assert_eq!(told("/", &[&mike, own]).await, "mike password consumed");
    // A foreign page learns nothing about a guess.
    assert_eq!(told("/", &[&basic("mike:wrong"), foreign]).await, "401 wrong password");
}
