//! Who is subscribed to a tenant's own APIs, and what the tenant does about it.

use axum::Router;
use axum::extract::{Extension, State};
use axum::routing::{delete, get, put};
use http::StatusCode;
use serde_json::json;

use super::publishing::{changed as as_changed, owner};
use super::{Answer, Arc, At, Desk, From, Owner as Asker, Private, act};
use crate::api::Application;
use crate::authenticate::Identity;
use crate::client::Client;
use crate::grant::SubscriptionId;
use crate::json::{Id, Ids, Input};
use crate::publish::Changed;
use crate::publish::subscriptions::{Blocked, Side, SubscriptionPlan};
use crate::refusal::Refusal;
use crate::registry::audit::Act;

/// The handlers, below `/profile/apis/{id}/subscriptions`.
pub(super) fn routes() -> Router<Arc<Desk>> {
    const ONE: &str = "/profile/apis/{id}/subscriptions/{subscription}";
    Router::new()
        .route("/profile/apis/{id}/subscriptions", get(subscribers))
        .route(ONE, delete(end))
        .route(&format!("{ONE}/plan"), put(set_plan))
        .route(&format!("{ONE}/blocked"), put(set_blocked))
}

/// `GET /profile/apis/{id}/subscriptions`
async fn subscribers(State(desk): At, Extension(identity): Asker, Id(id): Id) -> Answer {
    let api = desk.publishing().api(Some(owner(&identity)), &id).await?;
    let shown = desk.publishing().show_subscribers(&api);
    Ok(Private(StatusCode::OK, json!({ "subscriptions": shown })))
}

/// An application that is subscribed to one of the tenant's own APIs, and its subscription.
pub(super) struct Subscriber<'a> {
    desk: &'a Desk,
    identity: &'a Identity,
    client: Client,
    api: &'a str,
    subscription: &'a str,
}

impl<'a> Subscriber<'a> {
    pub(super) fn new(
        desk: &'a Desk,
        identity: &'a Identity,
        client: Client,
        (api, subscription): (&'a str, &'a str),
    ) -> Self {
        Self { desk, identity, client, api, subscription }
    }

    async fn application(&self, verb: &'static str) -> Result<(Arc<Application>, Act), Refusal> {
        let publishing = self.desk.publishing();
        let api = publishing.api(Some(owner(self.identity)), self.api).await?;
        let application = publishing.subscriber(&api, self.subscription)?;
        let act = act(self.identity, self.client, verb, format!("application/{}", application.id));
        Ok((application, act))
    }

    /// Ends the subscription; returns how many connections that has closed.
    pub(super) async fn end(&self) -> Result<usize, Refusal> {
        let (application, act) = self.application("end subscription").await?;
        let publishing = self.desk.publishing();
        let ended = publishing.unsubscribe(&act, &application, self.subscription, Side::Publisher);
        Ok(ended.await?.ended)
    }

    /// Blocks it, or lets it through again.
    pub(super) async fn set_blocked(
        &self,
        wanted: Blocked,
    ) -> Result<Changed<Application>, Refusal> {
        let verb = if wanted.blocked { "block subscription" } else { "unblock subscription" };
        let (application, act) = self.application(verb).await?;
        self.desk.publishing().set_blocked(&act, &application, self.subscription, wanted).await
    }

    async fn set_plan(&self, wanted: SubscriptionPlan) -> Result<Changed<Application>, Refusal> {
        let (application, act) = self.application("change subscription's plan").await?;
        self.desk
            .publishing()
            .set_plan(&act, &application, self.subscription, wanted, Side::Publisher)
            .await
    }

    fn answer(&self, changed: &Changed<Application>) -> Answer {
        let known = SubscriptionId::from_hex(self.subscription);
        let known = known.and_then(|id| changed.present.subscription(id));
        let shown = known.map(|it| self.desk.publishing().show_subscriber(&changed.present, it));
        as_changed(shown, changed.ended)
    }
}

/// `DELETE /profile/apis/{id}/subscriptions/{subscription}`: the API's owner ends it.
async fn end(
    State(desk): At,
    Extension(identity): Asker,
    Extension(client): From,
    Ids(api, subscription): Ids,
) -> Answer {
    let _turn = desk.turn(&identity).await?;
    let subscriber = Subscriber::new(&desk, &identity, client, (&api, &subscription));
    Ok(Private(StatusCode::OK, json!({ "closed": subscriber.end().await? })))
}

/// `PUT /profile/apis/{id}/subscriptions/{subscription}/blocked`
async fn set_blocked(
    State(desk): At,
    Extension(identity): Asker,
    Extension(client): From,
    Ids(api, subscription): Ids,
    Input(wanted): Input<Blocked>,
) -> Answer {
    let _turn = desk.turn(&identity).await?;
    let subscriber = Subscriber::new(&desk, &identity, client, (&api, &subscription));
    subscriber.answer(&subscriber.set_blocked(wanted).await?)
}

/// `PUT /profile/apis/{id}/subscriptions/{subscription}/plan`
async fn set_plan(
    State(desk): At,
    Extension(identity): Asker,
    Extension(client): From,
    Ids(api, subscription): Ids,
    Input(wanted): Input<SubscriptionPlan>,
) -> Answer {
    let _turn = desk.turn(&identity).await?;
    let subscriber = Subscriber::new(&desk, &identity, client, (&api, &subscription));
    subscriber.answer(&subscriber.set_plan(wanted).await?)
}
