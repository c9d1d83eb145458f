//! Consumers: whom an API's owner has given a credential of their own.

use std::sync::OnceLock;

use jsonwebtoken::DecodingKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Owner, Security};
use crate::clock::UnixMillis;
use crate::grant::{ConsumerId, KeyId};
use crate::secret::SecretDigest;
use crate::tenant::Password;

const NAME_BYTES_MAX: usize = 64;

/// Whether a text can be a consumer's name: it goes into a header, and into Basic credentials.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

/// How a consumer's tokens are signed (RFC 7518 section 3.1, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[schema(as = TokenAlgorithm)]
pub enum Algorithm {
    /// HMAC with SHA-256, by a secret that both sides have.
    HS256,
    /// HMAC with SHA-384.
    HS384,
    /// HMAC with SHA-512.
    HS512,
    /// RSA with PKCS #1 v1.5 and SHA-256.
    RS256,
    /// RSA with PKCS #1 v1.5 and SHA-384.
    RS384,
    /// RSA with PKCS #1 v1.5 and SHA-512.
    RS512,
    /// RSA with PSS and SHA-256.
    PS256,
    /// RSA with PSS and SHA-384.
    PS384,
    /// RSA with PSS and SHA-512.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

impl Algorithm {
    /// Whether both sides have the same secret.
    #[must_use]
    pub fn is_symmetric(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }
}

/// A public key. To read it costs as much as to verify with it, so it is done once.
#[derive(Clone, Debug)]
pub struct PublicKey {
    pem: String,
    read: OnceLock<Option<DecodingKey>>,
}

impl PublicKey {
    /// A key in PEM, which nobody has read yet.
    #[must_use]
    pub fn new(pem: String) -> Self {
        Self { pem, read: OnceLock::new() }
    }

    /// The key, by `read` if this is the first time. `None` if that could not.
    pub fn key(&self, read: impl FnOnce(&str) -> Option<DecodingKey>) -> Option<&DecodingKey> {
        self.read.get_or_init(|| read(&self.pem)).as_ref()
    }
}

/// What a consumer's tokens are verified with.
#[derive(Clone, Debug)]
pub enum Verifier {
    /// The secret, sealed; see [`crate::sealing`].
    Sealed(String),
    /// The public key.
    PublicKey(PublicKey),
}

/// One of a consumer's credentials.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Its name within the consumer; the endpoint is told it.
    pub id: KeyId,
    /// What is checked.
    pub proof: Proof,
    /// When it was made.
    pub created_at: UnixMillis,
}

/// What a credential is checked by.
#[derive(Clone, Debug)]
pub enum Proof {
    /// A key.
    Key {
        /// What is kept of it.
        digest: SecretDigest,
        /// Its last four characters, where it was long enough to tell them.
        hint: Option<String>,
    },
    /// A password, beside the consumer's name.
    Basic(Password),
    /// Tokens.
    Jwt {
        /// The value of the claim `key` that names the consumer.
        key: String,
        /// The only algorithm that is taken.
        algorithm: Algorithm,
        /// What signatures are verified with.
        verifier: Verifier,
        /// Random for each new credential.
        fingerprint: u64,
    },
}

impl Credential {
    /// What an API has to ask for that this one opens it.
    #[must_use]
    pub fn kind(&self) -> Security {
        match self.proof {
            Proof::Key { .. } => Security::Key,
            Proof::Basic(_) => Security::Basic,
            Proof::Jwt { .. } => Security::Jwt,
        }
    }

    /// Tells it from one that replaced it.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        match &self.proof {
            Proof::Key { digest, .. } => digest.fingerprint(),
            Proof::Basic(password) => password.fingerprint(),
            Proof::Jwt { fingerprint, .. } => *fingerprint,
        }
    }
}

/// A consumer, as requests meet them.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// Random and permanent.
    pub id: ConsumerId,
    /// Changes with every change.
    pub revision: u64,
    /// Whose consumer it is: theirs of all the owner's APIs.
    pub owner: Owner,
    /// Unique among the owner's.
    pub username: String,
    /// What they can present.
    pub credentials: Vec<Credential>,
}

impl Consumer {
    /// The credential with this id.
    #[must_use]
    pub fn credential(&self, id: KeyId) -> Option<&Credential> {
        self.credentials.iter().find(|credential| credential.id == id)
    }

    /// The digests of their keys.
    pub fn digests(&self) -> impl Iterator<Item = SecretDigest> {
        self.credentials.iter().filter_map(|credential| match credential.proof {
            Proof::Key { digest, .. } => Some(digest),
            _ => None,
        })
    }

    /// The claims by which their tokens name them.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.credentials.iter().filter_map(|credential| match &credential.proof {
            Proof::Jwt { key, .. } => Some(key.as_str()),
            _ => None,
        })
    }
}
