use std::net::Ipv4Addr;
use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::Request;
use jsonwebtoken::EncodingKey;
use serde_json::json;

use super::super::jwt::tests::{SECRET, signed};
use super::*;
use crate::api::consumer::Algorithm;
use crate::api::{Definition, Endpoint, Node, Owner, State};
use crate::client::RequestIds;
use crate::clock::Clock;
use crate::grant::KeyId;
use crate::passwords::Passwords;
use crate::registry::Registry;
use crate::registry::apis::record::{ApiRecord, ConsumerRecord, CredentialRecord, ProofRecord};
use crate::registry::audit::{Act, By};
use crate::registry::testing;
use crate::sealing::Sealing;

static PASSWORDS: LazyLock<Passwords> = LazyLock::new(|| Passwords::start(Clock::start()).unwrap());
const SEALING_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn client() -> Client {
    let request_id = RequestIds::new().unwrap().next();
    Client { address: (Ipv4Addr::LOCALHOST, 1).into(), over_tls: false, request_id }
}

fn act() -> Act {
    let (who, object) = ("ann".to_owned(), "api/1".to_owned());
    Act { by: By::Operator, who, verb: "create API", object, client: client() }
}

fn credential(id: u64, proof: ProofRecord) -> CredentialRecord {
    CredentialRecord { id: KeyId(id).to_string(), created_unix_ms: testing::BEGIN.0, proof }
}

/// Jack has a key, a password and tokens; Jill is another owner's, with the same.
async fn registry() -> Registry {
    let sealing = Sealing::parse(SEALING_KEY).unwrap();
    let registry = testing::registry().await;
    for (owner, username) in
        [(Owner::Operator, "jack"), (Owner::Tenant(crate::tenant::TenantId(7)), "jill")]
    {
        let owner = owner.to_string();
        let sealed = sealing.seal(&sealed_for(&owner, username), SECRET).unwrap();
        let sha256 = |key: &str| SecretDigest::of(&Secret::new(key.to_owned())).to_hex();
        let record = ConsumerRecord {
            credentials: vec![
                credential(
                    1,
                    ProofRecord::Key {
                        sha256: sha256(&format!("{username}_is_the_key")),
                        hint: None,
                    },
                ),
                credential(2, ProofRecord::Basic(testing::password("bar", 9))),
                credential(
                    3,
                    ProofRecord::Jwt {
                        key: format!("{username}-key"),
                        algorithm: Algorithm::HS256,
                        sealed: Some(sealed),
                        public_key: None,
                        fingerprint: 8,
                    },
                ),
            ],
            owner,
            username: username.to_owned(),
            created_unix_ms: testing::BEGIN.0,
        };
        registry.create_consumer(&act(), &record).await.unwrap();
    }
    registry.with_sealing(Some(Arc::new(sealing)))
}

fn api(security: &[Security], hide_credentials: bool) -> Api {
    let record = ApiRecord {
        owner: Owner::Operator.to_string(),
        definition: Definition {
            name: "Echo".to_owned(),
            context: "/".to_owned(),
            version: None,
            endpoint: Endpoint {
                nodes: vec![Node { url: "ws://127.0.0.1:9".to_owned(), weight: 1 }],
                ..Endpoint::default()
            },
            security: security.to_vec(),
            hide_credentials,
            plans: Vec::new(),
        },
        state: State::Published,
        blocked_by_operator: false,
        ends_unix_ms: None,
        created_unix_ms: 0,
    };
    record.to_api(crate::grant::ApiId(5), 1).unwrap()
}

async fn ask(
    registry: &Registry,
    api: &Api,
    target: &str,
    lines: &[&str],
) -> Result<Call, Refusal> {
    let mut request = Request::get(target).header("host", "flows.localhost");
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let authority = Authority { registry, passwords: &PASSWORDS };
    authority.check_call(&parts, api, client()).await
}

/// Who calls with which credential; or status and message.
async fn told(registry: &Registry, api: &Api, target: &str, lines: &[&str]) -> String {
    match ask(registry, api, target, lines).await {
        Ok(call) => match call.caller {
            Some(caller) => format!("{} {}", caller.username, &caller.credential[15..]),
            None => "nobody".to_owned(),
        },
        Err(refusal) => format!("{} {}", refusal.status().as_u16(), refusal.public()),
    }
}

fn basic(text: &str) -> String {
    format!("authorization: Basic {}", BASE64_STANDARD.encode(text))
}

fn token(claims: &serde_json::Value) -> String {
    let key = EncodingKey::from_secret(SECRET);
    signed(&json!({"alg": "HS256", "typ": "JWT"}), claims, Algorithm::HS256, &key)
}

#[tokio::test]
async fn keys_say_what_apisix_says() {
    let (registry, api) = (registry().await, api(&[Security::Key], true));
    let missing = "401 Missing API key in request";
    let wrong = "401 Invalid API key in request";
    for (target, lines, expected) in [
        ("/raw", &[][..], missing),
        ("/raw", &["authorization: Bearer jack_is_the_key"], missing),
        ("/raw", &["apikey: jack_is_the_key"], "jack 1"),
        ("/raw?apikey=jack%5Fis_the_key", &[], "jack 1"),
        ("/raw?apikey=other", &["apikey: jack_is_the_key"], "jack 1"),
        ("/raw", &["apikey: other"], wrong),
        ("/raw", &["apikey: "], wrong),
        // Another owner's consumer.
        ("/raw", &["apikey: jill_is_the_key"], wrong),
    ] {
        assert_eq!(told(&registry, &api, target, lines).await, expected, "{target} {lines:?}");
    }
    let twice = ["apikey: jack_is_the_key", "apikey: jack_is_the_key"];
    assert!(told(&registry, &api, "/raw", &twice).await.starts_with("400"));
}

#[tokio::test]
async fn passwords_say_what_apisix_says() {
    let (registry, api) = (registry().await, api(&[Security::Basic], true));
    for (line, expected) in [
        (basic("jack:bar"), "jack 2"),
        (basic("jack:other"), "401 Invalid user authorization"),
        (basic("nobody:bar"), "401 Invalid user authorization"),
        (basic("jill:bar"), "401 Invalid user authorization"),
        ("authorization: Bearer x".to_owned(), "401 Invalid authorization in request"),
        ("authorization: Basic ?".to_owned(), "401 Invalid authorization in request"),
        ("apikey: jack_is_the_key".to_owned(), "401 Missing authorization in request"),
    ] {
        assert_eq!(told(&registry, &api, "/raw", &[&line]).await, expected, "{line}");
    }
    assert!(ask(&registry, &api, "/raw", &[&basic("jack:bar")]).await.unwrap().is_ambient);
}

#[tokio::test]
async fn tokens_say_what_apisix_says() {
    let (registry, api) = (registry().await, api(&[Security::Jwt], true));
    let now_s = testing::BEGIN.0 / 1000;
    let good = token(&json!({"key": "jack-key", "exp": now_s + 60}));
    let late = token(&json!({"key": "jack-key", "exp": now_s}));
    let theirs = token(&json!({"key": "jill-key"}));
    let nameless = token(&json!({"sub": "jack-key"}));
    for (target, line, expected) in [
        ("/raw".to_owned(), format!("authorization: Bearer {good}"), "jack 3"),
        ("/raw".to_owned(), format!("authorization: {good}"), "jack 3"),
        (format!("/raw?jwt={good}"), "x: y".to_owned(), "jack 3"),
        ("/raw".to_owned(), format!("cookie: a=b; jwt={good}"), "jack 3"),
        ("/raw".to_owned(), "x: y".to_owned(), "401 Missing JWT token in request"),
        ("/raw".to_owned(), basic("jack:bar"), "401 Missing JWT token in request"),
        ("/raw?jwt=geheim".to_owned(), "x: y".to_owned(), "401 JWT token invalid"),
        (format!("/raw?jwt={late}"), "x: y".to_owned(), "401 failed to verify jwt"),
        (format!("/raw?jwt={good}x"), "x: y".to_owned(), "401 failed to verify jwt"),
        (format!("/raw?jwt={theirs}"), "x: y".to_owned(), "401 Invalid user key in JWT token"),
        (format!("/raw?jwt={nameless}"), "x: y".to_owned(), "401 Invalid user key in JWT token"),
    ] {
        assert_eq!(told(&registry, &api, &target, &[&line]).await, expected, "{target} {line}");
    }
    let call = ask(&registry, &api, "/raw", &[&format!("cookie: jwt={good}")]).await.unwrap();
    assert!(call.is_ambient, "a browser adds cookies by itself");
    let Grant::Consumer { until, .. } = call.grant else { panic!("{:?}", call.grant) };
    assert_eq!(until, UnixMillis((now_s + 60) * 1000));
    let call = ask(&registry, &api, "/raw", &[&format!("authorization: {good}")]).await.unwrap();
    assert!(!call.is_ambient && call.authorization_consumed);
    // Without the key nobody is let in.
    let without = registry.with_sealing(None);
    let line = format!("authorization: {good}");
    assert!(told(&without, &api, "/raw", &[&line]).await.starts_with("503"));
}

#[tokio::test]
async fn one_of_several_kinds_is_enough_and_an_open_api_asks_for_none() {
    let registry = registry().await;
    let several = api(&[Security::Basic, Security::Key], false);
    let call = ask(&registry, &several, "/raw", &["apikey: jack_is_the_key"]).await.unwrap();
    assert_eq!(call.caller.unwrap().passes, Some(Carrier::KeyHeader));
    let missing = "401 Missing authorization in request";
    assert_eq!(told(&registry, &several, "/raw", &[]).await, missing);
    let bearer = format!("authorization: Bearer {}", token(&json!({"key": "jack-key"})));
    for kinds in [[Security::Basic, Security::Jwt], [Security::Jwt, Security::Basic]] {
        let several = api(&kinds, false);
        assert_eq!(told(&registry, &several, "/raw", &[&bearer]).await, "jack 3");
        assert_eq!(told(&registry, &several, "/raw", &[&basic("jack:bar")]).await, "jack 2");
    }
    let malformed = "401 Invalid authorization in request";
    let lines = ["authorization: Bearer x", "apikey: jack_is_the_key"];
    assert_eq!(told(&registry, &several, "/raw", &lines).await, "jack 1");
    assert_eq!(told(&registry, &several, "/raw", &lines[..1]).await, malformed);
    let lines = ["authorization: Basic ?", "apikey: jack_is_the_key"];
    assert_eq!(told(&registry, &several, "/raw", &lines).await, malformed);
    assert_eq!(told(&registry, &api(&[Security::None], true), "/raw", &[]).await, "nobody");
    let oauth2 = api(&[Security::Oauth2], true);
    let missing = "401 Missing access token in request";
    assert_eq!(told(&registry, &oauth2, "/raw", &[]).await, missing);
    let invalid = "401 Invalid access token in request";
    let bearer = "authorization: Bearer x";
    assert_eq!(told(&registry, &oauth2, "/raw", &[bearer]).await, invalid);
}

/// Anybody may send a token with a wrong signature and somebody's claim.
#[tokio::test]
async fn a_public_key_is_read_once() {
    let (registry, api) = (registry().await, api(&[Security::Jwt], true));
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let proof = ProofRecord::Jwt {
        key: "joe-key".to_owned(),
        algorithm: Algorithm::ES384,
        sealed: None,
        public_key: Some(pair.public_key_pem()),
        fingerprint: 8,
    };
    let record = ConsumerRecord {
        credentials: vec![credential(1, proof)],
        owner: Owner::Operator.to_string(),
        username: "joe".to_owned(),
        created_unix_ms: testing::BEGIN.0,
    };
    registry.create_consumer(&act(), &record).await.unwrap();
    let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
    let sign = |claims| signed(&json!({"alg": "ES384"}), &claims, Algorithm::ES384, &key);
    let (good, other) = (sign(json!({"key": "joe-key"})), sign(json!({"key": "joe"})));
    let wrong = good.rsplit_once('.').unwrap().0.to_owned() + &other[other.rfind('.').unwrap()..];
    let wrong = told(&registry, &api, &format!("/raw?jwt={wrong}"), &[]).await;
    assert_eq!(wrong, "401 failed to verify jwt");
    let joe = registry.directory().consumer_named(Owner::Operator, "joe").unwrap();
    let Proof::Jwt { verifier: Verifier::PublicKey(read), .. } = &joe.credentials[0].proof else {
        panic!("{joe:?}")
    };
    assert!(read.key(|_| None).is_some(), "it was not kept");
    assert_eq!(told(&registry, &api, &format!("/raw?jwt={good}"), &[]).await, "joe 1");
}
