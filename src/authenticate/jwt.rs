//! Consumers' tokens: JSON Web Tokens (RFC 7519) that they have signed themselves (RFC 7515).
//!
//! Nothing in a token says with what it is verified: the algorithm and the key are those that the
//! consumer's credential was made with (RFC 8725 sections 3.1 and 3.2). `jku`, `x5u`, `jwk` and `kid`
//! are not looked at; `crit` demands what is not known here, so the token is refused.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use crate::api::consumer::Algorithm;
use crate::clock::UnixMillis;

/// The longest token.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// The shortest modulus of an RSA key, in bytes (RFC 7518 section 3.3).
const RSA_BYTES_MIN: usize = 256;
/// The claim that names the consumer.
const CONSUMER_CLAIM: &str = "key";

/// A token, taken apart. Nothing of it is to be believed before [`Token::is_signed_with`].
#[derive(Debug)]
pub struct Token<'a> {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    signed: &'a str,
    signature: &'a str,
}

/// Why a token opens nothing. The client is told the kind, the log the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault(pub &'static str);

impl<'a> Token<'a> {
    /// Takes the three parts of the compact form apart (RFC 7515 section 7.1).
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &'a str) -> Result<Self, Fault> {
        const BAD: Fault = Fault("the token is malformed");
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Fault("the token is too long"));
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(BAD)?;
        let (header, claims) = signed.split_once('.').ok_or(BAD)?;
        let object = |part: &str| {
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).ok()?;
            serde_json::from_slice::<Map<String, Value>>(&bytes).ok()
        };
        let header = object(header).ok_or(BAD)?;
        if header.contains_key("crit") {
            return Err(Fault("the token's header has \"crit\""));
        }
        Ok(Self { header, claims: object(claims).ok_or(BAD)?, signed, signature })
    }

    /// What the header says of this.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&Value> {
        self.header.get(name)
    }

    /// A claim.
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }

    /// The consumer's claim.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.claims.get(CONSUMER_CLAIM).and_then(Value::as_str)
    }

    /// Whether it was signed with this key, by this algorithm and no other.
    ///
    /// # Errors
    /// It was not.
    pub fn is_signed_with(&self, algorithm: Algorithm, key: &DecodingKey) -> Result<(), Fault> {
        let named = self.header.get("alg").cloned().unwrap_or_default();
        let named: Option<Algorithm> = serde_json::from_value(named).ok();
        if named != Some(algorithm) {
            return Err(Fault("the token's algorithm is not the consumer's"));
        }
        let signed = self.signed.as_bytes();
        match jsonwebtoken::crypto::verify(self.signature, signed, key, theirs(algorithm)) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Fault("the token's signature is wrong")),
        }
    }

    /// Until when it is good.
    ///
    /// # Errors
    /// It is not, or not yet; or its times are no numbers (RFC 7519 section 2).
    pub fn until(&self, now: UnixMillis) -> Result<UnixMillis, Fault> {
        let moment = |name: &str| match self.claims.get(name) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(seconds) if seconds >= 0.0 => Ok(Some(UnixMillis((seconds * 1000.0) as u64))),
                _ => Err(Fault("a time in the token is no number")),
            },
        };
        if moment("nbf")?.is_some_and(|begin| now < begin) {
            return Err(Fault("the token is not good yet"));
        }
        match moment("exp")? {
            Some(end) if now >= end => Err(Fault("the token expired")),
            end => Ok(end.unwrap_or(UnixMillis::NEVER)),
        }
    }
}

/// The key of a symmetric algorithm.
#[must_use]
pub fn secret_key(secret: &[u8]) -> DecodingKey {
    DecodingKey::from_secret(secret)
}

/// A public key in PEM for this algorithm.
///
/// # Errors
/// It is none, or too short.
pub fn public_key(algorithm: Algorithm, pem: &str) -> Result<DecodingKey, &'static str> {
    const BAD: &str = "is no public key in PEM for this algorithm";
    // Else a private key would be kept where only a public one has to be.
    if pem.contains("PRIVATE KEY") {
        return Err("must be a public key, not the private one");
    }
    let pem = pem.as_bytes();
    let key = match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => return Err(BAD),
        Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem(pem),
        Algorithm::EdDSA => DecodingKey::from_ed_pem(pem),
        _ => DecodingKey::from_rsa_pem(pem),
    };
    let key = key.map_err(|_| BAD)?;
    // The modulus is most of it.
    let is_rsa = !matches!(algorithm, Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA);
    if is_rsa && key.as_bytes().len() < RSA_BYTES_MIN {
        return Err("must have at least 2048 bits");
    }
    // A point of another curve is found when something is verified.
    let probe = jsonwebtoken::crypto::verify("AAAA", b"", &key, theirs(algorithm));
    probe.map(|_| key).map_err(|_| BAD)
}

fn theirs(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    use jsonwebtoken::Algorithm as Theirs;
    match algorithm {
        Algorithm::HS256 => Theirs::HS256,
        Algorithm::HS384 => Theirs::HS384,
        Algorithm::HS512 => Theirs::HS512,
        Algorithm::RS256 => Theirs::RS256,
        Algorithm::RS384 => Theirs::RS384,
        Algorithm::RS512 => Theirs::RS512,
        Algorithm::PS256 => Theirs::PS256,
        Algorithm::PS384 => Theirs::PS384,
        Algorithm::PS512 => Theirs::PS512,
        Algorithm::ES256 => Theirs::ES256,
        Algorithm::ES384 => Theirs::ES384,
        Algorithm::EdDSA => Theirs::EdDSA,
    }
}

#[cfg(test)]
pub(crate) mod tests;
