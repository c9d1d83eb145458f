use super::*;

#[test]
fn moments_are_the_same_on_every_replica() {
    let (unix_ms, second) = (1_790_000_000_000, Duration::from_secs(1));
    let entry = Entry::new(Told { failures: 7, idle: 30 * second, wait: 64 * second }, unix_ms);
    let text = serde_json::to_vec(&entry).unwrap();
    let read: Entry = serde_json::from_slice(&text).unwrap();
    let later = |seconds: u64| read.told(unix_ms + seconds * 1000);
    assert_eq!(later(60), Told { failures: 7, idle: 90 * second, wait: 4 * second });
    assert_eq!(later(70), Told { failures: 7, idle: 100 * second, wait: Duration::ZERO });
}
