//! The live table: everything that is running now, with the grant it rests on, so that it can be
//! found and ended.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dashmap::DashMap;
use tokio::sync::Notify;

use crate::client::Client;
use crate::clock::Millis;
use crate::close::Cause;
use crate::grant::Grant;
use crate::plan::Budget;
use crate::tenant::{Tenant, TenantId, Username};

/// Closings that may wait for a relay thread one by one; beyond it the thread looks at all.
const MAILBOX_MAX: usize = 1024;
/// Plain requests of one tenant at once.
const EXCHANGES_PER_TENANT_MAX: u32 = 1000;

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
    /// Whose runtime it goes to.
    pub tenant: TenantId,
    /// The same tenant's name.
    pub username: Username,
    /// What it rests on.
    pub grant: Grant,
    /// Who opened it.
    pub client: Client,
    /// The runtime's path, without query.
    pub path: Box<str>,
    /// When the handshake was accepted.
    pub since: Millis,
    /// What came from the client.
    pub from_client: Counter,
    /// What came from the runtime.
    pub from_runtime: Counter,
    closing: AtomicU8,
    closed: Notify,
    seat: Mutex<Option<Seat>>,
    shared: Arc<TenantLive>,
}

/// Counts with one writer, the relay thread; anybody may read them.
#[derive(Debug, Default)]
pub struct Counter {
    messages: AtomicU64,
    bytes: AtomicU64,
    last_data_ms: AtomicU64,
}

impl Counter {
    /// Publishes new totals.
    pub fn publish(&self, messages: u64, bytes: u64, last_data_at: Millis) {
        self.messages.store(messages, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        self.last_data_ms.store(last_data_at.0, Ordering::Relaxed);
    }

    /// Whole data messages.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Bytes on the wire.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// When the last data frame began.
    pub fn last_data_at(&self) -> Millis {
        Millis(self.last_data_ms.load(Ordering::Relaxed))
    }
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
        // Pairs with `sit`: whichever comes second sees the other's, so either we see the seat, or
        // the thread sees the level.
        let seat = self.seat.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seat) = &*seat {
            seat.mailbox.look_at(seat.slot);
        }
        drop(seat);
        self.closed.notify_waiters();
        first
    }

    /// The cause, once somebody has called [`Entry::close`].
    pub fn closing(&self) -> Option<Cause> {
        Cause::from_byte(self.closing.load(Ordering::SeqCst))
    }

    /// Waits for [`Entry::close`]; cancel safe. An exchange's two bodies may both wait.
    pub async fn closed(&self) -> Cause {
        loop {
            let notified = self.closed.notified();
            if let Some(cause) = self.closing() {
                return cause;
            }
            notified.await;
        }
    }

    /// Says where it sits from now on, in place of where it sat; returns the cause if it is closing
    /// already.
    pub fn sit(&self, mailbox: Arc<Mailbox>, slot: usize) -> Option<Cause> {
        let seat = Seat { mailbox, slot };
        *self.seat.lock().unwrap_or_else(PoisonError::into_inner) = Some(seat);
        self.closing()
    }

    /// The tenant's message budget, if the plan has one.
    pub fn budget(&self) -> Option<&Budget> {
        self.shared.budget.as_ref()
    }
}

/// How other threads reach a relay thread about its connections.
#[derive(Debug)]
pub struct Mailbox {
    slots: Mutex<Vec<usize>>,
    sweep_all: AtomicBool,
    waker: mio::Waker,
}

/// What a relay thread finds in its mailbox.
#[derive(Debug, PartialEq, Eq)]
pub enum Mail {
    /// Look at these slots.
    Slots(Vec<usize>),
    /// Look at all: there were too many.
    All,
}

impl Mailbox {
    /// A mailbox whose mail wakes the poll that `waker` belongs to.
    #[must_use]
    pub fn new(waker: mio::Waker) -> Self {
        Self { slots: Mutex::default(), sweep_all: AtomicBool::new(false), waker }
    }

    /// Has the thread look at a slot's closing level. Never blocks for long, never fails: a full
    /// mailbox becomes a look at all.
    pub fn look_at(&self, slot: usize) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() < MAILBOX_MAX {
            slots.push(slot);
        } else {
            self.sweep_all.store(true, Ordering::Relaxed);
        }
        drop(slots);
        // A failed wake-up is made good by the thread's own sweep.
        let _ = self.wake();
    }

    /// Wakes the thread.
    ///
    /// # Errors
    /// The system refused; the thread will look within a sweep.
    pub fn wake(&self) -> io::Result<()> {
        self.waker.wake()
    }

    /// Empties the mailbox.
    pub fn take(&self) -> Mail {
        let slots = std::mem::take(&mut *self.slots.lock().unwrap_or_else(PoisonError::into_inner));
        // Pairs with the fence in `Entry::close`: the look at all sees every level set before it.
        match self.sweep_all.swap(false, Ordering::Acquire) {
            true => Mail::All,
            false => Mail::Slots(slots),
        }
    }
}

/// What all of one tenant's entries share.
#[derive(Debug)]
struct TenantLive {
    budget: Option<Budget>,
    entries: Mutex<Entries>,
}

/// A tenant's entries, counted by kind.
#[derive(Debug, Default)]
struct Entries {
    by_id: HashMap<u64, Arc<Entry>>,
    exchanges: usize,
}

impl Entries {
    fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Connection => self.by_id.len() - self.exchanges,
            Kind::Exchange => self.exchanges,
        }
    }

    fn insert(&mut self, entry: Arc<Entry>) {
        self.exchanges += usize::from(entry.kind == Kind::Exchange);
        self.by_id.insert(entry.id, entry);
    }

    fn remove(&mut self, entry: &Entry) {
        if self.by_id.remove(&entry.id).is_some() {
            self.exchanges -= usize::from(entry.kind == Kind::Exchange);
        }
    }
}

/// The limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// The limit.
    pub max: u32,
}

/// Everything that runs, by tenant.
#[derive(Debug, Default)]
pub struct LiveTable {
    tenants: DashMap<TenantId, Arc<TenantLive>>,
    next_id: AtomicU64,
    count: AtomicU64,
}

impl LiveTable {
    /// Enters a handshake. It stays until the guard is dropped.
    ///
    /// # Errors
    /// The tenant's plan has no room.
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
        let shared = self.tenants.entry(tenant.id).or_insert_with(|| {
            let budget = tenant.plan.messages.map(Budget::new);
            Arc::new(TenantLive { budget, entries: Mutex::default() })
        });
        let mut entries = shared.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let max = match kind {
            Kind::Connection => tenant.plan.connections_for(&grant),
            // As with the plan's connections, strangers do not get them all.
            Kind::Exchange if grant == Grant::Anonymous => Some(EXCHANGES_PER_TENANT_MAX / 4 * 3),
            Kind::Exchange => Some(EXCHANGES_PER_TENANT_MAX),
        };
        if let Some(max) = max
            && entries.count(kind) >= max as usize
        {
            return Err(TooMany { max });
        }
        let entry = Arc::new(Entry {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            kind,
            tenant: tenant.id,
            username: tenant.username.clone(),
            grant,
            client,
            path: path.into(),
            since: now,
            from_client: Counter::default(),
            from_runtime: Counter::default(),
            closing: AtomicU8::new(0),
            closed: Notify::new(),
            seat: Mutex::default(),
            shared: Arc::clone(&shared),
        });
        entries.insert(Arc::clone(&entry));
        self.count.fetch_add(1, Ordering::Relaxed);
        drop(entries);
        drop(shared);
        Ok(Registered { table: Arc::clone(self), entry })
    }

    fn leave(&self, entry: &Entry) {
        entry.shared.entries.lock().unwrap_or_else(PoisonError::into_inner).remove(entry);
        self.count.fetch_sub(1, Ordering::Relaxed);
        // A budget outlives its connections: reconnecting does not refill it.
        self.tenants.remove_if(&entry.tenant, |_, shared| {
            shared.budget.is_none()
                && shared.entries.lock().unwrap_or_else(PoisonError::into_inner).by_id.is_empty()
        });
    }

    /// A tenant's entries at this moment.
    pub fn entries_of(&self, tenant: TenantId) -> Vec<Arc<Entry>> {
        match self.tenants.get(&tenant) {
            Some(shared) => {
                let entries = shared.entries.lock().unwrap_or_else(PoisonError::into_inner);
                entries.by_id.values().cloned().collect()
            }
            None => Vec::new(),
        }
    }

    /// The tenants who have entries.
    pub fn tenants(&self) -> Vec<TenantId> {
        let has_entries = |shared: &TenantLive| {
            !shared.entries.lock().unwrap_or_else(PoisonError::into_inner).by_id.is_empty()
        };
        let some = self.tenants.iter().filter(|shared| has_entries(shared));
        some.map(|shared| *shared.key()).collect()
    }

    /// How many entries there are.
    pub fn len(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether nothing runs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All entries at this moment.
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        let mut all = Vec::new();
        for shared in &self.tenants {
            let entries = shared.entries.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(entries.by_id.values().cloned());
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
