use super::*;
use crate::api::{Definition, Endpoint, Node};
use crate::client::{Client, RequestIds};
use crate::clock::Clock;
use crate::live::LiveTable;
use crate::passwords::Passwords;
use crate::publish::Publish;
use crate::publish::applications::NewApplication;
use crate::registry::store::{Change, Expected, Write};
use crate::registry::{Registry, testing};

const TENANT: By = By::Tenant;
const OPERATOR: By = By::Operator;

struct World {
    registry: Registry,
    live: LiveTable,
    passwords: Passwords,
}

fn act(by: By) -> Act {
    Act {
        by,
        who: "ann".to_owned(),
        verb: "change subscription",
        object: "application/1".to_owned(),
        client: Client {
            address: "127.0.0.1:5000".parse().unwrap(),
            over_tls: false,
            request_id: RequestIds::new().unwrap().next(),
        },
    }
}

impl World {
    async fn new() -> Self {
        let passwords = Passwords::start(Clock::start()).unwrap();
        Self { registry: testing::registry().await, live: LiveTable::default(), passwords }
    }

    fn publishing(&self) -> Publishing<'_> {
        let Self { registry, live, passwords } = self;
        Publishing { registry, live, passwords }
    }

    async fn publish(&self, context: &str) {
        let node = Node { url: "ws://127.0.0.1:9".to_owned(), weight: 1 };
        let definition = Definition {
            name: "Echo".to_owned(),
            context: context.to_owned(),
            version: None,
            endpoint: Endpoint { nodes: vec![node], ..Endpoint::default() },
            security: vec![Security::Oauth2],
            hide_credentials: true,
            plans: Vec::new(),
        };
        let publish = Publish { publish: true };
        let (act, publishing) = (act(OPERATOR), self.publishing());
        let made = publishing.create(&act, Owner::Operator, definition, publish);
        made.await.unwrap();
    }

    async fn application(&self) -> Arc<Application> {
        let wanted = NewApplication { name: "one".to_owned() };
        let (act, publishing) = (act(OPERATOR), self.publishing());
        let made = publishing.add_application(&act, Owner::Operator, wanted);
        made.await.unwrap()
    }

    async fn subscribe(&self, application: &Application, api: &str) -> (Arc<Application>, String) {
        let wanted = NewSubscription { api: api.to_owned(), plan: None };
        let made = self.publishing().subscribe(&act(TENANT), application, wanted).await;
        let (present, id) = made.unwrap();
        (present, id.to_string())
    }

    /// A subscribed application, and the subscription's id.
    async fn subscribed(&self) -> (Arc<Application>, String) {
        self.publish("/echo").await;
        self.subscribe(&*self.application().await, "/echo").await
    }
}

fn is_conflict<T>(outcome: &Result<T, Refusal>) -> bool {
    matches!(outcome, Err(Refusal::Conflicting(_)))
}

#[tokio::test]
async fn what_an_operator_has_blocked_they_alone_let_through_again() {
    let world = World::new().await;
    let (application, id) = world.subscribed().await;
    let set = async |by, blocked| {
        let wanted = Blocked { blocked };
        let changed = world.publishing().set_blocked(&act(by), &application, &id, wanted).await?;
        let known = changed.present.subscriptions[0].clone();
        Ok::<_, Refusal>((known.blocked_since.is_some(), known.blocked_by_operator))
    };
    // The API's owner's own block is theirs, until an operator takes it over.
    for (by, blocked, expected) in [
        (TENANT, true, (true, false)),
        (TENANT, false, (false, false)),
        (TENANT, true, (true, false)),
        (OPERATOR, false, (false, false)),
        (TENANT, true, (true, false)),
        (OPERATOR, true, (true, true)),
    ] {
        assert_eq!(set(by, blocked).await.unwrap(), expected, "{by:?} {blocked}");
    }
    for blocked in [false, true] {
        assert!(is_conflict(&set(TENANT, blocked).await));
    }
    let publishing = world.publishing();
    for side in [Side::Caller, Side::Publisher] {
        let ended = publishing.unsubscribe(&act(TENANT), &application, &id, side).await;
        assert!(is_conflict(&ended));
        let wanted = SubscriptionPlan { plan: None };
        let changed = publishing.set_plan(&act(TENANT), &application, &id, wanted, side).await;
        assert!(is_conflict(&changed));
    }
    assert_eq!(set(OPERATOR, false).await.unwrap(), (false, false));
    let ended = publishing.unsubscribe(&act(TENANT), &application, &id, Side::Publisher).await;
    assert!(ended.unwrap().present.subscriptions.is_empty());
}

#[tokio::test]
async fn an_operator_ends_what_they_have_blocked() {
    let world = World::new().await;
    let (application, id) = world.subscribed().await;
    let publishing = world.publishing();
    let wanted = Blocked { blocked: true };
    publishing.set_blocked(&act(OPERATOR), &application, &id, wanted).await.unwrap();
    let ended = publishing.unsubscribe(&act(OPERATOR), &application, &id, Side::Publisher).await;
    assert!(ended.unwrap().present.subscriptions.is_empty());
}

#[tokio::test]
async fn a_plan_that_the_apis_owner_has_chosen_is_not_the_callers_to_change() {
    for chooser in [TENANT, OPERATOR] {
        let world = World::new().await;
        let (application, id) = world.subscribed().await;
        let set = async |by, side| {
            let wanted = SubscriptionPlan { plan: None };
            let changed = world.publishing();
            let changed = changed.set_plan(&act(by), &application, &id, wanted, side).await?;
            Ok::<_, Refusal>(changed.present.subscriptions[0].plan_by_publisher)
        };
        assert!(!set(TENANT, Side::Caller).await.unwrap());
        assert!(set(chooser, Side::Publisher).await.unwrap());
        assert!(is_conflict(&set(TENANT, Side::Caller).await));
        assert!(set(TENANT, Side::Publisher).await.unwrap());
        // Nor by way of another subscription.
        let publishing = world.publishing();
        let ended = publishing.unsubscribe(&act(TENANT), &application, &id, Side::Caller).await;
        assert!(is_conflict(&ended));
        let ended = publishing.unsubscribe(&act(TENANT), &application, &id, Side::Publisher).await;
        assert!(ended.unwrap().present.subscriptions.is_empty());
    }
}

/// One document that cannot be read is there all the same: another version may have written it.
#[tokio::test]
async fn only_subscriptions_to_apis_that_are_gone_go() {
    let world = World::new().await;
    let registry = &world.registry;
    world.publish("/echo").await;
    let (unreadable, gone) = (ApiId(98), ApiId(99));
    let change = Change::Put { indexes: Vec::new(), body: b"{}".to_vec() };
    let (id, expected) = (unreadable.to_string(), Expected::Absent);
    registry.store().write(vec![Write { kind: API, id, expected, change }]).await.unwrap();
    let application = world.application().await;
    let add = |record: &mut ApplicationRecord, _| {
        record.subscriptions = [unreadable, gone]
            .map(|api| SubscriptionRecord {
                id: SubscriptionId(api.0).to_string(),
                api: api.to_string(),
                plan: None,
                created_unix_ms: 0,
                blocked_unix_ms: None,
                blocked_by_operator: false,
                plan_by_publisher: false,
            })
            .to_vec();
        Ok::<_, std::convert::Infallible>(())
    };
    let changed = registry.change_application(&act(OPERATOR), application.id, add).await;
    let (application, ()) = changed.unwrap();
    assert!(registry.directory().api(unreadable).is_none());
    let (present, made) = world.subscribe(&application, "/echo").await;
    let ids: Vec<_> = present.subscriptions.iter().map(|it| it.id.to_string()).collect();
    assert_eq!(ids, [SubscriptionId(unreadable.0).to_string(), made]);
}
