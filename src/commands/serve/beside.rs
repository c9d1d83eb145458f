//! Analytics, and this replica among all.

use std::sync::Arc;

use crate::analytics::Analytics;
use crate::commands::Failure;
use crate::config::Settings;
use crate::journey::Journey;
use crate::ledger::Ledger;
use crate::live::LiveTable;
use crate::presence::{self, Presence};
use crate::registry::Registry;

/// The live table, which counts for analytics if they are kept.
fn live_table(settings: &Settings) -> LiveTable {
    match settings.analytics_days {
        0 => LiveTable::default(),
        _ => LiveTable::counting(Ledger::default()),
    }
}

/// What runs here, this replica among all, and what writes and reads its analytics.
type Beside = (Arc<LiveTable>, Arc<Presence>, Arc<Analytics>);

/// Makes them.
pub(super) fn beside(registry: &Arc<Registry>, settings: &Settings) -> Result<Beside, Failure> {
    let live = Arc::new(live_table(settings));
    let replicas = presence::Settings::new(registry.is_shared());
    let parts = (Arc::clone(registry), Arc::clone(&live));
    let presence = Presence::new(parts.0, parts.1, registry.clock(), replicas);
    let presence =
        presence.map_err(|error| Failure::runtime(format!("cannot get randomness: {error}")))?;
    let parts = (Arc::clone(&live), Arc::clone(registry));
    let analytics = Analytics::new(parts.0, parts.1, presence.id(), settings.analytics_days);
    Ok((live, Arc::new(presence), Arc::new(analytics)))
}

/// Writes down when keys were used.
pub(super) async fn write_use_down(journey: &Journey) {
    if let Err(error) = journey.usage.flush(&journey.registry).await {
        tracing::warn!(%error, "the use of keys could not be written down");
    }
}

/// Writes what was collected, at the end.
pub(super) async fn write_down(journey: &Journey, analytics: &Analytics) {
    write_use_down(journey).await;
    if let Err(error) = analytics.flush().await {
        tracing::warn!(%error, "analytics of the last minute could not be written");
    }
}
