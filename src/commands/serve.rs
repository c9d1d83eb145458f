//! `flowgate serve`: starts every part, waits for a signal, and stops them in order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::Failure;
use super::import::{self, open};
use crate::accept::{self, AcceptSettings};
use crate::admin::Admin;
use crate::client::RequestIds;
use crate::clock::{Clock, Wall};
use crate::config::Settings;
use crate::connect::Dialer;
use crate::drain::drain_connections;
use crate::front::FrontSettings;
use crate::front::plane::{self as front_plane, Plane as FrontPlane};
use crate::journey::Journey;
use crate::journey::front::FrontDesk;
use crate::live::LiveTable;
use crate::passwords::Passwords;
use crate::profile::{self, Desk};
use crate::registry::Registry;
use crate::registry::usage::{FLUSH_EVERY, Usage};
use crate::relay::plane::Plane;
use crate::revoke::{follow, recheck};
use crate::telemetry;

/// Descriptors for everything but clients' connections and their runtimes'.
const DESCRIPTORS_RESERVED: u64 = 128;
/// Name look-ups and reads of the registry at once; everything else that blocks has threads of its own.
const BLOCKING_THREADS_MAX: usize = 16;
/// How often kept connections to runtimes are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// What a stop may take once everything was told or cut.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs until a signal.
pub(super) fn run(settings: Settings) -> Result<(), Failure> {
    let cannot = |what: &str, error: io::Error| Failure::runtime(format!("cannot {what}: {error}"));
    let _flushed_at_the_end =
        telemetry::start(&settings.log).map_err(|error| cannot("start the log's thread", error))?;
    let clock = Clock::start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(settings.workers)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("handshakes")
        .enable_all()
        .build()
        .map_err(|error| cannot("start the worker threads", error))?;
    let store = open(&settings.registry, runtime.handle())?;
    if let Some(path) = &settings.import {
        import::fill(&store, runtime.handle(), path, false)?;
    }
    let wall = Wall::system();
    let registry = Arc::new(Registry::new(store, settings.caching, clock, wall));
    let plane = Plane::start(settings.relay_threads, settings.patience, clock)
        .map_err(|error| cannot("start the relay threads", error))?;
    let passwords = Passwords::start(clock);
    let passwords =
        Arc::new(passwords.map_err(|error| cannot("start the password threads", error))?);
    let request_ids = RequestIds::new().map_err(|error| cannot("get randomness", error.into()))?;
    let (live, usage) = (Arc::new(LiveTable::default()), Arc::new(Usage::default()));
    let desk = Desk {
        registry: Arc::clone(&registry),
        passwords: Arc::clone(&passwords),
        live: Arc::clone(&live),
        usage: Arc::clone(&usage),
        clock,
    };
    let journey = Arc::new(Journey {
        base_domain: settings.base_domain.clone(),
        clock,
        registry,
        usage,
        passwords,
        profile: profile::router(Arc::new(desk)),
        live,
        dialer: Dialer::new(settings.connect, clock),
        plane,
        body_bytes_max: settings.body_bytes_max,
        request_ids,
        ready: AtomicBool::new(false),
        switch_timeout: settings.accept.header_timeout,
        #[cfg(test)]
        gate: Arc::default(),
    });
    let outcome = runtime.block_on(serve(settings, journey));
    // Dropped instead, it would wait for every name look-up that hangs.
    runtime.shutdown_timeout(LAST_WORDS);
    outcome
}

/// What goes on beside requests: revocations by feed and by time, and the use of keys written down.
async fn attend(journey: Arc<Journey>, revision: u64) {
    let flush = async {
        let mut tick = tokio::time::interval(FLUSH_EVERY);
        loop {
            tick.tick().await;
            if let Err(error) = journey.usage.flush(&journey.registry).await {
                tracing::warn!(%error, "the use of keys could not be written down");
            }
        }
    };
    let sweep = async {
        let mut tick = tokio::time::interval(SWEEP_EVERY);
        loop {
            tick.tick().await;
            journey.dialer.sweep();
        }
    };
    let recheck = recheck(Arc::clone(&journey.live), Arc::clone(&journey.registry));
    let follow = follow(Arc::clone(&journey.live), Arc::clone(&journey.registry), revision);
    tokio::join!(flush, sweep, recheck, follow);
}

async fn serve(settings: Settings, journey: Arc<Journey>) -> Result<(), Failure> {
    let mut signals = Signals::listen()
        .map_err(|error| Failure::runtime(format!("cannot listen for signals: {error}")))?;
    let admin_listener = listen(settings.admin_listen)?;
    let listeners = listen_for_data(&settings)?;
    let (stop_admin, admin_stopped) = watch::channel(false);
    let admin = Arc::new(Admin { journey: Arc::clone(&journey) });
    let admin_task = tokio::spawn(accept::serve(
        admin_listener,
        AcceptSettings { connections_max: Admin::CONNECTIONS_MAX, ..settings.accept.clone() },
        Arc::new(Semaphore::new(Admin::CONNECTIONS_MAX)),
        admin_stopped,
        move |request, _| {
            let admin = Arc::clone(&admin);
            async move { admin.answer(&request) }
        },
    ));

    // Before the first client: nothing has been cached yet, so nothing older can be.
    let revision = journey.registry.store().last_revision().await;
    let revision = revision.map_err(|error| Failure::runtime(error.to_string()))?;
    let permits = Arc::new(Semaphore::new(connections_max(&settings.accept)));
    let (stop_data, data_stopped) = watch::channel(false);
    let mut data_tasks = JoinSet::new();
    // Each of them has a permit, so there is room for all.
    let (others, brought) = mpsc::channel(permits.available_permits());
    let desk = Arc::new(FrontDesk { journey: Arc::clone(&journey), others });
    let front = FrontPlane::start(
        listeners,
        &front_settings(&settings),
        &permits,
        journey.clock,
        &Handle::current(),
        &desk,
    )
    .map_err(|error| Failure::runtime(format!("cannot start the front threads: {error}")))?;
    // It ends with the last thread.
    drop(desk);
    let answering = Arc::clone(&journey);
    data_tasks.spawn(accept::serve_handed_over(
        brought,
        settings.accept.clone(),
        data_stopped,
        move |request, peer| Arc::clone(&answering).answer(request, peer),
    ));
    let attendant = tokio::spawn(attend(Arc::clone(&journey), revision));
    journey.ready.store(true, Ordering::Relaxed);
    tracing::info!(registry = settings.registry, "ready");

    let first = signals.next().await;
    tracing::info!(signal = first, "stopping; a second signal cuts");
    tokio::select! {
        () = stop(&settings, &journey, &front, &stop_data, &mut data_tasks) => {}
        second = signals.next() => tracing::warn!(signal = second, "cutting all connections"),
    }
    data_tasks.shutdown().await;
    // Not a task of its own: it would queue behind name look-ups.
    tokio::task::block_in_place(|| {
        front.stop();
        journey.plane.stop();
    });
    attendant.abort();
    if let Err(error) = journey.usage.flush(&journey.registry).await {
        tracing::warn!(%error, "the use of keys could not be written down");
    }
    stop_admin.send_replace(true);
    let _ = tokio::time::timeout(LAST_WORDS, admin_task).await;
    tracing::info!("stopped");
    Ok(())
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

/// The operators' listener.
fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    let bound = accept::bind(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) = bound.map_err(|error| cannot_listen(address, &error))?;
    tracing::info!(plane = "admin", %address, "listening");
    Ok(listener)
}

/// The data listeners, for each front thread its own.
fn listen_for_data(settings: &Settings) -> Result<Vec<Vec<std::net::TcpListener>>, Failure> {
    let mut by_thread: Vec<Vec<_>> = (0..settings.workers).map(|_| Vec::new()).collect();
    for address in &settings.listen {
        let listeners = front_plane::bind(*address, settings.workers);
        let bound = listeners.and_then(|listeners| {
            let bound = listeners[0].local_addr();
            by_thread.iter_mut().zip(listeners).for_each(|(thread, it)| thread.push(it));
            bound
        });
        let address = bound.map_err(|error| cannot_listen(*address, &error))?;
        tracing::info!(plane = "data", %address, "listening");
    }
    Ok(by_thread)
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> Failure {
    Failure::runtime(format!("cannot listen on {address}: {error}"))
}

fn front_settings(settings: &Settings) -> FrontSettings {
    FrontSettings {
        header_timeout: settings.accept.header_timeout,
        write_stall_max: settings.accept.write_stall_max,
        connect_timeout: settings.connect.connect_timeout,
        handshake_timeout: settings.connect.handshake_timeout,
        response_timeout: settings.connect.response_timeout,
        header_bytes_max: settings.accept.header_bytes_max,
    }
}

/// As many connections as configured, or as this process may have sockets for.
fn connections_max(settings: &AcceptSettings) -> usize {
    let limit = getrlimit(Resource::Nofile);
    // Raising our own soft limit to the hard one cannot fail; if it does, the soft one counts.
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let descriptors = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let possible = descriptors.unwrap_or(u64::MAX).saturating_sub(DESCRIPTORS_RESERVED) / 2;
    let possible = usize::try_from(possible).unwrap_or(usize::MAX).max(1);
    if possible < settings.connections_max {
        tracing::info!(
            connections_max = possible,
            configured = settings.connections_max,
            "the process may open too few files for the configured connections"
        );
    }
    settings.connections_max.min(possible).min(Semaphore::MAX_PERMITS)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
