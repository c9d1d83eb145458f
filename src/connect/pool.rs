//! Plain requests to runtimes, and the connections that are kept for the next one.
//!
//! Node closes a kept connection after 5 s, so ours are kept for 4. Even so one may close just when a
//! request is on its way, and whether it was carried out is then unknown: only requests that change
//! nothing use a kept connection, and are sent again on a new one if it fails (RFC 9112 section 9.3.1).

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Method, Request, Response};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::time::timeout;

use super::Dialer;
use crate::clock::{Clock, Millis};
use crate::metrics::Stopwatch;
use crate::refusal::Refusal;
use crate::tenant::by_id::ById;
use crate::tenant::{Instance, Tenant, TenantId};
use crate::tls::Stream;
use crate::upload::Upload;

/// For how long a connection is kept without a request.
const IDLE_MAX: Duration = Duration::from_secs(4);
const IDLE_PER_INSTANCE_MAX: usize = 64;
const IDLE_IN_ALL_MAX: usize = 4096;

/// Which runtime, as it was when it was dialled: the instance is part of the record of that revision.
type Destination = (TenantId, u64);

/// Connections without a request.
#[derive(Debug, Default)]
pub struct Pool {
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    by_destination: HashMap<Destination, Vec<Kept>, ById>,
    count: usize,
}

#[derive(Debug)]
struct Kept {
    connection: Connection,
    since: Millis,
}

/// A connection to a runtime, and its socket to look at.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<Upload>,
    socket: OwnedFd,
}

impl Connection {
    /// Whether the runtime has neither closed it nor said anything unasked. hyper finds out later.
    fn is_quiet(&self) -> bool {
        let peeked = recv(&self.socket, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        self.sender.is_ready() && matches!(peeked, Err(error) if error == Errno::AGAIN)
    }
}

/// A connection whose answer is being read. Kept for the next request if that came to its end.
#[derive(Debug)]
pub struct Reuse {
    pool: Arc<Pool>,
    /// None for one that is not to be kept.
    destination: Option<Destination>,
    connection: Connection,
    clock: Clock,
}

impl Reuse {
    /// The answer was read to its end.
    pub fn keep(self) {
        if let Some(destination) = self.destination {
            self.pool.keep(destination, self.connection, self.clock.now());
        }
    }
}

impl Pool {
    fn take(&self, destination: Destination, now: Millis) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.by_destination.get_mut(&destination)?;
        let mut taken = 0;
        let found = loop {
            let Some(last) = kept.pop() else { break None };
            taken += 1;
            if now.since(last.since) < IDLE_MAX && last.connection.is_quiet() {
                break Some(last.connection);
            }
        };
        if kept.is_empty() {
            idle.by_destination.remove(&destination);
        }
        idle.count -= taken;
        found
    }

    fn keep(&self, destination: Destination, connection: Connection, now: Millis) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if connection.sender.is_closed() || idle.count >= IDLE_IN_ALL_MAX {
            return;
        }
        let kept = idle.by_destination.entry(destination).or_default();
        if kept.len() < IDLE_PER_INSTANCE_MAX {
            kept.push(Kept { connection, since: now });
            idle.count += 1;
        }
    }

    /// Closes what has been kept for too long.
    pub fn sweep(&self, now: Millis) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = 0;
        idle.by_destination.retain(|_, kept| {
            kept.retain(|kept| {
                now.since(kept.since) < IDLE_MAX && !kept.connection.sender.is_closed()
            });
            left += kept.len();
            !kept.is_empty()
        });
        idle.count = left;
    }
}

impl Dialer {
    /// Closes connections that have been kept for too long; to be called about once a second.
    pub fn sweep(&self) {
        self.pool.sweep(self.clock.now());
    }

    /// Sends a plain request to a tenant's `instance`, as it is in this record of theirs, and waits for the head of the answer. Cancel safe:
    /// dropping it closes the connection.
    ///
    /// # Errors
    /// Unreachable, timed out, or an answer that is no HTTP; 413 if the body was over its limit.
    pub async fn request(
        &self,
        tenant: &Tenant,
        instance: &Instance,
        request: Request<Upload>,
    ) -> Result<(Response<Incoming>, Reuse), Refusal> {
        let over_limit = request.body().over_limit();
        let exchange = self.exchange(tenant, instance, request);
        match timeout(self.settings.response_timeout, exchange).await {
            // The body ended the exchange, not the runtime.
            Ok(Err(_)) if over_limit.is_set() => Err(Refusal::BodyTooLarge),
            Ok(answer) => answer,
            Err(_) => Err(Refusal::RuntimeTimedOut("no answer to the request")),
        }
    }

    async fn exchange(
        &self,
        tenant: &Tenant,
        instance: &Instance,
        request: Request<Upload>,
    ) -> Result<(Response<Incoming>, Reuse), Refusal> {
        // With several nodes each request chooses anew: a kept connection would go on to one of them.
        let destination = instance.nodes.is_none().then_some((tenant.id, tenant.revision));
        if let Some(destination) = destination
            && let Some(first) = once_more(&request)
            && let Some(mut connection) = self.pool.take(destination, self.clock.now())
        {
            match connection.sender.send_request(first).await {
                Ok(response) => return Ok((response, self.reuse(Some(destination), connection))),
                Err(error) => tracing::debug!(%error, "a kept connection failed"),
            }
        }
        let socket = self.dial(instance, &mut Stopwatch::default()).await?;
        self.exchange_over(socket, destination, request).await
    }

    /// As [`Dialer::request`], over a connection that was dialled for it and is not kept: the pool knows
    /// no nodes.
    pub(super) async fn request_over(
        &self,
        socket: Stream,
        request: Request<Upload>,
    ) -> Result<(Response<Incoming>, Reuse), Refusal> {
        let over_limit = request.body().over_limit();
        let exchange = self.exchange_over(socket, None, request);
        match timeout(self.settings.response_timeout, exchange).await {
            // The body ended the exchange, not the runtime.
            Ok(Err(_)) if over_limit.is_set() => Err(Refusal::BodyTooLarge),
            Ok(answer) => answer,
            Err(_) => Err(Refusal::RuntimeTimedOut("no answer to the request")),
        }
    }

    async fn exchange_over(
        &self,
        socket: Stream,
        mut destination: Option<Destination>,
        mut request: Request<Upload>,
    ) -> Result<(Response<Incoming>, Reuse), Refusal> {
        if !request.body().is_end_stream() {
            // What a careless runtime leaves of a body it would take for the next request.
            destination = None;
            request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let watched = socket.as_fd().try_clone_to_owned();
        let watched = watched.map_err(|error| Refusal::RuntimeUnreachable(error.to_string()))?;
        let (sender, driver) = http1::Builder::new()
            .preserve_header_case(true)
            .title_case_headers(true)
            .max_buf_size(self.settings.header_bytes_max)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(|error| broke(&error))?;
        // It ends with the sender and the answer's body.
        tokio::spawn(driver);
        let mut connection = Connection { sender, socket: watched };
        let response = connection.sender.send_request(request).await;
        Ok((response.map_err(|error| broke(&error))?, self.reuse(destination, connection)))
    }

    fn reuse(&self, destination: Option<Destination>, connection: Connection) -> Reuse {
        Reuse { pool: Arc::clone(&self.pool), destination, connection, clock: self.clock }
    }
}

/// The same request, if it changes nothing however often it comes.
fn once_more(request: &Request<Upload>) -> Option<Request<Upload>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return None;
    }
    let mut again = Request::new(request.body().again()?);
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.version_mut() = request.version();
    *again.headers_mut() = request.headers().clone();
    *again.extensions_mut() = request.extensions().clone();
    Some(again)
}

fn broke(error: &hyper::Error) -> Refusal {
    Refusal::RuntimeBroke(error.to_string())
}
