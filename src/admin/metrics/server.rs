//! The process as its operators know it: its state, its registry, its cache, its password pool.

use std::fmt;
use std::sync::atomic::Ordering;

use super::super::Desk;
use super::page::{Family, Page};
use crate::passwords::Passwords;
use crate::registry::Registry;
use crate::registry::freshness::Standing;

const BUILD: Family = Family::new("flowgate_build", "Which flowgate this is.");
const READY: Family = Family::new("flowgate_ready", "Whether /readyz says yes: 1 or 0.");
const DRAINING: Family = Family::new(
    "flowgate_draining",
    "Whether an operator or a signal has asked it to stop: 1 or 0.",
);
const SOCKETS: Family = Family::new(
    "flowgate_client_sockets",
    "Clients' sockets, live connections and kept ones included.",
);
const SOCKETS_MAX: Family = Family::new(
    "flowgate_client_sockets_max",
    "How many there may be: connections_max, or fewer if the process may not open so many files.",
);
const STATE: Family = Family::new(
    "flowgate_registry_state",
    "How this process stands with its registry: 1 for the present state, 0 for the others.",
);
const LAG: Family = Family::seconds(
    "flowgate_registry_feed_lag",
    "How long ago the registry's feed was last read to its end: how old what is cached may be.",
);
const STALE_MAX: Family = Family::seconds(
    "flowgate_registry_stale_max",
    "With a lag over this, nobody is served any more from what is cached.",
);
const GAPS: Family =
    Family::new("flowgate_registry_feed_gaps", "Gaps in the feed, after which all is read anew.");
const CALLS: Family = Family::seconds(
    "flowgate_registry_request_duration",
    "How long the registry took to answer, by kind of request.",
);
const FAILURES: Family = Family::new(
    "flowgate_registry_failures",
    "Requests that the registry did not carry out, or perhaps did not.",
);
const LOOKUPS: Family = Family::new(
    "flowgate_cache_lookups",
    "Look-ups of tenants in the near cache: answered with a tenant, with 'there is none', or not.",
);
const FETCHES: Family =
    Family::new("flowgate_cache_fetches", "Reads of the registry for what the cache did not know.");
const EVICTIONS: Family =
    Family::new("flowgate_cache_evictions", "Tenants who had to leave the cache for others.");
const INVALIDATIONS: Family =
    Family::new("flowgate_cache_invalidations", "Notices and changes of tenants.");
const CACHED: Family = Family::new("flowgate_cache_tenants", "Tenants in the near cache.");
const CACHED_MAX: Family = Family::new("flowgate_cache_tenants_max", "How many it may hold.");
const CHECKS: Family =
    Family::new("flowgate_password_checks", "Checks of passwords, by what came of them.");
const CHECK: Family = Family::seconds(
    "flowgate_password_check_duration",
    "How long checks took that bcrypt decided, waiting included.",
);
const QUEUE: Family = Family::new(
    "flowgate_password_queue_length",
    "Checks and hashes of passwords that wait or are worked on.",
);
const QUEUE_MAX: Family =
    Family::new("flowgate_password_queue_max", "How many may wait; more are told that it is busy.");

pub(super) fn put(page: &mut Page<'_>, desk: &Desk) -> fmt::Result {
    page.info(&BUILD, [("version", env!("CARGO_PKG_VERSION"))])?;
    page.gauge(&READY, u64::from(desk.journey.ready.load(Ordering::Relaxed)))?;
    page.gauge(&DRAINING, u64::from(desk.is_stopping()))?;
    let free = desk.places.available();
    page.gauge(&SOCKETS, desk.places.max().saturating_sub(free))?;
    page.gauge(&SOCKETS_MAX, desk.places.max())
}

pub(super) fn put_registry(page: &mut Page<'_>, registry: &Registry) -> fmt::Result {
    let freshness = registry.freshness();
    let (standing, states) =
        (freshness.standing(), [Standing::Current, Standing::Away, Standing::Held]);
    page.gauges(
        &STATE,
        states.map(|state| ([("state", state.as_str())], u64::from(state == standing))),
    )?;
    page.gauge(&LAG, freshness.age().as_secs_f64())?;
    page.gauge(&STALE_MAX, freshness.stale_max().as_secs_f64())?;
    page.counter(&GAPS, registry.feed_gaps())?;
    let uses: Vec<_> = registry.store().uses().collect();
    page.counters(&FAILURES, uses.iter().map(|one| ([("operation", one.label)], one.failures)))?;
    page.histograms(
        &CALLS,
        uses.into_iter().map(|one| ([("operation", one.label)], one.durations)),
    )?;
    let cache = registry.cache_counts();
    let lookups = [("hit", cache.hits), ("absent", cache.absent_hits), ("miss", cache.misses)];
    page.counters(&LOOKUPS, lookups.map(|(result, count)| ([("result", result)], count)))?;
    page.counter(&FETCHES, cache.fetches)?;
    page.counter(&EVICTIONS, cache.evictions)?;
    page.counter(&INVALIDATIONS, cache.invalidations)?;
    page.gauge(&CACHED, cache.tenants)?;
    page.gauge(&CACHED_MAX, cache.tenants_max)
}

pub(super) fn put_passwords(page: &mut Page<'_>, passwords: &Passwords) -> fmt::Result {
    let counts = passwords.counts();
    page.counters(&CHECKS, counts.checks.map(|(verdict, count)| ([("verdict", verdict)], count)))?;
    page.histogram(&CHECK, counts.durations)?;
    page.gauge(&QUEUE, counts.waiting)?;
    page.gauge(&QUEUE_MAX, counts.waiting_max)
}
