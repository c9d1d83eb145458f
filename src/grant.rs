//! What an accepted request rests on. When the grant ends, so does everything that rests on it.

use std::fmt;

/// The ground on which a request was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// A public row: nothing was asked for.
    Anonymous,
    /// The tenant's password, while its hash is the one with this fingerprint.
    Password {
        /// [`crate::tenant::Password::fingerprint`] of the hash that was checked.
        fingerprint: u64,
    },
    /// One of the tenant's API keys.
    Key {
        /// The key's id within the tenant.
        id: KeyId,
    },
}

/// Names an API key within its tenant; says nothing about the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(pub u64);

/// For logs: the kind, and no more than a log may know.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::Password { .. } => f.write_str("password"),
            Self::Key { id } => write!(f, "key:{:x}", id.0),
        }
    }
}
