//! What keeps a runtime awake: data frames and requests. Not Ping and Pong, and not the heartbeat of
//! Node-RED's editor, which goes on for as long as a browser's window is open.

use std::collections::HashMap;

use crate::clock::Millis;
use crate::live::{Entry, Kind, LiveTable};
use crate::path::is_under;
use crate::tenant::{Instance, TenantId};

/// A frame of `[{"topic":"hb","data":1763640000000}]` on the wire, header included. Whatever else an
/// editor is told is longer.
const HEARTBEAT_BYTES: u64 = 39;

/// Looks at a tenant's entries from time to time.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// What was counted of the editors' connections, and when more than heartbeats came.
    editors: HashMap<u64, Seen>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    messages: u64,
    bytes: u64,
    at: Millis,
}

/// What is going on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Glance {
    /// Requests under way, and handshakes.
    pub(super) requests: usize,
    /// Live connections.
    pub(super) connections: usize,
    /// When the last data frame passed on any of those.
    pub(super) last_data_at: Option<Millis>,
}

impl Activity {
    /// Looks now.
    pub(super) fn look(
        &mut self,
        live: &LiveTable,
        tenant: TenantId,
        instance: &Instance,
    ) -> Glance {
        let mut glance = Glance::default();
        let mut editors = HashMap::new();
        for entry in live.entries_of(tenant) {
            if entry.kind == Kind::Exchange || !entry.is_seated() {
                glance.requests += 1;
                continue;
            }
            glance.connections += 1;
            let from_runtime = match is_editors(&entry, instance) {
                true => {
                    let seen = self.seen(&entry);
                    editors.insert(entry.id, seen);
                    seen.at
                }
                false => entry.from_runtime.last_data_at().max(entry.since),
            };
            let at = from_runtime.max(entry.from_client.last_data_at());
            glance.last_data_at = glance.last_data_at.max(Some(at));
        }
        // Those that are gone are forgotten.
        self.editors = editors;
        glance
    }

    fn seen(&self, entry: &Entry) -> Seen {
        let before = self.editors.get(&entry.id).copied().unwrap_or_default();
        let (messages, bytes) = (entry.from_runtime.messages(), entry.from_runtime.bytes());
        let more = (messages.saturating_sub(before.messages), bytes.saturating_sub(before.bytes));
        let at = match is_heartbeat(more) {
            true => before.at,
            false => entry.from_runtime.last_data_at(),
        };
        Seen { messages, bytes, at }
    }
}

/// Whether so much may be heartbeats and nothing else.
fn is_heartbeat((messages, bytes): (u64, u64)) -> bool {
    bytes <= messages.saturating_mul(HEARTBEAT_BYTES)
}

/// Whether a connection, or the handshake for it, is the one by which Node-RED's editor is told what
/// happens. An editor whose window is open makes it again whenever it has ended, asked for by nobody.
pub(super) fn is_editors(entry: &Entry, instance: &Instance) -> bool {
    if entry.kind != Kind::Connection {
        return false;
    }
    let comms = instance.admin_root.as_ref().map(|root| format!("{root}/comms"));
    comms.is_some_and(|comms| is_under(&entry.path, &comms))
}
