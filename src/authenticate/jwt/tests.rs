use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW: UnixMillis = UnixMillis(1_790_000_000_500);
const NOW_S: u64 = 1_790_000_000;
pub const SECRET: &[u8] = b"a-secret-that-is-long-enough-for-all";

/// A token of these two parts, signed as `algorithm` says, whatever the header says.
pub fn signed(header: &Value, claims: &Value, algorithm: Algorithm, key: &EncodingKey) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), key, theirs(algorithm)).unwrap();
    format!("{signed}.{signature}")
}

fn hs256(header: &Value, claims: &Value) -> String {
    signed(header, claims, Algorithm::HS256, &EncodingKey::from_secret(SECRET))
}

fn verdict(token: &str, algorithm: Algorithm, key: &DecodingKey) -> Result<(), Fault> {
    let token = Token::parse(token)?;
    token.is_signed_with(algorithm, key)?;
    token.until(NOW).map(|_| ())
}

#[test]
fn a_token_of_the_consumer_is_good() {
    let token = hs256(&json!({"alg": "HS256", "typ": "JWT"}), &json!({"key": "jack-key"}));
    assert_eq!(verdict(&token, Algorithm::HS256, &secret_key(SECRET)), Ok(()));
    assert_eq!(Token::parse(&token).unwrap().key(), Some("jack-key"));
    assert_eq!(Token::parse(&token).unwrap().until(NOW), Ok(UnixMillis::NEVER));
}

#[test]
fn the_header_does_not_choose_what_it_is_verified_with() {
    let claims = json!({"key": "jack-key"});
    let own = json!({"kty": "oct", "k": BASE64_URL_SAFE_NO_PAD.encode(b"mine")});
    for (header, is_good) in [
        (json!({"alg": "HS256", "jku": "https://evil.example", "x5u": 7, "jwk": own}), true),
        (json!({"alg": "HS256", "jwk": "no key at all", "kid": ["x"]}), true),
        (json!({"alg": "HS512"}), false),
        (json!({"alg": "none"}), false),
        (json!({"alg": "None"}), false),
        (json!({"alg": ["HS256"]}), false),
        (json!({}), false),
        (json!({"alg": "HS256", "crit": ["b64"], "b64": false}), false),
        (json!({"alg": "HS256", "crit": []}), false),
    ] {
        let token = hs256(&header, &claims);
        let found = verdict(&token, Algorithm::HS256, &secret_key(SECRET));
        assert_eq!(found.is_ok(), is_good, "{header}: {found:?}");
    }
    // A public key is no secret, so it must not serve as one.
    let pair = rcgen::KeyPair::generate().unwrap();
    let pem = pair.public_key_pem();
    let forged = signed(
        &json!({"alg": "HS256"}),
        &claims,
        Algorithm::HS256,
        &EncodingKey::from_secret(pem.as_bytes()),
    );
    let key = public_key(Algorithm::ES256, &pem).unwrap();
    assert!(verdict(&forged, Algorithm::ES256, &key).is_err());
}

#[test]
fn times_are_kept_to_the_second() {
    let until = |claims: Value| {
        let token = hs256(&json!({"alg": "HS256"}), &claims);
        Token::parse(&token).unwrap().until(NOW)
    };
    let end = UnixMillis((NOW_S + 1) * 1000);
    assert_eq!(until(json!({"exp": NOW_S + 1})), Ok(end));
    assert_eq!(until(json!({"exp": NOW_S + 1, "nbf": NOW_S})), Ok(end));
    assert_eq!(until(json!({"nbf": NOW_S + 1})), Err(Fault("the token is not good yet")));
    assert_eq!(until(json!({"exp": NOW_S})), Err(Fault("the token expired")));
    for bad in [json!("soon"), json!(-1), json!(null), json!({})] {
        assert!(until(json!({"exp": bad})).is_err(), "{bad}");
    }
}

#[test]
fn every_algorithm_verifies_what_it_signed_and_nothing_else() {
    let claims = json!({"key": "jack-key"});
    let mut kinds: Vec<(Algorithm, EncodingKey, DecodingKey)> = Vec::new();
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        kinds.push((algorithm, EncodingKey::from_secret(SECRET), secret_key(SECRET)));
    }
    let pair = |algorithm, its: &'static rcgen::SignatureAlgorithm| {
        let pair = rcgen::KeyPair::generate_for(its).unwrap();
        let pem = pair.serialize_pem();
        let encoding = match algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_pem(pem.as_bytes()).unwrap(),
            _ => EncodingKey::from_ec_pem(pem.as_bytes()).unwrap(),
        };
        (algorithm, encoding, public_key(algorithm, &pair.public_key_pem()).unwrap())
    };
    kinds.push(pair(Algorithm::ES256, &rcgen::PKCS_ECDSA_P256_SHA256));
    kinds.push(pair(Algorithm::ES384, &rcgen::PKCS_ECDSA_P384_SHA384));
    kinds.push(pair(Algorithm::EdDSA, &rcgen::PKCS_ED25519));
    let private = include_bytes!("tests/rsa.pem");
    let public = include_str!("tests/rsa.pub.pem");
    for algorithm in [
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
    ] {
        let key = EncodingKey::from_rsa_pem(private).unwrap();
        kinds.push((algorithm, key, public_key(algorithm, public).unwrap()));
    }
    for (algorithm, sign, verify) in &kinds {
        let token = signed(&json!({"alg": algorithm}), &claims, *algorithm, sign);
        assert_eq!(verdict(&token, *algorithm, verify), Ok(()), "{algorithm:?}");
        for (other, _, key) in &kinds {
            let found = verdict(&token, *other, key);
            assert_eq!(found.is_ok(), other == algorithm, "{algorithm:?} as {other:?}");
        }
    }
}

#[test]
fn a_key_that_is_none_or_too_weak_is_refused() {
    let p256 = rcgen::KeyPair::generate().unwrap();
    for (algorithm, pem) in [
        (Algorithm::RS256, "geheim"),
        (Algorithm::RS256, include_str!("tests/weak.pub.pem")),
        (Algorithm::ES256, include_str!("tests/rsa.pub.pem")),
        (Algorithm::EdDSA, &p256.public_key_pem()),
        (Algorithm::ES256, &p256.serialize_pem()),
        (Algorithm::HS256, include_str!("tests/rsa.pub.pem")),
    ] {
        let fault = public_key(algorithm, pem).map(|_| ()).unwrap_err();
        assert!(!fault.contains("geheim"));
    }
}

proptest! {
    #[test]
    fn no_text_panics_and_no_changed_token_is_good(text in ".*", place in 0_usize..200, bit in 0_u8..7) {
        let _ = Token::parse(&text).map(|token| token.until(NOW).is_ok());
        let token = hs256(&json!({"alg": "HS256"}), &json!({"key": "jack-key", "exp": NOW_S + 9}));
        let mut bytes = token.clone().into_bytes();
        let place = place % bytes.len();
        bytes[place] ^= 1 << bit;
        let changed = String::from_utf8(bytes).unwrap();
        prop_assert!(verdict(&changed, Algorithm::HS256, &secret_key(SECRET)).is_err());
    }
}
