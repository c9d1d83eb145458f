use std::convert::Infallible;

use super::record::{CredentialRecord, ProofRecord};
use super::*;
use crate::api::{Definition, Endpoint, Node, Security, State};
use crate::client::{Client, RequestIds};
use crate::grant::KeyId;
use crate::registry::audit::By;
use crate::registry::record::{API, CONSUMER};
use crate::registry::testing::{self, registry};
use crate::secret::{Secret, SecretDigest};

fn act() -> Act {
    Act {
        by: By::Operator,
        who: "ann".to_owned(),
        verb: "change API",
        object: "api/1".to_owned(),
        client: Client {
            address: "127.0.0.1:5000".parse().unwrap(),
            over_tls: false,
            request_id: RequestIds::new().unwrap().next(),
        },
    }
}

fn definition(context: &str) -> Definition {
    Definition {
        name: "Echo".to_owned(),
        context: context.to_owned(),
        version: None,
        endpoint: Endpoint {
            nodes: vec![Node { url: "ws://127.0.0.1:9".to_owned(), weight: 1 }],
            ..Endpoint::default()
        },
        security: vec![Security::Key],
        hide_credentials: true,
        plans: Vec::new(),
    }
}

fn api(context: &str) -> ApiRecord {
    ApiRecord {
        owner: Owner::Operator.to_string(),
        definition: definition(context),
        state: State::Published,
        blocked_by_operator: false,
        ends_unix_ms: None,
        created_unix_ms: testing::BEGIN.0,
    }
}

fn digest(text: &str) -> SecretDigest {
    SecretDigest::of(&Secret::new(text.to_owned()))
}

fn key(id: u64, text: &str) -> CredentialRecord {
    CredentialRecord {
        id: KeyId(id).to_string(),
        created_unix_ms: testing::BEGIN.0,
        proof: ProofRecord::Key { sha256: digest(text).to_hex(), hint: None },
    }
}

fn consumer(owner: Owner, username: &str, keys: Vec<CredentialRecord>) -> ConsumerRecord {
    ConsumerRecord {
        owner: owner.to_string(),
        username: username.to_owned(),
        credentials: keys,
        created_unix_ms: testing::BEGIN.0,
    }
}

fn grant(api: &Api, consumer: &Consumer) -> Grant {
    let credential = &consumer.credentials[0];
    Grant::Consumer {
        api: api.id,
        consumer: consumer.id,
        credential: credential.id,
        secret: credential.fingerprint(),
        until: UnixMillis::NEVER,
    }
}

/// What another replica has written.
async fn heed_all(registry: &Registry, after: u64) {
    for notice in registry.store().feed(after, 100).await.unwrap().notices {
        for kind in [API, CONSUMER] {
            if notice.kind == kind.0 {
                registry.heed_api(kind, &notice.id).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn what_is_written_is_in_the_directory_of_every_replica() {
    let one = registry().await;
    let wall = one.wall().clone();
    let other = Registry::new(one.store().clone(), testing::CACHING, one.clock(), wall);
    assert!(other.api_at("/echo").await.unwrap().is_none());
    let made = one.create_api(&act(), &api("/echo")).await.unwrap();
    assert_eq!(one.api_at("/echo/x").await.unwrap().unwrap().id, made.id);
    assert!(other.api_at("/echo").await.unwrap().is_none());
    heed_all(&other, 0).await;
    assert_eq!(other.api_at("/echo/x").await.unwrap().unwrap().revision, made.revision);

    let rename = |record: &mut ApiRecord, _| {
        record.definition.context = "/sound".to_owned();
        Ok::<_, Infallible>(())
    };
    let (changed, ()) = one.change_api(&act(), made.id, rename).await.unwrap();
    assert!(changed.revision > made.revision);
    assert!(one.api_at("/echo").await.unwrap().is_none());
    heed_all(&other, made.revision).await;
    assert_eq!(other.api_at("/sound").await.unwrap().unwrap().id, made.id);
    assert!(other.api_at("/echo").await.unwrap().is_none());

    one.remove_api(&act(), made.id, |_, _| Ok::<_, Infallible>(())).await.unwrap();
    assert!(one.api_at("/sound").await.unwrap().is_none());
    heed_all(&other, changed.revision).await;
    assert!(other.api_at("/sound").await.unwrap().is_none());
}

#[tokio::test]
async fn a_context_and_a_key_belong_to_one() {
    let registry = registry().await;
    registry.know_apis().await.unwrap();
    registry.create_api(&act(), &api("/echo")).await.unwrap();
    let taken = registry.create_api(&act(), &api("/echo")).await.unwrap_err();
    assert!(matches!(taken, StoreError::IndexTaken { .. }), "{taken}");
    let operators = consumer(Owner::Operator, "jack", vec![key(1, "this_is_the_key")]);
    registry.create_consumer(&act(), &operators).await.unwrap();
    for again in [
        consumer(Owner::Operator, "jack", Vec::new()),
        consumer(Owner::Operator, "jill", vec![key(2, "this_is_the_key")]),
    ] {
        let taken = registry.create_consumer(&act(), &again).await.unwrap_err();
        assert!(matches!(taken, StoreError::IndexTaken { .. }), "{taken}");
    }
    // Another owner's are others, with whatever names and keys.
    let owner = Owner::Tenant(crate::tenant::TenantId(7));
    let theirs = consumer(owner, "jack", vec![key(1, "this_is_the_key")]);
    let theirs = registry.create_consumer(&act(), &theirs).await.unwrap();
    let found = registry.directory().consumer_with_key(owner, digest("this_is_the_key"));
    assert_eq!(found.unwrap().id, theirs.id);
    let found = registry.directory().consumer_named(Owner::Operator, "jack").unwrap();
    assert_ne!(found.id, theirs.id);
}

#[tokio::test]
async fn a_grant_ends_with_its_credential_its_consumer_and_its_api_and_with_nothing_else() {
    let registry = registry().await;
    let now = registry.wall().now();
    let api = registry.create_api(&act(), &api("/echo")).await.unwrap();
    let two = vec![key(1, "one"), key(2, "two")];
    let jack = consumer(Owner::Operator, "jack", two);
    registry.know_apis().await.unwrap();
    let jack = registry.create_consumer(&act(), &jack).await.unwrap();
    let rests_on = grant(&api, &jack);
    let verdict = |grant: &Grant| registry.directory().allows(grant, now);
    assert_eq!(verdict(&rests_on), Some(Ok(())));

    let drop_key = |id: u64| {
        move |record: &mut ConsumerRecord, _| {
            record.credentials.retain(|credential| credential.id != KeyId(id).to_string());
            Ok::<_, Infallible>(())
        }
    };
    registry.change_consumer(&act(), jack.id, drop_key(2)).await.unwrap();
    assert_eq!(verdict(&rests_on), Some(Ok(())), "the other key's end");
    registry.change_consumer(&act(), jack.id, drop_key(1)).await.unwrap();
    assert_eq!(verdict(&rests_on), Some(Err(Cause::ConsumerRevoked)));

    let jill = consumer(Owner::Operator, "jill", vec![key(3, "three")]);
    let jill = registry.create_consumer(&act(), &jill).await.unwrap();
    let rests_on = grant(&api, &jill);
    let set = |state: State, security: Vec<Security>| {
        move |record: &mut ApiRecord, _| {
            (record.state, record.definition.security) = (state, security.clone());
            Ok::<_, Infallible>(())
        }
    };
    for (state, security, expected) in [
        (State::Published, Security::Key, Ok(())),
        (State::Blocked, Security::Key, Err(Cause::ApiBlocked)),
        (State::Published, Security::Basic, Err(Cause::ConsumerRevoked)),
        (State::Created, Security::Key, Err(Cause::ApiUnpublished)),
        (State::Deprecated, Security::Key, Ok(())),
        (State::Retired, Security::Key, Err(Cause::ApiRetired)),
    ] {
        registry.change_api(&act(), api.id, set(state, vec![security])).await.unwrap();
        assert_eq!(verdict(&rests_on), Some(expected), "{state:?} {security:?}");
    }
    registry.change_api(&act(), api.id, set(State::Published, vec![Security::Key])).await.unwrap();
    let Grant::Consumer { api: id, consumer, credential, secret, .. } = rests_on else { panic!() };
    let token = Grant::Consumer { api: id, consumer, credential, secret, until: now };
    assert_eq!(verdict(&token), Some(Err(Cause::TokenExpired)));
    assert_eq!(verdict(&Grant::Open { api: id }), Some(Err(Cause::ConsumerRevoked)));
    registry.remove_consumer(&act(), jill.id, |_, _| Ok::<_, Infallible>(())).await.unwrap();
    assert_eq!(verdict(&rests_on), Some(Err(Cause::ConsumerRevoked)));
    registry.remove_api(&act(), api.id, |_, _| Ok::<_, Infallible>(())).await.unwrap();
    assert_eq!(verdict(&rests_on), Some(Err(Cause::ApiUnpublished)));
    registry.directory().unload();
    assert_eq!(verdict(&rests_on), None, "nothing is known, so nothing is said");
}

#[tokio::test]
async fn what_cannot_be_read_does_not_take_the_others_along() {
    let registry = registry().await;
    registry.create_api(&act(), &api("/echo")).await.unwrap();
    let change = crate::registry::store::Change::Put { indexes: Vec::new(), body: b"{}".to_vec() };
    let id = ApiId(99).to_string();
    let expected = crate::registry::store::Expected::Absent;
    let write = crate::registry::store::Write { kind: API, id, expected, change };
    registry.store().write(vec![write]).await.unwrap();
    assert!(registry.api_at("/echo").await.unwrap().is_some());
    assert_eq!(registry.directory().counts(), (1, 0));
}

#[tokio::test]
async fn an_owner_who_goes_takes_all_of_theirs_along() {
    let registry = registry().await;
    let owner = Owner::Tenant(crate::tenant::TenantId(7));
    let mut theirs = api("/theirs");
    theirs.owner = owner.to_string();
    theirs.definition.version = Some("1".to_owned());
    theirs.definition.endpoint =
        Endpoint { runtime_path: Some("/thing".to_owned()), ..Endpoint::default() };
    let theirs = registry.create_api(&act(), &theirs).await.unwrap();
    registry.create_api(&act(), &api("/ours")).await.unwrap();
    registry.create_consumer(&act(), &consumer(owner, "jack", Vec::new())).await.unwrap();
    registry.create_consumer(&act(), &consumer(Owner::Operator, "jack", Vec::new())).await.unwrap();
    assert_eq!(registry.unpublish_all(&act(), owner).await.unwrap(), [theirs.id]);
    assert_eq!(registry.directory().counts(), (1, 1));
    assert!(registry.api_at("/theirs/1").await.unwrap().is_none());
}
mod tokens;
