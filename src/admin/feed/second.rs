//! What is told each second.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::admin::Desk;
use crate::admin::server::{RefusalView, RegistryStatus};
use crate::clock::{Millis, UnixMillis};
use crate::journey::recent::Refused;
use crate::journey::totals::Totals;
use crate::live::Kind;
use crate::registry::audit::{By, Entry};

const EVERY: Duration = Duration::from_secs(1);
/// How long the registry may take to say what is new in the audit log.
const AUDIT_MAX: Duration = Duration::from_millis(500);
/// Of refusals, and of audit entries, in one message.
const LISTED_MAX: usize = 50;

/// What went on since the message before.
#[derive(Debug, Serialize)]
struct Second {
    at: String,
    /// Since the message before.
    elapsed_ms: u64,
    ready: bool,
    draining: bool,
    /// Connections now, handshakes under way included.
    connections: usize,
    /// Plain requests under way now.
    exchanges: usize,
    registry: RegistryStatus,
    /// Accepted handshakes and requests, messages and bytes since the message before.
    passed: Totals,
    /// Since the start of the process, by code.
    refusals: BTreeMap<&'static str, u64>,
    /// Those since the message before, the newest first.
    refused: Vec<RefusalView>,
    /// How many more there were.
    refused_unlisted: u64,
    /// New entries of the audit log, the newest first.
    audit: Vec<AuditLine>,
}

/// An entry without what changed: that can be long.
#[derive(Debug, Serialize)]
struct AuditLine {
    id: String,
    at: String,
    by: By,
    who: String,
    verb: String,
    object: String,
    client: String,
}

/// What has been told already.
struct Told {
    at: Millis,
    totals: Totals,
    /// The number of the newest refusal.
    refused: u64,
    /// Ids of the newest audit entries; `None` until they could be read.
    audit: Option<HashSet<String>>,
}

/// Tells all who watch, until nobody does.
pub(super) async fn tell(desk: Arc<Desk>) {
    let mut told = Told {
        at: desk.clock().now(),
        totals: desk.journey.totals(),
        refused: desk.journey.refused.total(),
        audit: None,
    };
    let _ = told.audit(&desk).await;
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let second = told.second(&desk).await;
        let message = serde_json::to_vec(&second).unwrap_or_default();
        if !desk.feeds.tell(Bytes::from(message)) {
            return;
        }
    }
}

impl Told {
    async fn second(&mut self, desk: &Desk) -> Second {
        let audit = self.audit(desk).await;
        let now = desk.clock().now();
        let elapsed_ms = now.0.saturating_sub(std::mem::replace(&mut self.at, now).0);
        let totals = desk.journey.totals();
        let passed = totals.since(std::mem::replace(&mut self.totals, totals));
        let (refused, refused_unlisted) = self.refused(desk);
        Second {
            at: desk.now().to_string(),
            elapsed_ms,
            ready: desk.journey.ready.load(Ordering::Relaxed),
            draining: desk.is_stopping(),
            connections: desk.live().count(Kind::Connection),
            exchanges: desk.live().count(Kind::Exchange),
            registry: RegistryStatus::of(desk),
            passed,
            refusals: desk.journey.metrics.refusals().filter(|(_, count)| *count > 0).collect(),
            refused,
            refused_unlisted,
            audit,
        }
    }

    /// New refusals, and how many more there were.
    fn refused(&mut self, desk: &Desk) -> (Vec<RefusalView>, u64) {
        let before = self.refused;
        let is_new = |refused: &Refused| refused.number > before;
        let (found, total) = desk.journey.refused.list(u64::MAX, LISTED_MAX, is_new);
        self.refused = total;
        let unlisted = (total - before).saturating_sub(found.len() as u64);
        (found.into_iter().map(RefusalView::from).collect(), unlisted)
    }

    /// New entries of the audit log; none while the registry does not say. What another replica wrote
    /// may stand behind what is known already, so ids are compared instead of places.
    async fn audit(&mut self, desk: &Desk) -> Vec<AuditLine> {
        let read = timeout(AUDIT_MAX, desk.registry().audit(None, LISTED_MAX)).await;
        let Ok(Ok(newest)) = read else { return Vec::new() };
        let ids = newest.iter().map(|(id, _)| id.clone()).collect();
        let Some(known) = self.audit.replace(ids) else { return Vec::new() };
        let fresh = newest.into_iter().filter(|(id, _)| !known.contains(id));
        fresh.map(|(id, entry)| AuditLine::new(id, entry)).collect()
    }
}

impl AuditLine {
    fn new(id: String, entry: Entry) -> Self {
        let at = UnixMillis(entry.at_unix_ms).to_string();
        let Entry { by, who, verb, object, client, .. } = entry;
        Self { id, at, by, who, verb, object, client }
    }
}
