//! Where a look at a document is done.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::registry::record::TENANT;

/// Looks; tells whether that was done at once, and waits for it if not.
async fn was_at_once(embedded: &Embedded) -> bool {
    let mut look = pin!(embedded.get(TENANT, "nobody"));
    let at_once = look.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    match at_once {
        Poll::Ready(found) => {
            assert!(found.unwrap().is_none());
            true
        }
        Poll::Pending => {
            assert!(look.await.unwrap().is_none());
            false
        }
    }
}

#[tokio::test]
async fn a_look_takes_no_other_thread_unless_the_disk_is_slow() {
    let embedded = Embedded::open("memory:", Settings::default()).await.unwrap();
    let shared = &embedded.shared;
    let until_us = shared.clock.micros().0 + 3_600 * SLOW_FOR_US;
    shared.slow_until_us.store(until_us, Ordering::Relaxed);
    assert!(!was_at_once(&embedded).await);
    shared.slow_until_us.store(0, Ordering::Relaxed);
    assert!(was_at_once(&embedded).await);
}

#[tokio::test]
async fn a_look_does_not_wait_for_a_file_that_is_opened_anew() {
    let embedded = Embedded::open("memory:", Settings::default()).await.unwrap();
    let opening = embedded.shared.handle.hold();
    assert!(embedded.shared.handle.try_with(|_| Ok(())).is_none());
    drop(opening);
    assert!(was_at_once(&embedded).await);
}
