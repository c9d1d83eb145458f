//! How a thread hears of what it is to adopt.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mio::{Events, Poll, Waker};

use super::cluster::Cluster;
use crate::relay::plane::{Plane, Shared};
use crate::relay::thread::WAKER;

/// A plane whose one thread is the test.
struct Asleep {
    plane: Plane,
    shared: Arc<Shared>,
    poll: Poll,
    cluster: Cluster,
}

impl Asleep {
    fn new() -> Self {
        let poll = Poll::new().unwrap();
        let shared = Arc::new(Shared::new(Waker::new(poll.registry(), WAKER).unwrap()));
        let threads = vec![(Arc::clone(&shared), Mutex::new(None))];
        let plane = Plane { threads, next: AtomicUsize::new(0) };
        Self { plane, shared, poll, cluster: Cluster::start(1) }
    }

    fn leave_one(&self) {
        let (adoption, _) = self.cluster.prepare([&[], &[]]);
        self.plane.reserve().unwrap().leave(adoption);
    }

    /// Whether somebody has woken the thread since it was last asked.
    fn was_woken(&mut self) -> bool {
        let mut events = Events::with_capacity(1);
        self.poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        !events.is_empty()
    }
}

#[test]
fn a_thread_is_woken_once_for_all_that_was_left() {
    let mut asleep = Asleep::new();
    for _ in 0..3 {
        asleep.leave_one();
    }
    assert!(!asleep.was_woken());
    asleep.plane.wake_owed();
    assert!(asleep.was_woken());
    asleep.plane.wake_owed();
    assert!(!asleep.was_woken());
    assert_eq!(asleep.shared.take_adoptions().len(), 3);
    asleep.leave_one();
    asleep.plane.wake_owed();
    assert!(asleep.was_woken());
}

#[test]
fn a_thread_that_has_looked_already_is_not_woken() {
    let mut asleep = Asleep::new();
    asleep.leave_one();
    assert_eq!(asleep.shared.take_adoptions().len(), 1);
    asleep.plane.wake_owed();
    assert!(!asleep.was_woken());
}

#[test]
fn what_is_adopted_alone_wakes_at_once() {
    let mut asleep = Asleep::new();
    let (adoption, _) = asleep.cluster.prepare([&[], &[]]);
    asleep.plane.reserve().unwrap().adopt(adoption);
    assert!(asleep.was_woken());
}
