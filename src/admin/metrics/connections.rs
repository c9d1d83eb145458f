//! Live connections, what they relay, and how they end.

use std::fmt;

use super::page::{Family, Page};
use crate::journey::Journey;
use crate::live::{Counts, Kind, LiveTable};
use crate::relay::counts::Load;
use crate::row::Row;

/// Where messages and bytes come from, in the order in which they are counted.
const DIRECTIONS: [&str; 2] = ["from_client", "from_runtime"];

const CONNECTIONS: Family = Family::new("flowgate_connections", "Live connections, by row.");
const OPENED: Family =
    Family::new("flowgate_connections_opened", "Connections that began to relay, by row.");
const ENDED: Family = Family::new(
    "flowgate_connections_ended",
    "Connections that ended, by who ended them and by close code.",
);
const LIFETIME: Family =
    Family::seconds("flowgate_connection_lifetime", "How long ended connections had lived.");
const MESSAGES: Family =
    Family::new("flowgate_relayed_messages", "Whole data messages that were relayed.");
const BYTES: Family = Family::bytes(
    "flowgate_relayed",
    "Bytes that were relayed on connections, headers of frames included.",
);
const THROTTLED: Family = Family::new(
    "flowgate_throttled",
    "What plans did for want of budget: reading paused, a message was left out.",
);
const SHARING: Family =
    Family::new("flowgate_plan_replicas", "Replicas that share plans, with this one.");
const RELAY_THREADS: Family =
    Family::new("flowgate_relay_thread_connections", "Live connections of each relay thread.");
const BUFFERS: Family = Family::bytes(
    "flowgate_relay_buffers",
    "What waits in the buffers of live connections because a side does not take it.",
);
const BUFFERS_MAX: Family = Family::bytes(
    "flowgate_relay_buffers_max",
    "buffer_memory_max_bytes: with more than that in them new handshakes are refused.",
);
const HANDSHAKING: Family =
    Family::new("flowgate_handshakes_in_progress", "Handshakes under way to a runtime.");
const REQUESTING: Family =
    Family::new("flowgate_requests_in_progress", "Plain requests under way to a runtime.");
const TENANTS: Family =
    Family::new("flowgate_tenants_active", "Tenants of whom anything is connected or under way.");
const TENANT_CONNECTIONS: Family = Family::new(
    "flowgate_tenant_connections",
    "Connections and handshakes of the busiest tenants.",
);
const TENANT_MESSAGES: Family = Family::new(
    "flowgate_tenant_messages",
    "Messages of the busiest tenants since they were last without a connection.",
);
const TENANT_BYTES: Family = Family::bytes(
    "flowgate_tenant_relayed",
    "Bytes of the busiest tenants since they were last without a connection.",
);

pub(super) fn put(page: &mut Page<'_>, journey: &Journey) -> fmt::Result {
    let threads: Vec<(String, Load)> = journey
        .plane
        .loads()
        .enumerate()
        .map(|(number, load)| (format!("relay-{number}"), load))
        .collect();
    let mut all = Load::default();
    threads.iter().for_each(|(_, load)| all.add(load));
    let rows = || Row::ALL.into_iter().map(|row| [("row", row.label())]);
    let live = all.began.iter().zip(all.over).map(|(began, over)| began.saturating_sub(over));
    page.gauges(&CONNECTIONS, rows().zip(live))?;
    page.counters(&OPENED, rows().zip(all.began))?;
    page.counters(
        &ENDED,
        all.ends().map(|([by, code], count)| ([("ended_by", by), ("code", code)], count)),
    )?;
    page.gauge(&BUFFERS, journey.plane.held().bytes())?;
    page.gauge(&BUFFERS_MAX, journey.limits.buffer_bytes_max)?;
    let directions = || DIRECTIONS.into_iter().map(|direction| [("direction", direction)]);
    page.counters(&MESSAGES, directions().zip(all.messages))?;
    page.counters(&BYTES, directions().zip(all.bytes))?;
    let actions = ["pace", "drop"].map(|action| [("action", action)]);
    page.counters(&THROTTLED, actions.into_iter().zip(all.throttled))?;
    page.gauge(&SHARING, journey.live.share().replicas)?;
    page.gauges(
        &RELAY_THREADS,
        threads.iter().map(|(thread, load)| ([("thread", thread.as_str())], load.live())),
    )?;
    let connections = u64::try_from(journey.live.count(Kind::Connection)).unwrap_or(u64::MAX);
    page.gauge(&HANDSHAKING, connections.saturating_sub(all.live()))?;
    page.gauge(&REQUESTING, journey.live.count(Kind::Exchange))?;
    page.gauge(&TENANTS, journey.live.tenants().len())?;
    page.histogram(&LIFETIME, all.lifetimes)
}

/// The busiest tenants, each with series of their own.
pub(super) fn put_tenants(page: &mut Page<'_>, live: &LiveTable, limit: usize) -> fmt::Result {
    let busiest = live.busiest(limit);
    page.gauges(
        &TENANT_CONNECTIONS,
        busiest.iter().map(|it| ([("tenant", it.username.as_str())], it.connections)),
    )?;
    page.counters(
        &TENANT_MESSAGES,
        busiest.iter().flat_map(|it| {
            let Counts { messages_from_client, messages_from_runtime, .. } = it.relayed;
            by_direction(it.username.as_str(), [messages_from_client, messages_from_runtime])
        }),
    )?;
    page.counters(
        &TENANT_BYTES,
        busiest.iter().flat_map(|it| {
            let Counts { bytes_from_client, bytes_from_runtime, .. } = it.relayed;
            by_direction(it.username.as_str(), [bytes_from_client, bytes_from_runtime])
        }),
    )
}

fn by_direction(
    tenant: &str,
    counts: [u64; 2],
) -> impl Iterator<Item = ([(&'static str, &str); 2], u64)> {
    DIRECTIONS
        .into_iter()
        .zip(counts)
        .map(move |(direction, count)| ([("tenant", tenant), ("direction", direction)], count))
}
