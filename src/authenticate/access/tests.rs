use jsonwebtoken::EncodingKey;

use super::*;
use crate::api::signing::{Fresh, Use};
use crate::authenticate::jwt::tests::signed;

const NOW: UnixMillis = UnixMillis(1_790_000_000_000);
const NOW_S: u64 = 1_790_000_000;

/// A key, and its private half.
fn key(used: Use, until: Option<UnixMillis>) -> (SigningKey, Vec<u8>) {
    let fresh = Fresh::make().unwrap();
    let key = SigningKey {
        id: fresh.id,
        used,
        public: fresh.public,
        sealed: String::new(),
        created_at: NOW,
        current_since: Some(NOW),
        until,
    };
    (key, fresh.private.to_vec())
}

fn token(key: u64) -> AccessToken {
    AccessToken {
        application: ApplicationId(7),
        apis: vec![ApiId(1), ApiId(2)],
        scope: "default".to_owned(),
        issued_at: NOW,
        until: NOW.plus(Duration::from_secs(60)),
        jti: 11,
        secret: 13,
        key,
    }
}

const ISSUER: &str = "https://flows.example.org";

#[test]
fn a_token_is_read_as_it_was_written_until_it_is_over() {
    let (current, private) = key(Use::Current, None);
    let token = token(current.id);
    let text = token.write(ISSUER, &current, &private).unwrap();
    let ring = KeyRing { keys: vec![current] };
    assert!(is_access_token(text.expose()));
    let after = |seconds| NOW.plus(Duration::from_secs(seconds));
    assert_eq!(AccessToken::verify(text.expose(), &ring, after(59)), Ok(token));
    let over = AccessToken::verify(text.expose(), &ring, after(60));
    assert_eq!(over, Err(Fault("the token expired")));
}

/// RFC 9068 section 2.
#[test]
fn a_token_has_what_the_standard_asks_for() {
    let (current, private) = key(Use::Current, None);
    let text = token(current.id).write(ISSUER, &current, &private).unwrap();
    let part = |place: usize| -> Value {
        let part = text.expose().split('.').nth(place).unwrap();
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    assert_eq!(part(0), json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": kid(current.id) }));
    let claims = part(1);
    for (name, expected) in [
        ("iss", json!(ISSUER)),
        ("sub", json!("0000000000000007")),
        ("client_id", json!("0000000000000007")),
        ("aud", json!(["urn:flowgate:api:0000000000000001", "urn:flowgate:api:0000000000000002"])),
        ("scope", json!("default")),
        ("iat", json!(NOW_S)),
        ("exp", json!(NOW_S + 60)),
        ("jti", json!("000000000000000b")),
    ] {
        assert_eq!(claims[name], expected, "{name}");
    }
}

#[test]
fn only_the_rings_keys_count_while_they_last() {
    let (current, private) = key(Use::Current, None);
    let (previous, old) = key(Use::Previous, Some(NOW.plus(Duration::from_secs(30))));
    let (_, foreign) = key(Use::Current, None);
    let ring = KeyRing { keys: vec![current.clone(), previous.clone()] };
    let verdict = |key: &SigningKey, private: &[u8], seconds| {
        let text = token(key.id).write(ISSUER, key, private).unwrap();
        let now = NOW.plus(Duration::from_secs(seconds));
        AccessToken::verify(text.expose(), &ring, now).map_err(|Fault(why)| why)
    };
    assert!(verdict(&current, &private, 0).is_ok());
    assert!(verdict(&previous, &old, 29).is_ok());
    let none = Err("the token was signed with no key of ours");
    assert_eq!(verdict(&previous, &old, 30), none);
    assert_eq!(verdict(&current, &foreign, 0), Err("the token's signature is wrong"));
    assert_eq!(verdict(&current, &old, 0), Err("the token's signature is wrong"));
    let empty = KeyRing::default();
    let text = token(current.id).write(ISSUER, &current, &private).unwrap();
    assert!(AccessToken::verify(text.expose(), &empty, NOW).is_err());
}

#[test]
fn neither_header_nor_claims_can_be_other_than_what_we_write() {
    let (current, private) = key(Use::Current, None);
    let ring = KeyRing { keys: vec![current.clone()] };
    let prefix = [48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];
    let der = [&prefix[..], &private].concat();
    let ed = EncodingKey::from_ed_der(&der);
    let header = json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": kid(current.id) });
    let claims = json!({
        "client_id": "0000000000000007", "aud": ["urn:flowgate:api:0000000000000001"],
        "scope": "default", "iat": NOW_S, "exp": NOW_S + 60,
        "jti": "000000000000000b", "secret": "000000000000000d",
    });
    let verdict = |header: &Value, claims: &Value, algorithm, key: &EncodingKey| {
        AccessToken::verify(&signed(header, claims, algorithm, key), &ring, NOW)
    };
    assert!(verdict(&header, &claims, Algorithm::EdDSA, &ed).is_ok());
    for (member, value) in [
        ("typ", json!("JWT")),
        ("typ", json!("AT+JWT")),
        ("typ", Value::Null),
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("kid", json!("fg-0000000000000000")),
        ("kid", json!("../../key")),
        ("kid", Value::Null),
        ("crit", json!(["exp"])),
    ] {
        let mut changed = header.clone();
        changed[member] = value.clone();
        let found = verdict(&changed, &claims, Algorithm::EdDSA, &ed);
        assert!(found.is_err(), "{member} {value}: {found:?}");
    }
    for (member, value) in [
        ("exp", Value::Null),
        ("exp", json!(NOW_S)),
        ("exp", json!("2099")),
        ("nbf", json!(NOW_S + 1)),
        ("iat", json!(NOW_S + 61)),
        ("iat", Value::Null),
        ("aud", json!("urn:flowgate:api:0000000000000001")),
        ("aud", json!(["https://other.example"])),
        ("client_id", json!("7")),
        ("jti", Value::Null),
        ("secret", Value::Null),
    ] {
        let mut changed = claims.clone();
        changed[member] = value.clone();
        let found = verdict(&header, &changed, Algorithm::EdDSA, &ed);
        assert!(found.is_err(), "{member} {value}: {found:?}");
    }
    // The public half is no secret to sign with.
    let hs = EncodingKey::from_secret(&current.public);
    let mut weak = header;
    weak["alg"] = json!("HS256");
    assert!(verdict(&weak, &claims, Algorithm::HS256, &hs).is_err());
}

#[test]
fn a_token_of_somebody_elses_is_not_taken_for_ours() {
    let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let ours = json!({ "typ": "at+jwt", "kid": kid(1) });
    assert!(is_access_token(&format!("{}.x.y", part(ours))));
    for header in [
        json!({ "typ": "at+jwt", "kid": "another" }),
        json!({ "typ": "JWT", "kid": kid(1) }),
        json!({ "kid": kid(1) }),
        json!(["at+jwt"]),
        json!({ "typ": "at+jwt", "kid": kid(1), "x": "x".repeat(HEADER_BYTES_MAX) }),
    ] {
        assert!(!is_access_token(&format!("{}.x.y", part(header.clone()))), "{header}");
    }
    for text in ["", ".", "fgk_abc", "a.b.c", "%%%.x.y"] {
        assert!(!is_access_token(text), "{text}");
    }
}
