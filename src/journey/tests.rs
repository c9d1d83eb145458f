//! Revocation against a handshake, in every order.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::steps::Step;
use crate::relay::plane::Reservation;
use crate::revoke::recheck;

mod changes;
mod same;
mod world;

use world::{MIKE, WAIT_MAX, WAYS, Way, World, is_closed_with, is_refused};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_regenerated_at_any_step_leaves_nothing_behind() {
    let steps = [Step::Admitted, Step::Entered, Step::Confirmed, Step::Answered, Step::Switched];
    for (way, step) in WAYS.into_iter().flat_map(|way| steps.map(|step| (way, step))) {
        let world = World::start(way).await;
        world.journey.gate.hold_at(step);
        let client = world.client();
        world.journey.gate.reached().await;
        let ended = world.regenerate().await;
        world.journey.gate.open();
        let received = tokio::task::spawn_blocking(|| client.join().unwrap()).await.unwrap();
        // The table knows of it from `Entered` on; before, the handshake has to find out itself.
        assert_eq!(ended, usize::from(step != Step::Admitted), "{step:?}");
        let text = String::from_utf8_lossy(&received).into_owned();
        match step {
            Step::Admitted | Step::Entered | Step::Confirmed => {
                assert!(is_refused(&received), "{step:?}: {text}");
            }
            // The runtime has switched, so the client is told by a Close frame.
            Step::Answered | Step::Switched => {
                assert!(is_closed_with(&received, "API key regenerated"), "{step:?}: {text}");
                let frames = world.runtime.ends.recv_timeout(WAIT_MAX).unwrap();
                assert_eq!(frames[0], 0x88, "{step:?}: the runtime is told, too");
            }
        }
        world.wait_until_idle().await;
        assert_eq!(world.handed_over.load(Ordering::SeqCst), 0, "{step:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_regenerated_while_the_runtime_is_waited_for_ends_the_wait() {
    for way in WAYS {
        end_the_wait(World::start(way).await).await;
    }
}

async fn end_the_wait(world: World) {
    world.runtime.allowed.store(false, Ordering::SeqCst);
    let client = world.client();
    let waits = async {
        while world.journey.live.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WAIT_MAX, waits).await.unwrap();
    assert_eq!(world.regenerate().await, 1);
    let received = tokio::task::spawn_blocking(|| client.join().unwrap()).await.unwrap();
    assert!(is_refused(&received));
    world.wait_until_idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_expires_ends_what_rests_on_it() {
    for way in WAYS {
        end_by_expiry(World::start(way).await).await;
    }
}

async fn end_by_expiry(world: World) {
    let expires_at = world.wall.now().plus(Duration::from_secs(60));
    let changed = world.journey.registry.change(MIKE, |record| {
        record.keys[0].expires_unix_ms = Some(expires_at.0);
        Ok::<_, ()>(())
    });
    assert!(changed.await.is_ok());
    let watch = recheck(Arc::clone(&world.journey.live), Arc::clone(&world.journey.registry));
    let watch = tokio::spawn(watch);
    world.journey.gate.hold_at(Step::Switched);
    let client = world.client();
    world.journey.gate.reached().await;
    world.journey.gate.open();
    world.wall.advance(Duration::from_secs(60));
    let received = tokio::task::spawn_blocking(|| client.join().unwrap()).await.unwrap();
    assert!(is_closed_with(&received, "API key expired"));
    let late = world.client();
    let received = tokio::task::spawn_blocking(|| late.join().unwrap()).await.unwrap();
    assert!(is_refused(&received));
    world.wait_until_idle().await;
    watch.abort();
}

/// Without a gate: whatever the order turns out to be, nothing survives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_race_between_handshakes_and_a_revocation_has_a_survivor() {
    for round in 0..20_u32 {
        let world = World::start(WAYS[round as usize % 2]).await;
        let clients: Vec<_> = (0..20).map(|_| world.client()).collect();
        for _ in 0..round * 50 {
            tokio::task::yield_now().await;
        }
        world.regenerate().await;
        for client in clients {
            let received = tokio::task::spawn_blocking(|| client.join().unwrap()).await.unwrap();
            assert!(is_refused(&received) || is_closed_with(&received, "API key regenerated"));
        }
        world.wait_until_idle().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn room_on_the_relay_plane_is_taken_once_the_runtime_has_switched() {
    let world = World::start(Way::Others).await;
    let free = all_places(&world).len();
    world.journey.gate.hold_at(Step::Answered);
    let client = world.client();
    world.journey.gate.reached().await;
    let places = all_places(&world);
    assert_eq!(places.len(), free, "whoever waits for a runtime has none");
    world.journey.gate.open();
    let received = tokio::task::spawn_blocking(|| client.join().unwrap()).await.unwrap();
    assert!(received.starts_with(b"HTTP/1.1 503"));
    world.wait_until_idle().await;
    drop(places);
    world.journey.gate.hold_at(Step::Switched);
    let client = world.client();
    world.journey.gate.reached().await;
    assert_eq!(all_places(&world).len(), free - 1, "there is room for who was told so");
    world.regenerate().await;
    world.journey.gate.open();
    let received = tokio::task::spawn_blocking(|| client.join().unwrap()).await.unwrap();
    assert!(is_closed_with(&received, "API key regenerated"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_needs_no_room_for_what_its_front_began() {
    let world = World::start(Way::Front).await;
    let places = all_places(&world);
    world.journey.gate.hold_at(Step::Switched);
    let client = world.client();
    world.journey.gate.reached().await;
    assert!(all_places(&world).is_empty() && !places.is_empty());
    world.regenerate().await;
    world.journey.gate.open();
    let received = tokio::task::spawn_blocking(|| client.join().unwrap()).await.unwrap();
    assert!(is_closed_with(&received, "API key regenerated"));
    world.wait_until_idle().await;
}

/// Whatever room there is on the relay plane, taken.
fn all_places(world: &World) -> Vec<Reservation> {
    std::iter::from_fn(|| world.journey.plane.reserve()).collect()
}
