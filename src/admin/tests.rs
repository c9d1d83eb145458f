//! The router as a whole, without a network; what it may do is read from its own OpenAPI document.

use std::net::Ipv4Addr;
use std::sync::LazyLock;

use axum::body::{Body, to_bytes};
use http::header::{AUTHORIZATION, ETAG, HOST};
use serde_json::{Value, json};

use super::tokens::{AdminTokens, TokenSources};
use super::*;
use crate::client::RequestId;
use crate::clock::Wall;
use crate::connect::{ConnectSettings, Dialer};
use crate::limits::Limits;
use crate::passwords::Passwords;
use crate::permits::Permits;
use crate::presence;
use crate::registry::store::Store;
use crate::registry::testing;
use crate::relay::pair::Patience;
use crate::relay::plane::Plane;
use crate::runtimes::Runtimes;
use crate::secret::Secret;

mod authorization;
mod changes;
mod feed;
mod live;
mod others;
mod replicas;

const READ: &str = "read-token-0123456789-0123456789";
const OPERATE: &str = "operate-token-0123456789-01234567";
const ADMIN: &str = "admin-token-0123456789-0123456789";

static PASSWORDS: LazyLock<Arc<Passwords>> =
    LazyLock::new(|| Arc::new(Passwords::start(Clock::start()).unwrap()));

/// A server that relays nothing, and its operators' desk.
struct World {
    desk: Arc<Desk>,
    router: Router,
    wall: Wall,
}

/// What came back.
#[derive(Debug)]
struct Came {
    status: u16,
    tag: Option<String>,
    body: Value,
}

impl Came {
    /// The code of a refusal.
    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_else(|| panic!("no refusal: {self:?}"))
    }
}

fn tokens(text: &str) -> AdminTokens {
    let environment = Some(Secret::new(text.to_owned()));
    TokenSources { file: None, environment }.read().unwrap()
}

impl World {
    async fn new() -> Self {
        let text = format!("robin read {READ}\nolga operate {OPERATE}\nada admin {ADMIN}\n");
        Self::with(tokens(&text)).await
    }

    async fn with(tokens: AdminTokens) -> Self {
        let wall = Wall::stopped_at(testing::BEGIN.0);
        let alone = presence::Settings::new(false);
        Self::on(testing::store(&wall).await, wall, tokens, alone)
    }

    /// On a store that others may have, too.
    fn on(store: Store, wall: Wall, tokens: AdminTokens, settings: presence::Settings) -> Self {
        let clock = Clock::start();
        let registry = Arc::new(Registry::new(store, testing::CACHING, clock, wall.clone()));
        let live = Arc::<LiveTable>::default();
        let shared = (Arc::clone(&registry), Arc::clone(&live));
        let presence = Presence::new(shared.0, shared.1, clock, settings).unwrap();
        let parts = (Arc::clone(&live), Arc::clone(&registry));
        let analytics = Arc::new(Analytics::new(parts.0, parts.1, presence.id(), 30));
        let second = std::time::Duration::from_secs(1);
        let connect = ConnectSettings {
            connect_timeout: second,
            handshake_timeout: second,
            response_timeout: second,
            header_bytes_max: 8192,
            probes: Default::default(),
        };
        let patience = Patience {
            frame_stall_max: second,
            write_stall_max: second,
            half_open_max: second,
            ping_after: None,
            ping_runtime_after: None,
            lifetime_max: None,
        };
        let runtimes = Runtimes::none(&registry, &live, clock);
        let journey = Journey {
            runtimes,
            base_domain: "flows.localhost".to_owned(),
            trusted_proxies: Default::default(),
            clock,
            registry,
            usage: Arc::default(),
            passwords: Arc::clone(&PASSWORDS),
            pages: Router::new(),
            tenant_pages: Router::new(),
            live,
            dialer: Arc::new(Dialer::new(connect, Arc::default(), clock).unwrap()),
            plane: Plane::start(1, patience, clock).unwrap(),
            limits: Limits {
                headers_max: 100,
                url_bytes_max: 8192,
                body_bytes_max: 1,
                buffer_bytes_max: 1 << 30,
            },
            request_ids: RequestIds::new().unwrap(),
            metrics: Default::default(),
            refused: Default::default(),
            ready: AtomicBool::new(true),
            switch_timeout: second,
            gate: Arc::default(),
        };
        let desk = Desk {
            journey: Arc::new(journey),
            presence: Arc::new(presence),
            tokens: Arc::new(tokens.into()),
            places: Arc::new(Permits::for_operators(7)),
            metrics_open: false,
            hosts: own_hosts((Ipv4Addr::new(10, 0, 0, 1), 9180).into())
                .chain(["ops.example.org".to_owned()])
                .collect(),
            configuration: Vec::new(),
            sampler: stats::Sampler::default(),
            analytics,
            stop: Notify::new(),
            is_draining: AtomicBool::new(false),
            feeds: Feeds::default(),
        };
        let desk = Arc::new(desk);
        Self { router: router(&desk), desk, wall }
    }

    /// What the router answers to a request with further headers.
    async fn page(&self, line: &str, headers: &[(&str, &str)]) -> Response<RouterBody> {
        self.answer(line, headers, &Value::Null).await.0
    }

    async fn answer(
        &self,
        line: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> (Response<RouterBody>, RequestId) {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request = request.header(HOST, "localhost:9180");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Value::Null => Body::empty(),
            body => {
                request = request.header(CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
        };
        let request_id = self.desk.journey.request_ids.next();
        let client =
            Client { address: (Ipv4Addr::LOCALHOST, 7).into(), over_tls: false, request_id };
        let mut request = request.body(body).unwrap();
        request.extensions_mut().insert(client);
        let Ok(response) = self.router.clone().oneshot(request).await;
        (response, request_id)
    }

    /// Sends a request with further headers; a refusal comes as it would be on the wire.
    async fn send(&self, line: &str, headers: &[(&str, &str)], body: &Value) -> Came {
        let (mut response, request_id) = self.answer(line, headers, body).await;
        if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
            let response = refusal.to_response(false, request_id);
            let body = serde_json::from_slice(response.body()).unwrap();
            return Came { status: response.status().as_u16(), tag: None, body };
        }
        let tag = response.headers().get(ETAG).map(|tag| tag.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        let text = to_bytes(response.into_body(), 1 << 24).await.unwrap();
        let body = serde_json::from_slice(&text)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&text).into_owned()));
        Came { status, tag, body }
    }

    /// Sends a request as the operator with the role `admin`; what comes back holds no secret but a
    /// key that was made by it.
    async fn ask(&self, line: &str, body: Value) -> Came {
        self.ask_if(line, None, body).await
    }

    /// The same with `If-Match`.
    async fn ask_if(&self, line: &str, tag: Option<&str>, body: Value) -> Came {
        let authorization = format!("Bearer {ADMIN}");
        let mut headers = vec![(AUTHORIZATION.as_str(), authorization.as_str())];
        headers.extend(tag.map(|tag| ("if-match", tag)));
        let came = self.send(line, &headers, &body).await;
        let text = came.body.to_string();
        assert!(line.contains("/profiles") || !text.contains("$2"), "{text}");
        assert!(!text.contains(PASSWORD) && !text.contains(READ), "{text}");
        came
    }

    async fn ok(&self, line: &str, body: Value) -> Value {
        let came = self.ask(line, body).await;
        assert!((200..300).contains(&came.status), "{line}: {came:?}");
        came.body
    }

    /// Makes a tenant.
    async fn create(&self, username: &str) -> Came {
        let came = self.ask(&format!("PUT /admin/v1/tenants/{username}"), settings()).await;
        assert_eq!(came.status, 201, "{came:?}");
        came
    }

    async fn audit(&self) -> Vec<Value> {
        let page = self.ok("GET /admin/v1/audit", Value::Null).await;
        page["entries"].as_array().unwrap().clone()
    }
}

const PASSWORD: &str = "mikes-own-password";

/// What every tenant needs.
fn settings() -> Value {
    json!({ "instance": { "address": "http://127.0.0.1:1880", "node_root": "/api", "admin_root": "/red" } })
}
