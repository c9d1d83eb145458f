use std::time::Duration;

use super::*;
use crate::api::signing::Use;
use crate::clock::Wall;
use crate::grant::{KeyId, SubscriptionId};
use crate::plan::Plan;
use crate::registry::apis::record::application::{
    ApplicationRecord, SecretRecord, SubscriptionRecord,
};
use crate::registry::apis::revocations::Revoked;
use crate::registry::record::{APPLICATION, PreviousRecord, REVOCATION, SIGNING};
use crate::registry::store::{Change, Expected, Write};
use crate::registry::testing::CACHING;
use crate::sealing::Sealing;

const AGE_MAX: Duration = Duration::from_secs(90 * 24 * 60 * 60);

async fn sealed() -> (Registry, Wall) {
    let wall = Wall::stopped_at(testing::BEGIN.0);
    let store = testing::store(&wall).await;
    let registry = Registry::new(store, CACHING, crate::clock::Clock::start(), wall.clone());
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    (registry.with_sealing(Some(Arc::new(Sealing::parse(key).unwrap()))), wall)
}

fn record(api: &Api, secret: &str) -> ApplicationRecord {
    ApplicationRecord {
        owner: Owner::Operator.to_string(),
        name: "one".to_owned(),
        secret: Some(SecretRecord {
            sha256: digest(secret).to_hex(),
            hint: "1234".to_owned(),
            created_unix_ms: testing::BEGIN.0,
            previous: None,
        }),
        subscriptions: vec![SubscriptionRecord {
            blocked_unix_ms: None,
            blocked_by_operator: false,
            plan_by_publisher: false,
            id: SubscriptionId(5).to_string(),
            api: api.id.to_string(),
            plan: None,
            created_unix_ms: testing::BEGIN.0,
        }],
        created_unix_ms: testing::BEGIN.0,
    }
}

/// An API that takes access tokens.
async fn published(registry: &Registry) -> Arc<Api> {
    let mut record = api("/echo");
    record.definition.security = vec![Security::Oauth2];
    registry.create_api(&act(), &record).await.unwrap()
}

async fn token(registry: &Registry, api: &Api, secret: &str) -> Grant {
    let (key, _) = registry.signing_key(AGE_MAX).await.unwrap();
    Grant::Token {
        api: api.id,
        subscription: SubscriptionId(5),
        secret: digest(secret).fingerprint(),
        key: key.id,
        jti: 7,
        until: testing::BEGIN.plus(Duration::from_secs(3600)),
    }
}

#[tokio::test]
async fn a_token_rests_on_subscription_secret_key_and_time() {
    let (registry, _) = sealed().await;
    let api = published(&registry).await;
    registry.know_apis().await.unwrap();
    let made = registry.create_application(&act(), &record(&api, "old")).await.unwrap();
    let grant = token(&registry, &api, "old").await;
    let at = |seconds| testing::BEGIN.plus(Duration::from_secs(seconds));
    let verdict = |grant: &Grant, seconds| registry.directory().allows(grant, at(seconds));
    assert_eq!(verdict(&grant, 0), Some(Ok(())));
    assert_eq!(verdict(&grant, 3600), Some(Err(Cause::TokenExpired)));
    let Grant::Token { api: id, subscription, secret, key, jti, until } = grant else { panic!() };
    let foreign = Grant::Token { api: id, subscription, secret, key: key ^ 1, jti, until };
    assert_eq!(verdict(&foreign, 0), Some(Err(Cause::TokenRevoked)));
    // Both secrets work during the overlap, and then the new one alone.
    let rotate = |record: &mut ApplicationRecord, _| {
        let secret = record.secret.as_mut().unwrap();
        secret.previous =
            Some(PreviousRecord { sha256: digest("old").to_hex(), until_unix_ms: at(600).0 });
        secret.sha256 = digest("new").to_hex();
        Ok::<_, Infallible>(())
    };
    registry.change_application(&act(), made.id, rotate).await.unwrap();
    assert_eq!(verdict(&grant, 599), Some(Ok(())));
    assert_eq!(verdict(&grant, 600), Some(Err(Cause::SecretRegenerated)));
    let fresh = token(&registry, &api, "new").await;
    assert_eq!(verdict(&fresh, 600), Some(Ok(())));
    // Another token that is revoked ends nothing else.
    assert_eq!(registry.revoke_token(made.id, 8, at(3600)).await.unwrap(), Revoked::Now);
    assert_eq!(verdict(&fresh, 0), Some(Ok(())));
    assert_eq!(registry.revoke_token(made.id, 7, at(3600)).await.unwrap(), Revoked::Now);
    assert_eq!(verdict(&fresh, 0), Some(Err(Cause::TokenRevoked)));
    let Grant::Token { api: id, subscription, secret, key, until, .. } = fresh else { panic!() };
    let other = Grant::Token { api: id, subscription, secret, key, jti: 9, until };
    let end = |record: &mut ApplicationRecord, _| {
        record.subscriptions.clear();
        Ok::<_, Infallible>(())
    };
    assert_eq!(verdict(&other, 0), Some(Ok(())));
    registry.change_application(&act(), made.id, end).await.unwrap();
    assert_eq!(verdict(&other, 0), Some(Err(Cause::SubscriptionEnded)));
    registry.directory().unload();
    assert_eq!(verdict(&other, 0), None, "nothing is known, so nothing is said");
}

#[tokio::test]
async fn a_subscription_is_blocked_and_has_the_plan_that_is_written_now() {
    let (registry, _) = sealed().await;
    let api = published(&registry).await;
    registry.know_apis().await.unwrap();
    let write = async |plan: Option<u64>| {
        let present = registry.plan_named("gold").await.unwrap();
        let expected = present.map_or(Expected::Absent, |(it, _)| Expected::Revision(it));
        let limited =
            |limit: u64| Plan { messages_per_minute: Some(limit.into()), ..Plan::default() };
        let plan = plan.map(limited);
        registry.write_plan(&act(), "gold", expected, plan.as_ref()).await.unwrap();
    };
    write(Some(5000)).await;
    let made = registry.create_application(&act(), &record(&api, "old")).await.unwrap();
    let known = || registry.directory().subscribed(SubscriptionId(5));
    assert_eq!((known().unwrap().plan_name, &*known().unwrap().plan), (None, &Plan::default()));
    let set = async |plan: Option<&str>, blocked: bool| {
        let change = |record: &mut ApplicationRecord, _| {
            record.subscriptions[0].plan = plan.map(str::to_owned);
            record.subscriptions[0].blocked_unix_ms = blocked.then_some(testing::BEGIN.0);
            Ok::<_, Infallible>(())
        };
        registry.change_application(&act(), made.id, change).await.unwrap();
    };
    set(Some("gold"), false).await;
    let of_plan = || known().map(|known| known.plan.messages_per_minute.unwrap().limit);
    assert_eq!(of_plan(), Some(5000));
    assert_eq!(
        registry.directory().subscribed_to(made.id, api.id).unwrap().plan,
        known().unwrap().plan
    );
    write(Some(70)).await;
    assert_eq!(of_plan(), Some(70));
    write(None).await;
    assert_eq!(of_plan(), None, "what its limits are nobody knows");
    let grant = token(&registry, &api, "old").await;
    let verdict = || registry.directory().allows(&grant, testing::BEGIN);
    assert_eq!(verdict(), Some(Ok(())));
    set(None, true).await;
    assert_eq!(verdict(), Some(Err(Cause::SubscriptionBlocked)));
    set(None, false).await;
    assert_eq!(verdict(), Some(Ok(())));
}

#[tokio::test]
async fn another_replica_hears_of_applications_revocations_and_keys() {
    let (one, wall) = sealed().await;
    let other = Registry::new(one.store().clone(), CACHING, one.clock(), wall);
    other.know_apis().await.unwrap();
    let api = published(&one).await;
    one.know_apis().await.unwrap();
    let made = one.create_application(&act(), &record(&api, "old")).await.unwrap();
    let grant = token(&one, &api, "old").await;
    let heed = async || {
        for notice in one.store().feed(0, 100).await.unwrap().notices {
            for kind in [API, APPLICATION, SIGNING, REVOCATION] {
                if notice.kind == kind.0 {
                    other.heed_api(kind, &notice.id).await.unwrap();
                }
            }
        }
        other.directory().allows(&grant, testing::BEGIN)
    };
    assert_eq!(heed().await, Some(Ok(())));
    let until = testing::BEGIN.plus(Duration::from_secs(3600));
    one.revoke_token(made.id, 7, until).await.unwrap();
    assert_eq!(heed().await, Some(Err(Cause::TokenRevoked)));
    assert_eq!(other.directory().revoked_of(7), Some(made.id));
}

#[tokio::test]
async fn revocations_are_bounded_and_go_when_their_tokens_are_over() {
    let (registry, wall) = sealed().await;
    let api = published(&registry).await;
    registry.know_apis().await.unwrap();
    let application = registry.create_application(&act(), &record(&api, "old")).await.unwrap().id;
    let until = testing::BEGIN.plus(Duration::from_secs(60));
    let max = crate::registry::apis::revocations::REVOCATIONS_PER_APPLICATION_MAX as u64;
    let revoke = async |jti| registry.revoke_token(application, jti, until).await.unwrap();
    for jti in 0..max {
        assert_eq!(revoke(jti).await, Revoked::Now);
    }
    assert_eq!(revoke(max).await, Revoked::TooMany);
    assert_eq!(revoke(0).await, Revoked::Before);
    // Others' clocks may be behind.
    wall.advance(Duration::from_secs(60));
    registry.sweep_revocations().await.unwrap();
    assert!(registry.directory().is_revoked(0));
    wall.advance(Duration::from_secs(5 * 60));
    registry.sweep_revocations().await.unwrap();
    assert!(!registry.directory().is_revoked(0) && !registry.directory().is_revoked(max - 1));
    assert_eq!(revoke(max).await, Revoked::Now);
    // Nobody's tokens open anything.
    registry.remove_application::<Infallible>(&act(), application).await.unwrap();
    registry.sweep_revocations().await.unwrap();
    assert!(!registry.directory().is_revoked(max));
}

#[tokio::test]
async fn a_revocation_that_cannot_be_read_is_one() {
    let (registry, _) = sealed().await;
    let bodies = [(7, "{}"), (8, r#"{"application":"1","until_unix_ms":1,"new":1}"#), (9, "")];
    for (jti, body) in bodies {
        let change = Change::Put { indexes: Vec::new(), body: body.as_bytes().to_vec() };
        let (id, expected) = (KeyId(jti).to_string(), Expected::Absent);
        let write = Write { kind: REVOCATION, id, expected, change };
        registry.store().write(vec![write]).await.unwrap();
    }
    registry.know_apis().await.unwrap();
    registry.sweep_revocations().await.unwrap();
    for (jti, _) in bodies {
        assert!(registry.directory().is_revoked(jti), "{jti}");
    }
}

#[tokio::test]
async fn keys_take_turns_by_age_and_the_old_ones_last_as_long_as_their_tokens() {
    let (registry, wall) = sealed().await;
    registry.keep_signing_keys(AGE_MAX).await.unwrap();
    let uses = || {
        let ring = registry.directory().signing_keys();
        let find = |used| ring.keys.iter().find(|key| key.used == used).map(|key| key.id);
        [Use::Current, Use::Next, Use::Previous].map(find)
    };
    let [first, second, none] = uses();
    assert!(first.is_some() && second.is_some() && none.is_none());
    let at = |span: Duration| testing::BEGIN.plus(span);
    wall.advance(AGE_MAX - Duration::from_millis(1));
    registry.keep_signing_keys(AGE_MAX).await.unwrap();
    assert_eq!(uses(), [first, second, None]);
    wall.advance(Duration::from_millis(1));
    registry.keep_signing_keys(AGE_MAX).await.unwrap();
    let [current, third, previous] = uses();
    assert_eq!((current, previous), (second, first));
    // Every token of the first is over after a day, and so is it.
    let ring = registry.directory().signing_keys();
    let first = first.unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    assert!(ring.key(first, at(AGE_MAX + day)).is_some());
    assert!(ring.key(first, at(AGE_MAX + day + Duration::from_secs(300))).is_none());
    wall.advance(AGE_MAX);
    registry.keep_signing_keys(AGE_MAX).await.unwrap();
    assert_eq!(uses()[0], third);
    assert_eq!(registry.directory().signing_keys().keys.len(), 3, "the first is forgotten");
    registry.rotate_signing_keys(&act(), true).await.unwrap();
    let ring = registry.directory().signing_keys();
    assert_eq!(ring.keys.len(), 2);
    assert!(ring.keys.iter().all(|key| Some(key.id) != third));
}

#[tokio::test]
async fn replicas_that_begin_at_once_agree_on_one_key() {
    let (one, wall) = sealed().await;
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let sealing = Some(Arc::new(Sealing::parse(key).unwrap()));
    let store = one.store().clone();
    let other = Registry::new(store, CACHING, one.clock(), wall).with_sealing(sealing);
    let (first, second) = tokio::join!(one.signing_key(AGE_MAX), other.signing_key(AGE_MAX));
    assert_eq!(first.unwrap().0.id, second.unwrap().0.id);
}
