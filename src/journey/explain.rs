//! What would become of a request, without making it: a dry run up to where a runtime would be
//! dialled.

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Uri};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::admission::{Admission, Admitted, Decision, towards};
use super::published::Called;
use super::trail::Trail;
use crate::api::{Api, Way};
use crate::client::Client;
use crate::connect::Dialer;
use crate::grant::Grant;
use crate::refusal::Refusal;
use crate::tenant::{ApiKey, Tenant};

/// A request that is asked about.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// As in `GET`.
    pub method: String,
    /// As in `http://127.0.0.1:8080/api/thing`; `ws:` for a handshake.
    pub url: String,
    /// As in `apikey: KEY`.
    #[serde(default)]
    pub headers: Vec<String>,
}

/// What would become of it.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Explanation {
    /// Whether it would be refused.
    pub refused: bool,
    /// One thing each.
    pub lines: Vec<Line>,
}

/// One thing about a request.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Line {
    /// What.
    pub what: String,
    /// Its value.
    pub value: String,
}

impl Asked {
    /// The request as it would arrive.
    ///
    /// # Errors
    /// It cannot be one; the text says why.
    pub fn parts(&self) -> Result<Parts, String> {
        let method: Method =
            self.method.parse().map_err(|_| "METHOD is no method like GET".to_owned())?;
        let url: Uri = self.url.parse().map_err(|_| "URL is no URL".to_owned())?;
        let authority = url.authority().ok_or_else(|| {
            "URL must be a whole one, like http://127.0.0.1:8080/api/thing".to_owned()
        })?;
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::builder().method(method).uri(path).body(());
        let (mut parts, ()) = request.map_err(|error| error.to_string())?.into_parts();
        for header in &self.headers {
            let bad = || "a header must be like \"Name: value\"".to_owned();
            let (name, value) = header.split_once(':').ok_or_else(bad)?;
            let name: HeaderName = name.trim().parse().map_err(|_| bad())?;
            let value = HeaderValue::from_str(value.trim()).map_err(|_| bad())?;
            parts.headers.append(name, value);
        }
        if !parts.headers.contains_key(HOST) {
            let host = HeaderValue::from_str(authority.as_str());
            parts.headers.insert(HOST, host.map_err(|error| error.to_string())?);
        }
        if matches!(url.scheme_str(), Some("ws" | "wss")) {
            parts.headers.insert("upgrade", HeaderValue::from_static("websocket"));
            parts.headers.insert("connection", HeaderValue::from_static("Upgrade"));
        }
        Ok(parts)
    }
}

impl Asked {
    /// Whether it would come by TLS.
    #[must_use]
    pub fn over_tls(&self) -> bool {
        self.url.starts_with("https:") || self.url.starts_with("wss:")
    }
}

/// Decides about a request as a server would, and says so. A name of a runtime's is resolved, since
/// where it leads decides, too.
pub async fn explain(
    admission: Admission<'_>,
    dialer: &Dialer,
    parts: Parts,
    client: Client,
) -> Explanation {
    let mut trail = Trail::default();
    let decision = admission.decide(&parts, client, &mut trail).await;
    let mut decision = match decision {
        Ok(Decision::Api(api)) => {
            admission.call(&parts, &api, client, &mut trail).await.map(|called| match called {
                Called::Preflight => Decision::Preflight,
                Called::Admitted(admitted) => Decision::Runtime(*admitted),
            })
        }
        decision => decision,
    };
    if let Ok(Decision::Runtime(admitted)) = &decision
        && let Err(refusal) = dialer.judge(&admitted.instance).await
    {
        decision = Err(refusal);
    }
    let (lines, refused) = match decision {
        Ok(decision) => (accepted(&decision, parts, client), false),
        Err(refusal) => (refused(&refusal, &trail), true),
    };
    let line = |(what, value): (&str, String)| Line { what: what.to_owned(), value };
    Explanation { refused, lines: lines.into_iter().map(line).collect() }
}

type Lines = Vec<(&'static str, String)>;

fn refused(refusal: &Refusal, trail: &Trail) -> Lines {
    let found = |text: Option<String>| text.unwrap_or_else(|| "none was found".to_owned());
    let row = Some(trail.row.to_owned()).filter(|row| !row.is_empty());
    let claimed = match refusal {
        Refusal::WrongCredential { claimed, .. } => claimed.as_ref(),
        _ => None,
    };
    vec![
        ("row", found(row)),
        ("tenant", found(trail.tenant.as_ref().or(claimed).map(ToString::to_string))),
        ("refusal", format!("{} {}", refusal.status().as_u16(), refusal.label())),
        ("the client reads", refusal.public().into_owned()),
        ("the log says", refusal.to_string()),
    ]
}

fn accepted(decision: &Decision, parts: Parts, client: Client) -> Lines {
    match decision {
        Decision::Own(_) | Decision::Api(_) => vec![("answered by", "flowgate itself".to_owned())],
        Decision::Preflight => {
            vec![("answered by", "flowgate itself: a preflight on a private row".to_owned())]
        }
        Decision::TenantPage(_) => vec![("answered by", "flowgate itself".to_owned())],
        Decision::Handover(_) => {
            vec![("answered by", "flowgate itself: the browser is sent to log in".to_owned())]
        }
        Decision::Runtime(admitted) => relayed(admitted, parts, client),
    }
}

fn relayed(admitted: &Admitted, parts: Parts, client: Client) -> Lines {
    let Admitted { identity, row, instance, path_and_query, nodes } = admitted;
    let tenant = &identity.tenant;
    let before = parts.headers.clone();
    let mut headers = parts.headers;
    towards(*row, identity, client).rewrite(&mut headers);
    vec![
        ("row", row.label().to_owned()),
        ("credential", describe(&identity.grant, tenant)),
        ("tenant", format!("{} ({})", tenant.username, tenant.id)),
        match nodes {
            Some(api) => ("nodes", describe_nodes(api)),
            None => ("runtime", instance.to_string()),
        },
        ("its path", path_and_query.clone()),
        ("headers removed", names(&before, &headers)),
        ("headers set", set(&before, &headers)),
    ]
}

fn describe_nodes(api: &Api) -> String {
    let Way::Nodes { nodes, .. } = &api.way else { return "none".to_owned() };
    let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    nodes.join(", ")
}

fn describe(grant: &Grant, tenant: &Tenant) -> String {
    match grant {
        Grant::Anonymous => "none is needed".to_owned(),
        Grant::Password { .. } => "the password".to_owned(),
        Grant::Session { .. } => "a session".to_owned(),
        Grant::Open { .. } => "the API asks for none".to_owned(),
        Grant::Consumer { consumer, credential, .. } => {
            format!("the credential {credential} of the consumer {consumer}")
        }
        Grant::Token { subscription, .. } => {
            format!("an access token for the subscription {subscription}")
        }
        Grant::Key { id, .. } => match tenant.key(*id) {
            Some(ApiKey { name: Some(name), .. }) => format!("the API key {name:?}"),
            _ => "the default API key".to_owned(),
        },
    }
}

/// Headers that are gone; their values may be secrets.
fn names(before: &HeaderMap, after: &HeaderMap) -> String {
    let mut gone: Vec<&str> =
        before.keys().filter(|name| !after.contains_key(*name)).map(HeaderName::as_str).collect();
    gone.sort_unstable();
    if gone.is_empty() { "none".to_owned() } else { gone.join(", ") }
}

/// Headers that are new or have another value.
fn set(before: &HeaderMap, after: &HeaderMap) -> String {
    let mut set: Vec<String> = after
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(*value))
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    set.sort_unstable();
    set.join(", ")
}
