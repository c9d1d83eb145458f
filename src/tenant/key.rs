//! API keys, those that open something and those that once did.

use crate::clock::UnixMillis;
use crate::close::Cause;
use crate::grant::KeyId;
use crate::path::is_under;
use crate::secret::SecretDigest;

/// An API key, as far as it is stored.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Its name within the tenant, for programs.
    pub id: KeyId,
    /// Its name for people; the default key has none.
    pub name: Option<String>,
    /// What is kept of the secret itself.
    pub digest: SecretDigest,
    /// The secret's last four characters.
    pub hint: Option<String>,
    /// When the secret was made.
    pub created_at: UnixMillis,
    /// When it stops working.
    pub expires_at: Option<UnixMillis>,
    /// The paths below `node_root` that it opens, each with all below it; empty for all.
    pub scope: Vec<String>,
    /// The secret before the last rotation, while both work.
    pub previous: Option<PreviousSecret>,
}

/// A secret that was rotated away.
#[derive(Clone, Copy, Debug)]
pub struct PreviousSecret {
    /// What is kept of it.
    pub digest: SecretDigest,
    /// When it stops working.
    pub until: UnixMillis,
}

impl ApiKey {
    /// The digests of all secrets that may still work.
    pub fn digests(&self) -> impl Iterator<Item = SecretDigest> {
        [self.digest].into_iter().chain(self.previous.map(|previous| previous.digest))
    }

    /// Whether a secret with this fingerprint works, and if not, why.
    pub(super) fn allows(&self, secret: u64, now: UnixMillis) -> Result<(), Cause> {
        if self.expires_at.is_some_and(|expires_at| now >= expires_at) {
            return Err(Cause::KeyExpired);
        }
        let previous = self.previous.filter(|previous| now < previous.until);
        let is_previous = previous.is_some_and(|previous| previous.digest.fingerprint() == secret);
        match self.digest.fingerprint() == secret || is_previous {
            true => Ok(()),
            false => Err(Cause::KeyRegenerated),
        }
    }

    /// Whether it opens a path below `node_root`.
    #[must_use]
    pub fn opens(&self, path: &str) -> bool {
        self.scope.is_empty() || self.scope.iter().any(|root| is_under(path, root))
    }
}

/// A secret that was replaced or revoked.
#[derive(Clone, Copy, Debug)]
pub struct RetiredKey {
    /// What is kept of it.
    pub digest: SecretDigest,
    /// Since when it opens nothing.
    pub at: UnixMillis,
    /// Its key was taken away; else it got another secret.
    pub is_revoked: bool,
}

impl RetiredKey {
    /// Why it opens nothing.
    #[must_use]
    pub fn cause(&self) -> Cause {
        if self.is_revoked { Cause::KeyRevoked } else { Cause::KeyRegenerated }
    }
}
