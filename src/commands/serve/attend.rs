//! What goes on beside requests.

use std::sync::Arc;
use std::time::Duration;

use super::beside::write_use_down;
use crate::analytics::Analytics;
use crate::connect::Dialer;
use crate::follow::follow;
use crate::journey::Journey;
use crate::oauth::OAuthSettings;
use crate::presence::Presence;
use crate::registry::Registry;
use crate::registry::audit::ENTRIES_MAX;
use crate::registry::usage::FLUSH_EVERY;
use crate::revoke::recheck;
use crate::settle::settle;

/// How often kept connections to runtimes are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked which nodes are to be probed.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Between two steps through the sessions.
const SWEEP_SESSIONS_EVERY: Duration = Duration::from_secs(15);
/// How often it is asked whether the audit log has grown too long.
const TRIM_EVERY: Duration = Duration::from_secs(60);
/// How often it is asked whether another key should sign access tokens.
const KEEP_TOKENS_EVERY: Duration = Duration::from_secs(60);
/// How often it is looked at what was relayed.
const METER_EVERY: Duration = Duration::from_secs(2);

/// Revocations by feed and by time, other replicas, the use of keys written down, traffic counted, and
/// what is over removed; failed logins shared.
pub(super) async fn attend(
    journey: Arc<Journey>,
    (presence, analytics): (Arc<Presence>, Arc<Analytics>),
    oauth: OAuthSettings,
    revision: u64,
) {
    let flush = async {
        let mut tick = tokio::time::interval(FLUSH_EVERY);
        loop {
            tick.tick().await;
            write_use_down(&journey).await;
        }
    };
    let sweep = async {
        let mut tick = tokio::time::interval(SWEEP_EVERY);
        loop {
            tick.tick().await;
            journey.dialer.sweep();
        }
    };
    let trim = async {
        let mut tick = tokio::time::interval(TRIM_EVERY);
        loop {
            tick.tick().await;
            if let Err(error) = journey.registry.trim_audit(ENTRIES_MAX).await {
                tracing::warn!(%error, "the audit log could not be trimmed");
            }
        }
    };
    let sweep_sessions = async {
        let mut tick = tokio::time::interval(SWEEP_SESSIONS_EVERY);
        let mut after = None;
        loop {
            tick.tick().await;
            let registry = &journey.registry;
            let swept = registry.sweep_sessions(after.as_deref(), registry.session_limits()).await;
            after = swept.unwrap_or_else(|error| {
                tracing::warn!(%error, "sessions that are over could not be removed");
                None
            });
        }
    };
    let meter = async {
        let mut tick = tokio::time::interval(METER_EVERY);
        loop {
            tick.tick().await;
            journey.live.meter(journey.registry.wall().now());
        }
    };
    let recheck = recheck(Arc::clone(&journey.live), Arc::clone(&journey.registry));
    let (live, registry) = (Arc::clone(&journey.live), Arc::clone(&journey.registry));
    let follow = follow(live, registry, Arc::clone(&presence), revision);
    let (live, registry) = (Arc::clone(&journey.live), Arc::clone(&journey.registry));
    let settle = settle(live, registry, Arc::clone(&presence));
    let guesses = journey.registry.share_guesses(journey.passwords.guessing(), journey.clock);
    let watch = async { tokio::join!(recheck, follow, presence.attend(), guesses, settle) };
    let runtimes = Arc::clone(&journey.runtimes);
    let runtimes = async { tokio::join!(runtimes.keep(), probe(&journey.dialer)) };
    let tokens = keep_tokens(&journey.registry, &oauth);
    tokio::join!(
        flush,
        sweep,
        trim,
        sweep_sessions,
        tokens,
        meter,
        watch,
        runtimes,
        analytics.attend()
    );
}

/// Asks the nodes that are to be probed.
async fn probe(dialer: &Arc<Dialer>) {
    let mut tick = tokio::time::interval(PROBE_EVERY);
    loop {
        tick.tick().await;
        dialer.probe_nodes().await;
    }
}

/// There is a key that signs access tokens, and not too old a one; revocations of tokens that are over are
/// removed.
async fn keep_tokens(registry: &Registry, oauth: &OAuthSettings) {
    let mut tick = tokio::time::interval(KEEP_TOKENS_EVERY);
    loop {
        tick.tick().await;
        if registry.sealing().is_some()
            && let Err(error) = registry.keep_signing_keys(oauth.signing_key_age_max).await
        {
            tracing::warn!(?error, "the keys that sign access tokens could not be looked at");
        }
        if let Err(error) = registry.sweep_revocations().await {
            tracing::warn!(%error, "revocations that are over could not be removed");
        }
    }
}
