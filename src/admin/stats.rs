//! What passes through this replica, a second long: sums, and the busiest tenants and connections.
//!
//! Nothing is counted for this on the way of a frame or a request. Whoever asks has the counters of
//! what runs read, and what was read before is what the rates come from.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use utoipa::{IntoParams, ToSchema};

use super::{Answer, At, Desk};
use crate::clock::{Millis, UnixMillis};
use crate::journey::totals::Totals;
use crate::json::{Asked, Private};
use crate::live::{Counts, Entry, Kind};
use crate::refusal::Refusal;
use crate::tenant::Username;

/// Rates are at least of so long.
const SPAN_MIN: Duration = Duration::from_millis(500);
/// Rates are at most of so long: what was counted earlier is not compared with.
const SPAN_MAX: Duration = Duration::from_secs(10);
/// How long it is waited where there is nothing to compare with.
const FIRST_SPAN: Duration = Duration::from_secs(1);
const BUSIEST_MAX: usize = 100;
const BUSIEST_DEFAULT: usize = 10;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StatsQuery {
    /// How many tenants, and how many connections; 10 if nothing is said.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
}

/// What passes in one direction.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
struct Passing {
    messages_per_second: f64,
    bytes_per_second: f64,
}

/// A tenant of whom something runs.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct BusyTenant {
    tenant: String,
    connections: usize,
    /// Plain requests under way.
    exchanges: usize,
    from_client: Passing,
    from_runtime: Passing,
}

/// A connection over which something passes.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct BusyConnection {
    /// The replica's, and a number there.
    id: String,
    tenant: String,
    /// The runtime's, without query.
    path: String,
    client: String,
    since: String,
    from_client: Passing,
    from_runtime: Passing,
}

/// What passes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Stats {
    /// When this was counted.
    at: String,
    at_unix_ms: u64,
    /// The time that the rates are of.
    over_ms: u64,
    /// Connections, and handshakes under way.
    connections: usize,
    /// Plain requests under way.
    exchanges: usize,
    /// Handshakes that both sides accepted.
    handshakes_per_second: f64,
    /// Plain requests that runtimes answered.
    exchanges_per_second: f64,
    /// Of handshakes and of plain requests.
    refusals_per_second: f64,
    /// Over connections, towards runtimes.
    from_client: Passing,
    /// Over connections, towards clients.
    from_runtime: Passing,
    /// What waits in the buffers of connections because a side does not take it, and from where on new
    /// handshakes are refused for it.
    buffer_bytes: u64,
    buffer_bytes_max: u64,
    /// Those with the most bytes per second, then with the most connections.
    tenants: Vec<BusyTenant>,
    /// Those with the most bytes per second; none that is silent.
    busiest: Vec<BusyConnection>,
}

/// What passed in a span, from clients and from runtimes.
fn rates(passed: Counts, span: Duration) -> [Passing; 2] {
    let passing = |messages: u64, bytes: u64| Passing {
        messages_per_second: per_second(messages, span),
        bytes_per_second: per_second(bytes, span),
    };
    [
        passing(passed.messages_from_client, passed.bytes_from_client),
        passing(passed.messages_from_runtime, passed.bytes_from_runtime),
    ]
}

/// To a tenth, as nobody reads more.
#[allow(clippy::cast_precision_loss, reason = "nobody counts as far as 2^53 in a second")]
fn per_second(count: u64, span: Duration) -> f64 {
    let seconds = span.as_secs_f64();
    if seconds > 0.0 { (count as f64 / seconds * 10.0).round() / 10.0 } else { 0.0 }
}

/// What was counted at a moment.
#[derive(Debug, Default)]
struct Sample {
    at: Millis,
    totals: Totals,
    refusals: u64,
    /// By connection.
    passed: HashMap<u64, Counts>,
}

/// A sample, and what came of comparing it with the one before.
type Counted = (Arc<Sample>, Option<Arc<Stats>>);

/// What was counted last.
#[derive(Debug, Default)]
pub struct Sampler {
    last: Mutex<Option<Counted>>,
    /// One of those who ask counts, the others wait for it.
    turn: tokio::sync::Mutex<()>,
}

impl Sampler {
    fn last(&self) -> MutexGuard<'_, Option<Counted>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    /// What passes; counted anew if that was not done just now. Cancel safe.
    async fn stats(self: &Arc<Self>) -> Result<Arc<Stats>, Refusal> {
        let _turn = self.sampler.turn.lock().await;
        let kept = self.sampler.last().as_ref().map(|(sample, stats)| {
            (Arc::clone(sample), stats.clone(), self.clock().now().since(sample.at))
        });
        let before = match kept {
            Some((_, Some(stats), age)) if age < SPAN_MIN => return Ok(stats),
            Some((sample, _, age)) if (SPAN_MIN..=SPAN_MAX).contains(&age) => sample,
            _ => {
                let first = self.count(None).await?.0;
                tokio::time::sleep(FIRST_SPAN).await;
                first
            }
        };
        let stats = self.count(Some(before)).await?.1;
        stats.ok_or(Refusal::Overloaded("there is nothing to compare with"))
    }

    /// Counts; with the time since `before`, if there is one. The longest table is looked through in
    /// some milliseconds, which a thread that serves others is not kept for.
    async fn count(self: &Arc<Self>, before: Option<Arc<Sample>>) -> Result<Counted, Refusal> {
        let desk = Arc::clone(self);
        let counted = spawn_blocking(move || {
            let entries = desk.live().entries();
            let passed = entries.iter().map(|entry| (entry.id, entry.counts())).collect();
            let refusals = desk.journey.refused.total();
            let totals = desk.journey.totals();
            let sample = Sample { at: desk.clock().now(), totals, refusals, passed };
            let stats = before.map(|before| Arc::new(desk.compare(&before, &sample, &entries)));
            (Arc::new(sample), stats)
        });
        let (sample, stats) =
            counted.await.map_err(|_| Refusal::Overloaded("the counting failed"))?;
        *self.sampler.last() = Some((Arc::clone(&sample), stats.clone()));
        self.forget_later(sample.at);
        Ok((sample, stats))
    }

    /// What nobody asks for again is not kept.
    fn forget_later(self: &Arc<Self>, at: Millis) {
        let desk = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(SPAN_MAX).await;
            if let Some(desk) = desk.upgrade() {
                desk.sampler.last().take_if(|(sample, _)| sample.at == at);
            }
        });
    }

    fn compare(&self, before: &Sample, now: &Sample, entries: &[Arc<Entry>]) -> Stats {
        let span = now.at.since(before.at);
        let totals = now.totals.since(before.totals);
        let since = |entry: &Entry| {
            let before = before.passed.get(&entry.id).copied().unwrap_or_default();
            let now = now.passed.get(&entry.id).copied().unwrap_or_default();
            now.since(before)
        };
        let [from_client, from_runtime] = rates(totals.relayed, span);
        let connections = entries.iter().filter(|it| it.kind == Kind::Connection).count();
        let at = self.now();
        Stats {
            at: at.to_string(),
            at_unix_ms: at.0,
            over_ms: u64::try_from(span.as_millis()).unwrap_or(u64::MAX),
            connections,
            exchanges: entries.len() - connections,
            handshakes_per_second: per_second(totals.handshakes, span),
            exchanges_per_second: per_second(totals.exchanges, span),
            refusals_per_second: per_second(now.refusals.saturating_sub(before.refusals), span),
            from_client,
            from_runtime,
            buffer_bytes: self.journey.plane.held().bytes(),
            buffer_bytes_max: self.journey.limits.buffer_bytes_max,
            tenants: busy_tenants(entries, since, span),
            busiest: self.busiest(entries, since, span),
        }
    }

    fn busiest(
        &self,
        entries: &[Arc<Entry>],
        since: impl Fn(&Entry) -> Counts,
        span: Duration,
    ) -> Vec<BusyConnection> {
        let mut busy: Vec<_> = entries.iter().map(|entry| (since(entry), entry)).collect();
        busy.retain(|(passed, _)| passed.bytes() > 0);
        busy.sort_unstable_by_key(|(passed, entry)| (u64::MAX - passed.bytes(), entry.id));
        busy.truncate(BUSIEST_MAX);
        let view = |(passed, entry): (Counts, &Arc<Entry>)| {
            let [from_client, from_runtime] = rates(passed, span);
            let (id, shown) = self.presence.show(entry);
            BusyConnection {
                id: id.to_string(),
                tenant: entry.username().to_string(),
                path: shown.path,
                client: shown.client,
                since: UnixMillis(shown.since_unix_ms).to_string(),
                from_client,
                from_runtime,
            }
        };
        busy.into_iter().map(view).collect()
    }
}

fn busy_tenants(
    entries: &[Arc<Entry>],
    since: impl Fn(&Entry) -> Counts,
    span: Duration,
) -> Vec<BusyTenant> {
    let mut by_name: HashMap<&Username, (Counts, usize, usize)> = HashMap::new();
    for entry in entries {
        let (passed, connections, exchanges) = by_name.entry(entry.username()).or_default();
        *passed = passed.plus(since(entry));
        match entry.kind {
            Kind::Connection => *connections += 1,
            Kind::Exchange => *exchanges += 1,
        }
    }
    let mut busy: Vec<_> = by_name.into_iter().collect();
    busy.sort_unstable_by_key(|(username, (passed, connections, exchanges))| {
        let running = usize::MAX - (connections + exchanges);
        (u64::MAX - passed.bytes(), running, username.as_str().to_owned())
    });
    busy.truncate(BUSIEST_MAX);
    let view = |(username, (passed, connections, exchanges)): (&Username, (Counts, _, _))| {
        let [from_client, from_runtime] = rates(passed, span);
        let tenant = username.to_string();
        BusyTenant { tenant, connections, exchanges, from_client, from_runtime }
    };
    busy.into_iter().map(view).collect()
}

/// What passes through this replica: rates of the last second or so, and the busiest. Who asks first
/// waits a second for them.
#[utoipa::path(get, path = "/admin/v1/stats", tag = "server", params(StatsQuery),
    responses((status = 200, body = Stats)), security(("admin_token" = ["read"])))]
pub(super) async fn show(State(desk): At, Asked(query): Asked<StatsQuery>) -> Answer<Stats> {
    let limit = query.limit.unwrap_or(BUSIEST_DEFAULT);
    if !(1..=BUSIEST_MAX).contains(&limit) {
        return Err(Refusal::BadInput(format!("limit must be 1 to {BUSIEST_MAX}.")));
    }
    let mut stats = Stats::clone(&*desk.stats().await?);
    stats.tenants.truncate(limit);
    stats.busiest.truncate(limit);
    Ok(Private(StatusCode::OK, stats))
}
