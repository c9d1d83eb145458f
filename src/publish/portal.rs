//! What consumers see: the APIs that they can subscribe to, and their applications.

use serde::Serialize;
use utoipa::ToSchema;

use super::Publishing;
use crate::api::application::{ApplicationSecret, Subscription};
use crate::api::{Api, Application, Owner, Security, State};
use crate::grant::{ApiId, ApplicationId};
use crate::live::{PlanUse, SubscriberId};

/// An application.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ApplicationView {
    /// 16 hexadecimal digits.
    pub id: String,
    /// Changes with every change.
    pub revision: u64,
    /// `operator`, or the tenant's id.
    pub owner: String,
    /// The name.
    pub name: String,
    /// The consumer key: `client_id` where tokens are issued.
    pub consumer_key: String,
    /// What is known of the consumer secret, once keys were generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub consumer_secret: Option<SecretView>,
    /// What it may call.
    pub subscriptions: Vec<SubscriptionView>,
}

/// What may be told of a consumer secret.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ConsumerSecretView)]
pub struct SecretView {
    /// Its last four characters.
    pub last_four: String,
    /// When it was made.
    pub created: String,
    /// Until when the one before works, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub previous_until: Option<String>,
}

/// A subscription.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SubscriptionView {
    /// 16 hexadecimal digits.
    pub id: String,
    /// The API's id.
    pub api: String,
    /// The API's name, unless it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub name: Option<String>,
    /// The beginning of its paths: the scope for this API alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub path: Option<String>,
    /// Where in its life the API is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub state: Option<State>,
    /// The plan, where the API offers any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub plan: Option<String>,
    /// When it was made.
    pub created: String,
    /// Since when the API's owner lets nothing through by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub blocked_since: Option<String>,
    /// An operator has blocked it: they alone let it through again.
    pub blocked_by_operator: bool,
    /// The API's owner or an operator has chosen the plan: the application's owner cannot change it.
    pub plan_by_publisher: bool,
    /// What is left of the plan, on the replica that was asked.
    pub plan_use: PlanUse,
}

/// An API as whoever may subscribe to it sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OfferView {
    /// 16 hexadecimal digits.
    pub id: String,
    /// For people.
    pub name: String,
    /// The version, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub version: Option<String>,
    /// The beginning of its paths.
    pub path: String,
    /// Whose it is: a tenant's name, or `operator`.
    pub owner: String,
    /// Where in its life it is.
    pub state: State,
    /// What it asks for.
    pub security: Vec<Security>,
    /// With which plans applications may subscribe.
    pub plans: Vec<String>,
}

/// An application that is subscribed to an API, as the API's owner sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SubscriberView {
    /// The subscription's id.
    pub id: String,
    /// The application's id: `X-Credential-Identifier` of its calls.
    pub application: String,
    /// The application's name.
    pub name: String,
    /// The plan, where the API offers any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub plan: Option<String>,
    /// When it was made.
    pub created: String,
    /// Since when it is blocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub blocked_since: Option<String>,
    /// An operator has blocked it: they alone let it through again.
    pub blocked_by_operator: bool,
    /// The API's owner or an operator has chosen the plan: the application's owner cannot change it.
    pub plan_by_publisher: bool,
    /// Its connections on the replica that was asked.
    pub connections: u32,
    /// What is left of the plan there.
    pub plan_use: PlanUse,
}

impl SecretView {
    fn new(secret: &ApplicationSecret) -> Self {
        Self {
            last_four: secret.hint.clone(),
            created: secret.created_at.to_string(),
            previous_until: secret.previous.map(|previous| previous.until.to_string()),
        }
    }
}

impl Publishing<'_> {
    /// Who is subscribed to an API, as its owner sees them.
    #[must_use]
    pub fn show_subscribers(self, api: &Api) -> Vec<SubscriberView> {
        let subscribers = self.subscribers(api);
        subscribers.iter().map(|(application, it)| self.show_subscriber(application, it)).collect()
    }

    /// One of them.
    #[must_use]
    pub fn show_subscriber(
        self,
        application: &Application,
        subscription: &Subscription,
    ) -> SubscriberView {
        let (connections, plan_use) = self.use_of(application.id, subscription.api);
        SubscriberView {
            id: subscription.id.to_string(),
            application: application.id.to_string(),
            name: application.name.clone(),
            plan: subscription.plan.clone(),
            created: subscription.created_at.to_string(),
            blocked_since: subscription.blocked_since.map(|since| since.to_string()),
            blocked_by_operator: subscription.blocked_by_operator,
            plan_by_publisher: subscription.plan_by_publisher,
            connections,
            plan_use,
        }
    }

    /// How many connections rest on a subscription here, and what is left of its plan.
    fn use_of(self, application: ApplicationId, api: ApiId) -> (u32, PlanUse) {
        let known = self.registry.directory().subscribed_to(application, api);
        let plan = known.map(|known| known.plan).unwrap_or_default();
        let (id, now) = (SubscriberId { application, api }, self.registry.clock().now());
        self.live.subscription_use(id, &plan, now)
    }

    /// An application as it is shown.
    #[must_use]
    pub fn show_application(self, application: &Application) -> ApplicationView {
        let subscription = |it: &Subscription| {
            let api = self.registry.directory().api(it.api);
            SubscriptionView {
                id: it.id.to_string(),
                api: it.api.to_string(),
                name: api.as_ref().map(|api| api.definition.name.clone()),
                path: api.as_ref().map(|api| api.prefix.to_string()),
                state: api.as_ref().map(|api| api.state),
                plan: it.plan.clone(),
                created: it.created_at.to_string(),
                blocked_since: it.blocked_since.map(|since| since.to_string()),
                blocked_by_operator: it.blocked_by_operator,
                plan_by_publisher: it.plan_by_publisher,
                plan_use: self.use_of(application.id, it.api).1,
            }
        };
        ApplicationView {
            id: application.id.to_string(),
            revision: application.revision,
            owner: application.owner.to_string(),
            name: application.name.clone(),
            consumer_key: application.id.to_string(),
            consumer_secret: application.secret.as_ref().map(SecretView::new),
            subscriptions: application.subscriptions.iter().map(subscription).collect(),
        }
    }

    /// An API as it is offered.
    pub async fn offer(self, api: &Api) -> OfferView {
        let owner = match api.owner {
            Owner::Tenant(id) => {
                let tenant = self.registry.by_id(id).await.ok().flatten();
                tenant.map_or_else(String::new, |tenant| tenant.username.to_string())
            }
            Owner::Operator => "operator".to_owned(),
        };
        OfferView {
            id: api.id.to_string(),
            name: api.definition.name.clone(),
            version: api.definition.version.clone(),
            path: api.prefix.to_string(),
            owner,
            state: api.state,
            security: api.definition.security.clone(),
            plans: api.definition.plans.clone(),
        }
    }
}
