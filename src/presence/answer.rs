//! What this replica says of itself: to its own clients, and to other replicas that ask.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout};

use super::Presence;
use crate::clock::{Millis, UnixMillis};
use crate::close::Cause;
use crate::grant::{Grant, KeyId};
use crate::live::traffic::Traffic;
use crate::live::{Entry, Kind};
use crate::path::visible;
use crate::registry::replicas::{ANSWER_BYTES_MAX, Numbered, Question, Wanted};
use crate::registry::store::Notice;
use crate::tenant::TenantId;

/// Questions that may wait for their answer; more are not answered.
const WAITING_MAX: usize = 256;
/// What an answer has besides its connections.
const FRAME_BYTES_MAX: usize = 64;

/// Something that runs for a tenant, as it is shown. Holds nothing of a credential but its name.
/// What another version does not say is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shown {
    /// Its number on the replica that has it.
    pub number: u64,
    /// Whether it is a plain request, and no connection.
    pub is_exchange: bool,
    /// The runtime's path, without query, as [`visible`] has it.
    pub path: String,
    /// What it rests on, as in logs.
    pub grant: String,
    /// The API key that it rests on, if it does: see [`KeyId`].
    pub key: Option<String>,
    /// The client's address.
    pub client: String,
    /// The request that opened it.
    pub request_id: String,
    /// When that was accepted.
    pub since_unix_ms: u64,
    /// Whole data messages.
    pub messages_from_client: u64,
    /// Whole data messages.
    pub messages_from_runtime: u64,
    /// Bytes on the wire.
    pub bytes_from_client: u64,
    /// Bytes on the wire.
    pub bytes_from_runtime: u64,
    /// Why it is being closed, if it is.
    pub closing: Option<String>,
}

impl Shown {
    fn new(entry: &Entry, now: Millis, today: UnixMillis) -> Self {
        let key = match entry.grant {
            Grant::Key { id, .. } => Some(id),
            _ => None,
        };
        Self {
            number: entry.id,
            is_exchange: entry.kind == Kind::Exchange,
            path: visible(&entry.path).collect(),
            grant: entry.grant.to_string(),
            key: key.as_ref().map(KeyId::to_string),
            client: entry.client.address.to_string(),
            request_id: entry.client.request_id.to_string(),
            since_unix_ms: today.minus(now.since(entry.since)).0,
            messages_from_client: entry.from_client.messages(),
            messages_from_runtime: entry.from_runtime.messages(),
            bytes_from_client: entry.from_client.bytes(),
            bytes_from_runtime: entry.from_runtime.bytes(),
            closing: entry.closing().map(|cause| cause.reason().to_owned()),
        }
    }
}

/// What a replica answers about a tenant.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Listed {
    /// How much runs.
    pub total: u64,
    /// The newest of it, as much as an answer holds.
    pub newest: Vec<Shown>,
    /// What was relayed for them.
    pub traffic: Traffic,
}

/// What became of a connection that was to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Closing {
    /// It is closed now.
    Closed,
    /// Something else closes it already.
    Already,
    /// The tenant has no such connection there.
    Absent,
}

/// What others have asked.
#[derive(Debug)]
pub(super) struct Inbox {
    sender: mpsc::Sender<Heard>,
    receiver: Mutex<mpsc::Receiver<Heard>>,
}

impl Default for Inbox {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        Self { sender, receiver: Mutex::new(receiver) }
    }
}

impl Inbox {
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.sender.capacity() == WAITING_MAX
    }
}

#[derive(Debug)]
struct Heard {
    ask: Numbered,
    at: Instant,
    what: What,
}

#[derive(Debug)]
enum What {
    /// The list is made when it is sent.
    List(TenantId),
    Closing(Closing),
}

impl Presence {
    /// Something that runs here, as it is shown.
    #[must_use]
    pub fn show(&self, entry: &Entry) -> (Numbered, Shown) {
        let (now, today) = (self.clock.now(), self.registry.wall().now());
        let id = Numbered { replica: self.id, number: entry.id };
        (id, Shown::new(entry, now, today))
    }

    /// Everything that runs here for a tenant.
    pub(super) fn own(&self, tenant: TenantId) -> Vec<Shown> {
        let (now, today) = (self.clock.now(), self.registry.wall().now());
        let entries = self.live.entries_of(tenant);
        entries.iter().map(|entry| Shown::new(entry, now, today)).collect()
    }

    /// Closes a connection of this replica's, if it is that tenant's.
    pub(super) fn close_own(&self, tenant: TenantId, number: u64, cause: Cause) -> Closing {
        let entries = self.live.entries_of(tenant);
        match entries.iter().find(|entry| entry.id == number) {
            Some(entry) if entry.close(cause) => Closing::Closed,
            Some(_) => Closing::Already,
            None => Closing::Absent,
        }
    }

    /// Takes in a question. What it closes is closed when this returns; the answer follows.
    pub(super) fn hear(&self, notice: &Notice) {
        let Some(Question { ask, wanted }) = Question::of(notice) else { return };
        if ask.replica == self.id {
            return;
        }
        let what = match wanted {
            Wanted::List(tenant) => What::List(tenant),
            Wanted::Close { tenant, connection, cause } if connection.replica == self.id => {
                What::Closing(self.close_own(tenant, connection.number, cause))
            }
            Wanted::Close { .. } => return,
        };
        let heard = Heard { ask, at: Instant::now(), what };
        if self.inbox.sender.try_send(heard).is_err() {
            tracing::debug!(%ask, "too many questions of other replicas");
        }
    }

    /// Answers, one question at a time. Runs until it is dropped.
    pub(super) async fn answer_others(&self) {
        let mut heard = self.inbox.receiver.lock().await;
        while let Some(Heard { ask, at, what }) = heard.recv().await {
            // Nobody waits for it any more.
            if at.elapsed() > self.settings.answer_max {
                continue;
            }
            let body = match what {
                What::List(tenant) => serde_json::to_vec(&self.listed(tenant)),
                What::Closing(closing) => serde_json::to_vec(&closing),
            };
            // Nothing in it can fail to become JSON.
            let Ok(body) = body else { continue };
            let answered = self.registry.answer(ask, self.id, &body);
            if !matches!(timeout(self.settings.answer_max, answered).await, Ok(Ok(()))) {
                tracing::debug!(%ask, "another replica could not be answered");
            }
        }
    }

    /// As much of the newest as fits into an answer.
    fn listed(&self, tenant: TenantId) -> Listed {
        let (now, today) = (self.clock.now(), self.registry.wall().now());
        let mut entries: Vec<Arc<Entry>> = self.live.entries_of(tenant);
        entries.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.id));
        let traffic = self.live.traffic(tenant, today);
        let mut bytes = FRAME_BYTES_MAX + serde_json::to_vec(&traffic).map_or(0, |json| json.len());
        let shown = entries.iter().map(|entry| Shown::new(entry, now, today));
        let newest = shown
            .take_while(|shown| {
                bytes += serde_json::to_vec(shown).map_or(0, |json| json.len() + 1);
                bytes <= ANSWER_BYTES_MAX
            })
            .collect();
        Listed { total: entries.len() as u64, newest, traffic }
    }
}
