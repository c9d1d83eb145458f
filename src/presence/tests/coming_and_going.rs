//! Replicas that start, stop and die.

use super::*;

const MS: Duration = Duration::from_millis(1);

fn pids(replicas: &[Replica]) -> Vec<u32> {
    let mut pids: Vec<_> = replicas.iter().map(|replica| replica.about.pid).collect();
    pids.sort_unstable();
    pids
}

#[tokio::test]
async fn who_comes_and_goes_is_noticed_at_once() {
    let world = World::new().await;
    let one = world.start(1, PATIENT).await;
    let mut two = world.start(2, PATIENT).await;
    one.knows(1).await;
    let connection = two.connect(MIKE, "/thing");
    two.presence.drain();
    wait_until("the heartbeat says so", || {
        // The drained one beats at once; the other looks when it is told to.
        one.presence.moved.notify_one();
        let others = one.presence.others();
        others.known.iter().any(|it| it.heartbeat.is_some_and(|heart| heart.draining))
    })
    .await;
    let replicas = one.presence.replicas().await.unwrap();
    assert_eq!(pids(&replicas), [1, 2]);
    let second = replicas.iter().find(|it| it.id == two.presence.id).unwrap();
    let heartbeat = Heartbeat { connections: 1, exchanges: 0, draining: true };
    assert_eq!(second.heartbeat, Some(heartbeat));
    assert_eq!(one.list(MIKE).await.total, 1);

    two.stop().await;
    one.knows(0).await;
    assert_eq!(pids(&one.presence.replicas().await.unwrap()), [1]);
    let before = world.revision().await;
    let listed = one.list(MIKE).await;
    assert_eq!(listed, Connections::default());
    assert_eq!(one.close(MIKE, two.id(&connection)).await, ABSENT);
    assert_eq!(world.revision().await, before, "nobody was asked");
}

#[tokio::test]
async fn one_that_died_is_named_without_being_asked_and_then_forgotten() {
    let world = World::new().await;
    let one = world.silent(1, PATIENT).await;
    drop(world.silent(2, PATIENT).await);
    one.presence.beat().await;
    let before = world.revision().await;
    assert_eq!(pids(&one.presence.replicas().await.unwrap()), [1, 2]);

    world.wall.advance(HEARTBEAT_TTL);
    one.presence.beat().await;
    assert_eq!(pids(&one.presence.replicas().await.unwrap()), [1]);
    let named = ["host (pid 2): has not been heard of lately"];
    assert_eq!(one.list(MIKE).await.incomplete, named);
    world.wall.advance(SILENT_MAX);
    one.presence.beat().await;
    assert_eq!(one.list(MIKE).await.incomplete, named);
    assert_eq!(world.revision().await, before, "nobody was asked, nobody was forgotten");

    world.wall.advance(MS);
    one.presence.beat().await;
    assert_eq!(one.list(MIKE).await, Connections::default());
    assert_eq!(world.revision().await, before + 1);
    let documents = one.presence.registry.replicas().await.unwrap();
    assert_eq!(pids(&documents), [1]);
}

#[tokio::test]
async fn one_that_was_only_slow_comes_back() {
    let world = World::new().await;
    let (one, two) = (world.silent(1, PATIENT).await, world.silent(2, PATIENT).await);
    let silent = HEARTBEAT_TTL + SILENT_MAX + MS;
    // Not long enough without a heartbeat to be forgotten, however often.
    for _ in 0..3 {
        world.wall.advance(HEARTBEAT_TTL);
        one.presence.beat().await;
        world.wall.advance(SILENT_MAX);
        two.presence.beat().await;
        one.presence.beat().await;
        assert_eq!(pids(&one.presence.replicas().await.unwrap()), [1, 2]);
    }
    world.wall.advance(silent);
    one.presence.beat().await;
    world.wall.advance(silent);
    one.presence.beat().await;
    assert_eq!(pids(&one.presence.registry.replicas().await.unwrap()), [1]);
    two.presence.beat().await;
    assert_eq!(pids(&two.presence.replicas().await.unwrap()), [1, 2]);
}

#[tokio::test]
async fn old_questions_do_no_harm() {
    let world = World::new().await;
    let replicas = world.start_all(2, PATIENT).await;
    let (one, two) = (&replicas[0], &replicas[1]);
    let connection = two.connect(MIKE, "/thing");
    for _ in 0..3 {
        one.presence.flights.forget(MIKE);
        assert_eq!(one.list(MIKE).await.total, 1);
    }
    let spared = two.connect(MIKE, "/thing");
    assert_eq!(one.close(MIKE, two.id(&connection)).await, Ok(true));
    // After a gap in its own memory, say: everything once more, to everybody, many times over.
    let notices = world.store.feed(0, 1000).await.unwrap().notices;
    for _ in 0..200 {
        for notice in &notices {
            one.presence.heed(notice);
            two.presence.heed(notice);
        }
    }
    assert_eq!(spared.entry().closing(), None);
    one.presence.flights.forget(MIKE);
    // The ones before it may have filled the inbox: then it is asked again.
    wait_until("the inbox is worked off", || {
        let waiting = &two.presence.inbox;
        waiting.is_empty()
    })
    .await;
    assert_eq!(one.list(MIKE).await.total, 2);
}
