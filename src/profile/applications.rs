//! A tenant's applications: what is offered, keys, subscriptions, tokens.

use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, State};
use axum::routing::{delete, get, post, put};
use http::StatusCode;
use http::header::HeaderMap;
use serde::Deserialize;
use serde_json::json;

use super::publishing::{changed as as_changed, owner};
use super::{Answer, Arc, At, Desk, From, Owner as Asker, Private, act};
use crate::api::{Api, Application, State as Life};
use crate::client::Client;
use crate::json::{Asked, Id, Ids, Input};
use crate::oauth::as_problem;
use crate::oauth::issue::{Issued, Wanted, issue};
use crate::publish::applications::{NewApplication, NewKeys};
use crate::publish::subscriptions::{NewSubscription, Side, SubscriptionPlan};
use crate::refusal::Refusal;
use crate::registry::away;

/// APIs that are listed at once.
const OFFERS_PER_PAGE: usize = 100;

/// The handlers, below `/profile/applications`, and what they are about.
pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/profile/catalog", get(catalog))
        .route("/profile/applications", get(list).post(create))
        .route("/profile/applications/{id}", get(show).delete(remove))
        .route("/profile/applications/{id}/keys", post(generate_keys))
        .route("/profile/applications/{id}/token", post(token))
        .route("/profile/applications/{id}/subscriptions", post(subscribe))
        .route("/profile/applications/{id}/subscriptions/{subscription}", delete(unsubscribe))
        .route("/profile/applications/{id}/subscriptions/{subscription}/plan", put(set_plan))
}

/// Behind the question mark of the catalog.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogQuery {
    /// The path of the last API of the page before.
    after: Option<String>,
}

/// `GET /profile/catalog`: the published APIs, by path.
async fn catalog(State(desk): At, Asked(query): Asked<CatalogQuery>) -> Answer {
    desk.registry.know_apis().await.map_err(away)?;
    let is_wanted = |api: &Api| {
        let is_offered = matches!(api.state, Life::Published | Life::Deprecated);
        is_offered && query.after.as_deref().is_none_or(|after| api.prefix.as_str() > after)
    };
    let mut found = desk.registry.directory().apis(is_wanted);
    let is_last = found.len() <= OFFERS_PER_PAGE;
    found.truncate(OFFERS_PER_PAGE);
    let next = found.last().filter(|_| !is_last).map(|api| api.prefix.to_string());
    let mut offers = Vec::new();
    for api in found {
        offers.push(desk.publishing().offer(&api).await);
    }
    Ok(Private(StatusCode::OK, json!({ "apis": offers, "next": next })))
}

/// `GET /profile/applications`
async fn list(State(desk): At, Extension(identity): Asker) -> Answer {
    desk.registry.know_apis().await.map_err(away)?;
    let mut found = desk.registry.directory().applications_of(identity.tenant.id);
    found.sort_by(|one, other| one.name.cmp(&other.name));
    let shown: Vec<_> =
        found.iter().map(|application| desk.publishing().show_application(application)).collect();
    Ok(Private(StatusCode::OK, json!({ "applications": shown })))
}

/// `POST /profile/applications`
async fn create(
    State(desk): At,
    Extension(identity): Asker,
    Extension(client): From,
    Input(wanted): Input<NewApplication>,
) -> Answer {
    let _turn = desk.turn(&identity).await?;
    let object = format!("application/{}", wanted.name);
    let act = act(&identity, client, "create application", object);
    let made = desk.publishing().add_application(&act, owner(&identity), wanted).await?;
    Ok(Private(StatusCode::CREATED, json!(desk.publishing().show_application(&made))))
}

/// `GET /profile/applications/{id}`
async fn show(State(desk): At, Extension(identity): Asker, Id(id): Id) -> Answer {
    let found = desk.publishing().application(Some(owner(&identity)), &id).await?;
    Ok(Private(StatusCode::OK, json!(desk.publishing().show_application(&found))))
}

/// `DELETE /profile/applications/{id}`
async fn remove(
    State(desk): At,
    Extension(identity): Asker,
    Extension(client): From,
    Id(id): Id,
) -> Answer {
    let _turn = desk.turn(&identity).await?;
    let before = desk.publishing().application(Some(owner(&identity)), &id).await?;
    let act = act(&identity, client, "remove application", format!("application/{id}"));
    let ended = desk.publishing().remove_application(&act, &before).await?;
    Ok(Private(StatusCode::OK, json!({ "closed": ended })))
}

/// `POST /profile/applications/{id}/keys`
async fn generate_keys(
    State(desk): At,
    Extension(identity): Asker,
    Extension(client): From,
    Id(id): Id,
    Input(wanted): Input<NewKeys>,
) -> Answer {
    let _turn = desk.turn(&identity).await?;
    let before = desk.publishing().application(Some(owner(&identity)), &id).await?;
    let act = act(&identity, client, "generate application's keys", format!("application/{id}"));
    let (changed, secret) = desk.publishing().generate_keys(&act, &before, wanted).await?;
    let said = json!({
        "consumer_key": id,
        "consumer_secret": secret.expose(),
        "application": desk.publishing().show_application(&changed.present),
        "closed": changed.ended,
    });
    Ok(Private(StatusCode::CREATED, said))
}

/// What a token is to be like.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    scope: Option<String>,
    validity_period: Option<u64>,
}

/// `POST /profile/applications/{id}/token`: one to try things out with.
async fn token(
    State(desk): At,
    Extension(identity): Asker,
    Extension(client): From,
    Id(id): Id,
    headers: HeaderMap,
    Input(wanted): Input<NewToken>,
) -> Answer {
    let application = desk.publishing().application(Some(owner(&identity)), &id).await?;
    let secret = secret_of(&application)?;
    let life = match wanted.validity_period {
        Some(0) => return Err(Refusal::BadInput("validity_period must be 1 at least.".to_owned())),
        said => said.map(Duration::from_secs),
    };
    let wanted = Wanted { scope: wanted.scope.as_deref(), life };
    let issued = desk.issue((&application, secret), &headers, client, wanted).await?;
    Ok(Private(StatusCode::OK, issued.to_json()))
}

/// The secret on which an application's tokens rest.
pub(super) fn secret_of(application: &Application) -> Result<u64, Refusal> {
    let no_keys = Refusal::Conflicting("The application has no keys: generate them first.");
    Ok(application.secret.as_ref().ok_or(no_keys)?.digest.fingerprint())
}

impl Desk {
    /// Issues a token for an application to its owner, who need not show its secret.
    pub(super) async fn issue(
        &self,
        by: (&Application, u64),
        headers: &HeaderMap,
        client: Client,
        wanted: Wanted<'_>,
    ) -> Result<Issued, Refusal> {
        let issuer = self.oauth.issuer(headers, client.over_tls);
        let issued = issue(&self.registry, &self.oauth, &issuer, by, wanted);
        issued.await.map_err(as_problem)
    }
}

/// `POST /profile/applications/{id}/subscriptions`
async fn subscribe(
    State(desk): At,
    Extension(identity): Asker,
    Extension(client): From,
    Id(id): Id,
    Input(wanted): Input<NewSubscription>,
) -> Answer {
    let _turn = desk.turn(&identity).await?;
    let before = desk.publishing().application(Some(owner(&identity)), &id).await?;
    let act = act(&identity, client, "subscribe application", format!("application/{id}"));
    let (present, id) = desk.publishing().subscribe(&act, &before, wanted).await?;
    let application = desk.publishing().show_application(&present);
    let said = json!({ "id": id.to_string(), "application": application });
    Ok(Private(StatusCode::CREATED, said))
}

/// `DELETE /profile/applications/{id}/subscriptions/{subscription}`
async fn unsubscribe(
    State(desk): At,
    Extension(identity): Asker,
    Extension(client): From,
    Ids(id, subscription): Ids,
) -> Answer {
    let _turn = desk.turn(&identity).await?;
    let before = desk.publishing().application(Some(owner(&identity)), &id).await?;
    let act = act(&identity, client, "end subscription", format!("application/{id}"));
    let publishing = desk.publishing();
    let changed = publishing.unsubscribe(&act, &before, &subscription, Side::Caller).await?;
    as_changed(publishing.show_application(&changed.present), changed.ended)
}

/// `PUT /profile/applications/{id}/subscriptions/{subscription}/plan`
async fn set_plan(
    State(desk): At,
    Extension(identity): Asker,
    Extension(client): From,
    Ids(id, subscription): Ids,
    Input(wanted): Input<SubscriptionPlan>,
) -> Answer {
    let _turn = desk.turn(&identity).await?;
    let publishing = desk.publishing();
    let before = publishing.application(Some(owner(&identity)), &id).await?;
    let act = act(&identity, client, "change subscription's plan", format!("application/{id}"));
    let changed = publishing.set_plan(&act, &before, &subscription, wanted, Side::Caller).await?;
    as_changed(publishing.show_application(&changed.present), changed.ended)
}
