//! The live table: everything that is running now, with the grant it rests on, so that it can be
//! found and ended.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use dashmap::DashMap;
use tokio::sync::Notify;

use crate::client::Client;
use crate::clock::{Millis, UnixMillis};
use crate::close::Cause;
use crate::grant::{Grant, SessionId};
use crate::ledger::{Cell, Ledger};
use crate::plan::Share;
use crate::tenant::by_id::ById;
use crate::tenant::{Instance, Tenant, TenantId, Username};

mod accounts;
mod analytics;
mod busiest;
mod counter;
mod mailbox;
mod shared;
mod subscribers;
pub mod traffic;

pub use accounts::{LimitUse, Owner, PlanUse, TooMany};
pub use busiest::TenantTraffic;
pub use counter::{Counter, Counts};
pub use mailbox::{Mail, Mailbox};
use shared::TenantLive;
pub use subscribers::{Subscriber, SubscriberId};
use traffic::{Meter, Traffic};

/// Plain requests of one tenant at once.
const EXCHANGES_PER_TENANT_MAX: u32 = 1000;
/// Of them, one consumer's or one subscription's.
const EXCHANGES_PER_GUEST_MAX: u32 = EXCHANGES_PER_TENANT_MAX / 4;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A handshake under way, or a live connection; the plan counts these.
    Connection,
    /// A plain request and its answer.
    Exchange,
}

/// One handshake under way, one live connection or one plain exchange.
#[derive(Debug)]
pub struct Entry {
    /// Unique within this process.
    pub id: u64,
    /// What it is.
    pub kind: Kind,
    /// What it rests on.
    pub grant: Grant,
    /// Who opened it.
    pub client: Client,
    /// The runtime's path, without query.
    pub path: Arc<str>,
    /// When the handshake was accepted.
    pub since: Millis,
    /// What came from the client.
    pub from_client: Counter,
    /// What came from the runtime.
    pub from_runtime: Counter,
    closing: AtomicU8,
    /// Where it is among the tenant's entries.
    place: u32,
    whereabouts: Mutex<Whereabouts>,
    shared: Arc<TenantLive>,
    subscriber: OnceLock<Arc<Subscriber>>,
    /// Where analytics sum it up.
    cell: OnceLock<Arc<Cell>>,
    /// Milliseconds, once it has ended as a connection.
    lived_ms: AtomicU64,
    /// It comes again by another way.
    is_left_out: AtomicBool,
}

/// Where an entry goes, and who is to hear of its end. Few have anybody who waits as a task.
#[derive(Debug, Default)]
struct Whereabouts {
    /// Where it goes, or would.
    instance: Option<Arc<Instance>>,
    seat: Option<Seat>,
    waiting: Option<Arc<Notify>>,
}

#[derive(Debug)]
struct Seat {
    mailbox: Arc<Mailbox>,
    slot: usize,
}

impl Entry {
    /// Asks for the end of this entry, wherever it is. Closing is a level: the first cause stays,
    /// and whoever looks later sees it. Returns whether this call set it.
    pub fn close(&self, cause: Cause) -> bool {
        let first = self
            .closing
            .compare_exchange(0, cause.to_byte(), Ordering::SeqCst, Ordering::SeqCst)
            .is_ok();
        // Pairs with `sit` and `closed`: whichever comes second sees the other's, so either we see the
        // seat and who waits, or they see the level.
        let whereabouts = self.whereabouts();
        if let Some(seat) = &whereabouts.seat {
            seat.mailbox.look_at(seat.slot);
        }
        if let Some(waiting) = &whereabouts.waiting {
            waiting.notify_waiters();
        }
        first
    }

    /// The cause, once somebody has called [`Entry::close`].
    pub fn closing(&self) -> Option<Cause> {
        Cause::from_byte(self.closing.load(Ordering::SeqCst))
    }

    /// Waits for [`Entry::close`]; cancel safe. An exchange's two bodies may both wait.
    pub async fn closed(&self) -> Cause {
        let waiting = Arc::clone(self.whereabouts().waiting.get_or_insert_default());
        loop {
            let notified = waiting.notified();
            if let Some(cause) = self.closing() {
                return cause;
            }
            notified.await;
        }
    }

    /// Says where it sits from now on, in place of where it sat; returns the cause if it is closing
    /// already.
    pub fn sit(&self, mailbox: Arc<Mailbox>, slot: usize) -> Option<Cause> {
        let mut whereabouts = self.whereabouts();
        whereabouts.seat = Some(Seat { mailbox, slot });
        // Nobody does any more, as a rule.
        whereabouts.waiting.take_if(|waiting| Arc::strong_count(waiting) == 1);
        drop(whereabouts);
        self.closing()
    }

    /// Whether a thread has it that waits for sockets alone.
    pub fn is_seated(&self) -> bool {
        self.whereabouts().seat.is_some()
    }

    /// Whose runtime it goes to.
    pub fn tenant(&self) -> TenantId {
        self.shared.tenant
    }

    /// The same tenant's name.
    pub fn username(&self) -> &Username {
        &self.shared.username
    }

    /// The most payload bytes of a message that begins now.
    pub fn message_bytes_max(&self) -> u64 {
        let subscribers = self.subscriber.get().map_or(u64::MAX, |it| it.message_bytes_max());
        self.shared.message_bytes_max().min(subscribers)
    }

    /// Whether it is said to go to just there.
    pub fn is_for(&self, instance: &Instance) -> bool {
        let whereabouts = self.whereabouts();
        whereabouts.instance.as_ref().is_some_and(|own| own.is_same_place(instance))
    }

    /// Says that it goes to this instance. It must be said before the tenant is read for the last
    /// time: then whoever changes the instance afterwards finds it here.
    pub fn head_for(&self, instance: &Arc<Instance>) {
        self.whereabouts().instance = Some(Arc::clone(instance));
    }

    /// Whether it may go on where it goes. If that is the tenant's instance still, that one's present
    /// setting is noted.
    ///
    /// # Errors
    /// As [`Tenant::keeps`].
    pub fn stays(&self, tenant: &Tenant) -> Result<(), Cause> {
        let mut whereabouts = self.whereabouts();
        let Some(instance) = &mut whereabouts.instance else { return Ok(()) };
        match &tenant.instance {
            Some(present) if present.is_same_place(instance) => *instance = Arc::clone(present),
            _ => {}
        }
        tenant.keeps(instance)
    }

    fn whereabouts(&self) -> MutexGuard<'_, Whereabouts> {
        self.whereabouts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything that runs, by tenant.
#[derive(Debug, Default)]
pub struct LiveTable {
    tenants: DashMap<TenantId, Arc<TenantLive>, ById>,
    /// Whose the sessions are that something rests on, and how much that is.
    sessions: DashMap<SessionId, (TenantId, usize)>,
    subscribers: DashMap<SubscriberId, Arc<Subscriber>>,
    share: Mutex<Share>,
    traffic: Meter,
    ledger: Option<Ledger>,
    next_id: AtomicU64,
    count: AtomicU64,
}

impl LiveTable {
    /// Enters a handshake. It stays until the guard is dropped.
    ///
    /// # Errors
    /// The tenant's plan has no room, or there were too many lately.
    pub fn enter(
        self: &Arc<Self>,
        tenant: &Tenant,
        kind: Kind,
        grant: Grant,
        client: Client,
        path: &str,
        now: Millis,
    ) -> Result<Registered, TooMany> {
        // The map's guard is held until the entry is in, so that `leave` cannot remove the tenant between.
        let shared = self.tenants.entry(tenant.id);
        let shared = shared.or_insert_with(|| Arc::new(TenantLive::new(tenant, self.share(), now)));
        let mut entries = shared.entries();
        let max = match kind {
            Kind::Connection => tenant.plan.connections_for(&grant),
            // As with the plan's connections, guests do not get them all.
            Kind::Exchange if grant.is_guests() => Some(EXCHANGES_PER_TENANT_MAX / 4 * 3),
            Kind::Exchange => Some(EXCHANGES_PER_TENANT_MAX),
        };
        if kind == Kind::Exchange && entries.exchanges_of(&grant) >= EXCHANGES_PER_GUEST_MAX {
            return Err(TooMany::AtOnce { max: EXCHANGES_PER_GUEST_MAX });
        }
        if let Some(max) = max
            && entries.count(kind) >= max as usize
        {
            return Err(TooMany::AtOnce { max });
        }
        accounts::take(&shared.account, kind, now)?;
        let entry = Arc::new(Entry {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            kind,
            grant,
            client,
            path: entries.path(path),
            since: now,
            from_client: Counter::default(),
            from_runtime: Counter::default(),
            closing: AtomicU8::new(0),
            place: entries.vacant_place(),
            whereabouts: Mutex::new(Whereabouts {
                instance: tenant.instance.clone(),
                ..Whereabouts::default()
            }),
            shared: Arc::clone(&shared),
            subscriber: OnceLock::new(),
            cell: OnceLock::new(),
            lived_ms: AtomicU64::new(0),
            is_left_out: AtomicBool::new(false),
        });
        entries.insert(Arc::clone(&entry));
        if let Grant::Session { id, .. } = grant {
            self.sessions.entry(id).or_insert((tenant.id, 0)).1 += 1;
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        drop(entries);
        drop(shared);
        Ok(Registered { table: Arc::clone(self), entry })
    }

    fn leave(&self, entry: &Entry) {
        let mut entries = entry.shared.entries();
        let news = entries.remove(entry);
        // Before the lock is gone: see `LiveTable::news`.
        entry.sum_up();
        drop(entries);
        let was_last = news.is_some();
        if let Some(news) = news {
            self.traffic.take_in(entry.tenant(), news);
        }
        if let Some(subscriber) = entry.subscriber.get() {
            subscriber.leave(entry.kind);
        }
        if let Grant::Session { id, .. } = entry.grant {
            self.sessions.remove_if_mut(&id, |_, (_, count)| {
                *count -= 1;
                *count == 0
            });
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
        if was_last {
            // A budget outlives its connections: reconnecting does not refill it. See `sweep`.
            self.tenants.remove_if(&entry.tenant(), |_, shared| {
                shared.account.is_untouched() && shared.is_empty()
            });
        }
    }

    /// Takes in what was relayed since the last call; to be called every few seconds.
    pub fn meter(&self, now: UnixMillis) {
        self.traffic.tick(now);
        for shared in &self.tenants {
            let news = shared.entries().news();
            self.traffic.take_in(shared.tenant, news);
        }
    }

    /// What was relayed for a tenant, up to the last call of [`LiveTable::meter`].
    pub fn traffic(&self, tenant: TenantId, now: UnixMillis) -> Traffic {
        self.traffic.of(tenant, now)
    }

    /// A tenant's entries at this moment.
    pub fn entries_of(&self, tenant: TenantId) -> Vec<Arc<Entry>> {
        match self.tenants.get(&tenant) {
            Some(shared) => {
                let entries = shared.entries();
                entries.all().cloned().collect()
            }
            None => Vec::new(),
        }
    }

    /// What rests on a session at this moment.
    pub fn entries_of_session(&self, session: SessionId) -> Vec<Arc<Entry>> {
        // Copied out: nothing else is locked meanwhile.
        let owner = self.sessions.get(&session).map(|known| known.0);
        let mut entries = owner.map(|owner| self.entries_of(owner)).unwrap_or_default();
        entries.retain(|entry| matches!(entry.grant, Grant::Session { id, .. } if id == session));
        entries
    }

    /// The sessions that something rests on.
    pub fn sessions(&self) -> Vec<SessionId> {
        self.sessions.iter().map(|known| *known.key()).collect()
    }

    /// The tenants who have entries.
    pub fn tenants(&self) -> Vec<TenantId> {
        let some = self.tenants.iter().filter(|shared| !shared.is_empty());
        some.map(|shared| *shared.key()).collect()
    }

    /// How many entries there are.
    pub fn len(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// How many entries of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.tenants.iter().map(|shared| shared.entries().count(kind)).sum()
    }

    /// Whether nothing runs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All entries at this moment.
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        let mut all = Vec::new();
        for shared in &self.tenants {
            let entries = shared.entries();
            all.extend(entries.all().cloned());
        }
        all
    }
}

/// Holds an entry in the live table; dropping it takes the entry out.
#[derive(Debug)]
pub struct Registered {
    table: Arc<LiveTable>,
    entry: Arc<Entry>,
}

impl Registered {
    /// The entry.
    #[must_use]
    pub fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.table.leave(&self.entry);
    }
}

#[cfg(test)]
mod tests;
