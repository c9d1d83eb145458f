//! Two replicas on one store, and what their operators see and close.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::live::{connect, id, key_grant};
use super::*;
use crate::close::Cause;
use crate::follow::follow;
use crate::grant::Grant;
use crate::live::Registered;
use crate::presence::Settings;
use crate::registry::replicas::{About, Numbered, ReplicaId};
use crate::tenant::TenantId;

/// After this long a test that waits has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENT: Settings = Settings {
    is_shared: true,
    answer_max: PATIENCE,
    kept_for: Duration::ZERO,
    closing_max: PATIENCE,
};

/// Two replicas that know each other; they die when this is dropped.
struct Two {
    here: World,
    there: World,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Two {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Two {
    async fn start(settings: Settings) -> Self {
        let mut two = Self::with_silent(settings).await;
        attend(&two.there, &mut two.tasks).await;
        knows(&two.there, &two.here).await;
        two
    }

    /// The second one is known, but answers nothing.
    async fn with_silent(settings: Settings) -> Self {
        let wall = Wall::stopped_at(testing::BEGIN.0);
        let store = testing::store(&wall).await;
        let world = || {
            let text = format!("robin read {READ}\nada admin {ADMIN}\n");
            World::on(store.clone(), wall.clone(), tokens(&text), settings)
        };
        let mut two = Self { here: world(), there: world(), tasks: Vec::new() };
        for (world, pid) in [(&two.there, 2), (&two.here, 1)] {
            let listen = vec![format!("127.0.0.1:808{pid}")];
            let (host, since_unix_ms) = ("host".to_owned(), testing::BEGIN.0);
            let about = About { host, pid, version: "0.1.0".to_owned(), since_unix_ms, listen };
            world.desk.presence.enter(about).await;
        }
        attend(&two.here, &mut two.tasks).await;
        knows(&two.here, &two.there).await;
        two.here.create("mike").await;
        two.here.create("roberto").await;
        two
    }
}

/// Makes a replica follow the feed and answer the other.
async fn attend(world: &World, tasks: &mut Vec<JoinHandle<()>>) {
    let journey = &world.desk.journey;
    let after = journey.registry.store().last_revision().await.unwrap();
    let (live, registry) = (Arc::clone(&journey.live), Arc::clone(&journey.registry));
    let presence = Arc::clone(&world.desk.presence);
    tasks.push(tokio::spawn(follow(live, registry, Arc::clone(&presence), after)));
    tasks.push(tokio::spawn(async move { presence.attend().await }));
}

async fn knows(one: &World, other: &World) {
    let something = Numbered { replica: other.desk.presence.id(), number: 0 };
    let known = async {
        while !one.desk.presence.may_have(TenantId(0), something) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, known).await.expect("the other replica is known");
}

/// Ids of a page.
fn ids(page: &Value) -> Vec<String> {
    let connections = page["connections"].as_array().unwrap().iter();
    connections.map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

const MIKES: &str = "GET /admin/v1/tenants/mike/connections";

#[tokio::test]
async fn all_replicas_are_listed() {
    let two = Two::start(PATIENT).await;
    let _connection = connect(&two.here, "mike", Grant::Anonymous, "/a").await;
    let own = two.here.desk.presence.id().to_string();
    let said = two.here.ok("GET /admin/v1/replicas", Value::Null).await;
    let replicas = said["replicas"].as_array().unwrap();
    let find = |pid: u32| replicas.iter().find(|it| it["pid"] == pid).unwrap();
    assert_eq!(
        *find(1),
        json!({
            "id": own, "this": true, "host": "host", "pid": 1, "version": "0.1.0",
            "since": testing::BEGIN.to_string(), "listen": ["127.0.0.1:8081"],
            "connections": 1, "exchanges": 0, "draining": false,
        })
    );
    assert_eq!((replicas.len(), &find(2)["this"]), (2, &json!(false)));
    // By itself, without a registry to share.
    let alone = World::new().await;
    let said = alone.ok("GET /admin/v1/replicas", Value::Null).await;
    assert_eq!(said["replicas"][0]["id"], alone.desk.presence.id().to_string());
    assert_eq!(said["replicas"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_runs_for_a_tenant_is_listed_from_any_replica() {
    let two = Two::start(PATIENT).await;
    let made = two.here.ok("POST /admin/v1/tenants/mike/keys", json!({ "name": "pump" })).await;
    let pump = made["id"].as_str().unwrap();
    let of_pump = format!("?key={pump}");
    let of_both = format!("?key={pump}&path=/api/public");
    let mut kept = vec![connect(&two.there, "roberto", Grant::Anonymous, "/r").await];
    let mut all = Vec::new();
    for world in [&two.here, &two.there] {
        for (grant, path) in [(key_grant(&made), "/api/thing"), (Grant::Anonymous, "/api/public")] {
            let connection = connect(world, "mike", grant, path).await;
            all.push(id(world, &connection));
            kept.push(connection);
        }
    }
    all.sort_unstable();
    for world in [&two.here, &two.there] {
        let page = world.ok(MIKES, Value::Null).await;
        assert_eq!((ids(&page), &page["total"]), (all.clone(), &json!(4)));
        assert_eq!((&page["incomplete"], page.get("next")), (&json!([]), None));
        let mut paged = Vec::new();
        let mut after = String::new();
        while paged.len() < 4 {
            let page = world.ok(&format!("{MIKES}?limit=1{after}"), Value::Null).await;
            paged.append(&mut ids(&page));
            after = format!("&after={}", paged.last().unwrap());
            assert_eq!(page["next"].as_str().is_some(), paged.len() < 4);
        }
        assert_eq!(paged, all);
        for (query, count) in [
            (of_pump.as_str(), 2),
            ("?key=00000000000000ff", 0),
            ("?path=/api/public", 2),
            ("?path=/API", 4),
            ("?key=default", 0),
            (of_both.as_str(), 0),
        ] {
            let page = world.ok(&format!("{MIKES}{query}"), Value::Null).await;
            assert_eq!((ids(&page).len(), &page["total"]), (count, &json!(4)), "{query}");
        }
        for query in ["?key=x", "?after=7", "?limit=0", "?tenant=mike"] {
            let came = world.ask(&format!("{MIKES}{query}"), Value::Null).await;
            assert_eq!(came.code(), "bad_input", "{query}");
        }
    }
    let page = two.here.ok(&format!("{MIKES}?path=/api/thing"), Value::Null).await;
    for one in page["connections"].as_array().unwrap() {
        assert_eq!((&one["tenant"], &one["kind"]), (&json!("mike"), &json!("connection")));
        assert_eq!(one["grant"], format!("key:{pump}"));
        assert_eq!((&one["key_name"], &one["closing"]), (&json!("pump"), &Value::Null));
    }
    // As it is shown by the replica that has it.
    let shown = &page["connections"][0];
    let line = format!("GET /admin/v1/connections/{}", shown["id"].as_str().unwrap());
    let owner = [&two.here, &two.there].into_iter().find(|world| {
        shown["id"].as_str().unwrap().starts_with(&world.desk.presence.id().to_string())
    });
    assert_eq!(owner.unwrap().ok(&line, Value::Null).await, *shown);
}

#[tokio::test]
async fn one_is_closed_on_whichever_replica_it_is() {
    let two = Two::start(PATIENT).await;
    let connection = connect(&two.there, "mike", Grant::Anonymous, "/a").await;
    let id = id(&two.there, &connection);
    let close = |username: &str, id: &str| {
        let line = format!("DELETE /admin/v1/tenants/{username}/connections/{id}");
        let world = &two.here;
        async move { world.ask(&line, Value::Null).await }
    };
    let before = two.here.audit().await.len();
    let nowhere = format!("{}-1", ReplicaId(5));
    let absent_here = format!("{}-77", two.here.desk.presence.id());
    for nothing in ["1", "x-1", nowhere.as_str(), absent_here.as_str()] {
        assert_eq!(close("mike", nothing).await.code(), "missing", "{nothing}");
    }
    assert_eq!(close("nobody", &id).await.code(), "missing");
    assert_eq!(two.here.audit().await.len(), before, "nothing was tried");
    assert_eq!(close("roberto", &id).await.code(), "missing");
    assert_eq!(connection.entry().closing(), None);
    for method in ["GET", "DELETE"] {
        let line = format!("{method} /admin/v1/connections/{id}");
        let came = two.here.ask(&line, Value::Null).await;
        assert_eq!(came.code(), "missing");
        let said = came.body["detail"].as_str().unwrap();
        assert!(said.contains("/admin/v1/tenants/{username}/connections/{id}"), "{said}");
    }
    let came = two.here.ask(&format!("GET /admin/v1/connections?after={id}"), Value::Null).await;
    assert_eq!(came.code(), "bad_input");
    assert_eq!(close("mike", &id).await.body, json!({ "closed": 1 }));
    assert_eq!(connection.entry().closing(), Some(Cause::ClosedByOperator));
    let entry = &two.here.audit().await[0];
    assert_eq!((&entry["verb"], &entry["who"]), (&json!("close connections"), &json!("ada")));
    assert_eq!(entry["object"], format!("connection/{id}"));
    assert_eq!(entry["after"], json!({ "tenant": "mike" }));
    assert_eq!(close("mike", &id).await.body, json!({ "closed": 0 }));
    drop(connection);
    assert_eq!(close("mike", &id).await.code(), "missing");
}

#[tokio::test]
async fn many_are_closed_on_all_replicas_if_a_tenant_is_named() {
    let two = Two::start(Settings { kept_for: PATIENCE, ..PATIENT }).await;
    // What was listed before does not count.
    assert_eq!(two.here.ok(MIKES, Value::Null).await["total"], 0);
    let made = two.here.ok("POST /admin/v1/tenants/mike/api-key", Value::Null).await;
    let robertos = connect(&two.there, "roberto", Grant::Anonymous, "/a").await;
    let (mut keyed, mut public) = (Vec::new(), Vec::new());
    for world in [&two.here, &two.there, &two.there] {
        keyed.push(connect(world, "mike", key_grant(&made), "/a").await);
        public.push(connect(world, "mike", Grant::Anonymous, "/b").await);
    }
    let close = |wanted| two.here.ok("POST /admin/v1/connections/close", wanted);
    let said = close(json!({ "tenant": "mike", "key": "default" })).await;
    assert_eq!(said, json!({ "closed": 3, "replicas": "all", "incomplete": [] }));
    let is_closed = |it: &Registered| it.entry().closing() == Some(Cause::ClosedByOperator);
    assert!(keyed.iter().all(is_closed) && !public.iter().any(is_closed));
    let entry = &two.here.audit().await[0];
    assert_eq!(
        entry["after"],
        json!({ "wanted": { "tenant": "mike", "key": "default" }, "found": 3 })
    );
    // Without a tenant it is this replica's.
    let said = close(json!({ "path": "/b" })).await;
    assert_eq!(said, json!({ "closed": 1, "replicas": "this", "incomplete": [] }));
    assert_eq!(public.iter().map(is_closed).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(close(json!({ "tenant": "mike" })).await["closed"], 2, "those that were left");
    assert!(public.iter().all(is_closed) && !is_closed(&robertos));
}

#[tokio::test]
async fn a_replica_that_is_silent_is_named() {
    let two = Two::with_silent(Settings::new(true)).await;
    let here = connect(&two.here, "mike", Grant::Anonymous, "/a").await;
    let there = connect(&two.there, "mike", Grant::Anonymous, "/a").await;
    let gap = json!(["host (pid 2): did not answer in time"]);
    let page = two.here.ok(MIKES, Value::Null).await;
    assert_eq!((ids(&page), &page["incomplete"]), (vec![id(&two.here, &here)], &gap));
    let wanted = json!({ "tenant": "mike" });
    let said = two.here.ok("POST /admin/v1/connections/close", wanted).await;
    assert_eq!(said, json!({ "closed": 1, "replicas": "all", "incomplete": gap }));
    assert_eq!(here.entry().closing(), Some(Cause::ClosedByOperator));
    let line = format!("DELETE /admin/v1/tenants/mike/connections/{}", id(&two.there, &there));
    let came = two.here.ask(&line, Value::Null).await;
    assert_eq!((came.status, came.code()), (503, "replica_silent"));
}
