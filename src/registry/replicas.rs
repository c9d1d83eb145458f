//! Replicas: the processes that share a registry, and what they ask each other through it.
//!
//! A replica is a document, which names it, and a heartbeat, which ends by itself. A question is
//! the removal of a document that never was: that leaves nothing behind but a notice, which the
//! feed brings to all at once. An answer is an entry that ends by itself. So nothing has to be
//! cleaned up, and an old question does no harm: nobody waits for its answer any more.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Registry;
use super::record::{ASK, CLOSE, REPLICA};
use super::store::limits::VALUE_BYTES_MAX;
use super::store::{Change, Expected, Notice, StoreError, Write};
use crate::close::Cause;
use crate::tenant::TenantId;

/// How long a heartbeat lasts.
pub const HEARTBEAT_TTL: Duration = Duration::from_secs(15);
/// How long an answer can be fetched; nobody waits for as long.
pub const ANSWER_TTL: Duration = Duration::from_secs(5);
/// Bytes of an answer.
pub const ANSWER_BYTES_MAX: usize = VALUE_BYTES_MAX;
/// Replicas that are known of; more make no difference.
pub const REPLICAS_MAX: usize = 256;

/// Names a process for as long as it runs: random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub u64);

impl ReplicaId {
    /// Reads what `Display` writes, and nothing else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let id = u64::from_str_radix(text, 16).ok().map(Self)?;
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Something that a replica has counted: one of its connections, or one of its questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Numbered {
    /// Whose it is.
    pub replica: ReplicaId,
    /// Which one.
    pub number: u64,
}

impl Numbered {
    /// Reads what `Display` writes, and nothing else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (replica, number) = text.split_once('-')?;
        let it = Self { replica: ReplicaId::from_hex(replica)?, number: number.parse().ok()? };
        (it.to_string() == text).then_some(it)
    }
}

impl fmt::Display for Numbered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.replica, self.number)
    }
}

/// What a replica is. What another version does not say is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// The machine's name.
    pub host: String,
    /// The process there.
    pub pid: u32,
    /// flowgate's version.
    pub version: String,
    /// When it started.
    pub since_unix_ms: u64,
    /// The data listeners.
    pub listen: Vec<String>,
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.host, self.pid)
    }
}

/// How a replica is. What another version does not say is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Heartbeat {
    /// Connections and handshakes under way.
    pub connections: u64,
    /// Plain requests under way.
    pub exchanges: u64,
    /// Whether it is stopping.
    pub draining: bool,
}

/// A replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Its name.
    pub id: ReplicaId,
    /// What it is.
    pub about: About,
    /// How it was within the last [`HEARTBEAT_TTL`]; `None` if nothing was heard of it.
    pub heartbeat: Option<Heartbeat>,
    /// Its document's revision.
    pub revision: u64,
}

/// A question to replicas, with its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Who asks, and a number that is never used again.
    pub ask: Numbered,
    /// What.
    pub wanted: Wanted,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Every replica: what runs for this tenant?
    List(TenantId),
    /// One replica: end this connection, if it is that tenant's.
    Close {
        /// Whose it must be.
        tenant: TenantId,
        /// Which one, and who has it.
        connection: Numbered,
        /// Why.
        cause: Cause,
    },
}

impl Question {
    /// The question that a notice is, if it is one.
    #[must_use]
    pub fn of(notice: &Notice) -> Option<Self> {
        let is_close = notice.kind == CLOSE.0;
        if !is_close && notice.kind != ASK.0 {
            return None;
        }
        let mut parts = notice.id.split('/');
        let ask = Numbered::parse(parts.next()?)?;
        let tenant = TenantId::from_hex(parts.next()?)?;
        let wanted = if is_close {
            let connection = Numbered::parse(parts.next()?)?;
            let cause = Cause::from_byte(parts.next()?.parse().ok()?)?;
            Wanted::Close { tenant, connection, cause }
        } else {
            Wanted::List(tenant)
        };
        parts.next().is_none().then_some(Self { ask, wanted })
    }

    fn write(&self) -> Write {
        let (kind, id) = match self.wanted {
            Wanted::List(tenant) => (ASK, format!("{}/{tenant}", self.ask)),
            Wanted::Close { tenant, connection, cause } => {
                (CLOSE, format!("{}/{tenant}/{connection}/{}", self.ask, cause.to_byte()))
            }
        };
        Write { kind, id, expected: Expected::Any, change: Change::Remove }
    }
}

/// Whether a notice says that a replica came or went.
#[must_use]
pub fn is_of_replicas(notice: &Notice) -> bool {
    notice.kind == REPLICA.0
}

impl Registry {
    /// Whether other processes may have this registry at the same time.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.store().is_shared()
    }

    /// Makes a replica known. Its heartbeat should be there before.
    ///
    /// # Errors
    /// The store's.
    pub async fn announce(&self, id: ReplicaId, about: &About) -> Result<(), StoreError> {
        let change = Change::Put { indexes: Vec::new(), body: to_json(about)? };
        self.change_replica(id, Expected::Any, change).await
    }

    /// Says how a replica is, for the next [`HEARTBEAT_TTL`].
    ///
    /// # Errors
    /// The store's.
    pub async fn beat(&self, id: ReplicaId, heartbeat: &Heartbeat) -> Result<(), StoreError> {
        self.store().put_expiring(&heart(id), &to_json(heartbeat)?, HEARTBEAT_TTL).await
    }

    /// Makes this replica unknown: it stops.
    ///
    /// # Errors
    /// The store's.
    pub async fn withdraw(&self, id: ReplicaId) -> Result<(), StoreError> {
        self.change_replica(id, Expected::Any, Change::Remove).await?;
        self.store().take_expiring(&heart(id)).await.map(|_| ())
    }

    /// Makes another replica unknown: it died. Returns whether this call did it: it may have made
    /// itself known again, or somebody else has done it.
    ///
    /// # Errors
    /// The store's.
    pub async fn bury(&self, replica: &Replica) -> Result<bool, StoreError> {
        let expected = Expected::Revision(replica.revision);
        match self.change_replica(replica.id, expected, Change::Remove).await {
            Err(StoreError::Conflict { .. }) => Ok(false),
            done => done.map(|()| true),
        }
    }

    async fn change_replica(
        &self,
        id: ReplicaId,
        expected: Expected,
        change: Change,
    ) -> Result<(), StoreError> {
        let write = Write { kind: REPLICA, id: id.to_string(), expected, change };
        self.store().write(vec![write]).await.map(|_| ())
    }

    /// The replicas that are known, at most [`REPLICAS_MAX`], by id.
    ///
    /// # Errors
    /// The store's.
    pub async fn replicas(&self) -> Result<Vec<Replica>, StoreError> {
        let documents = self.store().list(REPLICA, None, REPLICAS_MAX).await?;
        let mut replicas = Vec::with_capacity(documents.len());
        for document in documents {
            let Some(id) = ReplicaId::from_hex(&document.id) else { continue };
            let about = serde_json::from_slice(&document.body).unwrap_or_default();
            let heartbeat = self.store().get_expiring(&heart(id)).await?;
            let heartbeat = heartbeat.map(|body| serde_json::from_slice(&body).unwrap_or_default());
            replicas.push(Replica { id, about, heartbeat, revision: document.revision });
        }
        Ok(replicas)
    }

    /// Asks.
    ///
    /// # Errors
    /// The store's; after [`StoreError::Unknown`] it may have been asked.
    pub async fn ask(&self, question: &Question) -> Result<(), StoreError> {
        self.store().write(vec![question.write()]).await.map(|_| ())
    }

    /// Answers; `body` has at most [`ANSWER_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// The store's.
    pub async fn answer(
        &self,
        ask: Numbered,
        replica: ReplicaId,
        body: &[u8],
    ) -> Result<(), StoreError> {
        self.store().put_expiring(&answer(ask, replica), body, ANSWER_TTL).await
    }

    /// What a replica has answered, if it has.
    ///
    /// # Errors
    /// The store's.
    pub async fn answer_of(
        &self,
        ask: Numbered,
        replica: ReplicaId,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.store().get_expiring(&answer(ask, replica)).await
    }
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Invalid(error.to_string()))
}

fn heart(id: ReplicaId) -> String {
    format!("replica:{id}")
}

fn answer(ask: Numbered, replica: ReplicaId) -> String {
    format!("answer:{ask}:{replica}")
}

#[cfg(test)]
mod tests;
