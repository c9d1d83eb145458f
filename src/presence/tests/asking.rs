//! Lists and closings.

use super::*;
use crate::registry::replicas::ANSWER_BYTES_MAX;

#[tokio::test]
async fn a_tenant_sees_everything_of_theirs_on_any_replica() {
    let world = World::new().await;
    let replicas = world.start_all(3, PATIENT).await;
    let mut mikes = Vec::new();
    let mut kept = vec![replicas[1].connect(ROBERTO, "/robertos")];
    for (replica, paths) in replicas.iter().zip([&["/a", "/b"][..], &["/c"], &[]]) {
        for path in paths {
            let connection = replica.connect(MIKE, path);
            mikes.push(replica.id(&connection));
            kept.push(connection);
        }
    }
    mikes.sort_unstable();
    kept[1].entry().from_client.add(3, 40, None);
    kept[1].entry().close(Cause::Drain);
    for replica in &replicas {
        let listed = replica.list(MIKE).await;
        assert_eq!((ids(&listed), listed.total), (mikes.clone(), 3));
        assert_eq!(listed.incomplete, Vec::<String>::new());
        let first = replicas[0].id(&kept[1]);
        let (_, shown) = listed.shown.iter().find(|(id, _)| *id == first).unwrap();
        let client = &kept[1].entry().client;
        assert_eq!((shown.path.as_str(), shown.grant.as_str()), ("/a", "key:0000000000000009"));
        assert_eq!(shown.key.as_deref(), Some("0000000000000009"));
        assert_eq!(shown.client, client.address.to_string());
        assert_eq!(shown.request_id, client.request_id.to_string());
        assert_eq!((shown.messages_from_client, shown.bytes_from_client), (3, 40));
        assert_eq!(shown.closing.as_deref(), Some(Cause::Drain.reason()));
        assert_eq!(replica.list(ROBERTO).await.total, 1);
        assert_eq!(replica.list(TenantId(3)).await, Connections::default());
    }
}

#[tokio::test]
async fn a_connection_is_closed_on_whichever_replica_it_is() {
    let world = World::new().await;
    let replicas = world.start_all(3, PATIENT).await;
    // The same numbers on each.
    let mut live: Vec<_> = replicas
        .iter()
        .flat_map(|replica| (0..3).map(move |_| (replica, replica.connect(MIKE, "/thing"))))
        .collect();
    for place in (0..9).rev() {
        // Three of each replica's, by each replica.
        let asked = &replicas[place % 3];
        let (having, connection) = live.pop().unwrap();
        let id = having.id(&connection);
        assert_eq!(asked.close(ROBERTO, id).await, ABSENT);
        assert_eq!(connection.entry().closing(), None);
        assert_eq!(asked.close(MIKE, id).await, Ok(true));
        assert_eq!(connection.entry().closing(), Some(Cause::ClosedByOwner));
        let cause = Cause::ClosedByOperator;
        assert_eq!(asked.presence.close(MIKE, id, cause).await, Ok(false));
        assert_eq!(connection.entry().closing(), Some(Cause::ClosedByOwner));
        drop(connection);
        assert_eq!(asked.close(MIKE, id).await, ABSENT);
        for (_, other) in &live {
            assert_eq!(other.entry().closing(), None);
        }
    }
}

#[tokio::test]
async fn a_list_after_a_closing_shows_it() {
    let world = World::new().await;
    let settings = Settings { kept_for: PATIENCE, ..PATIENT };
    let replicas = world.start_all(2, settings).await;
    let connection = replicas[1].connect(MIKE, "/thing");
    let closing = |listed: Connections| listed.shown[0].1.closing.clone();
    assert_eq!(closing(replicas[0].list(MIKE).await), None);
    assert_eq!(replicas[0].close(MIKE, replicas[1].id(&connection)).await, Ok(true));
    let reason = Cause::ClosedByOwner.reason();
    assert_eq!(closing(replicas[0].list(MIKE).await).as_deref(), Some(reason));
}

#[tokio::test]
async fn many_are_closed_here_and_elsewhere() {
    let world = World::new().await;
    let replicas = world.start_all(3, PATIENT).await;
    let connect = |replica: &Process| {
        let connections: Vec<_> = (0..3).map(|_| replica.connect(MIKE, "/thing")).collect();
        connections
    };
    let live: Vec<_> = replicas.iter().map(connect).collect();
    let robertos = replicas[1].connect(ROBERTO, "/thing");
    let id = |replica: usize, number: usize| replicas[replica].id(&live[replica][number]);
    let mut wanted: Vec<_> = (0..3).flat_map(|replica| [id(replica, 0), id(replica, 1)]).collect();
    // Another's, one that never was, and one that something else ends.
    wanted.push(replicas[1].id(&robertos));
    wanted.push(Numbered { replica: ReplicaId(5), number: 1 });
    live[2][0].entry().close(Cause::Drain);
    let cause = Cause::ClosedByOperator;
    let ended = replicas[0].presence.close_each(MIKE, &wanted, cause).await;
    assert_eq!(ended, Ended { closed: 5, incomplete: vec![] });
    let closing = live.iter().flatten().map(|it| it.entry().closing());
    let (closed, drains) = (Some(cause), Some(Cause::Drain));
    assert_eq!(
        closing.collect::<Vec<_>>(),
        [closed, closed, None, closed, closed, None, drains, closed, None]
    );
    assert_eq!(robertos.entry().closing(), None);
}

#[tokio::test]
async fn of_many_closings_what_is_left_is_named() {
    let world = World::new().await;
    let silent = world.silent(2, PATIENT).await;
    let silents: Vec<_> = (0..3).map(|_| silent.connect(MIKE, "/thing")).collect();
    let ids = silents.iter().map(|it| silent.id(it));
    let asked = world.start(1, Settings::new(true)).await;
    let own = asked.connect(MIKE, "/thing");
    let wanted: Vec<_> = ids.chain([asked.id(&own)]).collect();
    let cause = Cause::ClosedByOperator;
    let ended = asked.presence.close_each(MIKE, &wanted, cause).await;
    let incomplete = vec!["host (pid 2) did not answer".to_owned()];
    assert_eq!(ended, Ended { closed: 1, incomplete });
    assert_eq!(world.notices("close").await, 1, "it was asked once");
    // Without any time, only those that are here.
    let hurried = world.start(3, Settings { closing_max: Duration::ZERO, ..PATIENT }).await;
    let own = hurried.connect(MIKE, "/thing");
    let wanted: Vec<_> = wanted.into_iter().chain([hurried.id(&own)]).collect();
    let ended = hurried.presence.close_each(MIKE, &wanted, cause).await;
    let incomplete = vec!["other replicas: no time was left for 4 more".to_owned()];
    assert_eq!(ended, Ended { closed: 1, incomplete });
    assert_eq!(world.notices("close").await, 1);
}

#[tokio::test]
async fn an_id_of_no_replica_is_not_asked_for() {
    let world = World::new().await;
    let replicas = world.start_all(2, PATIENT).await;
    let before = world.revision().await;
    let nowhere = Numbered { replica: ReplicaId(5), number: 0 };
    assert_eq!(replicas[0].close(MIKE, nowhere).await, ABSENT);
    let own = Numbered { replica: replicas[0].presence.id, number: 0 };
    assert_eq!(replicas[0].close(MIKE, own).await, ABSENT);
    assert_eq!(world.revision().await, before);
}

#[tokio::test]
async fn alone_nobody_is_asked() {
    let world = World::new().await;
    for is_shared in [true, false] {
        let settings = Settings { is_shared, ..PATIENT };
        let mut replica = world.start(1, settings).await;
        let connection = replica.connect(MIKE, "/thing");
        let before = world.revision().await;
        let listed = replica.list(MIKE).await;
        assert_eq!((ids(&listed), listed.incomplete), (vec![replica.id(&connection)], vec![]));
        assert_eq!(replica.close(MIKE, replica.id(&connection)).await, Ok(true));
        assert_eq!(world.revision().await, before);
        assert_eq!(replica.presence.replicas().await.unwrap().len(), 1);
        replica.stop().await;
    }
    assert_eq!(world.notices("replica").await, 2, "the one that could have had company");
}

#[tokio::test]
async fn a_silent_replica_is_named_and_what_it_has_stays_unknown() {
    let world = World::new().await;
    let silent = world.silent(2, PATIENT).await;
    let asked = world.start(1, Settings::new(true)).await;
    let (here, there) = (asked.connect(MIKE, "/here"), silent.connect(MIKE, "/there"));
    let listed = asked.list(MIKE).await;
    assert_eq!((ids(&listed), listed.total), (vec![asked.id(&here)], 1));
    assert_eq!(listed.incomplete, ["host (pid 2): did not answer in time"]);
    let outcome = asked.close(MIKE, silent.id(&there)).await;
    assert_eq!(outcome, Err(Refusal::ReplicaSilent("host (pid 2) did not answer".to_owned())));
    // It hears of it later, and does it then: what was not known then is known now.
    for notice in world.store.feed(0, 1000).await.unwrap().notices {
        silent.presence.heed(&notice);
    }
    assert_eq!(there.entry().closing(), Some(Cause::ClosedByOwner));
}

#[tokio::test]
async fn a_flood_of_requests_makes_one_notice() {
    let world = World::new().await;
    let replicas = world.start_all(2, Settings { kept_for: PATIENCE, ..PATIENT }).await;
    let _connection = replicas[1].connect(MIKE, "/thing");
    let presence = &replicas[0].presence;
    let all: Vec<_> = (0..200)
        .map(|_| {
            let presence = Arc::clone(presence);
            tokio::spawn(async move { presence.connections(MIKE).await.total })
        })
        .collect();
    // Whoever goes away does not take the list along.
    all[0].abort();
    for one in all.into_iter().skip(1) {
        assert_eq!(one.await.unwrap(), 1);
    }
    // The end of an earlier one, which has made way, is not this one's.
    presence.flights.end(MIKE, u64::MAX);
    assert_eq!(replicas[0].list(MIKE).await.total, 1);
    assert_eq!(world.notices("ask").await, 1);
}

#[tokio::test]
async fn lists_that_are_too_many_are_of_this_replica_alone() {
    const TENANTS: u128 = 64;
    let world = World::new().await;
    let replicas = world.start_all(2, Settings { kept_for: PATIENCE, ..PATIENT }).await;
    for tenant in 1..=TENANTS {
        assert_eq!(replicas[0].list(TenantId(tenant)).await.incomplete, Vec::<String>::new());
    }
    let late = TenantId(TENANTS + 1);
    let connection = replicas[0].connect(late, "/thing");
    let listed = replicas[0].list(late).await;
    assert_eq!(ids(&listed), [replicas[0].id(&connection)]);
    assert_eq!(listed.incomplete, ["other replicas: too many lists are being made"]);
    assert_eq!(replicas[0].list(MIKE).await.incomplete, Vec::<String>::new());
    assert_eq!(world.notices("ask").await, TENANTS as usize);
}

/// Each closing has the next list made anew, while the one before is kept for others.
#[tokio::test]
async fn who_closes_and_lists_in_turn_takes_one_place() {
    let world = World::new().await;
    let replicas = world.start_all(2, Settings { kept_for: PATIENCE, ..PATIENT }).await;
    let connection = replicas[1].connect(MIKE, "/thing");
    let flights = &replicas[0].presence.flights;
    for anew in 1..=16 {
        assert_eq!(replicas[0].list(MIKE).await.incomplete, Vec::<String>::new());
        assert_eq!((flights.room(), world.notices("ask").await), (63, anew));
        let _ = replicas[0].close(MIKE, replicas[1].id(&connection)).await;
    }
    let busy = "other replicas: too many lists are being made";
    assert_eq!(replicas[0].list(MIKE).await.incomplete, [busy]);
    assert_eq!(world.notices("ask").await, 16);
    assert_eq!(replicas[0].list(ROBERTO).await.incomplete, Vec::<String>::new());
    assert_eq!(flights.room(), 62);
}

#[tokio::test]
async fn lists_end_and_make_room() {
    let world = World::new().await;
    let replicas = world.start_all(2, PATIENT).await;
    for tenant in 1..=200 {
        wait_until("there is room", || replicas[0].presence.flights.room() > 0).await;
        assert_eq!(replicas[0].list(TenantId(tenant)).await.incomplete, Vec::<String>::new());
    }
    let flights = &replicas[0].presence.flights;
    wait_until("nothing is kept", || flights.is_empty() && flights.room() == 64).await;
}

#[tokio::test]
async fn an_answer_holds_the_newest_and_counts_all() {
    let world = World::new().await;
    let replicas = world.start_all(2, PATIENT).await;
    let path = format!("/{}", "\"".repeat(1000));
    let kept: Vec<_> = (0..300).map(|_| replicas[1].connect(MIKE, &path)).collect();
    let listed = replicas[0].list(MIKE).await;
    assert_eq!(listed.unlisted(), 300 - listed.shown.len() as u64);
    assert_eq!((listed.total, listed.incomplete), (300, vec![]));
    let shown: Vec<u64> = listed.shown.iter().map(|(id, _)| id.number).collect();
    let last = kept[299].entry().id;
    let first = last + 1 - shown.len() as u64;
    assert_eq!(shown, (first..=last).collect::<Vec<_>>());
    let bytes = |it: &[_]| serde_json::to_vec(it).unwrap().len();
    let shown: Vec<_> = listed.shown.into_iter().map(|(_, shown)| shown).collect();
    // As much as fits, and not much less.
    assert!((ANSWER_BYTES_MAX - 4096..=ANSWER_BYTES_MAX).contains(&bytes(&shown)));
    assert_eq!(replicas[1].list(MIKE).await.shown.len(), 300);
}

#[tokio::test]
async fn an_answer_says_nothing_of_a_credential() {
    let world = World::new().await;
    let replicas = world.start_all(2, PATIENT).await;
    let connection = replicas[1].connect(MIKE, "/thing");
    let listed = serde_json::to_string(&replicas[1].presence.own(MIKE)).unwrap();
    let Grant::Key { secret, .. } = connection.entry().grant else { panic!("a key's") };
    assert!(!listed.contains(&secret.to_string()), "{listed}");
}
