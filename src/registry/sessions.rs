//! Browser sessions: a record that can be revoked, with an idle and an absolute end.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Registry;
use super::audit::Act;
use super::documents::CHANGE_ATTEMPTS_MAX;
use super::record::SESSION;
use super::store::{Change, Document, Expected, StoreError, Write};
use crate::clock::UnixMillis;
use crate::grant::{Grant, SessionId};
use crate::secret::{Secret, SecretDigest};
use crate::tenant::TenantId;

/// Before the digest of a tenant host's cookie.
const HOST_INDEX: &str = "host:";
/// Cookies of one session on the tenant's host; a browser that has lost one gets another.
const HOSTS_MAX: usize = 4;
const SWEPT_AT_ONCE: usize = 200;
const LOGINS_WINDOW: Duration = Duration::from_secs(60 * 60);
const LOGINS_PER_WINDOW_MAX: u64 = 100;

/// How long a session lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Without a request.
    pub idle_max: Duration,
    /// In all.
    pub age_max: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        let hour = Duration::from_secs(60 * 60);
        Self { idle_max: 12 * hour, age_max: 7 * 24 * hour }
    }
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
    /// The digests of the cookies by which it is known on the tenant's own host, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}

/// Where a cookie is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the bare host, where the session began.
    BareHost,
    /// On the tenant's host; nothing of that leads back to the bare host.
    TenantHost,
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

    /// What rests on it.
    #[must_use]
    pub fn grant(&self, id: SessionId, limits: &SessionLimits) -> Grant {
        let until = UnixMillis(self.created_unix_ms).plus(limits.age_max);
        Grant::Session { id, fingerprint: self.password, until }
    }

    /// The keys under which it is found, beside its id.
    #[must_use]
    pub fn indexes(&self) -> Vec<String> {
        self.hosts.iter().map(|digest| format!("{HOST_INDEX}{digest}")).collect()
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
        let secret = generate()?;
        let now = self.wall().now().0;
        let session = Session {
            tenant: tenant.to_string(),
            password,
            created_unix_ms: now,
            seen_unix_ms: now,
            hosts: Vec::new(),
        };
        self.write_session(id_of(&secret), Expected::Absent, &session).await?;
        Ok(secret)
    }

    /// Counts a login; whether there have been too many of this tenant within the hour. Each leaves
    /// a record for a while, and nobody needs so many.
    ///
    /// # Errors
    /// The store's.
    pub async fn count_login(&self, tenant: TenantId) -> Result<bool, StoreError> {
        let count = self.store().count(&format!("logins:{tenant}"), LOGINS_WINDOW).await?;
        Ok(count > LOGINS_PER_WINDOW_MAX)
    }

    /// The session of a cookie, if it is not over. Its use is written down once in a tenth of the
    /// idle time, so that not every request is a write.
    ///
    /// # Errors
    /// The store's.
    pub async fn use_session(
        &self,
        secret: &Secret,
        place: Place,
        limits: &SessionLimits,
    ) -> Result<Option<(SessionId, Session)>, StoreError> {
        const WRITES_PER_IDLE_TIME: u32 = 10;
        let document = match place {
            Place::BareHost => self.store().get(SESSION, &digest(secret)).await?,
            Place::TenantHost => {
                let index = format!("{HOST_INDEX}{}", digest(secret));
                self.store().find(SESSION, &index).await?
            }
        };
        let Some(document) = document else { return Ok(None) };
        let (id, mut session) = read(&document)?;
        let now = self.wall().now();
        if session.is_over(limits, now) {
            self.end_session(id).await?;
            return Ok(None);
        }
        let seen_again =
            UnixMillis(session.seen_unix_ms).plus(limits.idle_max / WRITES_PER_IDLE_TIME);
        if now >= seen_again {
            session.seen_unix_ms = now.0;
            let expected = Expected::Revision(document.revision);
            match self.write_session(id, expected, &session).await {
                // Another request of the browser's has written it down, or it was ended just now.
                Err(StoreError::Conflict { .. }) => {
                    return Ok(self.session(id).await?.map(|session| (id, session)));
                }
                written => written?,
            }
        }
        Ok(Some((id, session)))
    }

    /// The session with this id, if it was not ended.
    ///
    /// # Errors
    /// The store's.
    pub async fn session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        let document = self.store().get(SESSION, &id.0.to_hex()).await?;
        document.map(|document| read(&document).map(|(_, session)| session)).transpose()
    }

    /// Gives a session one more cookie, for the tenant's own host. The oldest of many is forgotten.
    /// `None` if the session was ended.
    ///
    /// # Errors
    /// The store's, or no randomness.
    pub async fn join_host(&self, id: SessionId) -> Result<Option<Secret>, StoreError> {
        let secret = generate()?;
        let mut last = StoreError::Conflict { place: 0 };
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let document = self.store().get(SESSION, &id.0.to_hex()).await?;
            let Some(document) = document else { return Ok(None) };
            let (_, mut session) = read(&document)?;
            session.hosts.push(digest(&secret));
            if session.hosts.len() > HOSTS_MAX {
                session.hosts.remove(0);
            }
            match self.write_session(id, Expected::Revision(document.revision), &session).await {
                Err(conflict @ StoreError::Conflict { .. }) => last = conflict,
                written => return written.map(|()| Some(secret)),
            }
        }
        Err(last)
    }

    /// Removes some of the sessions that are over, behind `after`. Returns where to go on, `None` for
    /// from the start. A step is bounded; all are looked at in turn.
    ///
    /// # Errors
    /// The store's.
    pub async fn sweep_sessions(
        &self,
        after: Option<&str>,
        limits: &SessionLimits,
    ) -> Result<Option<String>, StoreError> {
        let documents = self.store().list(SESSION, after, SWEPT_AT_ONCE).await?;
        let now = self.wall().now();
        for document in &documents {
            if !read(document).is_ok_and(|(_, session)| session.is_over(limits, now)) {
                continue;
            }
            // It may be used just now, or swept by somebody else.
            let expected = Expected::Revision(document.revision);
            let (id, change) = (document.id.clone(), Change::Remove);
            match self.store().write(vec![Write { kind: SESSION, id, expected, change }]).await {
                Ok(_) | Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let is_last = documents.len() < SWEPT_AT_ONCE;
        Ok(documents.last().filter(|_| !is_last).map(|last| last.id.clone()))
    }

    /// The sessions behind `after`, in the order of their ids, with those.
    ///
    /// # Errors
    /// The store's.
    pub async fn sessions(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Session)>, StoreError> {
        let documents = self.store().list(SESSION, after, limit).await?;
        let read = |document: Document| {
            let session = serde_json::from_slice(&document.body)
                .map_err(|error| StoreError::Corrupt(format!("a session: {error}")))?;
            Ok((document.id, session))
        };
        documents.into_iter().map(read).collect()
    }

    /// Ends sessions by their ids, with the act for the audit log.
    ///
    /// # Errors
    /// The store's.
    pub async fn end_sessions(
        &self,
        act: &Act,
        ids: Vec<String>,
        after: Value,
    ) -> Result<(), StoreError> {
        let remove =
            |id| Write { kind: SESSION, id, expected: Expected::Any, change: Change::Remove };
        let entry = act.write(self.wall().now(), None, Some(after))?;
        let mut writes: Vec<Write> = ids.into_iter().map(remove).collect();
        writes.extend(self.audited(entry).await);
        self.store().write(writes).await.map(|_| ())
    }

    /// Ends a session. What rests on it is the caller's to end.
    ///
    /// # Errors
    /// The store's.
    pub async fn end_session(&self, id: SessionId) -> Result<(), StoreError> {
        let write = Write {
            kind: SESSION,
            id: id.0.to_hex(),
            expected: Expected::Any,
            change: Change::Remove,
        };
        self.store().write(vec![write]).await.map(|_| ())
    }

    async fn write_session(
        &self,
        id: SessionId,
        expected: Expected,
        session: &Session,
    ) -> Result<(), StoreError> {
        let body = serde_json::to_vec(session).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let change = Change::Put { indexes: session.indexes(), body };
        let write = Write { kind: SESSION, id: id.0.to_hex(), expected, change };
        self.store().write(vec![write]).await.map(|_| ())
    }
}

fn read(document: &Document) -> Result<(SessionId, Session), StoreError> {
    let corrupt = |what: String| StoreError::Corrupt(format!("a session: {what}"));
    let id = SessionId::from_hex(&document.id);
    let id = id.ok_or_else(|| corrupt("its id is no digest".to_owned()))?;
    let session = serde_json::from_slice(&document.body);
    Ok((id, session.map_err(|error| corrupt(error.to_string()))?))
}

fn generate() -> Result<Secret, StoreError> {
    Secret::generate_session().map_err(|error| StoreError::Unavailable(error.to_string()))
}

/// The id of the session that a secret of the bare host's opens.
#[must_use]
pub fn id_of(secret: &Secret) -> SessionId {
    SessionId(SecretDigest::of(secret))
}

fn digest(secret: &Secret) -> String {
    SecretDigest::of(secret).to_hex()
}

#[cfg(test)]
mod tests;
