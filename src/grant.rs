//! What an accepted request rests on. When the grant ends, so does everything that rests on it.

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::UnixMillis;
use crate::secret::SecretDigest;

/// The ground on which a request was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// A public row: nothing was asked for.
    Anonymous,
    /// The tenant's password, while it is the one with this fingerprint.
    Password {
        /// [`crate::tenant::Password::fingerprint`] of the password that was checked.
        fingerprint: u64,
    },
    /// One of the tenant's API keys, while its secret is the one with this fingerprint.
    Key {
        /// The key's id within the tenant.
        id: KeyId,
        /// [`crate::secret::SecretDigest::fingerprint`] of the secret that was presented.
        secret: u64,
    },
    /// A browser's session, until it is ended or its time is over, while the password is the one
    /// that it began with.
    Session {
        /// Which.
        id: SessionId,
        /// As in [`Grant::Password`].
        fingerprint: u64,
        /// When it is over, however much it is used.
        until: UnixMillis,
    },
    /// A published API that asks for no credential.
    Open {
        /// Which.
        api: ApiId,
    },
    /// A credential of a consumer of a published API, while the API and the credential last.
    Consumer {
        /// The API.
        api: ApiId,
        /// Whose credential it is.
        consumer: ConsumerId,
        /// Which of theirs.
        credential: KeyId,
        /// The credential's fingerprint; another one after it was replaced.
        secret: u64,
        /// When the token that was presented is over; [`UnixMillis::NEVER`] for other credentials.
        until: UnixMillis,
    },
    /// An access token of an application's, while the API, the subscription, the secret that it was
    /// issued for and the key that signed it last.
    Token {
        /// The API.
        api: ApiId,
        /// By which the application may call it.
        subscription: SubscriptionId,
        /// [`crate::secret::SecretDigest::fingerprint`] of the application's secret.
        secret: u64,
        /// Which key has signed the token.
        key: u64,
        /// Which token.
        jti: u64,
        /// When it is over.
        until: UnixMillis,
    },
}

/// Names a published API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ApiId(pub u64);

/// Names a consumer of published APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConsumerId(pub u64);

/// Names an application that calls published APIs: its consumer key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ApplicationId(pub u64);

/// Names an application's subscription to a published API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SubscriptionId(pub u64);

impl ApplicationId {
    /// Reads what `Display` writes: 16 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        KeyId::from_hex(text).map(|id| Self(id.0))
    }
}

impl SubscriptionId {
    /// Reads what `Display` writes: 16 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        KeyId::from_hex(text).map(|id| Self(id.0))
    }
}

impl fmt::Display for ApplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl ApiId {
    /// Reads what `Display` writes: 16 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        KeyId::from_hex(text).map(|id| Self(id.0))
    }
}

impl ConsumerId {
    /// Reads what `Display` writes: 16 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        KeyId::from_hex(text).map(|id| Self(id.0))
    }
}

impl fmt::Display for ApiId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for ConsumerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Grant {
    /// Whether it is a stranger's, who has presented nothing.
    #[must_use]
    pub fn is_strangers(&self) -> bool {
        matches!(self, Self::Anonymous | Self::Open { .. })
    }

    /// Whether it is somebody's else than the tenant's: a stranger's, or that of whoever calls a
    /// published API.
    #[must_use]
    pub fn is_guests(&self) -> bool {
        matches!(self, Self::Anonymous) || self.api().is_some()
    }

    /// When what it rests on at a published API is over by itself.
    #[must_use]
    pub fn ends_at(&self) -> Option<UnixMillis> {
        match self {
            Self::Consumer { until, .. } | Self::Token { until, .. } => Some(*until),
            _ => None,
        }
    }

    /// The published API that it rests on, if it does.
    #[must_use]
    pub fn api(&self) -> Option<ApiId> {
        match self {
            Self::Open { api } | Self::Consumer { api, .. } | Self::Token { api, .. } => Some(*api),
            _ => None,
        }
    }
}

/// Names a session: the digest of the secret in its cookie, by which the registry has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(pub SecretDigest);

impl SessionId {
    /// Reads what [`SecretDigest::to_hex`] writes.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        SecretDigest::from_hex(text).map(Self)
    }
}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_hex())
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text)
            .ok_or_else(|| D::Error::custom("a session's id must be 64 hexadecimal digits"))
    }
}

/// Names an API key within its tenant; says nothing about the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyId(pub u64);

impl KeyId {
    /// The default key of every tenant.
    pub const DEFAULT: Self = Self(0);

    /// The id of a named key, made of randomness.
    #[must_use]
    pub fn named(random: u64) -> Self {
        Self(random.max(Self::DEFAULT.0 + 1))
    }

    /// Reads what `Display` writes.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let is_id = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u64::from_str_radix(text, 16).ok().filter(|_| is_id).map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// For logs: the kind, and no more than a log may know.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::Password { .. } => f.write_str("password"),
            Self::Session { .. } => f.write_str("session"),
            Self::Key { id: KeyId::DEFAULT, .. } => f.write_str("key:default"),
            Self::Key { id, .. } => write!(f, "key:{id}"),
            Self::Open { .. } => f.write_str("open"),
            Self::Consumer { consumer, credential, .. } => {
                write!(f, "consumer:{consumer}/{credential}")
            }
            Self::Token { subscription, jti, .. } => {
                write!(f, "token:{subscription}/{jti:016x}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_named_key_is_the_default_one() {
        for random in [0, 1, u64::MAX] {
            assert_ne!(KeyId::named(random), KeyId::DEFAULT);
        }
        assert_eq!(KeyId::named(7), KeyId(7));
    }
}
