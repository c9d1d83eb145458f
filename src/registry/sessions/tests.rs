use super::*;
use crate::registry::testing;

const LIMITS: SessionLimits =
    SessionLimits { idle_max: Duration::from_secs(1000), age_max: Duration::from_secs(5000) };
const MS: Duration = Duration::from_millis(1);
const TENANT: TenantId = TenantId(1);

async fn is_on(registry: &Registry, secret: &Secret) -> bool {
    registry.use_session(secret, Place::BareHost, &LIMITS).await.unwrap().is_some()
}

async fn revision(registry: &Registry) -> u64 {
    registry.store().last_revision().await.unwrap()
}

#[tokio::test]
async fn a_session_says_whose_it_is() {
    let registry = testing::registry().await;
    let secret = registry.begin_session(TENANT, 5).await.unwrap();
    let found = registry.use_session(&secret, Place::BareHost, &LIMITS).await.unwrap();
    let (known, session) = found.unwrap();
    assert_eq!(known, id_of(&secret));
    assert_eq!((session.tenant(), session.password), (Some(TENANT), 5));
    let begin = testing::BEGIN.0;
    assert_eq!((session.created_unix_ms, session.seen_unix_ms), (begin, begin));
    for guess in ["", "fgt_x", &SecretDigest::of(&secret).to_hex()] {
        assert!(!is_on(&registry, &Secret::new(guess.to_owned())).await, "{guess}");
    }
    let document = registry.store().get(SESSION, &digest(&secret)).await.unwrap().unwrap();
    assert!(!String::from_utf8(document.body).unwrap().contains(secret.expose()));
}

#[tokio::test]
async fn an_idle_session_ends_at_the_very_moment() {
    let registry = testing::registry().await;
    let busy = registry.begin_session(TENANT, 5).await.unwrap();
    let idle = registry.begin_session(TENANT, 5).await.unwrap();
    registry.wall().advance(LIMITS.idle_max - MS);
    assert!(is_on(&registry, &busy).await);
    registry.wall().advance(MS);
    assert!(!is_on(&registry, &idle).await);
    assert!(is_on(&registry, &busy).await, "it was used meanwhile");
    assert_eq!(
        registry.store().get(SESSION, &digest(&idle)).await.unwrap(),
        None,
        "and is removed"
    );
}

#[tokio::test]
async fn the_busiest_session_ends_too() {
    let registry = testing::registry().await;
    let secret = registry.begin_session(TENANT, 5).await.unwrap();
    for _ in 0..9 {
        registry.wall().advance(LIMITS.age_max / 10);
        assert!(is_on(&registry, &secret).await);
    }
    registry.wall().advance(LIMITS.age_max / 10 - MS);
    assert!(is_on(&registry, &secret).await);
    registry.wall().advance(MS);
    assert!(!is_on(&registry, &secret).await);
}

#[tokio::test]
async fn not_every_use_is_a_write() {
    let registry = testing::registry().await;
    let secret = registry.begin_session(TENANT, 5).await.unwrap();
    let before = revision(&registry).await;
    for _ in 0..99 {
        registry.wall().advance(Duration::from_secs(1));
        assert!(is_on(&registry, &secret).await);
    }
    assert_eq!(revision(&registry).await, before);
    registry.wall().advance(Duration::from_secs(1));
    assert!(is_on(&registry, &secret).await && is_on(&registry, &secret).await);
    assert_eq!(revision(&registry).await, before + 1);
}

#[tokio::test]
async fn an_ended_session_is_over() {
    let registry = testing::registry().await;
    let [ended, other] = [
        registry.begin_session(TENANT, 5).await.unwrap(),
        registry.begin_session(TENANT, 5).await.unwrap(),
    ];
    registry.end_session(id_of(&ended)).await.unwrap();
    assert!(!is_on(&registry, &ended).await && is_on(&registry, &other).await);
    registry.end_session(id_of(&ended)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_at_once_are_all_let_in_and_never_bring_back_an_ended_session() {
    let registry = std::sync::Arc::new(testing::registry().await);
    for _ in 0..20 {
        let secret = registry.begin_session(TENANT, 5).await.unwrap();
        registry.wall().advance(LIMITS.idle_max / 2);
        let use_it = || {
            let (registry, secret) = (std::sync::Arc::clone(&registry), secret.clone());
            tokio::spawn(async move { is_on(&registry, &secret).await })
        };
        for used in [(); 8].map(|()| use_it()) {
            assert!(used.await.unwrap());
        }
        registry.wall().advance(LIMITS.idle_max / 2);
        let using = [(); 8].map(|()| use_it());
        registry.end_session(id_of(&secret)).await.unwrap();
        for used in using {
            used.await.unwrap();
        }
        assert!(!is_on(&registry, &secret).await);
    }
}

#[tokio::test]
async fn a_tenant_hosts_cookie_is_of_the_same_session_and_opens_no_other_place() {
    let registry = testing::registry().await;
    let bare = registry.begin_session(TENANT, 5).await.unwrap();
    let id = id_of(&bare);
    let host = registry.join_host(id).await.unwrap().unwrap();
    let found = async |secret: &Secret, place| {
        registry.use_session(secret, place, &LIMITS).await.unwrap().map(|(id, _)| id)
    };
    assert_eq!(found(&host, Place::TenantHost).await, Some(id));
    assert_eq!(found(&host, Place::BareHost).await, None);
    assert_eq!(found(&bare, Place::TenantHost).await, None);
    registry.wall().advance(LIMITS.idle_max - MS);
    assert_eq!(found(&host, Place::TenantHost).await, Some(id));
    registry.wall().advance(LIMITS.idle_max - MS);
    assert_eq!(found(&bare, Place::BareHost).await, Some(id), "it is used on either host");
    assert_eq!(found(&host, Place::TenantHost).await, Some(id), "a use keeps the other cookie");
    let document = registry.store().get(SESSION, &digest(&bare)).await.unwrap().unwrap();
    assert!(!String::from_utf8(document.body).unwrap().contains(host.expose()));
    registry.end_session(id).await.unwrap();
    assert_eq!(found(&host, Place::TenantHost).await, None);
    assert!(registry.join_host(id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_session_knows_its_last_few_hosts_cookies() {
    let registry = testing::registry().await;
    let id = id_of(&registry.begin_session(TENANT, 5).await.unwrap());
    let mut all = Vec::new();
    for _ in 0..HOSTS_MAX + 1 {
        all.push(registry.join_host(id).await.unwrap().unwrap());
    }
    for (place, secret) in all.iter().enumerate() {
        let found = registry.use_session(secret, Place::TenantHost, &LIMITS).await.unwrap();
        assert_eq!(found.is_some(), place > 0, "{place}");
    }
}

#[tokio::test]
async fn sessions_that_are_over_are_swept_some_at_a_time() {
    let registry = testing::registry().await;
    for _ in 0..SWEPT_AT_ONCE + 20 {
        registry.begin_session(TENANT, 5).await.unwrap();
    }
    registry.wall().advance(LIMITS.idle_max);
    let fresh = registry.begin_session(TENANT, 5).await.unwrap();
    let left = async || registry.sessions(None, 1000).await.unwrap().len();
    let next = registry.sweep_sessions(None, &LIMITS).await.unwrap();
    assert!((21..=22).contains(&left().await), "{}", left().await);
    assert_eq!(registry.sweep_sessions(next.as_deref(), &LIMITS).await.unwrap(), None);
    assert_eq!(left().await, 1);
    assert!(is_on(&registry, &fresh).await);
}

#[tokio::test]
async fn logins_are_counted() {
    let registry = testing::registry().await;
    for _ in 0..LOGINS_PER_WINDOW_MAX {
        assert!(!registry.count_login(TENANT).await.unwrap());
    }
    assert!(registry.count_login(TENANT).await.unwrap());
    assert!(!registry.count_login(TenantId(2)).await.unwrap());
}
