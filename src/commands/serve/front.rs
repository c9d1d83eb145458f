//! The front's part of `flowgate serve`: its listeners and its threads.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::super::Failure;
use crate::accept::HandedOver;
use crate::config::Settings;
use crate::front::FrontSettings;
use crate::front::plane::{self, Begun, Plane};
use crate::journey::Journey;
use crate::journey::front::FrontDesk;
use crate::permits::Permits;
use crate::relay::plane::Prepared;

/// The data listeners without TLS, for each thread its own.
pub(super) fn listen(settings: &Settings) -> Result<Vec<Vec<TcpListener>>, Failure> {
    let threads = settings.relay_threads;
    let mut by_thread: Vec<Vec<_>> = (0..threads).map(|_| Vec::new()).collect();
    for address in &settings.listen {
        let listeners = plane::bind(*address, threads);
        let bound = listeners.and_then(|listeners| {
            listeners.iter().try_for_each(|listener| settings.probes.watch(listener))?;
            let bound = listeners[0].local_addr();
            by_thread.iter_mut().zip(listeners).for_each(|(thread, it)| thread.push(it));
            bound
        });
        let address = bound.map_err(|error| cannot_listen(*address, &error))?;
        tracing::info!(plane = "data", %address, tls = false, "listening");
    }
    Ok(by_thread)
}

/// Starts its threads. What they hand over comes through the channel, which closes when the last of
/// them has ended.
pub(super) fn start(
    (listeners, prepared): (Vec<Vec<TcpListener>>, Vec<Prepared>),
    settings: &Settings,
    permits: &Arc<Permits>,
    journey: &Arc<Journey>,
) -> Result<(Plane, mpsc::Receiver<HandedOver>), Failure> {
    // Each of them has a permit, so there is room for all.
    let (others, brought) = mpsc::channel(permits.max());
    let desk = Arc::new(FrontDesk { journey: Arc::clone(journey), others });
    let settings = settings_of(settings);
    let clock = journey.clock;
    let begun = listeners.into_iter().zip(prepared).map(|(listeners, prepared)| {
        let Prepared { poll, waker, relay } = prepared;
        Begun { poll, waker, listeners, companion: relay }
    });
    let plane = Plane::start(begun.collect(), &settings, permits, clock, &Handle::current(), &desk);
    let plane = plane
        .map_err(|error| Failure::runtime(format!("cannot start the relay threads: {error}")))?;
    Ok((plane, brought))
}

fn settings_of(settings: &Settings) -> FrontSettings {
    FrontSettings {
        header_timeout: settings.accept.header_timeout,
        write_stall_max: settings.accept.write_stall_max,
        connect_timeout: settings.connect.connect_timeout,
        handshake_timeout: settings.connect.handshake_timeout,
        response_timeout: settings.connect.response_timeout,
        header_bytes_max: settings.accept.header_bytes_max,
        headers_max: settings.accept.headers_max,
        body_bytes_max: settings.limits.body_bytes_max,
        keep_alive: settings.accept.keep_alive,
        probes: settings.probes,
        proxy_protocol_from: settings.accept.proxy_protocol_from.clone(),
    }
}

pub(super) fn cannot_listen(address: SocketAddr, error: &io::Error) -> Failure {
    Failure::runtime(format!("cannot listen on {address}: {error}"))
}
