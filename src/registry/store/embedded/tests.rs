//! Where a look at a document is done.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::clock::Micros;
use crate::registry::record::TENANT;

async fn memory() -> Embedded {
    Embedded::open("memory:", Settings::default()).await.unwrap()
}

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
    let embedded = memory().await;
    assert!(was_at_once(&embedded).await);
    let Shared { pace, clock, .. } = &*embedded.shared;
    let looks = [(); 2].map(|()| clock.micros());
    for began in looks {
        pace.begin(began).unwrap().end(Micros(began.0 + 3_600_000_000));
    }
    assert!(!was_at_once(&embedded).await);
}

#[tokio::test]
async fn a_look_does_not_wait_for_a_file_that_is_opened_anew() {
    let embedded = memory().await;
    let opening = embedded.shared.handle.hold();
    assert!(embedded.shared.handle.try_with(|_| Ok(())).is_none());
    {
        let mut look = pin!(embedded.get(TENANT, "nobody"));
        assert!(look.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    // Whoever did not wait for it has left nothing behind.
    assert_eq!(embedded.shared.reads.available_permits(), READS_MAX);
    drop(opening);
    assert!(was_at_once(&embedded).await);
}

#[tokio::test]
async fn who_looks_on_and_on_lets_others_have_the_thread() {
    let embedded = memory().await;
    let other = tokio::spawn(async {});
    for _ in 0..10_000 {
        embedded.get(TENANT, "nobody").await.unwrap();
    }
    assert!(other.is_finished());
}

#[tokio::test]
async fn a_look_that_panics_harms_nobody_else() {
    let embedded = memory().await;
    let looked = embedded.look(|_| -> Result<(), StoreError> { panic!("as redb would") }).await;
    assert!(matches!(looked, Err(StoreError::Unavailable(_))), "{looked:?}");
    assert!(was_at_once(&embedded).await);
}
