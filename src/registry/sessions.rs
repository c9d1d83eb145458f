//! Browser sessions: a record that can be revoked, with an idle and an absolute end.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Registry;
use super::record::SESSION;
use super::store::{Change, Expected, StoreError, Write};
use crate::clock::UnixMillis;
use crate::secret::{Secret, SecretDigest};
use crate::tenant::TenantId;

/// How long a session lives.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Without a request.
    pub idle_max: Duration,
    /// In all.
    pub age_max: Duration,
}

/// A browser's session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    tenant: String,
    /// The password it began with; see [`crate::tenant::Password::fingerprint`].
    pub password: u64,
    /// When it began.
    pub created_unix_ms: u64,
    /// When it was last used, as far as that was written down.
    pub seen_unix_ms: u64,
}

impl Session {
    /// Whose it is.
    #[must_use]
    pub fn tenant(&self) -> Option<TenantId> {
        TenantId::from_hex(&self.tenant)
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self, limits: &SessionLimits, now: UnixMillis) -> bool {
        now >= UnixMillis(self.seen_unix_ms).plus(limits.idle_max)
            || now >= UnixMillis(self.created_unix_ms).plus(limits.age_max)
    }
}

impl Registry {
    /// Begins a session; the secret goes into the browser's cookie, its digest is the id.
    ///
    /// # Errors
    /// The store's, or no randomness.
    pub async fn begin_session(
        &self,
        tenant: TenantId,
        password: u64,
    ) -> Result<Secret, StoreError> {
        let secret =
            Secret::generate_ticket().map_err(|e| StoreError::Unavailable(e.to_string()))?;
        let now = self.wall().now().0;
        let session = Session {
            tenant: tenant.to_string(),
            password,
            created_unix_ms: now,
            seen_unix_ms: now,
        };
        self.write_session(&secret, Expected::Absent, &session).await?;
        Ok(secret)
    }

    /// The session of a cookie, if it is not over. Its use is written down once in a tenth of the
    /// idle time, so that not every request is a write.
    ///
    /// # Errors
    /// The store's.
    pub async fn use_session(
        &self,
        secret: &Secret,
        limits: &SessionLimits,
    ) -> Result<Option<Session>, StoreError> {
        const WRITES_PER_IDLE_TIME: u32 = 10;
        let Some(document) = self.store().get(SESSION, &id(secret)).await? else { return Ok(None) };
        let mut session: Session = serde_json::from_slice(&document.body)
            .map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let now = self.wall().now();
        if session.is_over(limits, now) {
            self.end_session(secret).await?;
            return Ok(None);
        }
        let seen_again =
            UnixMillis(session.seen_unix_ms).plus(limits.idle_max / WRITES_PER_IDLE_TIME);
        if now >= seen_again {
            session.seen_unix_ms = now.0;
            let expected = Expected::Revision(document.revision);
            match self.write_session(secret, expected, &session).await {
                // Another request of the browser's has written it down, or it was ended just now.
                Err(StoreError::Conflict { .. }) => {
                    return match self.store().get(SESSION, &id(secret)).await? {
                        Some(_) => Ok(Some(session)),
                        None => Ok(None),
                    };
                }
                written => written?,
            }
        }
        Ok(Some(session))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// The store's.
    pub async fn end_session(&self, secret: &Secret) -> Result<(), StoreError> {
        let write = Write {
            kind: SESSION,
            id: id(secret),
            expected: Expected::Any,
            change: Change::Remove,
        };
        self.store().write(vec![write]).await.map(|_| ())
    }

    async fn write_session(
        &self,
        secret: &Secret,
        expected: Expected,
        session: &Session,
    ) -> Result<(), StoreError> {
        let body = serde_json::to_vec(session).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let change = Change::Put { indexes: Vec::new(), body };
        let write = Write { kind: SESSION, id: id(secret), expected, change };
        self.store().write(vec![write]).await.map(|_| ())
    }
}

fn id(secret: &Secret) -> String {
    SecretDigest::of(secret).to_hex()
}

#[cfg(test)]
mod tests;
