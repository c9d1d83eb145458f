//! What [`Store::check`] finds.

use super::*;

/// Does some damage to a registry that is in order, and returns what is said of it.
async fn said_after(damage: &[&[&str]]) -> Vec<String> {
    let server = Server::start(&[]);
    let store = open(&server.socket_url()).await;
    store.write(vec![put("1", "a"), put("2", "b")]).await.unwrap();
    store.put_expiring("k", b"v", PATIENCE).await.unwrap();
    store.acquire("k", "me", PATIENCE).await.unwrap();
    let (name, field) = ("s".to_owned(), "n".to_owned());
    let minute = crate::clock::Wall::system().unix_ms() / 60_000;
    let merge = crate::registry::store::Merge::Add(1);
    let update = crate::registry::store::SeriesUpdate { name, minute, field, merge };
    store.merge(vec![update]).await.unwrap();
    assert_eq!(is_in_order(&store).await, 2);
    for command in damage {
        server.command(command);
    }
    let mut lines = Vec::new();
    store.check(&mut |line| lines.push(line)).await.unwrap();
    lines.sort();
    lines
}

macro_rules! finds {
    ($($test:ident: $($command:expr),+ => $($line:literal),+;)+) => {
        $(#[tokio::test]
        async fn $test() {
            assert_eq!(said_after(&[$(&$command),+]).await, [$($line),+]);
        })+
    };
}

finds! {
    a_document_that_was_removed: ["DEL", "flowgate:document:tenant:1"] =>
        "flowgate:ids:tenant: 1 is not there",
        "flowgate:index:tenant: name:1 leads to 1, which is not there";
    an_index_that_was_removed: ["HDEL", "flowgate:index:tenant", "name:1"] =>
        "flowgate:document:tenant:1: its index name:1 is not there";
    an_index_that_leads_elsewhere: ["HSET", "flowgate:index:tenant", "name:1", "2"] =>
        "flowgate:document:tenant:1: its index name:1 leads to 2",
        "flowgate:index:tenant: name:1 leads to 2, which does not have it";
    an_id_that_is_not_listed: ["ZREM", "flowgate:ids:tenant", "1"] =>
        "flowgate:document:tenant:1: it is not in flowgate:ids:tenant";
    a_revision_that_is_ahead: ["HSET", "flowgate:document:tenant:1", "revision", "9"] =>
        "flowgate:document:tenant:1: its revision 9 is ahead of the registry";
    a_notice_of_something_else: ["HSET", "flowgate:document:tenant:1", "revision", "2"] =>
        "flowgate:document:tenant:1: the notice of its revision 2 is about something else";
    what_cannot_be_read: ["HSET", "flowgate:document:tenant:1", "revision", "x"],
        ["HSET", "flowgate:document:tenant:2", "indexes", "[1]"],
        ["HSET", "flowgate:meta", "fence", "x"] =>
        "flowgate:document:tenant:1: its revision cannot be read",
        "flowgate:document:tenant:2: its indexes cannot be read",
        "flowgate:index:tenant: name:2 leads to 2, which does not have it",
        "flowgate:meta: its fence cannot be read";
    a_confirmed_revision_that_is_ahead: ["HSET", "flowgate:meta", "confirmed", "9"] =>
        "flowgate:meta: the confirmed revision 9 is ahead of the registry";
    a_confirmed_revision_that_is_missing: ["HDEL", "flowgate:meta", "confirmed"] =>
        "flowgate:meta: what is confirmed cannot be read";
    a_notice_that_is_missing: ["XADD", "flowgate:feed", "3-0", "kind", "tenant", "id", "3", "tag", "t"],
        ["XADD", "flowgate:feed", "5-0", "kind", "tenant", "id", "3"],
        ["HSET", "flowgate:meta", "revision", "6"] =>
        "flowgate:feed: 5-0 lacks a field",
        "flowgate:feed: it ends at 5, but the registry is at 6",
        "flowgate:feed: there is a hole between 3 and 5";
    a_notice_that_is_ahead: ["XADD", "flowgate:feed", "3-1", "kind", "tenant", "id", "3", "tag", "t"] =>
        "flowgate:feed: 3-1 is ahead of the registry",
        "flowgate:feed: 3-1 is no revision";
    what_does_not_end: ["PERSIST", "flowgate:expiring:k"], ["PERSIST", "flowgate:series:s"] =>
        "flowgate:expiring:k: it has no time to live",
        "flowgate:series:s: it has no time to live";
    a_fence_that_is_ahead: ["HSET", "flowgate:lease:k", "fence", "7"] =>
        "flowgate:lease:k: its fence is ahead of the registry";
    what_lacks_a_field: ["HDEL", "flowgate:lease:k", "holder"] =>
        "flowgate:lease:k: it lacks a field";
    what_is_no_part_of_it: ["SET", "flowgate:other", "x"], ["SET", "flowgate:\n", "x"],
        ["SET", "flowgate:document:tenant", "x"], ["SET", "flowgate:count:k", "x"],
        ["SET", "others:key", "x"] =>
        "flowgate:count:k: is a string",
        "flowgate:document:tenant: is a string",
        "flowgate:other: is no part of the layout",
        "flowgate:\u{fffd}: is no part of the layout";
}

#[tokio::test]
async fn a_bucket_that_was_removed() {
    let minute = crate::clock::Wall::system().unix_ms() / 60_000 + 5;
    let minute = minute.to_string();
    let alone = format!("flowgate:bucket:{minute}:t");
    let damage: [&[&str]; 3] = [
        &["ZADD", "flowgate:series:s", &minute, &minute],
        &["HSET", &alone, "n", "x"],
        &["PEXPIRE", &alone, "60000"],
    ];
    assert_eq!(
        said_after(&damage).await,
        [
            format!("{alone}: it is not in flowgate:series:t"),
            format!("{alone}: its field n cannot be read"),
            format!("flowgate:series:s: the bucket of {minute} is not there"),
        ]
    );
}

#[tokio::test]
async fn nothing_that_others_write_meanwhile() {
    let server = Server::start(&[]);
    let feed_kept = 700;
    let options = Options { feed_kept, ..testing::options() };
    let store = Store::open_with(&server.socket_url(), &options).await.unwrap();
    let writer = store.clone();
    let writing = tokio::spawn(async move {
        for round in 0_u64.. {
            let ids = (0..40).map(|place| (round * 7 + place) % 2_000);
            let writes = ids.map(|id| match id % 3 {
                0 => Write { change: Change::Remove, ..put(&id.to_string(), "") },
                _ => put(&id.to_string(), &round.to_string()),
            });
            writer.write(writes.collect()).await.unwrap();
        }
    });
    store.changes().wait_for(|last| *last > 20_000).await.unwrap();
    for _ in 0..5 {
        is_in_order(&store).await;
    }
    writing.abort();
}
