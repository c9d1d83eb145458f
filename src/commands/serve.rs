//! `flowgate serve`: starts every part, waits for a signal, and stops them in order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::certificates::InUse;
use super::import::{self, open};
use super::{EXIT_CONFIG, Failure, memory};
use crate::accept::{self, AcceptSettings};
use crate::admin::Admin;
use crate::admin::tokens::TokensInUse;
use crate::analytics::Analytics;
use crate::client::RequestIds;
use crate::clock::Clock;
use crate::config::Settings;
use crate::drain::drain_connections;
use crate::front::plane::Plane as FrontPlane;
use crate::journey::Journey;
use crate::journey::recent::Recent;
use crate::keepalive::Probes;
use crate::metrics::Metrics;
use crate::networks::Networks;
use crate::permits::Permits;
use crate::presence::Presence;
use crate::profile::Desk;
use crate::registry::store::redacted;
use crate::registry::usage::Usage;
use crate::relay::plane::Prepared;
use crate::telemetry;
use crate::tls::server::Acceptor;

mod about;
mod attend;
mod beside;
mod front;
mod limits;
mod parts;
mod runtimes;
mod signals;

use about::{about, own_addresses, thread_names};
use attend::attend;
use beside::{beside, write_down};
use limits::permits;
use parts::{admin_desk, dialer, passwords, plane, registry, routers, sealing};
use signals::Signals;

/// Name look-ups and reads of the registry at once; everything else that blocks has threads of its own.
const BLOCKING_THREADS_MAX: usize = 16;
/// What a stop may take once everything was told or cut.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A listener, and what speaks TLS there.
type TlsListener = (TcpListener, Option<Acceptor>);

/// What the front's threads begin with.
type Fronts = (Vec<Vec<std::net::TcpListener>>, Vec<Prepared>);

/// Runs until a signal.
pub(super) fn run(settings: Settings) -> Result<(), Failure> {
    if !settings.debuggable {
        memory::keep_private();
    }
    let cannot = |what: &str, error: io::Error| Failure::runtime(format!("cannot {what}: {error}"));
    let _flushed_at_the_end =
        telemetry::start(&settings.log).map_err(|error| cannot("start the log's thread", error))?;
    let certificates = InUse::load(&settings)?;
    let clock = Clock::start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(settings.workers)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name_fn(thread_names(settings.workers))
        .enable_all()
        .build()
        .map_err(|error| cannot("start the worker threads", error))?;
    let (handle, tokens) = (runtime.handle(), admin_tokens(&settings)?);
    let store = open(&settings, handle)?;
    if let Some(path) = &settings.import {
        import::fill(&store, handle, path, false)?;
    }
    let registry = Arc::new(registry(store, &settings, clock).with_sealing(sealing(&settings)?));
    let (plane, prepared) = plane(&settings, clock)?;
    let passwords = passwords(clock)?;
    let dialer = Arc::new(dialer(&settings, clock)?);
    let request_ids = RequestIds::new().map_err(|error| cannot("get randomness", error.into()))?;
    let (usage, refused) = <(Arc<Usage>, Arc<Recent>)>::default();
    let (live, presence, analytics) = beside(&registry, &settings)?;
    let runtimes = runtimes::open(&settings, handle, (&registry, &live), &presence, clock)?;
    let desk = Desk {
        registry: Arc::clone(&registry),
        passwords: Arc::clone(&passwords),
        live: Arc::clone(&live),
        presence: Arc::clone(&presence),
        usage: Arc::clone(&usage),
        dialer: Arc::clone(&dialer),
        runtimes: Arc::clone(&runtimes),
        refused: Arc::clone(&refused),
        analytics: Arc::clone(&analytics),
        base_domain: settings.base_domain.clone(),
        oauth: settings.oauth.clone(),
    };
    let (pages, tenant_pages) = routers(desk);
    let journey = Arc::new(Journey {
        base_domain: settings.base_domain.clone(),
        trusted_proxies: settings.trusted_proxies.clone(),
        clock,
        registry,
        usage,
        passwords,
        pages,
        tenant_pages,
        live,
        dialer,
        runtimes,
        plane,
        limits: settings.limits,
        request_ids,
        metrics: Arc::<Metrics>::default(),
        refused,
        ready: AtomicBool::new(false),
        switch_timeout: settings.accept.header_timeout,
        #[cfg(test)]
        gate: Arc::default(),
    });
    let parts = (presence, analytics);
    let outcome =
        runtime.block_on(serve(settings, journey, parts, (certificates, tokens), prepared));
    // Dropped instead, it would wait for every name look-up that hangs.
    runtime.shutdown_timeout(LAST_WORDS);
    outcome
}

async fn serve(
    settings: Settings,
    journey: Arc<Journey>,
    (presence, analytics): (Arc<Presence>, Arc<Analytics>),
    (certificates, tokens): (InUse, Arc<TokensInUse>),
    prepared: Vec<Prepared>,
) -> Result<(), Failure> {
    let mut signals = Signals::listen()
        .map_err(|error| Failure::runtime(format!("cannot listen for signals: {error}")))?;
    let [data_tls, admin_tls] = certificates.acceptors()?;
    let probes = settings.probes;
    let admin_listener = listen("admin", settings.admin_listen, admin_tls.is_some(), probes)?;
    let listeners = front::listen(&settings)?;
    let mut tls_listeners = Vec::new();
    for address in &settings.tls_listen {
        tls_listeners.push((listen("data", *address, true, probes)?, data_tls.clone()));
    }
    journey.dialer.reach().listening_on(own_addresses(&admin_listener, &listeners, &tls_listeners));
    // Before the first request, an operator's or a client's: nothing has been cached yet, so nothing
    // that is older than the feed from here on.
    let revision = journey.registry.store().last_revision().await;
    let revision = revision.map_err(|error| Failure::runtime(error.to_string()))?;
    let (stop_admin, admin_stopped) = watch::channel(false);
    let places = Arc::new(permits(&settings, journey.plane.held()));
    let beside = (Arc::clone(&presence), Arc::clone(&analytics));
    let desk = Arc::new(admin_desk(&settings, &journey, &beside, &places, &tokens));
    let request_ids = RequestIds::new().map_err(|error| Failure::runtime(error.to_string()))?;
    let admin = Admin::new(Arc::clone(&desk), request_ids);
    let admin_task = tokio::spawn(serve_admin(
        admin,
        admin_listener,
        admin_tls,
        settings.accept.clone(),
        admin_stopped,
    ));

    presence.enter(about(listeners.first(), &tls_listeners)).await;
    let (stop_data, data_stopped) = watch::channel(false);
    let mut data_tasks = JoinSet::new();
    let listeners = ((listeners, prepared), tls_listeners);
    let front =
        serve_data(listeners, &settings, &journey, &places, &data_stopped, &mut data_tasks)?;
    let attending = attend(journey.clone(), beside, settings.oauth.clone(), revision);
    let mut attendant =
        tokio::spawn(async move { tokio::join!(attending, certificates.keep_fresh(tokens)) });
    journey.ready.store(true, Ordering::Relaxed);
    tracing::info!(replica = %presence.id(), registry = redacted(&settings.registry), "ready");

    let first = tokio::select! {
        signal = signals.next() => signal,
        () = desk.stop.notified() => "an operator's",
        // Without it nothing is revoked any more: better that whatever watches over the process starts
        // it anew.
        ended = &mut attendant => {
            let why = ended.err().map_or_else(|| "it returned".to_owned(), |error| error.to_string());
            return Err(Failure::runtime(format!("what follows the registry has ended: {why}")));
        }
    };
    tracing::info!(signal = first, "stopping; a second signal cuts");
    presence.drain();
    tokio::select! {
        () = stop(&settings, &journey, &front, &stop_data, &mut data_tasks) => {}
        second = signals.next() => tracing::warn!(signal = second, "cutting all connections"),
    }
    data_tasks.shutdown().await;
    // Not a task of its own: it would queue behind name look-ups.
    tokio::task::block_in_place(|| {
        // First the flag, so that nothing is left for threads that are about to end.
        journey.plane.stop();
        front.stop();
    });
    end_runtimes(&journey, &mut signals).await;
    attendant.abort();
    // Whatever it was about to write must not come behind the last words.
    let _ = attendant.await;
    write_down(&journey, &analytics).await;
    if !matches!(tokio::time::timeout(LAST_WORDS, presence.leave()).await, Ok(Ok(()))) {
        tracing::warn!("the other replicas could not be told of the stop");
    }
    stop_admin.send_replace(true);
    let _ = tokio::time::timeout(LAST_WORDS, desk.feeds.stop()).await;
    let _ = tokio::time::timeout(LAST_WORDS, admin_task).await;
    tracing::info!("stopped");
    Ok(())
}

/// Serves operators until it is stopped.
async fn serve_admin(
    admin: Admin,
    listener: TcpListener,
    tls: Option<Acceptor>,
    settings: AcceptSettings,
    stopped: watch::Receiver<bool>,
) {
    let admin = Arc::new(admin);
    let settings = AcceptSettings {
        connections_max: Admin::CONNECTIONS_MAX,
        // It is for those who reach it themselves, probes above all.
        proxy_protocol_from: Networks::default(),
        ..settings
    };
    let permits = Arc::new(Permits::for_operators(Admin::CONNECTIONS_MAX));
    accept::serve(listener, tls, settings, permits, stopped, move |request, peer| {
        let admin = Arc::clone(&admin);
        async move { admin.answer(request, &peer).await }
    })
    .await;
}

/// The tokens of the operators, and a word if there are none.
fn admin_tokens(settings: &Settings) -> Result<Arc<TokensInUse>, Failure> {
    let tokens = TokensInUse::load(settings.admin_tokens.clone());
    let tokens = tokens.map_err(|message| Failure { exit_code: EXIT_CONFIG, message })?;
    if tokens.is_empty() {
        tracing::info!("no admin token is configured: the admin API refuses everything but health");
    }
    Ok(Arc::new(tokens))
}

/// Begins to serve clients: those without TLS at the front.
fn serve_data(
    (fronts, tls_listeners): (Fronts, Vec<TlsListener>),
    settings: &Settings,
    journey: &Arc<Journey>,
    places: &Arc<Permits>,
    data_stopped: &watch::Receiver<bool>,
    data_tasks: &mut JoinSet<()>,
) -> Result<FrontPlane, Failure> {
    let permits = Arc::clone(places);
    let (front, brought) = front::start(fronts, settings, &permits, journey)?;
    let answering = Arc::clone(journey);
    data_tasks.spawn(accept::serve_handed_over(
        brought,
        Arc::clone(permits.held()),
        settings.accept.clone(),
        data_stopped.clone(),
        move |request, peer| Arc::clone(&answering).answer(request, peer),
    ));
    for (listener, tls) in tls_listeners {
        let journey = Arc::clone(journey);
        data_tasks.spawn(accept::serve(
            listener,
            tls,
            settings.accept.clone(),
            Arc::clone(&permits),
            data_stopped.clone(),
            move |request, peer| Arc::clone(&journey).answer(request, peer),
        ));
    }
    Ok(front)
}

/// The order of a graceful stop, up to where what is left is cut.
async fn stop(
    settings: &Settings,
    journey: &Journey,
    front: &FrontPlane,
    stop_data: &watch::Sender<bool>,
    data_tasks: &mut JoinSet<()>,
) {
    journey.ready.store(false, Ordering::Relaxed);
    journey.runtimes.drain();
    tokio::time::sleep(settings.drain.delay).await;
    front.drain();
    stop_data.send_replace(true);
    let finish_http = async {
        let all = async { while data_tasks.join_next().await.is_some() {} };
        tokio::time::timeout(settings.drain.timeout, all).await
    };
    let drain = drain_connections(&journey.live, settings.drain.timeout);
    let (_, left) = tokio::join!(finish_http, drain);
    if left > 0 {
        tracing::warn!(connections = left, "drain_timeout is over: cutting what is left");
    }
}

/// Ends the runtimes, each in order. With another signal they end by themselves, with us.
async fn end_runtimes(journey: &Journey, signals: &mut Signals) {
    tokio::select! {
        () = journey.runtimes.stop() => {}
        signal = signals.next() => tracing::warn!(signal, "not waiting for runtimes to end"),
    }
}

fn listen(
    plane: &'static str,
    address: SocketAddr,
    tls: bool,
    probes: Probes,
) -> Result<TcpListener, Failure> {
    let bound = accept::bind(address).and_then(|listener| {
        probes.watch(&listener)?;
        Ok((listener.local_addr()?, listener))
    });
    let (address, listener) = bound.map_err(|error| front::cannot_listen(address, &error))?;
    tracing::info!(plane, %address, tls, "listening");
    Ok(listener)
}
