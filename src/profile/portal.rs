//! The portal as a page: APIs that others have published, one's own applications, their keys,
//! subscriptions and tokens, and a console to try them. What a form does is what the JSON call does.

use askama::Template;
use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::{HOST, HeaderMap};
use serde::Deserialize;

use super::applications::secret_of;
use super::publishing::owner;
use super::view::{Moment, limit_in_words};
use super::{Arc, At, Desk, From, Owner as Asker, act as as_act, asyncapi, away};
use crate::api::{Api, Application, Security, State as Life};
use crate::authenticate::Identity;
use crate::client::Client;
use crate::cookies::Way;
use crate::grant::{ApiId, Grant};
use crate::live::PlanUse;
use crate::oauth::issue::Wanted;
use crate::publish::applications::{NewApplication, NewKeys};
use crate::publish::portal::{ApplicationView, OfferView, SubscriptionView};
use crate::publish::subscriptions::{NewSubscription, Side, SubscriptionPlan};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::web::form::{self, Form};
use crate::web::{Assets, Shown, page};

mod owned;

use owned::Owned;

/// APIs on the page; the list as JSON has them all.
const OFFERS_SHOWN_MAX: usize = 200;
const HOUR_SECONDS: u64 = 60 * 60;

/// The handlers, below `/portal`.
pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/portal", get(show))
        .route("/portal/do/{action}", get(|| async { Redirect::to("/portal") }).post(act))
        .route("/portal/apis/{id}/asyncapi.json", get(asyncapi::show))
}

/// Whether strangers may know of an API.
pub(super) fn is_offered(api: &Api) -> bool {
    matches!(api.state, Life::Published | Life::Deprecated)
}

/// What a form has brought about.
#[derive(Debug, Default)]
struct Outcome {
    text: String,
    /// What is shown this once: label, id on the page, and the secret.
    secrets: Vec<(&'static str, &'static str, String)>,
    /// Lines to paste.
    lines: Vec<String>,
    is_bad: bool,
}

/// An API, as it is offered.
struct Offer {
    view: OfferView,
    security: String,
    /// Whether applications may subscribe to it now.
    can_subscribe: bool,
}

/// An application.
struct Own {
    view: ApplicationView,
    subscriptions: Vec<Subscription>,
    secret_made: Option<Moment>,
    is_callable: bool,
}

/// One of its subscriptions.
struct Subscription {
    view: SubscriptionView,
    /// What is left of the plan.
    left: Vec<String>,
    /// The API's other plans.
    others: Vec<String>,
}

#[derive(Template)]
#[template(path = "portal.html")]
struct PortalPage<'a> {
    assets: Assets,
    token: &'a str,
    username: &'a str,
    outcome: Option<&'a Outcome>,
    offers: Vec<Offer>,
    offers_left_out: usize,
    applications: Vec<Own>,
    owned: Vec<Owned>,
}

/// The fields of all forms; each has some of them.
#[derive(Debug, Deserialize)]
struct Fields {
    token: Secret,
    #[serde(default)]
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    api: String,
    #[serde(default)]
    plan: String,
    #[serde(default)]
    overlap: String,
}

/// `GET /portal`
async fn show(
    State(desk): At,
    Extension(identity): Asker,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    render(&desk, &identity, &headers, None).await
}

async fn render(
    desk: &Desk,
    identity: &Identity,
    headers: &HeaderMap,
    outcome: Option<(Outcome, StatusCode)>,
) -> Result<Response, Refusal> {
    let Grant::Session { id, .. } = identity.grant else { return Err(Refusal::NoSession) };
    desk.registry.know_apis().await.map_err(away)?;
    let publishing = desk.publishing();
    let mut found = desk.registry.directory().apis(is_offered);
    let offers_left_out = found.len().saturating_sub(OFFERS_SHOWN_MAX);
    found.truncate(OFFERS_SHOWN_MAX);
    let mut offers = Vec::new();
    for api in found {
        offers.push(Offer {
            view: publishing.offer(&api).await,
            security: kinds(&api),
            can_subscribe: api.state == Life::Published && takes_tokens(&api),
        });
    }
    let mut applications = desk.registry.directory().applications_of(identity.tenant.id);
    applications.sort_by(|one, other| one.name.cmp(&other.name));
    let token = form::token_of_session(id);
    let portal = PortalPage {
        assets: Assets,
        token: token.expose(),
        username: identity.tenant.username.as_str(),
        outcome: outcome.as_ref().map(|(outcome, _)| outcome),
        offers,
        offers_left_out,
        applications: applications.iter().map(|it| desk.own(it)).collect(),
        owned: desk.owned(owner(identity)),
    };
    let status = outcome.as_ref().map_or(StatusCode::OK, |(_, status)| *status);
    Ok(page(status, &portal, headers, None))
}

/// This host as a URL.
fn base(scheme: &str, headers: &HeaderMap, client: Client) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let s = if Way::of(headers, client.over_tls) == Way::Loopback { "" } else { "s" };
    format!("{scheme}{s}://{host}")
}

fn takes_tokens(api: &Api) -> bool {
    api.definition.security.contains(&Security::Oauth2)
}

/// What an API asks for, in words.
fn kinds(api: &Api) -> String {
    let word = |kind: &Security| match kind {
        Security::None => "nothing",
        Security::Key => "a key of its owner's",
        Security::Basic => "a password of its owner's",
        Security::Jwt => "a token of one's own",
        Security::Oauth2 => "an application",
    };
    api.definition.security.iter().map(word).collect::<Vec<_>>().join(" or ")
}

impl Desk {
    fn own(&self, application: &Application) -> Own {
        let now = self.now();
        let made = application.secret.as_ref().map(|secret| secret.created_at);
        let mut view = self.publishing().show_application(application);
        let subscriptions = std::mem::take(&mut view.subscriptions);
        let is_callable = application.secret.is_some() && !application.subscriptions.is_empty();
        Own {
            subscriptions: subscriptions.into_iter().map(|it| self.subscription(it)).collect(),
            view,
            secret_made: made.map(|made| Moment::of(made, now)),
            is_callable,
        }
    }

    fn subscription(&self, view: SubscriptionView) -> Subscription {
        let api = ApiId::from_hex(&view.api).and_then(|id| self.registry.directory().api(id));
        let mut others = api.map(|api| api.definition.plans.clone()).unwrap_or_default();
        others.retain(|plan| !view.plan_by_publisher && Some(plan) != view.plan.as_ref());
        Subscription { left: left_of(&view.plan_use), view, others }
    }
}

/// `POST /portal/do/{action}`
async fn act(
    State(desk): At,
    Extension(identity): Asker,
    Extension(client): From,
    headers: HeaderMap,
    Path(action): Path<String>,
    Form(fields): Form<Fields>,
) -> Result<Response, Refusal> {
    form::check(&fields.token, &identity.grant)?;
    let asked = Asked { desk: &desk, identity: &identity, client, fields: &fields };
    let _turn = desk.turn(&identity).await?;
    let done = match action.as_str() {
        "create" => asked.create().await,
        "subscribe" => asked.subscribe().await,
        "unsubscribe" => asked.unsubscribe().await,
        "plan" => asked.set_plan().await,
        "block" => asked.block(true).await,
        "unblock" => asked.block(false).await,
        "end" => asked.end_subscribers().await,
        "keys" => asked.generate_keys().await,
        "token" => asked.issue(&headers).await,
        "remove" => asked.remove().await,
        _ => return Err(Refusal::NotFound("no such form")),
    };
    let (outcome, refusal) = match done {
        Ok(outcome) => (outcome, None),
        Err(refusal) => {
            let text = refusal.public().into_owned();
            (Outcome { text, is_bad: true, ..Outcome::default() }, Some(refusal))
        }
    };
    let status = refusal.as_ref().map_or(StatusCode::OK, Refusal::status);
    let mut response = render(&desk, &identity, &headers, Some((outcome, status))).await?;
    if let Some(refusal) = refusal {
        response.extensions_mut().insert(Shown(refusal));
    }
    Ok(response.into_response())
}

/// A form, and who has sent it.
struct Asked<'a> {
    desk: &'a Desk,
    identity: &'a Identity,
    client: Client,
    fields: &'a Fields,
}

impl Asked<'_> {
    async fn application(&self) -> Result<Arc<Application>, Refusal> {
        let owner = Some(owner(self.identity));
        self.desk.publishing().application(owner, &self.fields.id).await
    }

    fn act(&self, verb: &'static str) -> crate::registry::audit::Act {
        as_act(self.identity, self.client, verb, format!("application/{}", self.fields.id))
    }

    async fn create(&self) -> Result<Outcome, Refusal> {
        let name = self.fields.name.trim().to_owned();
        let object = format!("application/{name}");
        let act = as_act(self.identity, self.client, "create application", object);
        let wanted = NewApplication { name: name.clone() };
        self.desk.publishing().add_application(&act, owner(self.identity), wanted).await?;
        let text =
            format!("{name:?} was signed up. Subscribe it to an API, and generate its keys.");
        Ok(Outcome { text, ..Outcome::default() })
    }

    async fn subscribe(&self) -> Result<Outcome, Refusal> {
        let before = self.application().await?;
        let plan = Some(self.fields.plan.clone()).filter(|plan| !plan.is_empty());
        let wanted = NewSubscription { api: self.fields.api.clone(), plan };
        let act = self.act("subscribe application");
        self.desk.publishing().subscribe(&act, &before, wanted).await?;
        let text = format!("{:?} is subscribed. Get a token for it.", before.name);
        Ok(Outcome { text, ..Outcome::default() })
    }

    async fn unsubscribe(&self) -> Result<Outcome, Refusal> {
        let before = self.application().await?;
        let act = self.act("end subscription");
        let changed = self
            .desk
            .publishing()
            .unsubscribe(&act, &before, &self.fields.api, Side::Caller)
            .await?;
        let text = format!("The subscription was ended. {}", closed(changed.ended));
        Ok(Outcome { text, ..Outcome::default() })
    }

    async fn set_plan(&self) -> Result<Outcome, Refusal> {
        let before = self.application().await?;
        let plan = self.fields.plan.clone();
        let text = format!("The subscription has the plan {plan:?} now.");
        let act = self.act("change subscription's plan");
        let wanted = SubscriptionPlan { plan: Some(plan) };
        self.desk
            .publishing()
            .set_plan(&act, &before, &self.fields.api, wanted, Side::Caller)
            .await?;
        Ok(Outcome { text, ..Outcome::default() })
    }

    async fn generate_keys(&self) -> Result<Outcome, Refusal> {
        let before = self.application().await?;
        let hours: u64 = match self.fields.overlap.trim() {
            "" => 0,
            text => text
                .parse()
                .map_err(|_| Refusal::BadInput("The hours must be a whole number.".to_owned()))?,
        };
        let wanted = NewKeys { overlap_seconds: hours.saturating_mul(HOUR_SECONDS) };
        let act = self.act("generate application's keys");
        let (changed, secret) = self.desk.publishing().generate_keys(&act, &before, wanted).await?;
        let text = match (&before.secret, hours) {
            (None, _) => "These are the consumer key and secret.".to_owned(),
            (Some(_), 0) => {
                format!("This is the new consumer secret. {}", closed(changed.ended))
            }
            (Some(_), hours) => {
                format!("This is the new consumer secret. The old one works for {hours} h more.")
            }
        };
        let secrets = vec![
            ("Consumer key", "consumer-key", before.id.to_string()),
            ("Consumer secret", "consumer-secret", secret.expose().to_owned()),
        ];
        Ok(Outcome { text, secrets, ..Outcome::default() })
    }

    async fn issue(&self, headers: &HeaderMap) -> Result<Outcome, Refusal> {
        let application = self.application().await?;
        let wanted = Wanted { scope: None, life: None };
        let by = (&*application, secret_of(&application)?);
        let issued = self.desk.issue(by, headers, self.client, wanted).await?;
        let token = issued.token.expose().to_owned();
        let ws = base("ws", headers, self.client);
        let apis = application.subscriptions.iter();
        let apis = apis.filter_map(|it| self.desk.registry.directory().api(it.api));
        let line = |api: Arc<Api>| {
            format!("wscat -c {ws}{} -H \"Authorization: Bearer {token}\"", api.prefix)
        };
        let text = format!("This is an access token, for {} s.", issued.life.as_secs());
        let lines = apis.map(line).collect();
        let secrets = vec![("Access token", "access-token", token.clone())];
        Ok(Outcome { text, secrets, lines, is_bad: false })
    }

    async fn remove(&self) -> Result<Outcome, Refusal> {
        let before = self.application().await?;
        let act = self.act("remove application");
        let ended = self.desk.publishing().remove_application(&act, &before).await?;
        let text = format!("{:?} was removed. {}", before.name, closed(ended));
        Ok(Outcome { text, ..Outcome::default() })
    }
}

/// What is left of a plan, a line for each limit.
fn left_of(plan: &PlanUse) -> Vec<String> {
    let lines = plan.limits.iter().map(limit_in_words);
    lines.map(|(limit, left)| format!("{limit}: {left}")).collect()
}

fn closed(count: usize) -> String {
    match count {
        0 => "No connection was closed.".to_owned(),
        1 => "One connection was closed.".to_owned(),
        count => format!("{count} connections were closed."),
    }
}
