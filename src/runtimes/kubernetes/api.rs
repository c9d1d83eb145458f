//! Questions to the API server. Each has an end in time and in size.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError, NamedAuthInfo};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{KubernetesSettings, Label};

/// Under whose name fields are applied.
pub(super) const MANAGER: &str = "flowgate";

const ANSWER_MAX: Duration = Duration::from_secs(15);
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// A pod has some KiB, with all that may be said of it.
pub(super) const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What is looked at of a log: the end of so many bytes of its last lines.
pub(super) const LOG_BYTES_READ_MAX: usize = 1024 * 1024;
/// Fewer, if they are longer than that.
const LOG_LINES_READ: [usize; 4] = [100, 20, 4, 1];
const LOG_TAIL_BYTES_MAX: usize = 8 * 1024;
/// Logs are asked for by people who look at pages.
const LOGS_AT_ONCE: usize = 8;
/// The same of starts, which take turns, and how long one may take.
const LOOKS_AT_ONCE: usize = 16;
const LOOK_MAX: Duration = Duration::from_secs(5);

/// The API server, and the one namespace that is looked at.
#[derive(Debug)]
pub(super) struct Api {
    client: ClientOf,
    namespace: String,
    logs: Semaphore,
    /// The same for starts.
    looks: Semaphore,
}

/// Prints nothing of what it holds.
struct ClientOf(Client);

impl fmt::Debug for ClientOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Fault {
    /// The API server says no.
    Refused { code: u16, message: String },
    /// It does not answer, or not so that it could be understood.
    Away(String),
}

impl Fault {
    pub(super) fn has_code(&self, wanted: StatusCode) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == wanted.as_u16())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code, message } => write!(f, "{code}: {message}"),
            Self::Away(why) => f.write_str(why),
        }
    }
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    StatefulSet,
    Service,
    Pod,
    Event,
    Lease,
}

impl Kind {
    fn path(self) -> (&'static str, &'static str) {
        match self {
            Self::StatefulSet => ("/apis/apps/v1", "statefulsets"),
            Self::Service => ("/api/v1", "services"),
            Self::Pod => ("/api/v1", "pods"),
            Self::Event => ("/api/v1", "events"),
            Self::Lease => ("/apis/coordination.k8s.io/v1", "leases"),
        }
    }
}

impl Api {
    /// # Errors
    /// It is not said how the API server is reached, or the namespace is not known.
    pub(super) async fn new(settings: &KubernetesSettings) -> Result<Self, String> {
        let mut config = match &settings.kubeconfig {
            Some(path) => {
                let at = format!("kubernetes_kubeconfig: {}", path.display());
                let fault = |error: KubeconfigError| match error {
                    // Its words have the lines around the fault, with tokens and keys.
                    KubeconfigError::Parse(_) => format!("{at}: is no kubeconfig"),
                    error => format!("{at}: {error}"),
                };
                let file = Kubeconfig::read_from(path).map_err(fault)?;
                if file.auth_infos.iter().any(asks_a_program) {
                    return Err(format!(
                        "{at}: a user has exec or auth-provider: programs that give credentials are not run"
                    ));
                }
                let options = KubeConfigOptions::default();
                Config::from_custom_kubeconfig(file, &options).await.map_err(fault)?
            }
            None => Config::incluster().map_err(|error| {
                format!("flowgate does not run in a cluster, and kubernetes_kubeconfig is not set: {error}")
            })?,
        };
        config.proxy_url = None;
        if let Some(namespace) = &settings.namespace {
            config.default_namespace = namespace.to_string();
        }
        Self::of(config)
    }

    /// # Errors
    /// The API server cannot be reached in that way.
    pub(super) fn of(config: Config) -> Result<Self, String> {
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config)
            .map_err(|error| format!("the API server cannot be reached so: {error}"))?;
        Ok(Self {
            client: ClientOf(client),
            namespace,
            logs: Semaphore::new(LOGS_AT_ONCE),
            looks: Semaphore::new(LOOKS_AT_ONCE),
        })
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The path of all objects of a kind, or of one.
    fn path(&self, kind: Kind, name: Option<&str>) -> String {
        let (group, kinds) = kind.path();
        let all = format!("{group}/namespaces/{}/{kinds}", self.namespace);
        name.map_or_else(|| all.clone(), |name| format!("{all}/{name}"))
    }

    pub(super) async fn get(&self, kind: Kind, name: &str) -> Result<Option<Value>, Fault> {
        match self.ask(Method::GET, &self.path(kind, Some(name)), None).await {
            Ok(answer) => parsed(&answer).map(Some),
            Err(fault) if fault.has_code(StatusCode::NOT_FOUND) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Some of a kind, as the query says.
    pub(super) async fn list(&self, kind: Kind, query: &str) -> Result<Value, Fault> {
        let path = format!("{}?{query}", self.path(kind, None));
        parsed(&self.ask(Method::GET, &path, None).await?)
    }

    /// Server-side apply: the object has these fields afterwards, and of ours no others.
    pub(super) async fn apply(&self, kind: Kind, object: &Value) -> Result<Value, Fault> {
        let name = object["metadata"]["name"].as_str();
        let path = format!("{}?fieldManager={MANAGER}&force=true", self.path(kind, name));
        let body = ("application/apply-patch+yaml", object);
        parsed(&self.ask(Method::PATCH, &path, Some(body)).await?)
    }

    /// JSON Patch (RFC 6902): all of it or nothing.
    pub(super) async fn patch(
        &self,
        kind: Kind,
        name: &str,
        steps: &Value,
    ) -> Result<Value, Fault> {
        let path = format!("{}?fieldManager={MANAGER}", self.path(kind, Some(name)));
        let body = ("application/json-patch+json", steps);
        parsed(&self.ask(Method::PATCH, &path, Some(body)).await?)
    }

    pub(super) async fn create(&self, kind: Kind, object: &Value) -> Result<(), Fault> {
        let path = format!("{}?fieldManager={MANAGER}", self.path(kind, None));
        self.ask(Method::POST, &path, Some(("application/json", object))).await.map(|_| ())
    }

    /// An update of what has not changed since it was read.
    pub(super) async fn replace(&self, kind: Kind, object: &Value) -> Result<(), Fault> {
        let name = object["metadata"]["name"].as_str();
        let path = format!("{}?fieldManager={MANAGER}", self.path(kind, name));
        self.ask(Method::PUT, &path, Some(("application/json", object))).await.map(|_| ())
    }

    /// Removes that very object, with all that it owns, if it has not changed since it was read.
    pub(super) async fn remove(&self, kind: Kind, name: &str, read: &Value) -> Result<(), Fault> {
        let metadata = &read["metadata"];
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": { "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"] },
        });
        let path = self.path(kind, Some(name));
        let body = ("application/json", &options);
        self.ask(Method::DELETE, &path, Some(body)).await.map(|_| ())
    }

    /// The end of what a pod's container wrote; empty if nothing is known.
    pub(super) async fn log_tail(&self, pod: &str, container: &Label) -> Vec<u8> {
        let Ok(_turn) = self.logs.acquire().await else { return Vec::new() };
        let log = self.log_end(pod, container).await;
        log[log.len().saturating_sub(LOG_TAIL_BYTES_MAX)..].to_vec()
    }

    /// The same, of many lines if they are short.
    pub(super) async fn log_end(&self, pod: &str, container: &Label) -> Bytes {
        for lines in LOG_LINES_READ {
            let log = self.log(pod, container, &format!("tailLines={lines}")).await;
            match log.unwrap_or_default() {
                // What was cut off is the end.
                log if log.len() >= LOG_BYTES_READ_MAX => {}
                log => return log,
            }
        }
        Bytes::new()
    }

    /// What it wrote within the last so many seconds, or from the beginning on; `None` if it cannot be
    /// read.
    pub(super) async fn log_since(
        &self,
        pod: &str,
        container: &Label,
        seconds: Option<u64>,
    ) -> Option<Bytes> {
        let which = seconds.map_or_else(
            || "timestamps=false".to_owned(),
            |seconds| format!("sinceSeconds={seconds}"),
        );
        let read = async {
            let _turn = self.looks.acquire().await.ok()?;
            self.log(pod, container, &which).await
        };
        timeout(LOOK_MAX, read).await.ok().flatten()
    }

    async fn log(&self, pod: &str, container: &Label, which: &str) -> Option<Bytes> {
        let query = format!("container={container}&limitBytes={LOG_BYTES_READ_MAX}&{which}");
        let path = format!("{}/log?{query}", self.path(Kind::Pod, Some(pod)));
        match self.ask(Method::GET, &path, None).await {
            Ok(log) => Some(log),
            Err(error) => {
                tracing::debug!(pod, %error, "a runtime's log cannot be read");
                None
            }
        }
    }

    /// What becomes of all of a kind, as the query says.
    pub(super) async fn watch(&self, kind: Kind, query: &str) -> Result<Events, Fault> {
        let path = format!("{}?watch=true&{query}", self.path(kind, None));
        let body = self.send(Method::GET, &path, None).await?;
        Ok(Events { body, read: Vec::new() })
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<Bytes, Fault> {
        let answer = async { whole(self.send(method, path, body).await?).await };
        timeout(ANSWER_MAX, answer).await.map_err(|_| late())?
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<Body, Fault> {
        let away = |error: String| Fault::Away(format!("the API server cannot be asked: {error}"));
        let mut request = Request::builder().method(method).uri(path);
        if let Some((content_type, _)) = body {
            request = request.header(http::header::CONTENT_TYPE, content_type);
        }
        let bytes = body.map_or_else(Vec::new, |(_, object)| object.to_string().into_bytes());
        let request = request.body(Body::from(bytes)).map_err(|error| away(error.to_string()))?;
        let answer = timeout(ANSWER_MAX, self.client.0.send(request)).await.map_err(|_| late())?;
        let answer = answer.map_err(|error| away(error.to_string()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer.into_body());
        }
        let said = timeout(ANSWER_MAX, whole(answer.into_body())).await.map_err(|_| late())??;
        let said: Value = serde_json::from_slice(&said).unwrap_or_default();
        let message = said["message"].as_str().unwrap_or("no reason is given").to_owned();
        Err(Fault::Refused { code: status.as_u16(), message })
    }
}

/// Whether credentials would come from a program, which nothing bounds.
fn asks_a_program(user: &NamedAuthInfo) -> bool {
    user.auth_info.as_ref().is_some_and(|it| it.exec.is_some() || it.auth_provider.is_some())
}

fn late() -> Fault {
    Fault::Away(format!("the API server did not answer within {} s", ANSWER_MAX.as_secs()))
}

fn parsed(answer: &[u8]) -> Result<Value, Fault> {
    let fault = |error| Fault::Away(format!("the API server's answer is no JSON: {error}"));
    serde_json::from_slice(answer).map_err(fault)
}

async fn whole(mut body: Body) -> Result<Bytes, Fault> {
    let mut read = Vec::new();
    while let Some(bytes) = more(&mut body).await? {
        if read.len() + bytes.len() > ANSWER_BYTES_MAX {
            return Err(Fault::Away("the API server's answer is too long".to_owned()));
        }
        read.extend_from_slice(&bytes);
    }
    Ok(read.into())
}

async fn more(body: &mut Body) -> Result<Option<Bytes>, Fault> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Fault::Away(format!("the answer broke off: {error}")))?;
        if let Ok(bytes) = frame.into_data() {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// The events of a watch, a line each.
pub(super) struct Events {
    body: Body,
    read: Vec<u8>,
}

impl Events {
    /// The next one; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Value>, Fault> {
        let mut looked_at = 0;
        loop {
            if let Some(end) = self.read[looked_at..].iter().position(|byte| *byte == b'\n') {
                let rest = self.read.split_off(looked_at + end + 1);
                let line = std::mem::replace(&mut self.read, rest);
                return parsed(&line).map(Some);
            }
            looked_at = self.read.len();
            if looked_at > EVENT_BYTES_MAX {
                return Err(Fault::Away("an event is too long".to_owned()));
            }
            match more(&mut self.body).await? {
                Some(bytes) => self.read.extend_from_slice(&bytes),
                // What is left of a line that was cut off comes again.
                None => return Ok(None),
            }
        }
    }
}
