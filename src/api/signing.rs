//! The keys by which access tokens are signed: Ed25519 (RFC 8032, RFC 8037), one that signs, the one
//! that will be next, and those whose tokens are not over yet.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::clock::UnixMillis;
use crate::secret::Secret;

/// The longest that any access token is good.
pub const TOKEN_LIFE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// What `kid` begins with.
pub const KID_PREFIX: &str = "fg-";
/// Bytes of a private key, and of a public one.
pub const KEY_BYTES: usize = 32;
/// What stands before the 32 bytes of a private key in PKCS #8 (RFC 8410 section 7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// What a key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = SigningKeyUse)]
pub enum Use {
    /// It is told already, so that whoever keeps our keys has it in time, and signs nothing yet.
    Next,
    /// It signs.
    Current,
    /// It has signed what may be good still.
    Previous,
}

/// One key.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// Random; [`kid`] writes it.
    pub id: u64,
    /// What for.
    pub used: Use,
    /// The public half.
    pub public: [u8; KEY_BYTES],
    /// The private half; see [`crate::sealing`].
    pub sealed: String,
    /// When it was made.
    pub created_at: UnixMillis,
    /// Since when it signs, if it does or did.
    pub current_since: Option<UnixMillis>,
    /// When the last of its tokens is over, for a previous one.
    pub until: Option<UnixMillis>,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    /// In no order.
    pub keys: Vec<SigningKey>,
}

/// A private key that was just made, and its public half.
#[derive(Debug)]
pub struct Fresh {
    /// The private half.
    pub private: Zeroizing<[u8; KEY_BYTES]>,
    /// The public half.
    pub public: [u8; KEY_BYTES],
    /// A name for it.
    pub id: u64,
}

/// The name of a key in tokens (RFC 7515 section 4.1.4).
#[must_use]
pub fn kid(id: u64) -> String {
    format!("{KID_PREFIX}{id:016x}")
}

/// Reads what [`kid`] writes.
#[must_use]
pub fn id_of(kid: &str) -> Option<u64> {
    let digits = kid.strip_prefix(KID_PREFIX)?;
    let is_id = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|_| is_id)
}

/// The place for which a private key is sealed.
#[must_use]
pub fn sealed_for(id: u64) -> String {
    format!("signing-key/{}", kid(id))
}

impl Fresh {
    /// A new key.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn make() -> Result<Self, getrandom::Error> {
        let mut private = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(&mut *private)?;
        let public = public_of(&*private).ok_or(getrandom::Error::UNEXPECTED)?;
        Ok(Self { private, public, id: getrandom::u64()? })
    }
}

fn public_of(private: &[u8]) -> Option<[u8; KEY_BYTES]> {
    let pair = Ed25519KeyPair::from_seed_unchecked(private).ok()?;
    pair.public_key().as_ref().try_into().ok()
}

impl SigningKey {
    /// What verifies its tokens.
    #[must_use]
    pub fn verifier(&self) -> DecodingKey {
        DecodingKey::from_ed_der(&self.public)
    }

    /// As others are told it (RFC 8037 section 2).
    #[must_use]
    pub fn to_jwk(&self) -> Value {
        json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "use": "sig",
            "alg": "EdDSA",
            "kid": kid(self.id),
            "x": BASE64_URL_SAFE_NO_PAD.encode(self.public),
        })
    }
}

impl KeyRing {
    /// The key that signs.
    #[must_use]
    pub fn current(&self) -> Option<&SigningKey> {
        self.keys.iter().find(|key| key.used == Use::Current)
    }

    /// The key with this id, while its tokens count.
    #[must_use]
    pub fn key(&self, id: u64, now: UnixMillis) -> Option<&SigningKey> {
        let key = self.keys.iter().find(|key| key.id == id)?;
        key.until.is_none_or(|until| now < until).then_some(key)
    }

    /// All public keys (RFC 7517 section 5), the one that signs first.
    #[must_use]
    pub fn to_jwks(&self, now: UnixMillis) -> Value {
        let counts = |key: &&SigningKey| self.key(key.id, now).is_some();
        let mut keys: Vec<_> = self.keys.iter().filter(counts).collect();
        keys.sort_by_key(|key| match key.used {
            Use::Current => 0,
            Use::Next => 1,
            Use::Previous => 2,
        });
        json!({ "keys": keys.iter().map(|key| key.to_jwk()).collect::<Vec<_>>() })
    }
}

/// Signs the first two parts of a token with a private key; adds the third.
#[must_use]
pub fn sign(private: &[u8], signed: String) -> Option<Secret> {
    if private.len() != KEY_BYTES {
        return None;
    }
    let der = Zeroizing::new([&PKCS8_PREFIX[..], private].concat());
    let key = EncodingKey::from_ed_der(&der);
    let algorithm = jsonwebtoken::Algorithm::EdDSA;
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, algorithm).ok()?;
    Some(Secret::new(format!("{signed}.{signature}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_key_signs_its_public_half_verifies() {
        let (one, other) = (Fresh::make().unwrap(), Fresh::make().unwrap());
        let token = sign(&*one.private, "aGVhZA.Ym9keQ".to_owned()).unwrap();
        let (signed, signature) = token.expose().rsplit_once('.').unwrap();
        for (fresh, expected) in [(&one, true), (&other, false)] {
            let key = DecodingKey::from_ed_der(&fresh.public);
            let algorithm = jsonwebtoken::Algorithm::EdDSA;
            let verdict =
                jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &key, algorithm);
            assert_eq!(verdict.unwrap(), expected);
        }
    }

    /// RFC 8032 section 7.1, the first test.
    #[test]
    fn the_public_half_is_that_of_the_standard() {
        let hex = |text: &str| -> Vec<u8> {
            let digits = |place: usize| u8::from_str_radix(&text[place..place + 2], 16).unwrap();
            (0..text.len()).step_by(2).map(digits).collect()
        };
        let private = hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let public = hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        assert_eq!(public_of(&private).unwrap().to_vec(), public);
    }

    #[test]
    fn a_kid_is_read_back_and_nothing_else_is_one() {
        assert_eq!(id_of(&kid(0xfe)), Some(0xfe));
        for bad in ["", "fg-", "fe", "fg-fe", "fg-+0000000000000fe", "xx-00000000000000fe"] {
            assert_eq!(id_of(bad), None, "{bad}");
        }
    }
}
