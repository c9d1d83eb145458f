use super::*;
use crate::grant::KeyId;
use crate::registry::testing;

const MS: Duration = Duration::from_millis(1);

fn ticket(origin: Option<&str>) -> Ticket {
    let grant = Grant::Key { id: KeyId(7), secret: 9 };
    Ticket::new(TenantId(1), "/api/thing".to_owned(), origin.map(str::to_owned), grant)
}

#[tokio::test]
async fn a_ticket_comes_back_once_as_it_was_issued() {
    let registry = testing::registry().await;
    for issued in [ticket(None), ticket(Some("https://app.example.org"))] {
        let secret = registry.issue_ticket(&issued).await.unwrap();
        assert!(secret.expose().starts_with("fgt_"));
        let taken = registry.take_ticket(&secret).await.unwrap().unwrap();
        assert_eq!((&taken, taken.tenant()), (&issued, Some(TenantId(1))));
        assert_eq!(registry.take_ticket(&secret).await.unwrap(), None);
    }
}

#[tokio::test]
async fn of_many_who_come_with_a_ticket_one_gets_in() {
    let registry = std::sync::Arc::new(testing::registry().await);
    let secret = registry.issue_ticket(&ticket(None)).await.unwrap();
    let takers: Vec<_> = (0..20)
        .map(|_| {
            let (registry, secret) = (std::sync::Arc::clone(&registry), secret.clone());
            tokio::spawn(async move { registry.take_ticket(&secret).await.unwrap().is_some() })
        })
        .collect();
    let mut got_in = 0;
    for taker in takers {
        got_in += usize::from(taker.await.unwrap());
    }
    assert_eq!(got_in, 1);
}

#[tokio::test]
async fn a_ticket_ends_after_thirty_seconds() {
    let registry = testing::registry().await;
    let early = registry.issue_ticket(&ticket(None)).await.unwrap();
    let late = registry.issue_ticket(&ticket(None)).await.unwrap();
    registry.wall().advance(Duration::from_secs(30) - MS);
    assert!(registry.take_ticket(&early).await.unwrap().is_some());
    registry.wall().advance(MS);
    assert_eq!(registry.take_ticket(&late).await.unwrap(), None);
}

#[tokio::test]
async fn nothing_else_is_a_ticket() {
    let registry = testing::registry().await;
    let secret = registry.issue_ticket(&ticket(None)).await.unwrap();
    let guesses = [
        String::new(),
        "fgt_".to_owned(),
        secret.expose().to_lowercase(),
        SecretDigest::of(&secret).to_hex(),
        entry(&secret),
    ];
    for guess in guesses {
        assert_eq!(registry.take_ticket(&Secret::new(guess)).await.unwrap(), None);
    }
    assert!(registry.take_ticket(&secret).await.unwrap().is_some());
}

#[tokio::test]
async fn tickets_differ_and_the_store_does_not_know_them() {
    let registry = testing::registry().await;
    let one = registry.issue_ticket(&ticket(None)).await.unwrap();
    let two = registry.issue_ticket(&ticket(None)).await.unwrap();
    assert_ne!(one.expose(), two.expose());
    let stored = registry.store().get_expiring(&entry(&one)).await.unwrap().unwrap();
    let stored = format!("{} {}", entry(&one), String::from_utf8(stored).unwrap());
    assert!(!stored.contains(one.expose()), "{stored}");
}
