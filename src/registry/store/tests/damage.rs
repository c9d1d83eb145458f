//! What [`Store::check`](super::Store::check) finds in a registry file. In Redis, see its own tests.

use redb::{Database, TableDefinition};

use super::Expected::Absent;
use super::{Place, put};

const INDEXES: TableDefinition<(&str, &str), &str> = TableDefinition::new("indexes");
const FEED: TableDefinition<u64, (&str, &str)> = TableDefinition::new("feed");
const ENDS: TableDefinition<(u64, u8, &str), ()> = TableDefinition::new("ends");
const SERIES: TableDefinition<(&str, u64), Vec<(&str, u64)>> = TableDefinition::new("series");

#[tokio::test]
async fn tables_that_contradict_each_other_are_found() {
    let place = Place::file();
    let store = place.open().await;
    let all = ["1", "2", "3"].map(|id| put(id, Absent, &[id], ""));
    store.write(all.to_vec()).await.unwrap();
    let none = store.check(&mut |line| panic!("{line}")).await;
    assert_eq!(none, Ok(3));
    drop(store);
    let database = Database::open(place.path()).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut indexes = transaction.open_table(INDEXES).unwrap();
    indexes.remove(("tenant", "1")).unwrap();
    indexes.insert(("tenant", "2"), "3").unwrap();
    indexes.insert(("tenant", "4"), "4").unwrap();
    transaction.open_table(FEED).unwrap().remove(2).unwrap();
    transaction.open_table(ENDS).unwrap().insert((1, 0, "gone"), ()).unwrap();
    transaction.open_table(SERIES).unwrap().insert(("\n", 7), vec![("n", 1)]).unwrap();
    drop(indexes);
    transaction.commit().unwrap();
    drop(database);
    let mut lines = Vec::new();
    let store = place.open().await;
    assert_eq!(store.check(&mut |line| lines.push(line)).await, Ok(3));
    let expected = [
        "tenant \"1\": its index \"1\" is not there",
        "tenant \"2\": its index \"2\" leads to \"3\"",
        "tenant \"2\": the notice of its revision 2 is about something else",
        "tenant: index \"2\" leads to \"3\", which does not have it",
        "tenant: index \"4\" leads to \"4\", which is not there",
        "the feed has a hole before 3",
        "an end leads to entry \"gone\" of space 0, which does not have it",
        "minute 7 of \"\\n\" will never go",
    ];
    assert_eq!(lines, expected);
}
