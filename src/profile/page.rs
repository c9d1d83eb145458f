//! The profile as a page, and its forms. What a form does is what the JSON call does.

use askama::Template;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{HOST, HeaderMap, SET_COOKIE};
use serde::Deserialize;

use super::chart::Chart;
use super::view::{ConnectionView, Facts, KeyView, Refused, Snippet, View};
use super::{At, Desk, From, Owner, account, away, keys, named, runtime};
use crate::authenticate::Identity;
use crate::client::Client;
use crate::close::Cause;
use crate::cookies::{self, Jar, Way};
use crate::grant::{Grant, KeyId};
use crate::json::Private;
use crate::refusal::{Refusal, wants_page};
use crate::registry::keys::{NewKey, Rotation};
use crate::registry::replicas::Numbered;
use crate::secret::Secret;
use crate::web::form::{self, Form};
use crate::web::{Assets, Shown, editor_address, page};

/// Refusals on the page.
const REFUSALS_SHOWN_MAX: usize = 20;
/// Connections on the page; the list as JSON has them all.
const CONNECTIONS_SHOWN_MAX: usize = 200;
const DAY_SECONDS: u64 = 24 * 60 * 60;
const HOUR_SECONDS: u64 = 60 * 60;

/// What a form has brought about.
#[derive(Debug, Default)]
struct Outcome {
    text: String,
    /// A secret that is shown this once.
    secret: Option<String>,
    is_bad: bool,
}

#[derive(Template)]
#[template(path = "profile.html")]
struct ProfilePage<'a> {
    assets: Assets,
    token: &'a str,
    username: &'a str,
    editor: Option<String>,
    outcome: Option<&'a Outcome>,
    facts: Facts,
    runtime_log: &'a str,
    public_wake: Option<bool>,
    charts: Vec<Chart>,
    default_key: Option<KeyView>,
    keys: Vec<KeyView>,
    connections: Vec<ConnectionView>,
    connections_total: u64,
    incomplete: Vec<String>,
    refusals: Vec<Refused>,
    snippets: Vec<Snippet>,
}

/// The fields of all forms; each has some of them.
#[derive(Debug, Deserialize)]
pub(super) struct Fields {
    token: Secret,
    #[serde(default)]
    id: String,
    /// When the secret was made that the form is about.
    #[serde(default)]
    made: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    days: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    overlap: String,
    #[serde(default)]
    public_wake: bool,
    old: Option<Secret>,
    new: Option<Secret>,
    again: Option<Secret>,
}

/// `GET /profile`: the page for a browser's session, else JSON.
pub(super) async fn show(
    state: At,
    owner: Owner,
    Extension(client): From,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let is_session = matches!(owner.0.grant, Grant::Session { .. });
    if !is_session || !wants_page(&headers) {
        return account::show(state, owner).await.map(IntoResponse::into_response);
    }
    render(&state.0, &owner.0, client, &headers, None).await
}

async fn render(
    desk: &Desk,
    identity: &Identity,
    client: Client,
    headers: &HeaderMap,
    outcome: Option<(Outcome, StatusCode)>,
) -> Result<Response, Refusal> {
    let Grant::Session { id, .. } = identity.grant else { return Err(Refusal::NoSession) };
    let tenant = &identity.tenant;
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_plain = Way::of(headers, client.over_tls) == Way::Loopback;
    let has_editor = tenant.instance.as_ref().is_some_and(|instance| instance.admin_root.is_some());
    let address = editor_address(headers, &desk.base_domain, &tenant.username);
    let now = desk.now();
    let (running, runtime) =
        tokio::join!(desk.presence.connections(tenant.id), desk.runtime_of(tenant));
    let view = View { desk, tenant, now, running: &running, runtime: &runtime };
    let is_theirs = |refused: &crate::journey::recent::Refused| {
        refused.tenant.as_ref() == Some(&tenant.username)
    };
    let (refused, _) = desk.refused.list(u64::MAX, REFUSALS_SHOWN_MAX, is_theirs);
    let (default_key, keys) = view.keys().await?;
    let token = form::token_of_session(id);
    let profile = ProfilePage {
        assets: Assets,
        token: token.expose(),
        username: tenant.username.as_str(),
        editor: has_editor.then_some(address),
        outcome: outcome.as_ref().map(|(outcome, _)| outcome),
        facts: view.facts(),
        runtime_log: runtime.log_tail(),
        public_wake: runtime.public_wake(),
        charts: Chart::all(&running.traffic, now),
        default_key,
        keys,
        connections: view.connections(CONNECTIONS_SHOWN_MAX),
        connections_total: running.total,
        incomplete: running.incomplete.clone(),
        refusals: refused.iter().map(|refused| view.refused(refused)).collect(),
        snippets: Snippet::all(host, !is_plain),
    };
    let status = outcome.as_ref().map_or(StatusCode::OK, |(_, status)| *status);
    Ok(page(status, &profile, headers, None))
}

/// `POST /profile/do/{action}`
pub(super) async fn act(
    State(desk): At,
    Extension(identity): Owner,
    Extension(client): From,
    headers: HeaderMap,
    Path(action): Path<String>,
    Form(fields): Form<Fields>,
) -> Result<Response, Refusal> {
    form::check(&fields.token, &identity.grant)?;
    if action == "password" {
        return change_password((&desk, &identity, client), &headers, fields).await;
    }
    let done = match action.as_str() {
        "regenerate" => regenerate(&desk, &identity, client, &fields).await,
        "create-key" => create(&desk, &identity, client, &fields).await,
        "rotate-key" => rotate(&desk, &identity, client, &fields).await,
        "revoke-key" => revoke(&desk, &identity, client, &fields).await,
        "close" => close(&desk, &identity, &fields).await,
        "runtime" => change_runtime(&desk, &identity, client, &fields).await,
        _ => return Err(Refusal::NotFound("no such form")),
    };
    answer(&desk, identity, client, &headers, done).await
}

/// The page as it is now, with what came of a form.
async fn answer(
    desk: &Desk,
    mut identity: Identity,
    client: Client,
    headers: &HeaderMap,
    done: Result<Outcome, Refusal>,
) -> Result<Response, Refusal> {
    let (outcome, status, refusal) = match done {
        Ok(outcome) => (outcome, StatusCode::OK, None),
        Err(refusal) => {
            let text = refusal.public().into_owned();
            let outcome = Outcome { text, secret: None, is_bad: true };
            (outcome, refusal.status(), Some(refusal))
        }
    };
    if let Some(tenant) = desk.registry.by_id(identity.tenant.id).await.map_err(away)? {
        identity.tenant = tenant;
    }
    let mut response = render(desk, &identity, client, headers, Some((outcome, status))).await?;
    if let Some(refusal) = refusal {
        response.extensions_mut().insert(Shown(refusal));
    }
    Ok(response)
}

fn closed(count: usize) -> String {
    match count {
        0 => "No connection was closed.".to_owned(),
        1 => "One connection was closed.".to_owned(),
        count => format!("{count} connections were closed."),
    }
}

async fn regenerate(
    desk: &Desk,
    identity: &Identity,
    client: Client,
    fields: &Fields,
) -> Result<Outcome, Refusal> {
    let about = keys::About::made(number(&fields.made, "The secret's time")?);
    let is_first = identity.tenant.key(KeyId::DEFAULT).is_none();
    let (secret, _, ended) = keys::make_default(desk, identity, client, about).await?;
    let text = match is_first {
        true => "This is the API key.".to_owned(),
        false => format!("This is the new API key. The old one is dead. {}", closed(ended)),
    };
    Ok(Outcome { text, secret: Some(secret.expose().to_owned()), is_bad: false })
}

/// A whole number of a form's, or nothing.
fn number(text: &str, what: &str) -> Result<Option<u64>, Refusal> {
    match text.trim() {
        "" => Ok(None),
        text => match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Refusal::BadInput(format!("{what} must be a whole number."))),
        },
    }
}

async fn create(
    desk: &Desk,
    identity: &Identity,
    client: Client,
    fields: &Fields,
) -> Result<Outcome, Refusal> {
    let days = number(&fields.days, "The days")?;
    let scope = fields.scope.split_whitespace().map(str::to_owned).collect();
    let seconds = days.map(|days| days.saturating_mul(DAY_SECONDS));
    let wanted = NewKey::new(fields.name.trim().to_owned(), seconds, scope);
    let (secret, id, fresh) = wanted.make(desk.now())?;
    let change = move |record: &mut super::TenantRecord| record.add_key(&fresh);
    desk.change(identity, client, "add key", change).await?;
    let text = format!("This is the key {:?} ({id}).", fields.name.trim());
    Ok(Outcome { text, secret: Some(secret.expose().to_owned()), is_bad: false })
}

async fn rotate(
    desk: &Desk,
    identity: &Identity,
    client: Client,
    fields: &Fields,
) -> Result<Outcome, Refusal> {
    let hours = number(&fields.overlap, "The hours")?.unwrap_or(0);
    let rotation = Rotation::with_overlap(hours.saturating_mul(HOUR_SECONDS));
    let id = named(&fields.id)?;
    let about = keys::About::made(number(&fields.made, "The secret's time")?);
    let (_, secret, ended) = keys::rotate_to(desk, identity, client, (id, about), rotation).await?;
    let text = match hours {
        0 => format!("This is the key's new secret. The old one is dead. {}", closed(ended)),
        hours => format!("This is the key's new secret. The old one works for {hours} h more."),
    };
    Ok(Outcome { text, secret: Some(secret.expose().to_owned()), is_bad: false })
}

async fn revoke(
    desk: &Desk,
    identity: &Identity,
    client: Client,
    fields: &Fields,
) -> Result<Outcome, Refusal> {
    let ended = keys::revoke_by_id(desk, identity, client, named(&fields.id)?).await?;
    let text = format!("The key was revoked. {}", closed(ended));
    Ok(Outcome { text, ..Outcome::default() })
}

async fn close(desk: &Desk, identity: &Identity, fields: &Fields) -> Result<Outcome, Refusal> {
    let connection = Numbered::parse(&fields.id).ok_or(Refusal::NotFound("no such connection"))?;
    desk.presence.close(identity.tenant.id, connection, Cause::ClosedByOwner).await?;
    Ok(Outcome { text: "The connection was closed.".to_owned(), ..Outcome::default() })
}

async fn change_runtime(
    desk: &Desk,
    identity: &Identity,
    client: Client,
    fields: &Fields,
) -> Result<Outcome, Refusal> {
    runtime::set_public_wake(desk, identity, client, fields.public_wake).await?;
    let not = if fields.public_wake { "" } else { "do not " };
    let text = format!("Requests without a credential {not}wake the runtime from now on.");
    Ok(Outcome { text, ..Outcome::default() })
}

/// All sessions end with the password. The one that changed it goes on as a new one.
async fn change_password(
    (desk, identity, client): (&Desk, &Identity, Client),
    headers: &HeaderMap,
    fields: Fields,
) -> Result<Response, Refusal> {
    let changed = match (fields.old, fields.new, fields.again) {
        (Some(old), Some(new), Some(again)) if form::is_right(&again, &new) => {
            account::set_password(desk, identity, client, &old, &new).await
        }
        (Some(_), Some(_), Some(_)) => {
            Err(Refusal::BadInput("The new password is not the same both times.".to_owned()))
        }
        _ => Err(Refusal::BadInput("Something is missing.".to_owned())),
    };
    let (tenant, ended) = match changed {
        Ok(changed) => changed,
        Err(refusal) => return answer(desk, identity.clone(), client, headers, Err(refusal)).await,
    };
    if let Grant::Session { id, .. } = identity.grant {
        desk.registry.end_session(id).await.map_err(away)?;
    }
    let fingerprint = tenant.password.as_ref().map(crate::tenant::Password::fingerprint);
    let fingerprint = fingerprint.ok_or(Refusal::GrantEnded(Cause::PasswordChanged))?;
    let secret = desk.registry.begin_session(tenant.id, fingerprint).await.map_err(away)?;
    let limits = *desk.registry.session_limits();
    let id = crate::registry::sessions::id_of(&secret);
    let until = desk.now().plus(limits.age_max);
    let grant = Grant::Session { id, fingerprint, until };
    let text =
        format!("The password was changed. All other browsers are logged out. {}", closed(ended));
    let outcome = Outcome { text, ..Outcome::default() };
    let identity = Identity { tenant, grant, ..identity.clone() };
    let mut response = answer(desk, identity, client, headers, Ok(outcome)).await?;
    let way = Way::of(headers, client.over_tls);
    if let Ok(cookie) = cookies::set(Jar::Session, way, &secret) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// `GET /profile/refusals`
pub(super) async fn refusals(State(desk): At, Extension(identity): Owner) -> super::Answer {
    let username = &identity.tenant.username;
    let is_theirs =
        |refused: &crate::journey::recent::Refused| refused.tenant.as_ref() == Some(username);
    let (refused, _) = desk.refused.list(u64::MAX, REFUSALS_SHOWN_MAX, is_theirs);
    let all = refused.iter().map(|refused| {
        serde_json::json!({
            "at": refused.at.to_string(),
            "client": refused.client,
            "code": refused.label,
            "handshake": refused.is_handshake,
            "path": refused.path,
            "request_id": refused.request_id.to_string(),
            "since": refused.since.map(|since| since.to_string()),
            "status": refused.status,
            "why": refused.why_for_tenant,
        })
    });
    let said = serde_json::json!({ "refusals": all.collect::<Vec<_>>() });
    Ok(Private(StatusCode::OK, said))
}
