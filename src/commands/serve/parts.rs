//! The parts of a server, made of its settings.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use tokio::sync::Notify;

use crate::admin;
use crate::admin::tokens::TokensInUse;
use crate::analytics::Analytics;
use crate::clock::{Clock, Wall};
use crate::commands::{EXIT_CONFIG, Failure};
use crate::config::Settings;
use crate::connect::Dialer;
use crate::connect::reach::Reach;
use crate::journey::Journey;
use crate::oauth;
use crate::passwords::Passwords;
use crate::permits::Permits;
use crate::presence::Presence;
use crate::profile::{self, Desk};
use crate::registry::Registry;
use crate::registry::store::Store;
use crate::relay::plane::{Plane, Prepared};
use crate::sealing::Sealing;
use crate::web;

pub(super) fn registry(store: Store, settings: &Settings, clock: Clock) -> Registry {
    Registry::new(store, settings.caching, clock, Wall::system())
        .keeping_audit(settings.audit_kept)
        .with_sessions(settings.sessions)
}

pub(super) fn dialer(settings: &Settings, clock: Clock) -> Result<Dialer, Failure> {
    let reach = Arc::new(Reach::new(settings.allow_addresses.clone()));
    let dialer = Dialer::new(settings.connect, reach, clock);
    dialer.map_err(|error| Failure::runtime(error.to_string()))
}

/// The relay, whose threads begin with what is prepared for them.
pub(super) fn plane(settings: &Settings, clock: Clock) -> Result<(Plane, Vec<Prepared>), Failure> {
    let (plane, prepared) = Plane::prepare(settings.relay_threads, settings.patience, clock)
        .map_err(|error| Failure::runtime(format!("cannot start the relay threads: {error}")))?;
    plane.held().limit(settings.limits.buffer_bytes_max);
    Ok((plane, prepared))
}

pub(super) fn passwords(clock: Clock) -> Result<Arc<Passwords>, Failure> {
    let passwords = Passwords::start(clock);
    let cannot =
        |error: io::Error| Failure::runtime(format!("cannot start the password threads: {error}"));
    passwords.map(Arc::new).map_err(cannot)
}

/// flowgate's own pages: on the bare host, and on tenants'.
pub(super) fn routers(desk: Desk) -> (Router, Router) {
    let (others, tokens) = (Arc::new(pages(&desk)), Arc::new(oauth_desk(&desk)));
    let bare = profile::router(Arc::new(desk))
        .merge(web::router(Arc::clone(&others)))
        .merge(oauth::router(tokens));
    (bare, web::tenant_router(others))
}

/// What the pages around the profile work with: the same.
fn pages(desk: &Desk) -> web::Desk {
    web::Desk {
        registry: Arc::clone(&desk.registry),
        passwords: Arc::clone(&desk.passwords),
        live: Arc::clone(&desk.live),
        base_domain: desk.base_domain.clone(),
    }
}

/// What the place where tokens are issued works with: the same.
fn oauth_desk(desk: &Desk) -> oauth::Desk {
    oauth::Desk {
        registry: Arc::clone(&desk.registry),
        passwords: Arc::clone(&desk.passwords),
        live: Arc::clone(&desk.live),
        settings: desk.oauth.clone(),
        tickets: oauth::ticket::Tickets::default(),
    }
}

/// What secrets in the registry are sealed with.
pub(super) fn sealing(settings: &Settings) -> Result<Option<Arc<Sealing>>, Failure> {
    let sealing = settings.sealing_key_file.as_deref().map(Sealing::load).transpose();
    let sealing = sealing.map_err(|message| Failure {
        exit_code: EXIT_CONFIG,
        message: format!("sealing_key_file: {message}"),
    })?;
    Ok(sealing.map(Arc::new))
}

/// Where operators are served.
pub(super) fn admin_desk(
    settings: &Settings,
    journey: &Arc<Journey>,
    (presence, analytics): &(Arc<Presence>, Arc<Analytics>),
    places: &Arc<Permits>,
    tokens: &Arc<TokensInUse>,
) -> admin::Desk {
    admin::Desk {
        journey: Arc::clone(journey),
        presence: Arc::clone(presence),
        tokens: Arc::clone(tokens),
        places: Arc::clone(places),
        metrics_open: settings.metrics_open,
        hosts: admin::own_hosts(settings.admin_listen)
            .chain(settings.admin_hosts.iter().cloned())
            .collect(),
        configuration: settings.effective.clone(),
        sampler: admin::stats::Sampler::default(),
        analytics: Arc::clone(analytics),
        stop: Notify::new(),
        is_draining: AtomicBool::new(false),
        feeds: admin::feed::Feeds::default(),
    }
}
