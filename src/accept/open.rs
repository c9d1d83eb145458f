//! The requests of one connection that are open: what tells a client that is slow from one that is of no
//! good, and when a connection has been kept for long enough.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Response;
use hyper::body::{Body, Frame, SizeHint};
use slab::Slab;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Permit;
use crate::held::{Held, Part};
use crate::keepalive::KeepAlive;

/// How many more requests a client may take back while they are worked on than it waits for. Each has
/// cost a way to a runtime, which no limit on requests at once bounds ("rapid reset").
const ABANDONED_MAX: u32 = 100;
/// What waits of an answer that the client does not take.
pub(super) const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The open requests of a connection.
#[derive(Debug)]
pub(super) struct Open {
    keep_alive: KeepAlive,
    state: Mutex<State>,
    overrun: Notify,
    spent: Notify,
    held: Arc<Held>,
}

#[derive(Debug)]
struct State {
    /// For each request since when the client has not asked for more of the answer; `None` while it
    /// is up to others that nothing comes.
    waits: Slab<Option<Instant>>,
    abandoned: u32,
    /// How many requests came, here and elsewhere, and whether one came here.
    requests: u32,
    was_used: bool,
    last_end: Instant,
}

/// A request's place among the open ones; dropped when its answer has ended, or was not waited for.
#[derive(Debug)]
pub(super) struct Place {
    open: Arc<Open>,
    key: usize,
    is_last: bool,
    is_answered: bool,
    /// While the client does not take of the answer.
    waits: Option<Part>,
    /// Its own, unless the connection's is enough.
    _permit: Option<Permit>,
}

impl Open {
    /// Of a connection that has brought so many requests before. What waits for it is added to `held`.
    pub(super) fn new(keep_alive: KeepAlive, requests: u32, held: Arc<Held>) -> Self {
        let (waits, last_end) = (Slab::new(), Instant::now());
        let state = State { waits, abandoned: 0, requests, was_used: false, last_end };
        let state = Mutex::new(state);
        Self { keep_alive, state, overrun: Notify::new(), spent: Notify::new(), held }
    }

    pub(super) fn enter(self: &Arc<Self>, permit: Option<Permit>) -> Place {
        let mut state = self.state();
        state.was_used = true;
        state.requests = state.requests.saturating_add(1);
        let is_last = self.keep_alive.ends_with(state.requests);
        let key = state.waits.insert(None);
        drop(state);
        if is_last {
            self.spent.notify_one();
        }
        let open = Arc::clone(self);
        Place { open, key, is_last, is_answered: false, waits: None, _permit: permit }
    }

    /// There were as many requests as there may be. Cancel safe.
    pub(super) async fn spent(&self) {
        self.spent.notified().await;
    }

    /// How much longer no request need be open: until the first `first_max`, then as long as connections
    /// are kept.
    pub(super) fn may_be_idle_for(&self, first_max: Duration) -> Duration {
        let max = if self.was_used() { self.keep_alive.idle_max } else { first_max };
        max.saturating_sub(self.idle_for(Instant::now()))
    }

    /// The client has taken back more requests than anybody would. Cancel safe.
    pub(super) async fn overrun(&self) {
        self.overrun.notified().await;
    }

    /// For how long no request was open.
    pub(super) fn idle_for(&self, now: Instant) -> Duration {
        let state = self.state();
        match state.waits.is_empty() {
            true => now.saturating_duration_since(state.last_end),
            false => Duration::ZERO,
        }
    }

    /// Whether a request has come yet.
    pub(super) fn was_used(&self) -> bool {
        self.state().was_used
    }

    /// For how long the client has taken nothing of the answer that it has left alone longest.
    pub(super) fn stalled_for(&self, now: Instant) -> Duration {
        let state = self.state();
        let since = state.waits.iter().filter_map(|(_, since)| *since).min();
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// No other request may follow.
    pub(super) fn is_last(&self) -> bool {
        self.is_last
    }

    fn wait_since(&mut self, since: Option<Instant>) {
        match since {
            None => self.waits = None,
            Some(_) if self.waits.is_some() => {}
            Some(_) => self.waits = Some(Part::of(&self.open.held, ANSWER_BYTES_MAX)),
        }
        if let Some(wait) = self.open.state().waits.get_mut(self.key) {
            *wait = since;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.open.state();
        state.waits.try_remove(self.key);
        state.last_end = Instant::now();
        state.abandoned = match self.is_answered {
            true => state.abandoned.saturating_sub(1),
            false => state.abandoned.saturating_add(1),
        };
        if state.abandoned > ABANDONED_MAX {
            self.open.overrun.notify_one();
        }
    }
}

/// An answer's body that notes whether the client takes it.
#[derive(Debug)]
pub(super) struct Watched<B> {
    body: Pin<Box<B>>,
    place: Place,
}

impl<B: Body> Watched<B> {
    pub(super) fn response(response: Response<B>, mut place: Place) -> Response<Self> {
        place.is_answered = true;
        response.map(|body| Self { body: Box::pin(body), place })
    }
}

impl<B: Body> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    /// Asked once there is room for more: what it has given last was taken by then.
    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.get_mut();
        let frame = this.body.as_mut().poll_frame(context);
        let is_given = matches!(frame, Poll::Ready(Some(Ok(_))));
        this.place.wait_since(is_given.then(Instant::now));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;
    use crate::permits::Permits;

    const SPAN: Duration = Duration::from_secs(10);
    const KEEP_ALIVE: KeepAlive = KeepAlive { idle_max: SPAN, requests_max: Some(3) };

    fn permit() -> Permit {
        Arc::new(Permits::for_operators(1).try_take().unwrap())
    }

    #[tokio::test]
    async fn a_request_that_is_worked_on_is_neither_idle_nor_stalled() {
        let open = Arc::new(Open::new(KEEP_ALIVE, 0, Arc::default()));
        assert!(!open.was_used());
        assert!(open.idle_for(Instant::now() + SPAN) >= SPAN);
        let place = Open::enter(&open, Some(permit()));
        let later = Instant::now() + SPAN;
        assert!(open.was_used());
        assert_eq!(
            (open.idle_for(later), open.stalled_for(later)),
            (Duration::ZERO, Duration::ZERO)
        );
        drop(place);
        assert!(open.idle_for(Instant::now() + SPAN) >= SPAN);
    }

    #[tokio::test]
    async fn an_answer_is_stalled_from_when_it_gave_something_until_more_is_asked_of_it() {
        let open = Arc::new(Open::new(KEEP_ALIVE, 0, Arc::default()));
        let held = Arc::clone(&open.held);
        let answer = Response::new(Full::new(Bytes::from_static(b"hello")));
        let mut body = Watched::response(answer, Open::enter(&open, Some(permit()))).into_body();
        let later = || Instant::now() + SPAN;
        assert_eq!(open.stalled_for(later()), Duration::ZERO);
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut body).poll_frame(&mut context).is_ready());
        let at = later();
        assert!(open.stalled_for(at) >= SPAN && open.idle_for(at) == Duration::ZERO);
        assert_eq!(held.bytes(), ANSWER_BYTES_MAX as u64);
        assert!(Pin::new(&mut body).poll_frame(&mut context).is_ready());
        assert_eq!((open.stalled_for(later()), held.bytes()), (Duration::ZERO, 0));
    }

    #[tokio::test]
    async fn the_first_request_has_its_own_time_and_the_last_is_known() {
        let open = Arc::new(Open::new(KEEP_ALIVE, 1, Arc::default()));
        let first_max = Duration::from_secs(1);
        let left = open.may_be_idle_for(first_max);
        assert!(left <= first_max);
        let place = Open::enter(&open, None);
        assert!(!place.is_last());
        assert_eq!(open.may_be_idle_for(first_max), SPAN);
        drop(place);
        assert!(open.may_be_idle_for(first_max) > first_max);
        assert!(Open::enter(&open, None).is_last());
        open.spent().await;
    }
}
