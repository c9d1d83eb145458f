//! Bearers, tokens and tickets, and keys whose time is over.

use std::time::Duration;

use super::*;
use crate::registry::record::PreviousRecord;
use crate::registry::tickets::{TICKET_TTL, Ticket};

const DEFAULT: &str = "mike key:default";
const KITCHEN: &str = "mike key:0000000000000007";
const PAGE: &str = "origin: https://app.example.org";

/// A registry of its own, whose clock may move.
struct World(Registry);

impl World {
    async fn new() -> Self {
        let registry = testing::registry().await;
        let mike = TenantRecord {
            password: Some(testing::password("mike-password", 9)),
            keys: vec![
                testing::key(KeyId::DEFAULT, MIKE_KEY),
                testing::key(KeyId(7), "kitchen-key"),
            ],
            ..testing::record("mike")
        };
        testing::add(&registry, 1, &mike).await;
        let roberto = tenant("roberto", Some("roberto-password"), Some(ROBERTO_KEY));
        testing::add(&registry, 2, &roberto).await;
        Self(registry)
    }

    async fn told(&self, target: &str, lines: &[&str]) -> String {
        super::told_by(&self.0, target, lines).await
    }

    async fn change(&self, change: impl Fn(&mut TenantRecord)) {
        let changed = self.0.change(TenantId(1), |record| {
            change(record);
            Ok::<_, std::convert::Infallible>(())
        });
        changed.await.unwrap();
    }

    /// A ticket of mike's for `/api/thing`, in a query.
    async fn ticket(&self, origin: Option<&str>, grant: Grant) -> String {
        let origin = origin.map(str::to_owned);
        let ticket = Ticket::new(TenantId(1), "/api/thing".to_owned(), origin, grant);
        let secret = self.0.issue_ticket(&ticket).await.unwrap();
        format!("ticket={}", secret.expose())
    }
}

const OWNER: Grant = Grant::Password { fingerprint: 9 };

#[tokio::test]
async fn a_token_is_an_api_key_wherever_it_stands() {
    let world = World::new().await;
    let bearer = "authorization: Bearer kitchen-key";
    assert_eq!(world.told("/", &[bearer]).await, format!("{KITCHEN} consumed"));
    assert_eq!(world.told("/?access_token=kitchen-key", &[]).await, KITCHEN);
    let protocol = "sec-websocket-protocol: flowgate, flowgate.bearer.kitchen-key, mqtt";
    assert_eq!(world.told("/", &[protocol]).await, KITCHEN);
    let both = [bearer, "apikey: mike-key-0123456789"];
    assert_eq!(world.told("/", &both).await, format!("{DEFAULT} consumed"));
}

#[tokio::test]
async fn a_bearer_of_somebody_elses_making_passes_beside_a_credential_of_ours() {
    let world = World::new().await;
    let bearer = "authorization: Bearer for-the-runtime";
    assert_eq!(world.told("/", &[bearer]).await, "401 unknown API key");
    assert_eq!(world.told("/", &[bearer, "apikey: kitchen-key"]).await, KITCHEN);
    let x_auth = ["x-auth-user: mike", "x-auth-key: kitchen-key", bearer];
    assert_eq!(world.told("/", &x_auth).await, KITCHEN);
    // But not beside one that is wrong, and no other token passes.
    assert_eq!(world.told("/", &[bearer, "apikey: wrong"]).await, "401 unknown API key");
    let token = world.told("/?access_token=for-the-runtime", &["apikey: kitchen-key"]).await;
    assert_eq!(token, "401 unknown API key");
}

#[tokio::test]
async fn an_api_key_that_has_ended_passes_beside_nothing() {
    let world = World::new().await;
    world.change(|mike| mike.keys[1].expires_unix_ms = Some(1)).await;
    let ended = ["authorization: Bearer kitchen-key", "apikey: mike-key-0123456789"];
    assert_eq!(world.told("/", &ended).await, format!("{DEFAULT} consumed"));
}

#[tokio::test]
async fn tokens_of_two_tenants_are_two_identities() {
    let world = World::new().await;
    let bearer = "authorization: Bearer roberto-key-0123456789";
    assert_eq!(world.told("/", &[bearer, "apikey: kitchen-key"]).await, TWO);
    assert_eq!(
        world.told("/?access_token=roberto-key-0123456789", &["apikey: kitchen-key"]).await,
        TWO
    );
    let protocol = "sec-websocket-protocol: flowgate.bearer.roberto-key-0123456789";
    assert_eq!(world.told("/?apikey=kitchen-key", &[protocol]).await, TWO);
    let ticket = world.ticket(None, OWNER).await;
    let target = format!("/api/thing?{ticket}");
    assert_eq!(world.told(&target, &["apikey: roberto-key-0123456789"]).await, TWO);
}

#[tokio::test]
async fn an_expired_key_opens_nothing() {
    let world = World::new().await;
    let hour = Duration::from_secs(60 * 60);
    world
        .change(|mike| {
            mike.keys[1].expires_unix_ms = Some(testing::BEGIN.plus(hour).0);
            mike.keys[0].previous = Some(PreviousRecord {
                sha256: SecretDigest::of(&Secret::new("before".to_owned())).to_hex(),
                until_unix_ms: testing::BEGIN.plus(hour).0,
            });
        })
        .await;
    world.0.wall().advance(hour - Duration::from_millis(1));
    assert_eq!(world.told("/", &["apikey: kitchen-key"]).await, KITCHEN);
    assert_eq!(world.told("/", &["apikey: before"]).await, DEFAULT);
    world.0.wall().advance(Duration::from_millis(1));
    for line in ["apikey: kitchen-key", "authorization: Bearer kitchen-key"] {
        assert_eq!(world.told("/", &[line]).await, "401 API key expired", "{line}");
    }
    let x_auth = ["x-auth-user: mike", "x-auth-key: kitchen-key"];
    assert_eq!(world.told("/", &x_auth).await, "401 API key expired");
    assert_eq!(world.told("/", &["apikey: before"]).await, "401 API key regenerated");
    assert_eq!(world.told("/", &["apikey: mike-key-0123456789"]).await, DEFAULT);
}

/// The path is looked at where it is known what it is at the runtime.
#[tokio::test]
async fn a_scope_is_checked_elsewhere() {
    let world = World::new().await;
    world.change(|mike| mike.keys[1].scope = vec!["/a".to_owned()]).await;
    assert_eq!(world.told("/api/b", &["apikey: kitchen-key"]).await, KITCHEN);
    // The narrower of two grants must not be widened by what comes behind it.
    let both = [basic("mike:mike-password"), "apikey: kitchen-key".to_owned()];
    assert_eq!(world.told("/", &[&both[0], &both[1]]).await, format!("{KITCHEN} consumed"));
}

#[tokio::test]
async fn a_ticket_opens_its_path_once() {
    let world = World::new().await;
    let target = format!("/api/thing?a=1&{}", world.ticket(None, OWNER).await);
    assert_eq!(world.told(&target, &[]).await, "mike password");
    let gone = "401 unknown, used or expired ticket";
    assert_eq!(world.told(&target, &[]).await, gone);
    let late = format!("/api/thing?{}", world.ticket(None, OWNER).await);
    world.0.wall().advance(TICKET_TTL);
    assert_eq!(world.told(&late, &[]).await, gone);
}

#[tokio::test]
async fn a_ticket_in_the_wrong_place_is_used_up_all_the_same() {
    let world = World::new().await;
    let gone = "401 unknown, used or expired ticket";
    let path = "401 the ticket is for another path";
    for target in ["/api/other", "/api/thing/", "/api/Thing", "/api//thing", "/api/%74hing"] {
        let ticket = world.ticket(None, OWNER).await;
        assert_eq!(world.told(&format!("{target}?{ticket}"), &[]).await, path, "{target}");
        assert_eq!(world.told(&format!("/api/thing?{ticket}"), &[]).await, gone);
    }
    let origin = "401 the ticket is for another origin";
    for (issued, lines) in [
        (None, &[PAGE][..]),
        (None, &["origin: null"]),
        (Some("https://app.example.org"), &[]),
        (Some("https://app.example.org"), &["origin: https://evil.org"]),
        (Some("https://app.example.org"), &["origin: HTTPS://app.example.org"]),
        (Some("https://app.example.org"), &["origin: https://evil.org", PAGE]),
        (Some("https://app.example.org"), &[PAGE, "origin: https://evil.org"]),
    ] {
        let ticket = world.ticket(issued, OWNER).await;
        let target = format!("/api/thing?{ticket}");
        assert_eq!(world.told(&target, lines).await, origin, "{issued:?} {lines:?}");
        assert_eq!(world.told(&target, lines).await, gone);
    }
    let ticket = world.ticket(Some("https://app.example.org"), OWNER).await;
    assert_eq!(world.told(&format!("/api/thing?{ticket}"), &[PAGE]).await, "mike password");
}

#[tokio::test]
async fn a_ticket_ends_with_what_it_was_issued_on() {
    let world = World::new().await;
    let secret = SecretDigest::of(&Secret::new("kitchen-key".to_owned())).fingerprint();
    let key = Grant::Key { id: KeyId(7), secret };
    let tickets = [
        world.ticket(None, OWNER).await,
        world.ticket(None, key).await,
        world.ticket(None, key).await,
        world.ticket(None, key).await,
    ];
    let target = |ticket: usize| format!("/api/thing?{}", tickets[ticket]);
    assert_eq!(world.told(&target(1), &[]).await, KITCHEN);
    world
        .change(|mike| {
            mike.password.as_mut().unwrap().fingerprint = 10;
            mike.keys.truncate(1);
        })
        .await;
    assert_eq!(world.told(&target(0), &[]).await, "401 password changed");
    assert_eq!(world.told(&target(2), &[]).await, "401 API key revoked");
    world.change(|mike| mike.disabled = true).await;
    assert_eq!(world.told(&target(3), &[]).await, "401 tenant disabled");
}

#[tokio::test]
async fn a_ticket_is_kept_for_later_if_another_credential_is_wrong() {
    let world = World::new().await;
    let target = format!("/api/thing?{}", world.ticket(None, OWNER).await);
    assert_eq!(world.told(&target, &["apikey: wrong"]).await, "401 unknown API key");
    assert_eq!(world.told(&target, &["apikey: kitchen-key"]).await, KITCHEN);
}
