//! The router as a whole, without a network.

use std::net::Ipv4Addr;
use std::sync::LazyLock;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{StatusCode, request};
use serde_json::json;
use tower::ServiceExt;

use super::*;
use crate::client::RequestIds;
use crate::clock::{Clock, Millis};
use crate::connect::ConnectSettings;
use crate::grant::KeyId;
use crate::keepalive::Probes;
use crate::live::Registered;
use crate::presence::Settings;
use crate::registry::testing;
use crate::runtimes::Runtimes;
use crate::secret::{Secret, SecretDigest};
use crate::tenant::TenantId;

mod account;
mod keys;
mod routes;

const PASSWORD: &str = "mike-password";
const FINGERPRINT: u64 = 5;
const OWNER: Grant = Grant::Password { fingerprint: FINGERPRINT };

static PASSWORDS: LazyLock<Arc<Passwords>> =
    LazyLock::new(|| Arc::new(Passwords::start(Clock::start()).unwrap()));

const CONNECT: ConnectSettings = ConnectSettings {
    connect_timeout: Duration::from_secs(10),
    handshake_timeout: Duration::from_secs(10),
    response_timeout: Duration::from_secs(10),
    header_bytes_max: 8192,
    probes: Probes::NONE,
};

/// Mike's profile.
struct Mike {
    desk: Arc<Desk>,
    id: TenantId,
}

/// What came back: the answer, or the refusal.
type Outcome = Result<(StatusCode, Value), Refusal>;

impl Mike {
    async fn new() -> Self {
        let registry = testing::registry().await;
        let record = TenantRecord {
            password: Some(testing::password(PASSWORD, FINGERPRINT)),
            keys: vec![testing::key(KeyId::DEFAULT, "mike-key-0123456789")],
            ..testing::record("mike")
        };
        let id = testing::add(&registry, 1, &record).await;
        let (registry, live) = (Arc::new(registry), Arc::<LiveTable>::default());
        let parts = (Arc::clone(&registry), Arc::clone(&live));
        let presence = Presence::new(parts.0, parts.1, Clock::start(), Settings::new(false));
        let runtimes = Runtimes::none(&registry, &live, Clock::start());
        let presence = Arc::new(presence.unwrap());
        let parts = (Arc::clone(&live), Arc::clone(&registry));
        let analytics = Arc::new(Analytics::new(parts.0, parts.1, presence.id(), 30));
        let desk = Desk {
            runtimes,
            registry,
            passwords: Arc::clone(&PASSWORDS),
            live,
            presence,
            analytics,
            usage: Arc::default(),
            dialer: Arc::new(Dialer::new(CONNECT, Arc::default(), Clock::start()).unwrap()),
            refused: Arc::default(),
            base_domain: "flows.localhost".to_owned(),
            oauth: OAuthSettings::default(),
        };
        Self { desk: Arc::new(desk), id }
    }

    async fn tenant(&self) -> Arc<Tenant> {
        testing::tenant(&self.desk.registry, self.id).await
    }

    async fn identity(&self) -> Identity {
        Identity {
            tenant: self.tenant().await,
            grant: OWNER,
            authorization_consumed: true,
            client: Ipv4Addr::LOCALHOST.into(),
            caller: None,
        }
    }

    async fn revision(&self) -> u64 {
        self.desk.registry.store().last_revision().await.unwrap()
    }

    /// Sends a request as the owner.
    async fn send(&self, request: http::Request<Body>) -> Response {
        let identity = self.identity().await;
        self.send_as(identity, request).await
    }

    async fn send_as(&self, identity: Identity, mut request: http::Request<Body>) -> Response {
        request.extensions_mut().insert(identity);
        let request_id = RequestIds::new().unwrap().next();
        let client =
            Client { address: (Ipv4Addr::LOCALHOST, 7).into(), over_tls: false, request_id };
        request.extensions_mut().insert(client);
        router(Arc::clone(&self.desk)).oneshot(request).await.unwrap()
    }

    /// A method and a path, with a JSON body or none.
    async fn ask(&self, line: &str, body: Value) -> Outcome {
        let outcome = self.outcome(self.send(request(line, &body)).await).await;
        if let Ok((_, answer)) = &outcome {
            self.tells_no_secret(answer).await;
        }
        outcome
    }

    async fn ok(&self, line: &str, body: Value) -> Value {
        self.ask(line, body).await.unwrap_or_else(|refusal| panic!("{line}: {refusal:?}")).1
    }

    async fn outcome(&self, mut response: Response) -> Outcome {
        if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
            return Err(refusal);
        }
        let (status, headers) = (response.status(), response.headers().clone());
        assert_eq!(headers.get(CACHE_CONTROL).unwrap(), "no-store");
        assert_eq!(headers.get(CONTENT_TYPE).unwrap(), "application/json");
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        Ok((status, serde_json::from_slice(&body).unwrap()))
    }

    /// No secret but the one that was made by this very request, and nothing that is stored of any.
    async fn tells_no_secret(&self, answer: &Value) {
        let text = answer.to_string();
        let tenant = self.tenant().await;
        assert!(!text.contains("$2b$") && !text.contains(PASSWORD), "{text}");
        assert!(!text.contains("mike-key-0123456789"), "{text}");
        for digest in tenant.keys.iter().flat_map(ApiKeyDigests::all) {
            assert!(!text.contains(&digest), "{text}");
        }
        // Random characters of a secret may look like the beginning of another one.
        let mut rest = text;
        for name in ["key", "api_key", "ticket"] {
            if let Some(made) = answer[name].as_str() {
                rest = rest.replacen(made, "", 1);
            }
        }
        assert!(!rest.contains("fgk_") && !rest.contains("fgt_"), "{rest}");
    }

    /// A live connection of mike's.
    fn connect(&self, tenant: &Arc<Tenant>, grant: Grant) -> Registered {
        let request_id = RequestIds::new().unwrap().next();
        let client =
            Client { address: (Ipv4Addr::LOCALHOST, 7).into(), over_tls: false, request_id };
        self.desk
            .live
            .enter(tenant, crate::live::Kind::Connection, grant, client, "/api/thing", Millis(0))
            .unwrap()
    }
}

trait ApiKeyDigests {
    fn all(&self) -> Vec<String>;
}

impl ApiKeyDigests for crate::tenant::ApiKey {
    fn all(&self) -> Vec<String> {
        self.digests().map(SecretDigest::to_hex).collect()
    }
}

fn builder(line: &str) -> request::Builder {
    let (method, path) = line.split_once(' ').unwrap();
    http::Request::builder().method(method).uri(path)
}

fn request(line: &str, body: &Value) -> http::Request<Body> {
    match body {
        Value::Null => builder(line).body(Body::empty()).unwrap(),
        body => raw(line, "application/json", body.to_string()),
    }
}

fn raw(line: &str, content_type: &str, body: impl Into<Body>) -> http::Request<Body> {
    builder(line).header(CONTENT_TYPE, content_type).body(body.into()).unwrap()
}

/// The public text of a refusal that has one of its own.
fn refused(outcome: Outcome) -> String {
    match outcome {
        Err(refusal) => format!("{} {}", refusal.status().as_u16(), refusal.public()),
        Ok((status, answer)) => panic!("{status} {answer}"),
    }
}

fn grant_of(answer: &Value, id: KeyId) -> Grant {
    let secret = answer["key"].as_str().or(answer["api_key"].as_str()).unwrap();
    let digest = SecretDigest::of(&Secret::new(secret.to_owned()));
    Grant::Key { id, secret: digest.fingerprint() }
}

fn id_of(answer: &Value) -> KeyId {
    KeyId::from_hex(answer["id"].as_str().unwrap()).unwrap()
}
