//! The front as the rest of the program sees it: listeners, and a few threads that serve them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use mio::{Poll, Waker};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind as bind_to, listen, sockopt};
use tokio::runtime::Handle;

use super::thread::{Front, Start};
use super::{FrontSettings, Story};
use crate::clock::Clock;
use crate::live::Mailbox;
use crate::permits::Permits;
use crate::registry::store::embedded::never_wait_here;
use crate::scheduling;

const BACKLOG: i32 = 4096;

/// How a thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Serve,
    /// Nobody new; what runs may finish.
    Drain,
    /// At once.
    Cut,
}

/// What a thread and its visitors share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) mailbox: Arc<Mailbox>,
    level: AtomicU8,
    is_full: Arc<AtomicBool>,
}

impl Shared {
    pub(super) fn level(&self) -> Level {
        match self.level.load(Ordering::Relaxed) {
            0 => Level::Serve,
            1 => Level::Drain,
            _ => Level::Cut,
        }
    }

    /// Says once that there is no place left.
    pub(super) fn say_full(&self) {
        if !self.is_full.swap(true, Ordering::Relaxed) {
            tracing::warn!("connections_max is reached: new connections wait");
        }
    }

    pub(super) fn say_not_full(&self, places: usize) {
        if places > 0 && self.is_full.load(Ordering::Relaxed) {
            self.is_full.store(false, Ordering::Relaxed);
        }
    }
}

/// The front threads.
#[derive(Debug)]
pub struct Plane {
    threads: Vec<Arc<Shared>>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

/// What a front thread begins with.
#[derive(Debug)]
pub struct Begun<C> {
    /// What the thread waits for.
    pub poll: Poll,
    /// The only waker of that poll; its token is the highest.
    pub waker: Arc<Waker>,
    /// Its own listeners.
    pub listeners: Vec<TcpListener>,
    /// What shares the thread.
    pub companion: C,
}

/// Binds one listener for each of `threads` on the same address; the system spreads clients over
/// them. All of a listener's clients have `TCP_NODELAY`, and what they send first is acknowledged by
/// what is sent to them, or a little later.
///
/// # Errors
/// The address is in use or not ours.
pub fn bind(address: SocketAddr, threads: usize) -> io::Result<Vec<TcpListener>> {
    // One that shares its port with nobody fails where another program listens, even if that would
    // share.
    let probe = socket(address, false)?;
    bind_to(&probe, &address)?;
    drop(probe);
    let mut listeners: Vec<TcpListener> = Vec::new();
    for _ in 0..threads.max(1) {
        let socket = socket(address, true)?;
        let same = match listeners.first() {
            Some(first) => first.local_addr()?,
            None => address,
        };
        bind_to(&socket, &same)?;
        listen(&socket, BACKLOG)?;
        listeners.push(TcpListener::from(socket));
    }
    Ok(listeners)
}

fn socket(address: SocketAddr, is_shared: bool) -> io::Result<std::os::fd::OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    if address.is_ipv6() {
        // Another may be on 0.0.0.0: RFC 3493 section 5.3.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, is_shared)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    // The answer acknowledges the request, as a rule: see `ClientLeg::acknowledge` for the others.
    sockopt::set_tcp_quickack(&socket, false)?;
    Ok(socket)
}

impl Plane {
    /// Starts the threads. What they poll runs in `handle`'s runtime.
    ///
    /// # Errors
    /// The system gives no watch or no thread.
    pub fn start<S: Story>(
        begun: Vec<Begun<S::Companion>>,
        settings: &FrontSettings,
        permits: &Arc<Permits>,
        clock: Clock,
        handle: &Handle,
        story: &Arc<S>,
    ) -> io::Result<Self> {
        let mut plane = Self { threads: Vec::new(), handles: Mutex::default() };
        let is_full = Arc::new(AtomicBool::new(false));
        for (number, begun) in begun.into_iter().enumerate() {
            let Begun { poll, waker, listeners, companion } = begun;
            let shared = Arc::new(Shared {
                mailbox: Arc::new(Mailbox::new(waker)),
                level: AtomicU8::new(0),
                is_full: Arc::clone(&is_full),
            });
            let front = Front::new(Start {
                poll,
                companion,
                shared: Arc::clone(&shared),
                clock,
                permits: Arc::clone(permits),
                listeners,
                settings: settings.clone(),
                story: Arc::clone(story),
            })?;
            let handle = handle.clone();
            let thread = std::thread::Builder::new()
                .name(format!("relay-{number}"))
                .spawn(move || run_or_abort(front, &handle))?;
            plane.threads.push(shared);
            plane.handles.get_mut().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(plane)
    }

    /// Closes the listeners and the connections that wait for nothing. The threads drop the story once
    /// the requests that are under way have finished, and then belong to their companions.
    pub fn drain(&self) {
        self.rise_to(1);
    }

    /// Cuts what is left, the companions' too, and waits for the threads to end. Blocks.
    pub fn stop(&self) {
        self.rise_to(2);
        let handles =
            std::mem::take(&mut *self.handles.lock().unwrap_or_else(PoisonError::into_inner));
        for handle in handles {
            if handle.join().is_err() {
                tracing::error!("a front thread had panicked");
            }
        }
    }

    fn rise_to(&self, level: u8) {
        for shared in &self.threads {
            shared.level.fetch_max(level, Ordering::Relaxed);
            // Without a wake-up the thread still sees it within a second.
            let _ = shared.mailbox.wake();
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A thread that panicked outside of any one connection would leave all of its connections hanging:
/// better that whatever watches over the process starts it anew. The panic itself was printed.
fn run_or_abort<S: Story>(front: Front<S>, handle: &Handle) {
    let _inside = handle.enter();
    // Frames would wait as well.
    never_wait_here();
    scheduling::react_quickly();
    if catch_unwind(AssertUnwindSafe(|| front.run())).is_err() {
        std::process::abort();
    }
}

#[cfg(test)]
mod tests;
