use super::*;
use crate::registry::testing;

const NOW: UnixMillis = testing::BEGIN;
const PUMP: KeyId = KeyId(7);

fn digest(secret: &str) -> String {
    SecretDigest::of(&Secret::new(secret.into())).to_hex()
}

fn record() -> TenantRecord {
    let keys = vec![testing::key(KeyId::DEFAULT, "default"), testing::key(PUMP, "pump")];
    TenantRecord { keys, ..testing::record("mike") }
}

/// The retired secrets' digests, and whether their keys were revoked; the newest first.
fn retired(record: &TenantRecord) -> Vec<(&str, bool)> {
    record.retired.iter().map(|it| (it.sha256.as_str(), it.revoked)).collect()
}

fn rotate(record: &mut TenantRecord, overlap_seconds: u64) {
    let (_, rotated) = Rotation::with_overlap(overlap_seconds).make(NOW).unwrap();
    assert!(record.rotate_key(PUMP, &rotated));
}

#[test]
fn what_was_a_key_leads_to_its_tenant_all_the_same() {
    let mut record = record();
    record.regenerate(&new_default(NOW).unwrap().1);
    assert!(record.revoke_key(PUMP, NOW));
    assert!(!record.revoke_key(PUMP, NOW));
    assert_eq!(retired(&record), [(&*digest("pump"), true), (&*digest("default"), false)]);
    for secret in ["pump", "default"] {
        assert!(record.indexes().contains(&format!("key:{}", digest(secret))), "{secret}");
    }
}

#[test]
fn a_secret_that_still_works_is_not_retired() {
    let mut record = record();
    rotate(&mut record, 60);
    assert!(retired(&record).is_empty(), "both work");
    rotate(&mut record, 60);
    assert_eq!(retired(&record), [(&*digest("pump"), false)]);
    let second = record.keys[1].sha256.clone();
    rotate(&mut record, 0);
    assert_eq!(retired(&record)[..1], [(&*second, false)]);
    assert_eq!(record.retired.len(), 3, "the one that overlapped ends as well");
    // An import brings an old one back.
    let back = [testing::key(PUMP, "pump")];
    assert_eq!(record.retired_beside(&back).len(), 2);
    let mut indexes = record.indexes();
    indexes.sort();
    indexes.dedup();
    assert_eq!(indexes.len(), record.indexes().len(), "none is there twice");
}

#[test]
fn the_oldest_are_forgotten() {
    let mut record = record();
    for _ in 0..RETIRED_MAX + 5 {
        record.regenerate(&new_default(NOW).unwrap().1);
    }
    assert_eq!(record.retired.len(), RETIRED_MAX);
    assert!(retired(&record).iter().all(|(sha256, _)| *sha256 != digest("default")));
}
