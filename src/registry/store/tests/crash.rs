//! A process that writes is killed at random moments. What it said was written is there; what it
//! had not said yet is there as a whole or not at all.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tokio::task::JoinSet;

use super::audit::audit;
use super::process::{self, Said};
use super::{TENANT, put, remove};
use crate::registry::store::Expected::{Absent, Any, Revision};
use crate::registry::store::{Merge, SeriesUpdate, Store, Write};

const KILLS: u32 = 300;
/// After so many kills another file is begun, so that some hit its making.
const KILLS_PER_FILE: u32 = 20;
const GROUPS: u64 = 4;
const HOUR: Duration = Duration::from_secs(60 * 60);

async fn open(path: &Path) -> Store {
    Store::open(&format!("file:{}", path.display())).await.unwrap()
}

fn index(group: u64, member: u64, round: u64) -> String {
    format!("{group}-{member} in round {round}")
}

/// Writes a group of three documents that agree on the round; the third is there every other one.
fn batch(group: u64, round: u64, revision: Option<u64>) -> Vec<Write> {
    let expected = revision.map_or(Absent, Revision);
    let body = round.to_string();
    let of = |member, expected| {
        put(&format!("{group}-{member}"), expected, &[&index(group, member, round)], &body)
    };
    let third = match round % 2 {
        0 => remove(&format!("{group}-2"), Any),
        _ => of(2, Any),
    };
    vec![of(0, expected), of(1, Any), third]
}

/// The round of a group's last batch and its first revision.
async fn last_round(store: &Store, group: u64) -> (u64, Option<u64>) {
    match store.get(TENANT, &format!("{group}-0")).await.unwrap() {
        Some(first) => (body(&first.body), Some(first.revision)),
        None => (0, None),
    }
}

fn body(bytes: &[u8]) -> u64 {
    std::str::from_utf8(bytes).unwrap().parse().unwrap()
}

/// The other process: writes until it is killed.
#[tokio::test]
async fn writes_until_it_is_killed() {
    let Some(file) = process::file() else { return };
    let store = open(Path::new(&file)).await;
    let writers: JoinSet<()> = (0..GROUPS).map(|group| write_on(store.clone(), group)).collect();
    writers.join_all().await;
}

async fn write_on(store: Store, group: u64) {
    let (mut round, mut revision) = last_round(&store, group).await;
    loop {
        round += 1;
        let revisions = store.write(batch(group, round, revision)).await.unwrap();
        revision = Some(revisions[0]);
        process::say(&format!("wrote {group} {round} {}", revisions[2]));
        let key = format!("{group} in round {round}");
        store.put_expiring(&key, round.to_string().as_bytes(), HOUR).await.unwrap();
        process::say(&format!("kept {group} {round} 0"));
        let lease = format!("lease {group}");
        let fence = store.acquire(&lease, "writer", HOUR).await.unwrap().unwrap();
        store.release(&lease, "writer").await.unwrap();
        process::say(&format!("fenced {group} {round} {fence}"));
        let (name, field) = (format!("rounds {group}"), "n".to_owned());
        let minute = crate::clock::Wall::system().unix_ms() / 60_000;
        let update = SeriesUpdate { name, minute, field, merge: Merge::Add(1) };
        store.merge(vec![update]).await.unwrap();
        process::say(&format!("merged {group} {round} 0"));
    }
}

/// What was acknowledged of one group.
#[derive(Default)]
struct Acknowledged {
    round: u64,
    last_revision: u64,
    kept: u64,
    fence: u64,
    merged: u64,
}

type Groups = BTreeMap<u64, Acknowledged>;

fn hear(groups: &mut Groups, line: &str) {
    let words: Vec<_> = line.split(' ').collect();
    let number = |place: usize| words[place].parse::<u64>().unwrap();
    let group = groups.entry(number(1)).or_default();
    match words[0] {
        "wrote" => (group.round, group.last_revision) = (number(2), number(3)),
        "kept" => group.kept = number(2),
        "fenced" => group.fence = number(3),
        "merged" => group.merged += 1,
        other => panic!("{other}"),
    }
}

async fn check(file: &Path, groups: &mut Groups) {
    audit(file);
    let store = open(file).await;
    for (group, acknowledged) in groups.iter_mut() {
        let (round, first_revision) = last_round(&store, *group).await;
        let unsaid = round - acknowledged.round;
        assert!(unsaid <= 1, "group {group}: round {round} after {}", acknowledged.round);
        let last_revision = first_revision.map_or(0, |first| first + 2);
        if unsaid == 0 {
            assert_eq!(last_revision, acknowledged.last_revision);
        }
        // What is there now has to stay.
        (acknowledged.round, acknowledged.last_revision) = (round, last_revision);
        let members = if round == 0 { 0 } else { 2 + round % 2 };
        for member in 0..3 {
            let document = store.get(TENANT, &format!("{group}-{member}")).await.unwrap();
            assert_eq!(document.is_some(), member < members, "{group}-{member} in round {round}");
            let round_of = document.as_ref().map(|document| body(&document.body));
            assert!(round_of.is_none_or(|its| its == round), "half a batch: {group}-{member}");
            let found = store.find(TENANT, &index(*group, member, round)).await.unwrap();
            assert_eq!(found, document);
            let before = index(*group, member, round.saturating_sub(1));
            assert!(round == 0 || store.find(TENANT, &before).await.unwrap().is_none());
        }
        let key = format!("{group} in round {}", acknowledged.kept);
        let kept = store.get_expiring(&key).await.unwrap().map(|value| body(&value));
        assert!(acknowledged.kept == 0 || kept == Some(acknowledged.kept));
        let fence = store.acquire(&format!("lease {group}"), "writer", HOUR).await.unwrap();
        assert!(fence.unwrap() >= acknowledged.fence);
        let buckets = store.series(&format!("rounds {group}"), 0, u64::MAX).await.unwrap();
        let merged: u64 = buckets.iter().map(|bucket| bucket.fields["n"]).sum();
        assert!(merged >= acknowledged.merged, "{merged} of {}", acknowledged.merged);
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_killed() {
    let random = |below: u64| getrandom::u64().unwrap() % below;
    let mut folder = tempfile::tempdir().unwrap();
    let mut groups = Groups::new();
    let mut heard = 0;
    for kill in 0..KILLS {
        if kill % KILLS_PER_FILE == 0 {
            folder = tempfile::tempdir().unwrap();
            groups.clear();
        }
        let file = folder.path().join("flowgate.redb");
        let mut writer =
            process::start("registry::store::tests::crash::writes_until_it_is_killed", &file);
        let mut said = Said::by(&mut writer);
        // Half of them are killed while they open the file, or thereabouts.
        if random(2) == 0 {
            for line in said.by_ref().take(random(40) as usize) {
                hear(&mut groups, &line);
                heard += 1;
            }
        }
        std::thread::sleep(Duration::from_micros(random(20_000)));
        writer.kill().unwrap();
        writer.wait().unwrap();
        for line in said {
            hear(&mut groups, &line);
            heard += 1;
        }
        // A copy, so that the next writer has to mend the original and may be killed over it.
        let copy = folder.path().join("copy.redb");
        match std::fs::copy(&file, &copy) {
            Ok(_) => check(&copy, &mut groups).await,
            Err(_) => assert!(groups.is_empty(), "the file is gone"),
        }
    }
    assert!(heard > KILLS, "only {heard} writes were acknowledged");
}
