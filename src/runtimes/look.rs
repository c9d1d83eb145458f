//! Why a runtime is awake and when it will sleep, for its tenant.

use std::time::Duration;

use serde::Serialize;

use super::Runtimes;
use super::carry::STEADY_AFTER;
use super::contract::{Order, RuntimeProvider, escaped};
use super::shared::Told;
use super::state::State;
use crate::clock::Millis;
use crate::grant::{Grant, KeyId};
use crate::tenant::{Instance, Tenant, TenantId};

/// Connections that are named.
const BUSY_MAX: usize = 5;

/// How a runtime of flowgate's own is at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Look {
    /// `asleep`, `starting`, `ready`, `failing` or `stopping`.
    pub state: &'static str,
    /// What keeps it awake; empty if nothing does.
    pub awake_because: Vec<String>,
    /// In how many seconds it is put to sleep if nobody uses it; `None` for never, and while it does
    /// not run.
    pub sleeps_in_seconds: Option<u64>,
    /// After how many seconds without use it is.
    pub sleep_after_seconds: Option<u64>,
    /// Whether the plan keeps it awake.
    pub always_on: bool,
    /// Whether requests without a credential wake it.
    pub public_wake: bool,
    /// What went wrong; of one that is ready, what did before it was started again, as long as that may
    /// be a crash loop.
    pub why: Option<String>,
    /// How many times in a row.
    pub failures: u32,
    /// In how many seconds it may be started again.
    pub retry_in_seconds: Option<u64>,
    /// For how many seconds it has been starting.
    pub starting_for_seconds: Option<u64>,
    /// How many seconds its last start took, if this replica saw one.
    pub usual_start_seconds: Option<u64>,
    /// While it starts: whether it does not wait for the start of others.
    pub has_turn: bool,
    /// The end of what it wrote, with control bytes spelt out.
    pub log_tail: String,
}

impl Runtimes {
    /// How a tenant's runtime is; `None` if flowgate does not own it.
    pub async fn look(&self, tenant: &Tenant) -> Option<Look> {
        let instance = tenant.instance.as_deref()?;
        if !instance.provider.is_owned() {
            return None;
        }
        let mut look = self.brief(tenant, instance).await;
        let order = Order::new(tenant.id, &tenant.username, instance, 0);
        look.log_tail = escaped(&self.providers.log_tail(&order).await);
        Some(look)
    }

    /// The same without what it wrote.
    pub async fn brief(&self, tenant: &Tenant, instance: &Instance) -> Look {
        let state = match self.slots.get(&tenant.id).map(|slot| slot.state()) {
            Some(state) if state != State::Asleep => state,
            // Another replica may own it.
            _ => return self.look_elsewhere(tenant, instance).await,
        };
        let mut look = look_at(tenant, instance, state.label());
        let now = self.clock.now();
        match state {
            State::Ready { since, .. } => self.explain(&mut look, tenant, since, now),
            State::Failing { failure, until, .. } => {
                look.why = Some(failure.why.clone());
                look.failures = failure.count;
                look.retry_in_seconds = Some(until.since(now).as_secs());
            }
            State::Starting => self.explain_start(&mut look, tenant.id, now),
            State::Asleep | State::Stopping => {}
        }
        look
    }

    async fn look_elsewhere(&self, tenant: &Tenant, instance: &Instance) -> Look {
        let told = self.shared(tenant.id).told().await.ok().flatten();
        let (state, why) = match told {
            None => (State::Asleep.label(), None),
            Some(Told::Starting) => ("starting", None),
            Some(Told::Ready { .. }) => ("ready", None),
            Some(Told::Failing { why, .. }) => ("failing", Some(why)),
            Some(Told::Stopping) => ("stopping", None),
        };
        let mut look = look_at(tenant, instance, state);
        look.why = why;
        if state == "ready" {
            look.awake_because.push("another replica runs it".to_owned());
        }
        look
    }

    fn explain_start(&self, look: &mut Look, tenant: TenantId, now: Millis) {
        let Some(slot) = self.slots.get(&tenant) else { return };
        let (began, waits) = slot.began();
        look.starting_for_seconds = Some(now.since(began).as_secs());
        look.usual_start_seconds = self.usual.get(&tenant).map(|took| whole_seconds(*took));
        look.has_turn = !waits;
    }

    /// The connections whose data keeps it awake, the last first.
    fn busy(&self, tenant: &Tenant, sleep_after: Duration, now: Millis) -> Vec<String> {
        let mut busy: Vec<_> = self
            .live
            .entries_of(tenant.id)
            .into_iter()
            .filter(|entry| entry.is_seated())
            .map(|entry| {
                let both = [&entry.from_client, &entry.from_runtime];
                let messages: u64 = both.iter().map(|it| it.messages()).sum();
                let at = both.iter().map(|it| it.last_data_at()).max().unwrap_or_default();
                (at, messages, entry)
            })
            .filter(|(at, messages, _)| *messages > 0 && now.since(*at) < sleep_after)
            .collect();
        busy.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
        let told = busy.iter().take(BUSY_MAX).map(|(at, messages, entry)| {
            let (who, ago) = (who(tenant, &entry.grant), span(now.since(*at)));
            format!("{who}, {messages} messages on {}, last {ago} ago", entry.path)
        });
        told.collect()
    }

    /// What keeps it awake, and until when.
    fn explain(&self, look: &mut Look, tenant: &Tenant, since: Millis, now: Millis) {
        let Some(slot) = self.slots.get(&tenant.id) else { return };
        if let Some(failure) =
            slot.failure_before(since).filter(|_| now.since(since) < STEADY_AFTER)
        {
            look.why = Some(failure.why.clone());
            look.failures = failure.count;
        }
        let glance = slot.glance();
        let used_at = slot.used_at().max(glance.last_data_at.unwrap_or_default()).max(since);
        let because = &mut look.awake_because;
        if tenant.plan.always_on {
            because.push("the plan keeps it always on".to_owned());
        }
        match glance.requests {
            0 => {}
            1 => because.push("one request or handshake is under way".to_owned()),
            many => because.push(format!("{many} requests or handshakes are under way")),
        }
        let Some(sleep_after) = tenant.plan.sleep_after() else {
            if !tenant.plan.always_on {
                because.push("the plan says no time after which it sleeps".to_owned());
            }
            return;
        };
        let unused_for = now.since(used_at);
        if unused_for < sleep_after {
            because.push(format!("the last request or data frame was {} ago", span(unused_for)));
            because.extend(self.busy(tenant, sleep_after, now));
        }
        let left = sleep_after.saturating_sub(unused_for);
        // Else it is in use on another replica, and how is not known here.
        let is_used_here = !left.is_zero() || !self.registry.is_shared();
        if glance.requests == 0 && is_used_here {
            look.sleeps_in_seconds = Some(whole_seconds(left));
        }
    }
}

fn look_at(tenant: &Tenant, instance: &Instance, state: &'static str) -> Look {
    Look {
        state,
        sleep_after_seconds: tenant.plan.sleep_after().map(|span| span.as_secs()),
        always_on: tenant.plan.always_on,
        public_wake: instance.provider.public_wake(),
        ..Look::default()
    }
}

/// Who keeps it awake, for its tenant.
fn who(tenant: &Tenant, grant: &Grant) -> String {
    match grant {
        Grant::Key { id: KeyId::DEFAULT, .. } => "the default key".to_owned(),
        Grant::Key { id, .. } => {
            let name = tenant.key(*id).and_then(|key| key.name.clone());
            name.map_or_else(|| "a key that is gone".to_owned(), |name| format!("key {name}"))
        }
        Grant::Anonymous | Grant::Open { .. } => "somebody without a credential".to_owned(),
        Grant::Consumer { consumer, .. } => format!("consumer {consumer} of a published API"),
        Grant::Token { subscription, .. } => {
            format!("subscription {subscription} to a published API")
        }
        Grant::Password { .. } => "the password".to_owned(),
        Grant::Session { .. } => "a browser's session".to_owned(),
    }
}

/// As people say it.
fn span(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// What has begun counts whole.
fn whole_seconds(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}
