use super::*;
use crate::registry::testing;

const MS: Duration = Duration::from_millis(1);
const ONE: ReplicaId = ReplicaId(1);
const TWO: ReplicaId = ReplicaId(u64::MAX);
const MIKE: TenantId = TenantId(7);

fn about(pid: u32) -> About {
    let listen = vec!["127.0.0.1:8080".to_owned()];
    About { host: "host".to_owned(), pid, version: "1.2.3".to_owned(), since_unix_ms: 5, listen }
}

fn heartbeat(connections: u64) -> Heartbeat {
    Heartbeat { connections, exchanges: 2, draining: true }
}

fn numbered(replica: ReplicaId, number: u64) -> Numbered {
    Numbered { replica, number }
}

#[tokio::test]
async fn a_replica_is_known_until_it_withdraws_and_lives_as_long_as_its_heart() {
    let registry = testing::registry().await;
    registry.beat(ONE, &heartbeat(3)).await.unwrap();
    assert_eq!(registry.replicas().await.unwrap(), []);
    registry.announce(ONE, &about(1)).await.unwrap();
    registry.announce(TWO, &about(2)).await.unwrap();
    let one = |heartbeat| Replica { id: ONE, about: about(1), heartbeat, revision: 1 };
    let two = Replica { id: TWO, about: about(2), heartbeat: None, revision: 2 };
    let living = [one(Some(heartbeat(3))), two.clone()];
    assert_eq!(registry.replicas().await.unwrap(), living);
    registry.wall().advance(HEARTBEAT_TTL - MS);
    assert_eq!(registry.replicas().await.unwrap(), living);
    registry.wall().advance(MS);
    assert_eq!(registry.replicas().await.unwrap(), [one(None), two.clone()]);
    registry.beat(ONE, &heartbeat(4)).await.unwrap();
    registry.withdraw(ONE).await.unwrap();
    assert_eq!(registry.replicas().await.unwrap(), [two]);
    registry.announce(ONE, &about(1)).await.unwrap();
    assert_eq!(registry.replicas().await.unwrap()[0].heartbeat, None, "it took it along");
}

#[tokio::test]
async fn only_the_dead_are_buried() {
    let registry = testing::registry().await;
    registry.announce(ONE, &about(1)).await.unwrap();
    let seen = registry.replicas().await.unwrap().remove(0);
    registry.announce(ONE, &about(1)).await.unwrap();
    assert_eq!(registry.bury(&seen).await, Ok(false));
    let seen = registry.replicas().await.unwrap().remove(0);
    for is_first in [true, false] {
        assert_eq!(registry.bury(&seen).await, Ok(is_first));
        assert_eq!(registry.replicas().await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_replica_of_another_version_is_one_too() {
    let registry = testing::registry().await;
    let body = br#"{"host":"later","colour":"green"}"#.to_vec();
    let change = Change::Put { indexes: Vec::new(), body };
    registry.change_replica(ONE, Expected::Any, change).await.unwrap();
    registry.store().put_expiring(&heart(ONE), b"[]", HEARTBEAT_TTL).await.unwrap();
    let seen = registry.replicas().await.unwrap().remove(0);
    assert_eq!((seen.id, seen.about.host.as_str()), (ONE, "later"));
    assert!(seen.heartbeat.is_some());
}

#[tokio::test]
async fn a_question_comes_by_the_feed_and_leaves_nothing() {
    let registry = testing::registry().await;
    let connection = numbered(TWO, 9);
    let mut asked: Vec<Question> = Cause::all()
        .map(|cause| Wanted::Close { tenant: MIKE, connection, cause })
        .zip(1..)
        .map(|(wanted, number)| Question { ask: numbered(ONE, number), wanted })
        .collect();
    asked.push(Question { ask: numbered(TWO, u64::MAX), wanted: Wanted::List(MIKE) });
    for question in &asked {
        registry.ask(question).await.unwrap();
    }
    let page = registry.store().feed(0, 1000).await.unwrap();
    let heard: Vec<_> = page.notices.iter().filter_map(Question::of).collect();
    assert_eq!(heard, asked);
    for kind in [ASK, CLOSE] {
        assert_eq!(registry.store().list(kind, None, 10).await.unwrap(), []);
    }
}

#[test]
fn other_notices_are_no_questions() {
    let list = Question { ask: numbered(ONE, 1), wanted: Wanted::List(MIKE) }.write().id;
    let close = Wanted::Close { tenant: MIKE, connection: numbered(TWO, 2), cause: Cause::Drain };
    let close = Question { ask: numbered(ONE, 1), wanted: close }.write().id;
    let is_question = |kind: &str, id: &str| {
        let notice = Notice { kind: kind.to_owned(), id: id.to_owned(), revision: 1 };
        Question::of(&notice).is_some()
    };
    assert!(is_question("ask", &list) && is_question("close", &close));
    assert!(!is_question("tenant", &list) && !is_question("close", &list));
    assert!(!is_question("ask", &close));
    for end in (0..list.len()).filter(|end| list.is_char_boundary(*end)) {
        assert!(!is_question("ask", &list[..end]), "{}", &list[..end]);
    }
    for more in ["/", "/1", "0"] {
        assert!(!is_question("ask", &format!("{list}{more}")));
        assert!(!is_question("close", &format!("{close}{more}0")));
    }
}

#[test]
fn a_number_has_one_spelling() {
    for it in [numbered(ONE, 0), numbered(TWO, u64::MAX), numbered(ReplicaId(0), 17)] {
        assert_eq!(Numbered::parse(&it.to_string()), Some(it));
    }
    let zeros = "0".repeat(16);
    for wrong in [
        "".to_owned(),
        "-".to_owned(),
        "1-1".to_owned(),
        zeros.clone(),
        format!("{zeros}-"),
        format!("{zeros}-01"),
        format!("{zeros}-+1"),
        format!("{zeros}-1-1"),
        format!("{zeros}-99999999999999999999"),
        format!("+{}-1", &zeros[1..]),
        format!("{}A-1", &zeros[1..]),
        format!("{zeros}0-1"),
    ] {
        assert_eq!(Numbered::parse(&wrong), None, "{wrong}");
    }
}

#[tokio::test]
async fn an_answer_is_for_its_question_and_ends_by_itself() {
    let registry = testing::registry().await;
    let ask = numbered(ONE, 1);
    let full = vec![b'x'; ANSWER_BYTES_MAX];
    registry.answer(ask, TWO, &full).await.unwrap();
    assert!(registry.answer(ask, ONE, &[&full[..], b"x"].concat()).await.is_err());
    assert_eq!(registry.answer_of(ask, TWO).await.unwrap(), Some(full));
    assert_eq!(registry.answer_of(ask, ONE).await.unwrap(), None);
    assert_eq!(registry.answer_of(numbered(ONE, 2), TWO).await.unwrap(), None);
    registry.wall().advance(ANSWER_TTL);
    assert_eq!(registry.answer_of(ask, TWO).await.unwrap(), None);
}
